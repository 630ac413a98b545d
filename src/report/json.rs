//! The JSON that every command answers with: one object for a machine, everywhere.
//!
//! It is an interface: fields are added, never renamed or removed, and `schema` grows when their
//! meaning changes.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::escape::escape_json;
use super::explain::rows;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::{Judgement, Observer, Subject, Verdict};
use crate::look::{Queued, Sight};
use crate::machine::name::MachineName;
use crate::machine::record::{Counters, LastRun};
use crate::protocol::rewrite::as_recorded;
use crate::summary::{Summary, summarize};

/// The schema of these objects.
pub const SCHEMA: u32 = 1;

/// One machine.
#[derive(Debug, Serialize)]
pub struct MachineJson<'a> {
    schema: u32,
    machine: &'a str,
    /// `free`, `live`, `finishing`, `phantom` or `unverifiable`.
    verdict: &'static str,
    /// Why, for the last two.
    reason: Option<&'static str>,
    /// As recorded, each with `verdict`, `reason`, `reason_text` and `rule` of its own.
    holders: Vec<Value>,
    /// Who waits, in order.
    queue: Vec<Value>,
    last: Option<&'a LastRun>,
    counters: &'a Counters,
}

impl<'a> MachineJson<'a> {
    /// A machine as it was seen.
    pub fn new(machine: &'a MachineName, sight: &'a Sight) -> Self {
        let (verdict, reason) = match summarize(sight) {
            Summary::Free => ("free", None),
            Summary::Held(observed) => verdict_codes(&observed.judgement.verdict),
        };
        Self {
            schema: SCHEMA,
            machine: machine.as_str(),
            verdict,
            reason,
            holders: sight.observed.iter().map(holder_json).collect(),
            queue: sight.queue.iter().map(queued_json).collect(),
            last: sight.record.last.as_ref(),
            counters: &sight.record.counters,
        }
    }
}

/// The same machine, with the evidence on every holder.
pub fn explained(
    machine: &MachineName,
    sight: &Sight,
    observer: Option<&Observer>,
) -> Result<String, Error> {
    let mut object = MachineJson::new(machine, sight);
    if let Some(observer) = observer {
        for (holder, observed) in object.holders.iter_mut().zip(&sight.observed) {
            let rows = rows(observed, observer).into_iter();
            let evidence = rows.map(|(label, text)| (label.replace(' ', "_"), json!(text)));
            holder["evidence"] = Value::Object(evidence.collect());
        }
    }
    line(&object)
}

/// A ticket as it was written, its number, in whose job it waits, and its position there.
fn queued_json(queued: &Queued) -> Value {
    let mut object = match serde_json::to_value(&queued.ticket) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    object.insert("ticket".to_owned(), json!(queued.id.number));
    object.insert("within".to_owned(), json!(queued.id.within));
    object.insert("position".to_owned(), json!(queued.position));
    Value::Object(object)
}

fn holder_json(observed: &Observed) -> Value {
    subject_json(&observed.subject, &observed.judgement)
}

/// A subject as recorded, and the verdict on it.
pub fn subject_json(subject: &Subject, judgement: &Judgement) -> Value {
    let mut object = match as_recorded(subject) {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let (verdict, reason) = verdict_codes(&judgement.verdict);
    let text = match &judgement.verdict {
        Verdict::Phantom(reason) => Some(reason.to_string()),
        Verdict::Unverifiable(reason) => Some(reason.to_string()),
        Verdict::Live | Verdict::Finishing => None,
    };
    object.insert("token".to_owned(), json!(subject.token()));
    object.insert("verdict".to_owned(), json!(verdict));
    object.insert("reason".to_owned(), json!(reason));
    object.insert("reason_text".to_owned(), json!(text));
    object.insert("rule".to_owned(), json!(judgement.rule));
    Value::Object(object)
}

fn verdict_codes(verdict: &Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Live => ("live", None),
        Verdict::Finishing => ("finishing", None),
        Verdict::Phantom(reason) => ("phantom", Some(reason.code())),
        Verdict::Unverifiable(reason) => ("unverifiable", Some(reason.code())),
    }
}

/// One line of JSON, safe to show.
pub fn line<T: Serialize>(value: &T) -> Result<String, Error> {
    let text = serde_json::to_string(value).map_err(Error::io("write JSON"))?;
    let mut text = escape_json(&text).into_owned();
    text.push('\n');
    Ok(text)
}
