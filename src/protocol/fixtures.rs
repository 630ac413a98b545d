//! Records and verdicts for the tests of this module.

use serde_json::json;

use super::{Answer, Judged, Next, Protocol, Seen};
use crate::identity::verdict::{Judgement, PhantomReason, Subject, Verdict};
use crate::machine::record::{Holder, Record};
use crate::protocol::Act;

pub(super) const NOW: &str = "2026-11-20T15:30:45.123Z";
pub(super) const NOW_MS: u64 = 1000;

pub(super) fn holder(token: u64) -> Holder {
    serde_json::from_value(json!({
        "token": token, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
        "job": { "pid": 42 }, "host": { "boot_id": "b" }, "command": ["x"], "started_at": NOW,
    }))
    .unwrap()
}

/// A record with these holders, and the verdicts on them.
pub(super) fn seen(holders: &[(u64, Verdict)]) -> Answer {
    let mut record = Record::new("m1");
    record.revision = 5;
    record.token = holders.iter().map(|(token, _)| *token).max().unwrap_or(0);
    record.holders = holders.iter().map(|(token, _)| holder(*token)).collect();
    let judged = holders
        .iter()
        .map(|(token, verdict)| {
            let judgement = Judgement { verdict: verdict.clone(), rule: "a rule" };
            Judged::new(Subject::Holder(Box::new(holder(*token))), judgement)
        })
        .collect();
    Answer::Seen(Box::new(Seen { record, judged, now: NOW.to_owned(), now_ms: NOW_MS }))
}

pub(super) fn gone() -> Verdict {
    Verdict::Phantom(PhantomReason::ProcessGone)
}

/// Gives an answer, and expects an act.
#[track_caller]
pub(super) fn act<P: Protocol>(protocol: &mut P, answer: Answer) -> Act
where
    P::Outcome: std::fmt::Debug,
{
    match protocol.next(answer) {
        Next::Do(act) => act,
        Next::Finish(outcome) => panic!("finished: {outcome:?}"),
    }
}

/// Gives an answer, and expects the end.
#[track_caller]
pub(super) fn end<P: Protocol>(protocol: &mut P, answer: Answer) -> P::Outcome {
    match protocol.next(answer) {
        Next::Do(act) => panic!("not finished: {act:?}"),
        Next::Finish(outcome) => outcome,
    }
}

/// Expects a rewrite, and returns the record.
#[track_caller]
pub(super) fn put(act: Act) -> Record {
    match act {
        Act::Put(record) => *record,
        other => panic!("not a rewrite: {other:?}"),
    }
}

/// Expects events, and returns how many.
#[track_caller]
pub(super) fn logged(act: Act) -> usize {
    match act {
        Act::Log(events) => events.len(),
        other => panic!("not a log: {other:?}"),
    }
}
