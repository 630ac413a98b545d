//! A release touches its own run, and nobody else's.

use super::*;
use crate::identity::verdict::Verdict;
use crate::machine::record::{Ending, Unknown};
use crate::machine::used::Used;
use crate::protocol::Answer;
use crate::protocol::fixtures::{NOW, act, end, logged, put, seen};

fn reading() -> Release {
    let mut release = Release::new(LastRun {
        token: 7,
        ended: Ending::Exited,
        code: Some(3),
        started_at: None,
        ended_at: NOW.to_owned(),
        used: Used::default(),
        unknown: Unknown::new(),
    });
    assert_eq!(act(&mut release, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut release, Answer::Done), Act::Read);
    release
}

#[test]
fn the_lifeline_is_unlinked_under_the_lock_and_closed_after_it() {
    let mut release = reading();
    let record = put(act(&mut release, seen(&[(7, Verdict::Finishing)])));
    assert_eq!((record.revision, record.holders.len()), (6, 0));
    assert_eq!(record.last.unwrap().code, Some(3));
    assert_eq!(logged(act(&mut release, Answer::Done)), 1);
    assert_eq!(act(&mut release, Answer::Done), Act::Unlink(vec![7]));
    assert_eq!(act(&mut release, Answer::Done), Act::Unlock);
    assert_eq!(act(&mut release, Answer::Done), Act::CloseLifeline);
    assert_eq!(end(&mut release, Answer::Done), Outcome::Released);
}

#[test]
fn whoever_took_over_is_not_touched() {
    for record in [seen(&[(8, Verdict::Live)]), seen(&[])] {
        let mut release = reading();
        assert_eq!(logged(act(&mut release, record)), 1);
        assert_eq!(act(&mut release, Answer::Done), Act::Unlock);
        assert_eq!(act(&mut release, Answer::Done), Act::CloseLifeline);
        assert_eq!(end(&mut release, Answer::Done), Outcome::TakenOver);
    }
}

#[test]
fn other_holders_stay() {
    let mut release = reading();
    let both = seen(&[(7, Verdict::Finishing), (8, Verdict::Live)]);
    let record = put(act(&mut release, both));
    assert_eq!(record.holders.iter().map(|h| h.token).collect::<Vec<_>>(), [8]);
}

#[test]
fn a_record_that_changed_meanwhile_is_read_again() {
    let mut release = reading();
    put(act(&mut release, seen(&[(7, Verdict::Finishing)])));
    assert_eq!(act(&mut release, Answer::Changed), Act::Read);
}
