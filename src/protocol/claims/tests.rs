//! Two machines, all or nothing.

use std::cell::Cell;

use super::*;
use crate::identity::verdict::Verdict;
use crate::machine::ticket::{Spot, TicketId};
use crate::protocol::claim::{Queueing, Request};
use crate::protocol::fixtures::{NOW_MS, gone, holder, seen};
use crate::protocol::{Felt, Queue};

fn two(ticket: Option<TicketId>) -> Claims {
    let request = Request { queueing: Queueing::Last(None), ticket, ..Request::default() };
    let claims = ["a", "b"].map(|machine| Claim::new(machine, request.clone()));
    Claims::new(claims.into())
}

/// What is answered to an act when nobody else is at work, and `held` is held.
fn answer(index: usize, act: &Act, held: Option<usize>) -> Answer {
    match act {
        Act::Read if held == Some(index) => seen(&[(7, Verdict::Live)]),
        Act::Read => seen(&[]),
        Act::FeelQueue { .. } => Answer::Queue(Queue::default()),
        Act::MakeLifeline(_) => Answer::Made("1:2".to_owned()),
        Act::FeelOthers => Answer::Felt(Felt::default()),
        Act::Fork(_) => Answer::Born(Box::new(holder(0))),
        _ => Answer::Done,
    }
}

/// Everything that is done, and how it ends; `surprise` replaces answers.
fn played(
    held: Option<usize>,
    surprise: impl Fn(usize, &Act) -> Option<Answer>,
) -> (Vec<(usize, Act)>, Vec<Outcome>) {
    played_with(None, held, surprise)
}

/// The same for one who has waited.
fn played_with(
    ticket: Option<TicketId>,
    held: Option<usize>,
    surprise: impl Fn(usize, &Act) -> Option<Answer>,
) -> (Vec<(usize, Act)>, Vec<Outcome>) {
    let mut claims = two(ticket);
    let mut done = Vec::new();
    let mut step = claims.next(Answer::Begin);
    loop {
        match step {
            Step::Finish(outcomes) => return (done, outcomes),
            Step::Do(index, act) => {
                let said = surprise(index, &act).unwrap_or_else(|| answer(index, &act, held));
                done.push((index, act));
                step = claims.next(said);
            }
        }
    }
}

fn position(done: &[(usize, Act)], wanted: impl Fn(usize, &Act) -> bool) -> usize {
    done.iter().position(|(index, act)| wanted(*index, act)).unwrap()
}

fn count(done: &[(usize, Act)], wanted: impl Fn(&Act) -> bool) -> usize {
    done.iter().filter(|(_, act)| wanted(act)).count()
}

fn is_put(act: &Act) -> bool {
    matches!(act, Act::Put(_))
}

const BUSY: Outcome = Outcome::Busy { cleared: Vec::new(), is_full: false };

#[test]
fn one_child_for_both_after_both_are_free_and_before_either_is_unlocked() {
    let (done, outcomes) = played(None, |_, _| None);
    let granted = Outcome::Granted { token: NOW_MS, cleared: vec![] };
    assert_eq!(outcomes, [granted.clone(), granted]);
    assert_eq!(count(&done, |act| *act == Act::Fork(vec![NOW_MS, NOW_MS])), 1);
    let fork = position(&done, |_, act| matches!(act, Act::Fork(_)));
    for machine in [0, 1] {
        let locked = position(&done, |i, act| i == machine && *act == Act::Lock);
        let put = position(&done, |i, act| i == machine && is_put(act));
        assert!(locked < fork && fork < put);
        assert!(put < position(&done, |_, act| *act == Act::Unlock));
    }
    assert_eq!(done.last(), Some(&(0, Act::OpenGate)));
    assert_eq!(count(&done, |act| *act == Act::OpenGate), 1);
}

#[test]
fn what_one_cannot_have_the_other_does_not_take() {
    for held in [0, 1] {
        let (done, outcomes) = played(Some(held), |_, _| None);
        assert_eq!(outcomes, [BUSY, BUSY]);
        assert_eq!(count(&done, |act| matches!(act, Act::Fork(_)) || is_put(act)), 0);
        assert_eq!(count(&done, |act| *act == Act::DropLifeline), 1);
        // Both have a ticket, taken under both locks.
        let spot = Spot { within: None, ahead: false };
        assert_eq!(count(&done, |act| *act == Act::Enqueue(spot)), 2);
        let first_unlock = position(&done, |_, act| *act == Act::Unlock);
        let later = &done[first_unlock..];
        assert_eq!(later, [(1, Act::Unlock), (0, Act::Unlock)]);
    }
}

