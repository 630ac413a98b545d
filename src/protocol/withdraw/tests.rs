//! What is counted, what is logged, and what is left alone.

use rstest::rstest;

use super::*;
use crate::identity::verdict::Judgement;
use crate::protocol::fixtures::{act, end, put, seen};
use crate::protocol::{Act, Answer};

fn withdrawing(why: Why) -> Withdraw {
    let mut withdraw = Withdraw::new(why, vec![Argument("x".into())]);
    assert_eq!(act(&mut withdraw, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut withdraw, Answer::Done), Act::Read);
    withdraw
}

#[rstest]
#[case(Why::Refused, [1, 0, 0, 0])]
#[case(Why::Skipped, [0, 1, 0, 0])]
#[case(Why::Reused, [0, 0, 1, 0])]
#[case(Why::TimedOut, [0, 0, 0, 1])]
fn each_reason_has_its_counter_and_its_event(#[case] why: Why, #[case] expected: [u64; 4]) {
    let mut withdraw = withdrawing(why);
    let record = put(act(&mut withdraw, seen(&[(7, Verdict::Live)])));
    let c = &record.counters;
    assert_eq!([c.refused, c.skipped, c.reused, c.timed_out], expected);
    assert_eq!((record.revision, record.holders.len()), (6, 1));
    let Act::Log(events) = act(&mut withdraw, Answer::Done) else { panic!("no event") };
    assert_eq!(events[0].0, 7);
    assert_eq!(act(&mut withdraw, Answer::Done), Act::Unlock);
    assert_eq!(end(&mut withdraw, Answer::Done), Outcome::Done);
}

#[test]
fn a_record_that_is_not_ours_is_not_rewritten() {
    let mut withdraw = withdrawing(Why::Skipped);
    let Answer::Seen(mut torn) = seen(&[]) else { panic!("not seen") };
    let judgement = Judgement { verdict: Verdict::Live, rule: "a rule" };
    torn.judged.push(Judged::new(Subject::Unreadable("why".to_owned()), judgement));
    assert!(matches!(act(&mut withdraw, Answer::Seen(torn)), Act::Log(_)));
}

#[test]
fn a_record_that_changed_is_read_again() {
    let mut withdraw = withdrawing(Why::Skipped);
    put(act(&mut withdraw, seen(&[(7, Verdict::Live)])));
    assert_eq!(act(&mut withdraw, Answer::Changed), Act::Read);
}
