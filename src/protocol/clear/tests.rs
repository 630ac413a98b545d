//! Phantoms go; anybody else only by force, by name.

use super::*;
use crate::identity::verdict::{Judgement, UnverifiableReason};
use crate::machine::record::Record;
use crate::protocol::fixtures::{NOW, NOW_MS, act, end, gone, logged, put, seen};

fn reading(force: Option<u64>) -> Clear {
    let mut clear = Clear::new(force.map(|token| Force { token, uid: 0 }));
    assert_eq!(act(&mut clear, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut clear, Answer::Done), Act::Read);
    clear
}

fn feeling(force: Option<u64>, record: Answer) -> Clear {
    let mut clear = reading(force);
    assert_eq!(act(&mut clear, record), Act::FeelOthers);
    clear
}

fn taut(tokens: &[u64]) -> Answer {
    Answer::Felt(Felt { taut: tokens.to_vec(), slack: vec![] })
}

fn tokens(outcome: Outcome) -> (Vec<u64>, Vec<u64>) {
    let Outcome::Done { cleared, refused } = outcome else { panic!("{outcome:?}") };
    let all = |judged: Vec<Judged>| judged.iter().map(|j| j.subject.token()).collect();
    (all(cleared), all(refused))
}

fn finish(mut clear: Clear) -> (Vec<u64>, Vec<u64>) {
    assert_eq!(logged(act(&mut clear, Answer::Done)), 1);
    assert!(matches!(act(&mut clear, Answer::Done), Act::Unlink(_)));
    assert_eq!(act(&mut clear, Answer::Done), Act::Unlock);
    tokens(end(&mut clear, Answer::Done))
}

#[test]
fn a_phantom_is_removed_and_the_living_are_refused() {
    let mut clear = feeling(None, seen(&[(7, gone()), (8, Verdict::Live)]));
    let record = put(act(&mut clear, taut(&[])));
    assert_eq!(record.holders.iter().map(|h| h.token).collect::<Vec<_>>(), [8]);
    assert_eq!(finish(clear), (vec![7], vec![8]));
}

#[test]
fn nothing_to_clear_rewrites_nothing() {
    for (record, refused) in [
        (seen(&[]), vec![]),
        (seen(&[(8, Verdict::Live)]), vec![8]),
        (seen(&[(8, Verdict::Finishing)]), vec![8]),
        (seen(&[(8, Verdict::Unverifiable(UnverifiableReason::ForeignHost))]), vec![8]),
    ] {
        let mut clear = feeling(None, record);
        assert_eq!(act(&mut clear, taut(&[])), Act::Unlock);
        assert_eq!(tokens(end(&mut clear, Answer::Done)), (vec![], refused));
    }
}

#[test]
fn force_removes_the_run_it_names_and_no_other() {
    let mut clear = feeling(Some(8), seen(&[(8, Verdict::Live)]));
    let record = put(act(&mut clear, taut(&[8])));
    assert!(record.holders.is_empty());
    assert!(record.counters.phantoms.is_empty());
    assert_eq!(finish(clear), (vec![8], vec![]));
    // Somebody's new run has another token.
    let mut clear = feeling(Some(8), seen(&[(9, Verdict::Live)]));
    assert_eq!(act(&mut clear, taut(&[])), Act::Unlock);
}

#[test]
fn a_run_that_no_record_names_is_seen_and_can_be_forced() {
    let mut clear = feeling(None, seen(&[]));
    assert_eq!(act(&mut clear, taut(&[9])), Act::Unlock);
    assert_eq!(tokens(end(&mut clear, Answer::Done)), (vec![], vec![9]));
    let mut clear = feeling(Some(9), seen(&[]));
    put(act(&mut clear, taut(&[9])));
    assert_eq!(finish(clear), (vec![9], vec![]));
}

#[test]
fn a_record_of_a_later_schema_is_left_alone_even_by_force() {
    let verdict = Verdict::Unverifiable(UnverifiableReason::NewerSchema(2));
    let judged = Judged::new(Subject::Newer(2), Judgement { verdict, rule: "a rule" });
    let seen = Seen {
        record: Record::new("m1"),
        judged: vec![judged],
        now: NOW.to_owned(),
        now_ms: NOW_MS,
    };
    let mut clear = feeling(Some(0), Answer::Seen(Box::new(seen)));
    assert_eq!(act(&mut clear, taut(&[])), Act::Unlock);
}

#[test]
fn a_record_that_changed_meanwhile_is_judged_again() {
    let mut clear = feeling(Some(7), seen(&[(7, Verdict::Live)]));
    put(act(&mut clear, taut(&[])));
    assert_eq!(act(&mut clear, Answer::Changed), Act::Read);
    assert_eq!(act(&mut clear, seen(&[(9, Verdict::Live)])), Act::FeelOthers);
    assert_eq!(act(&mut clear, taut(&[])), Act::Unlock);
    assert_eq!(tokens(end(&mut clear, Answer::Done)), (vec![], vec![9]));
}