/// Who is taken back is in line for both machines, where he was, or at the end of both queues.
#[test]
fn who_is_taken_back_keeps_his_places() {
    let ticket = TicketId { number: 3, within: None };
    for (ticket, enqueued) in [(Some(ticket), 0), (None, 2)] {
        for overtaken in [0, 1] {
            let (done, outcomes) = played_with(ticket, None, |index, act| {
                (index == overtaken && is_put(act)).then_some(Answer::Changed)
            });
            assert_eq!(outcomes, [BUSY, BUSY]);
            assert_eq!(count(&done, |act| *act == Act::LeaveQueue), 0);
            assert_eq!(count(&done, |act| matches!(act, Act::Enqueue(_))), enqueued);
        }
    }
    let (done, _) = played_with(Some(ticket), None, |_, _| None);
    for machine in [0, 1] {
        let left = position(&done, |i, act| i == machine && *act == Act::LeaveQueue);
        let unlocked = position(&done, |i, act| i == machine && *act == Act::Unlock);
        let last_put = done.iter().rposition(|(_, act)| is_put(act)).unwrap();
        assert!(last_put < left && left < unlocked);
    }
}

#[test]
fn a_record_that_cannot_be_written_takes_the_others_back() {
    let reads = Cell::new(0);
    let (done, outcomes) = played(None, |index, act| match (index, act) {
        (1, act) if is_put(act) => Some(Answer::Changed),
        (0, Act::Read) if reads.replace(reads.get() + 1) == 1 => {
            Some(seen(&[(NOW_MS, Verdict::Live), (9, Verdict::Live)]))
        }
        _ => None,
    });
    assert_eq!(outcomes, [BUSY, BUSY]);
    assert_eq!(count(&done, |act| *act == Act::Abandon), 1);
    assert_eq!(count(&done, |act| *act == Act::OpenGate), 0);
    let puts: Vec<_> = done.iter().filter(|(i, act)| *i == 0 && is_put(act)).collect();
    let Act::Put(record) = &puts[1].1 else { panic!("not a rewrite") };
    assert!(puts.len() == 2 && record.holders.len() == 1 && record.holders[0].token == 9);
    assert!(
        position(&done, |_, act| *act == Act::Abandon)
            < position(&done, |i, act| { i == 0 && *act == Act::Unlink(vec![NOW_MS]) })
    );
}

#[test]
fn one_alone_starts_over_with_the_lock_in_hand() {
    let mut claims = Claims::new(vec![Claim::new("a", Request::default())]);
    let (mut puts, mut done) = (0, Vec::new());
    let mut step = claims.next(Answer::Begin);
    while let Step::Do(index, act) = step {
        puts += usize::from(is_put(&act));
        let said = match is_put(&act) && puts == 1 {
            true => Answer::Changed,
            false => answer(index, &act, None),
        };
        done.push((index, act));
        step = claims.next(said);
    }
    assert_eq!(step, Step::Finish(vec![Outcome::Granted { token: NOW_MS, cleared: vec![] }]));
    assert_eq!(count(&done, |act| *act == Act::Lock), 1);
    assert_eq!(count(&done, |act| matches!(act, Act::Fork(_))), 2);
}

#[test]
fn nothing_is_looked_at_before_all_locks_are_taken() {
    let (done, _) = played(None, |_, _| None);
    assert_eq!(done[..2], [(0, Act::Lock), (1, Act::Lock)]);
    assert_eq!(count(&done, |act| *act == Act::Lock), 2);
}

#[test]
fn phantoms_go_although_another_machine_is_held() {
    let phantom = |index, act: &Act| match (index, act) {
        (0, Act::Read) => Some(seen(&[(7, gone())])),
        _ => None,
    };
    let (done, outcomes) = played(Some(1), phantom);
    let Outcome::Busy { cleared, .. } = &outcomes[0] else { panic!("not busy") };
    assert_eq!((cleared.len(), cleared[0].subject.token()), (1, 7));
    let put = position(&done, |i, act| i == 0 && is_put(act));
    assert!(put < position(&done, |i, act| i == 0 && *act == Act::Unlink(vec![7])));
    assert_eq!(count(&done, |act| matches!(act, Act::Fork(_))), 0);
}
