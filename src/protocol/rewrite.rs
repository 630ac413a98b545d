//! Rewrites of a record: what each transition changes in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judged;
use crate::identity::verdict::{PhantomReason, Subject, Verdict};
use crate::machine::events::What;
use crate::machine::record::{Ending, Holder, LastRun, Lost, Record, State};
use crate::machine::used::Used;
use crate::sys::wait::Ended;

/// The record without these phantoms: counted, and the last of them remembered as the last run.
pub fn without(mut record: Record, cleared: &[Judged], now: &str) -> Record {
    let mut over = BTreeSet::new();
    for judged @ Judged { subject, .. } in cleared {
        if let Some(reason) = reason(judged) {
            let count = record.counters.phantoms.entry(reason.code().to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        if let Subject::Holder(holder) = subject {
            over.insert(holder.token);
            // Who was to end was not lost, however that came about.
            let is_to_end = holder.state == State::Stopping;
            if holder.rerun_if_lost && !is_to_end && is_lost(judged) {
                record.lost = Some(Box::new(Lost::new(holder, now)));
            }
            record.token = record.token.max(holder.token); // no later run may get it again
            let (ended, code) = ending(judged);
            record.last = Some(LastRun {
                token: holder.token,
                ended,
                code,
                started_at: Some(holder.started_at.clone()),
                ended_at: now.to_owned(),
                used: Used::default(),
                unknown: serde_json::Map::new(),
            });
        }
    }
    // All at once: a record has room for a hundred thousand, and the machine is locked.
    record.holders.retain(|holder| !over.contains(&holder.token));
    record
}

/// Whether nobody can say that the run came to an end of its own.
fn is_lost(judged: &Judged) -> bool {
    reason(judged).is_some() && !matches!(judged.ended, Some(Ended::Exited(_)))
}

fn reason(judged: &Judged) -> Option<PhantomReason> {
    match judged.judgement.verdict {
        Verdict::Phantom(reason) => Some(reason),
        Verdict::Live | Verdict::Finishing | Verdict::Unverifiable(_) => None,
    }
}

/// How a run ended that no supervisor saw end: as the kernel told. Else a proof that it was cut off
/// makes it lost; a job that may well have finished is unknown, never an invented 0.
fn ending(judged: &Judged) -> (Ending, Option<i32>) {
    match (judged.ended, reason(judged)) {
        (Some(Ended::Exited(code)), _) => (Ending::Exited, Some(code)),
        (Some(Ended::Signaled(signal)), _) => (Ending::Signaled, Some(signal)),
        (Some(Ended::Unseen), _) => (Ending::Unknown, None),
        (
            None,
            Some(
                PhantomReason::Rebooted
                | PhantomReason::SupervisorGone
                | PhantomReason::LegacyExpired
                | PhantomReason::TornByPowerLoss,
            ),
        ) => (Ending::Lost, None),
        (
            None,
            Some(
                PhantomReason::ProcessGone
                | PhantomReason::PidReused
                | PhantomReason::SupervisorStalled,
            )
            | None,
        ) => (Ending::Unknown, None),
    }
}

/// The record with a new holder.
pub fn with(mut record: Record, holder: Holder, contended: bool) -> Record {
    record.token = record.token.max(holder.token);
    record.counters.runs = record.counters.runs.saturating_add(1);
    record.counters.contended = record.counters.contended.saturating_add(contended.into());
    record.holders.push(holder);
    record
}

/// The record without a run that never began.
pub fn without_run(mut record: Record, token: u64) -> Record {
    let named = record.holders.len();
    record.holders.retain(|holder| holder.token != token);
    if record.holders.len() < named {
        record.counters.runs = record.counters.runs.saturating_sub(1);
    }
    record
}

/// The record one revision on: every rewrite that is put in place goes through here.
pub fn next_revision(mut record: Record) -> Box<Record> {
    record.revision = record.revision.saturating_add(1);
    Box::new(record)
}

/// The event of a phantom that was cleared.
pub fn phantom_event(judged: &Judged) -> Option<(u64, What)> {
    let reason = reason(judged)?;
    let (ended, code) = ending(judged);
    let what = What::PhantomCleared {
        reason: reason.code().to_owned(),
        proof: judged.judgement.rule.to_owned(),
        ended,
        code,
        holder: as_recorded(&judged.subject),
    };
    Some((judged.subject.token(), what))
}

/// A subject as its record had it.
pub fn as_recorded(subject: &Subject) -> Value {
    match subject {
        Subject::Holder(holder) => serde_json::to_value(holder).unwrap_or(Value::Null),
        Subject::Legacy(legacy) => serde_json::json!({
            "job": legacy.job, "job_pid": legacy.job_pid, "job_timestamp": legacy.job_timestamp,
        }),
        Subject::Torn(_) | Subject::Newer(_) | Subject::Unreadable(_) | Subject::Unrecorded(_) => {
            Value::Null
        }
    }
}
