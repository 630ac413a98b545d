//! The verdict: what a recorded holder is, judged by evidence alone.
//!
//! [`judge`] is pure: it makes no system call and asks no clock, so every row of the table is a
//! test below. What cannot be proven dead is held. Rows are tried from the top; the first that
//! matches decides, and its [`Rule`] says so in words (`status --explain`).

use std::fmt;
use std::time::Duration;

use super::host::{Host, Locality};
use super::process::{Kernel, Sighting};
use crate::machine::legacy::Legacy;
use crate::machine::record::{HeldBy, Holder};

/// How long a release may take, or a parent-death signal, before its absence is evidence.
pub const GRACE: Duration = Duration::from_secs(1);

/// What somebody is asked about.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Why a holder is provably over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhantomReason {
    /// No such process.
    ProcessGone,
    /// The PID belongs to another process by now.
    PidReused,
    /// The job is over, but its supervisor did not release the machine in time.
    SupervisorStalled,
    /// The supervisor is gone, and the job dies with it.
    SupervisorGone,
    /// It ran under an earlier boot.
    Rebooted,
    /// A record of schema 0 without a PID, older than the grace.
    LegacyExpired,
    /// A damaged record from before this boot, and nobody holds a lifeline.
    TornByPowerLoss,
}

impl PhantomReason {
    /// The reason's name in JSON and in the counters.
    pub fn code(self) -> &'static str {
        match self {
            Self::ProcessGone => "process_gone",
            Self::PidReused => "pid_reused",
            Self::SupervisorStalled => "supervisor_stalled",
            Self::SupervisorGone => "supervisor_gone",
            Self::Rebooted => "rebooted",
            Self::LegacyExpired => "legacy_expired",
            Self::TornByPowerLoss => "torn_by_power_loss",
        }
    }
}

impl fmt::Display for PhantomReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessGone => "process not running",
            Self::PidReused => "PID reused",
            Self::SupervisorStalled => "job over, supervisor stalled",
            Self::SupervisorGone => "supervisor gone, and the job with it",
            Self::Rebooted => "machine rebooted",
            Self::LegacyExpired => "never started: no PID within the grace",
            Self::TornByPowerLoss => "record damaged before this boot",
        })
    }
}

/// Why nothing can be proven about a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnverifiableReason {
    /// It runs, or ran, on another host.
    ForeignHost,
    /// It runs in a PID namespace that can't be seen into from here.
    OtherNamespace,
    /// The kernel would not tell about its processes.
    Denied(String),
    /// A record of schema 0 without a PID, dated in the future.
    FromTheFuture,
    /// A record of a later schema.
    NewerSchema(u64),
    /// The record can't be read or parsed.
    Unreadable(String),
    /// Anything else.
    Unclear(String),
}

impl UnverifiableReason {
    /// The reason's name in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ForeignHost => "foreign_host",
            Self::OtherNamespace => "other_namespace",
            Self::Denied(_) => "denied",
            Self::FromTheFuture => "from_the_future",
            Self::NewerSchema(_) => "newer_schema",
            Self::Unreadable(_) => "unreadable",
            Self::Unclear(_) => "unclear",
        }
    }
}

impl fmt::Display for UnverifiableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignHost => f.write_str("it runs on another host"),
            Self::OtherNamespace => f.write_str("it runs in another PID namespace"),
            Self::FromTheFuture => f.write_str("its record is dated in the future"),
            Self::NewerSchema(schema) => write!(
                f,
                "its record was written by a newer jobguard (schema {schema}; this one knows \
                 schema 1): use that version"
            ),
            Self::Denied(why) | Self::Unreadable(why) | Self::Unclear(why) => f.write_str(why),
        }
    }
}

/// From where a holder's processes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// From their own PID namespace, or from an ancestor of it that found them by namespace inode
    /// and inner PID: sightings count.
    Seen,
    /// From anywhere else: their PIDs mean nothing here.
    Unseen,
}

/// A lifeline as it felt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touch {
    /// Its owner lives.
    Taut,
    /// Its owner does not.
    Slack,
    /// It says nothing.
    Unknown(String),
}

/// Who judges, and from where.
#[derive(Debug, Clone)]
pub struct Observer {
    /// Our host, boot and namespaces.
    pub host: Host,
    /// How processes can be looked at.
    pub kernel: Kernel,
    /// The file system of the state directory.
    pub locality: Locality,
    /// How old a record of schema 0 without a PID must be to count as over.
    pub legacy_grace: Duration,
}

/// What was found out about one subject.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Whether sightings mean anything.
    pub view: View,
    /// The job's process; `None` when none is recorded.
    pub job: Option<Sighting>,
    /// The supervisor's process; `None` when none is recorded.
    pub supervisor: Option<Sighting>,
    /// The holder's lifeline.
    pub lifeline: Touch,
    /// For how long this observer has seen the job over without a release.
    pub job_over_for: Duration,
    /// For how long this observer has felt the lifeline slack.
    pub slack_for: Duration,
    /// Seconds since the Unix epoch, for records of schema 0.
    pub now: i64,
    /// For a damaged record: every lifeline of the machine is slack, and its file is older than
    /// this boot.
    pub torn_before_boot: bool,
}

impl Evidence {
    /// What is known before anything was looked at.
    pub fn none() -> Self {
        Self {
            view: View::Unseen,
            job: None,
            supervisor: None,
            lifeline: Touch::Unknown("not looked at".to_owned()),
            job_over_for: Duration::ZERO,
            slack_for: Duration::ZERO,
            now: 0,
            torn_before_boot: false,
        }
    }
}

/// A verdict and the row of the table that decided it, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    if supervisor_over {
        let reason = if reused { PhantomReason::PidReused } else { PhantomReason::ProcessGone };
        return Some((Verdict::Phantom(reason), "its job and its supervisor are over"));
    }
    // The supervisor lives, or it can't be told: either way the job that held the machine is over.
    Some(if evidence.job_over_for < GRACE {
        (Verdict::Finishing, "its job is over, and its release is due")
    } else {
        (
            Verdict::Phantom(PhantomReason::SupervisorStalled),
            "its job is over, and the release did not come within a second",
        )
    })
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
