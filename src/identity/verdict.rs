//! The verdict: what a recorded holder is, judged by evidence alone.
//!
//! [`judge`] is pure: it makes no system call and asks no clock, so every row of the table is a
//! test below. What cannot be proven dead is held. Rows are tried from the top; the first that
//! matches decides, and its [`Rule`] says so in words (`status --explain`).

use std::time::Duration;

use super::host::Locality;
use super::process::Sighting;
use crate::machine::legacy::Legacy;
use crate::machine::record::{HeldBy, Holder};

mod evidence;
mod reason;

pub use evidence::{Evidence, Observer, Told, Touch, View};
pub use reason::{PhantomReason, UnverifiableReason};

/// How long a release may take, or a parent-death signal, before its absence is evidence.
pub const GRACE: Duration = Duration::from_secs(1);

/// What somebody is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A holder in a record of schema 1.
    Holder(Box<Holder>),
    /// The holder in a record of schema 0.
    Legacy(Legacy),
    /// A record that was read, but can't be parsed.
    Torn(String),
    /// A record of a schema that this release does not know.
    Newer(u64),
    /// A record that can't be read.
    Unreadable(String),
    /// A taut lifeline, by its token, that no record names.
    Unrecorded(u64),
}

impl Subject {
    /// The token of the run; 0 where none is known.
    pub fn token(&self) -> u64 {
        match self {
            Self::Holder(holder) => holder.token,
            Self::Unrecorded(token) => *token,
            Self::Legacy(_) | Self::Torn(_) | Self::Newer(_) | Self::Unreadable(_) => 0,
        }
    }
}

/// What a holder is, as judged now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It holds the machine.
    Live,
    /// It is over, and its release is due within [`GRACE`].
    Finishing,
    /// It is provably over: the machine is free, only the record does not know it.
    Phantom(PhantomReason),
    /// Nothing can be proven: it counts as held.
    Unverifiable(UnverifiableReason),
}

/// A verdict and the row of the table that decided it, in words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// What the holder is.
    pub verdict: Verdict,
    /// The rule that decided.
    pub rule: Rule,
}

/// A row of the verdict table, in words.
pub type Rule = &'static str;

/// The row of [`Subject::Unrecorded`].
pub const UNRECORDED: Rule = "a taut lifeline that no record names is a live holder";

/// Judges one subject.
pub fn judge(subject: &Subject, observer: &Observer, evidence: &Evidence) -> Judgement {
    let (verdict, rule) = match subject {
        Subject::Holder(holder) => judge_holder(holder, observer, evidence),
        Subject::Legacy(legacy) => judge_legacy(legacy, observer, evidence),
        Subject::Torn(why) => judge_torn(why, evidence),
        Subject::Newer(schema) => (
            Verdict::Unverifiable(UnverifiableReason::NewerSchema(*schema)),
            "a record of a later schema is left alone",
        ),
        Subject::Unreadable(why) => (
            Verdict::Unverifiable(UnverifiableReason::Unreadable(why.clone())),
            "an unreadable record never frees a machine",
        ),
        Subject::Unrecorded(_) => (Verdict::Live, UNRECORDED),
    };
    Judgement { verdict, rule }
}

fn judge_holder(holder: &Holder, observer: &Observer, evidence: &Evidence) -> (Verdict, Rule) {
    let here = &observer.host;
    let same_kernel = holder.host.same_kernel(here);
    let local = observer.locality == Locality::Local;
    if same_kernel
        && evidence.view == View::Seen
        && let Some(decided) = judge_processes(holder, evidence)
    {
        return decided;
    }
    if same_kernel && evidence.lifeline == Touch::Taut {
        return (Verdict::Live, "same kernel, and its lifeline is taut");
    }
    if evidence.lifeline == Touch::Slack && holder.dies_with_supervisor && (same_kernel || local) {
        return if evidence.slack_for < GRACE {
            (Verdict::Finishing, "its lifeline is slack, for less than a second so far")
        } else {
            (
                Verdict::Phantom(PhantomReason::SupervisorGone),
                "its lifeline is slack for a second, and the job dies with its supervisor",
            )
        };
    }
    let other_boot = !holder.host.boot_id.is_empty()
        && !here.boot_id.is_empty()
        && holder.host.boot_id != here.boot_id
        && holder.host.boot_id_genuine
        && here.boot_id_genuine;
    if other_boot && (local || holder.host.same_id(here)) {
        return (
            Verdict::Phantom(PhantomReason::Rebooted),
            "it ran under another boot of this machine",
        );
    }
    let (reason, rule) = if !same_kernel && !holder.host.same_id(here) {
        (UnverifiableReason::ForeignHost, "it was recorded on another host")
    } else if same_kernel && evidence.view == View::Unseen {
        (UnverifiableReason::OtherNamespace, "same kernel, but its PIDs mean nothing here")
    } else if let Some(why) = [&evidence.job, &evidence.supervisor].into_iter().find_map(denied) {
        (UnverifiableReason::Denied(why), "the kernel would not tell")
    } else {
        (UnverifiableReason::Unclear(unclear(evidence, same_kernel)), "nothing else was proven")
    };
    (Verdict::Unverifiable(reason), rule)
}

