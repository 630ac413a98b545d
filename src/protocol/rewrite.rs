//! Rewrites of a record: what each transition changes in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Judged;
use crate::identity::verdict::{PhantomReason, Subject, Verdict};
use crate::machine::events::What;
use crate::machine::record::{Ending, Holder, LastRun, Lost, Record};
use crate::machine::used::Used;

/// The record without these phantoms: counted, and the last of them remembered as the last run.
pub fn without(mut record: Record, cleared: &[Judged], now: &str) -> Record {
    let mut over = BTreeSet::new();
    for Judged { subject, judgement } in cleared {
        let reason = match &judgement.verdict {
            Verdict::Phantom(reason) => Some(*reason),
            _ => None,
        };
        if let Some(reason) = reason {
            let count = record.counters.phantoms.entry(reason.code().to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        if let Subject::Holder(holder) = subject {
            over.insert(holder.token);
            if holder.rerun_if_lost && reason.is_some() {
                record.lost = Some(Box::new(Lost::new(holder, now)));
            }
            record.token = record.token.max(holder.token); // no later run may get it again
            record.last = Some(LastRun {
                token: holder.token,
                ended: ending(reason),
                code: None,
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

/// How a run ended that nobody saw end: a proof that it was cut off makes it lost; a job that may
/// well have finished under no supervisor's eyes is unknown, never an invented 0.
fn ending(reason: Option<PhantomReason>) -> Ending {
    match reason {
        Some(
            PhantomReason::Rebooted
            | PhantomReason::SupervisorGone
            | PhantomReason::LegacyExpired
            | PhantomReason::TornByPowerLoss,
        ) => Ending::Lost,
        Some(
            PhantomReason::ProcessGone
            | PhantomReason::PidReused
            | PhantomReason::SupervisorStalled,
        )
        | None => Ending::Unknown,
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
    let Verdict::Phantom(reason) = &judged.judgement.verdict else { return None };
    let what = What::PhantomCleared {
        reason: reason.code().to_owned(),
        proof: judged.judgement.rule.to_owned(),
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