/// The rows in which the processes themselves decide; `None` when they leave it open.
fn judge_processes(holder: &Holder, evidence: &Evidence) -> Option<(Verdict, Rule)> {
    let (job, supervisor) = (evidence.job.as_ref(), evidence.supervisor.as_ref());
    if job == Some(&Sighting::Alive) {
        return Some((Verdict::Live, "its job is alive"));
    }
    // Where only the job counts, a supervisor that was not recorded is none.
    let supervisor_over = match holder.held_by {
        HeldBy::Job => supervisor.is_none_or(Sighting::is_over),
        HeldBy::Supervisor => supervisor.is_some_and(Sighting::is_over),
    };
    match holder.held_by {
        HeldBy::Supervisor if supervisor == Some(&Sighting::Alive) => {
            return Some((Verdict::Live, "its supervisor is alive, and holds the machine itself"));
        }
        HeldBy::Supervisor if !supervisor_over => return None,
        HeldBy::Supervisor | HeldBy::Job => {}
    }
    // Only the job matters from here on; between attempts a supervisor may hold without one.
    let reused = match (holder.held_by, job) {
        (_, Some(Sighting::Gone)) => false,
        (_, Some(Sighting::Reused)) => true,
        (HeldBy::Supervisor, None) => supervisor == Some(&Sighting::Reused),
        _ => return None,
    };
    if supervisor_over && evidence.told == Told::Soon && evidence.job_over_for < GRACE {
        return Some((Verdict::Finishing, "its job is over, and how it ended is about to be told"));
    }
    if supervisor_over {
        let reason = if reused { PhantomReason::PidReused } else { PhantomReason::ProcessGone };
        return Some((Verdict::Phantom(reason), "its job and its supervisor are over"));
    }
    // The supervisor lives, or it can't be told: either way the job that held the machine is over.
    if evidence.job_over_for < GRACE {
        return Some((Verdict::Finishing, "its job is over, and its release is due"));
    }
    let reason = match supervisor {
        Some(Sighting::Alive) => PhantomReason::SupervisorStalled,
        _ => PhantomReason::ProcessGone,
    };
    let rule = "its job is over, and the release did not come within a second";
    Some((Verdict::Phantom(reason), rule))
}

fn denied(sighting: &Option<Sighting>) -> Option<String> {
    match sighting {
        Some(Sighting::Denied(why)) => Some(why.clone()),
        _ => None,
    }
}

fn unclear(evidence: &Evidence, same_kernel: bool) -> String {
    if !same_kernel {
        return "its boot ID is another one, but one of the two is not genuine".to_owned();
    }
    [&evidence.job, &evidence.supervisor]
        .into_iter()
        .find_map(|sighting| match sighting {
            Some(Sighting::Unclear(why)) => Some(why.clone()),
            _ => None,
        })
        .unwrap_or_else(|| "its record names no process to look at".to_owned())
}

fn judge_legacy(legacy: &Legacy, observer: &Observer, evidence: &Evidence) -> (Verdict, Rule) {
    if let Some(sighting) = &evidence.job {
        return match sighting {
            Sighting::Alive => (Verdict::Live, "schema 0: its PID is in use"),
            Sighting::Gone | Sighting::Reused => {
                (Verdict::Phantom(PhantomReason::ProcessGone), "schema 0: its PID is not in use")
            }
            Sighting::Denied(why) => (
                Verdict::Unverifiable(UnverifiableReason::Denied(why.clone())),
                "the kernel would not tell",
            ),
            Sighting::Unclear(why) => (
                Verdict::Unverifiable(UnverifiableReason::Unclear(why.clone())),
                "nothing else was proven",
            ),
        };
    }
    let Some(age) = legacy.job_timestamp.map(|since| evidence.now.saturating_sub(since)) else {
        let why = "its record of schema 0 has neither a PID nor a time".to_owned();
        return (
            Verdict::Unverifiable(UnverifiableReason::Unclear(why)),
            "nothing else was proven",
        );
    };
    match u64::try_from(age) {
        Err(_) => (
            Verdict::Unverifiable(UnverifiableReason::FromTheFuture),
            "schema 0 without a PID, from the future",
        ),
        Ok(age) if Duration::from_secs(age) > observer.legacy_grace => (
            Verdict::Phantom(PhantomReason::LegacyExpired),
            "schema 0 without a PID, older than the legacy grace",
        ),
        Ok(_) => (Verdict::Live, "schema 0 without a PID, younger than the legacy grace"),
    }
}

fn judge_torn(why: &str, evidence: &Evidence) -> (Verdict, Rule) {
    if evidence.torn_before_boot {
        return (
            Verdict::Phantom(PhantomReason::TornByPowerLoss),
            "damaged record, older than this boot, and every lifeline is slack",
        );
    }
    (
        Verdict::Unverifiable(UnverifiableReason::Unreadable(why.to_owned())),
        "an unreadable record never frees a machine",
    )
}

#[cfg(test)]
mod tests;
