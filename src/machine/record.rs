//! The record: the JSON sidecar that says who holds a machine, and how the last run ended.
//!
//! Unknown fields are kept on every rewrite, at every level, so that a later release's records
//! survive an earlier release's run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::argument::Argument;
use super::used::Used;
use crate::identity::host::Host;
use crate::identity::process::ProcessId;

/// The schema that this release reads and writes.
pub const SCHEMA: u64 = 1;

/// The highest token that a run may get: the one after it is the last that a JSON reader with
/// floating-point numbers keeps apart from its neighbours.
pub const MAX_TOKEN: u64 = (1 << 53) - 2;

/// The most holders that a record may name: each is looked for, and that takes its time.
pub const MAX_HOLDERS: usize = MAX_SLOTS as usize;

/// The most slots that a holder may agree to.
pub const MAX_SLOTS: u32 = 256;

/// Fields of a later version.
pub type Unknown = Map<String, Value>;

/// The record of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Always [`SCHEMA`].
    pub schema: u64,
    /// The machine's name.
    pub machine: String,
    /// Grows by one with every rewrite.
    pub revision: u64,
    /// The highest token given so far.
    pub token: u64,
    /// Who holds the machine; empty when it is free.
    pub holders: Vec<Holder>,
    /// How the last run ended.
    #[serde(default)]
    pub last: Option<LastRun>,
    /// The last run that was lost and is to be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Box<Lost>>,
    /// What has happened so far.
    #[serde(default)]
    pub counters: Counters,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Record {
    /// The record of a machine that was never used.
    pub fn new(machine: &str) -> Self {
        Self {
            schema: SCHEMA,
            machine: machine.to_owned(),
            revision: 0,
            token: 0,
            holders: Vec::new(),
            last: None,
            lost: None,
            counters: Counters::default(),
            unknown: Unknown::new(),
        }
    }

    /// What no release of ours would have written: a run could be taken for another.
    pub(super) fn contradiction(&self) -> Option<String> {
        let tokens = || self.holders.iter().map(|holder| holder.token);
        if tokens().chain([self.token]).any(|token| token > MAX_TOKEN) {
            return Some(format!("has a token beyond {MAX_TOKEN}"));
        }
        if self.holders.len() > MAX_HOLDERS {
            return Some(format!(
                "names {} holders, more than any record ({MAX_HOLDERS})",
                self.holders.len()
            ));
        }
        let distinct: BTreeSet<u64> = tokens().collect();
        (distinct.len() < self.holders.len()).then(|| "names a token twice".to_owned())
    }
}

/// One holder: a job and its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Names this run; the fencing token handed to the job.
    pub token: u64,
    /// How it shares the machine.
    pub mode: Mode,
    /// How many holders it agreed to.
    pub slots: u32,
    /// The token of the run it is nested in.
    #[serde(default)]
    pub parent: Option<u64>,
    /// Where it is in its life.
    pub state: State,
    /// Whose life keeps the machine held.
    pub held_by: HeldBy,
    /// The kernel kills the job when its supervisor dies.
    #[serde(default)]
    pub dies_with_supervisor: bool,
    /// Its supervisor did not start the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Its supervisor is the reaper of the job's descendants, and had no children before the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopts_orphans: bool,
    /// Device and inode of its lifeline.
    #[serde(default)]
    pub lifeline: Option<String>,
    /// The job's process.
    #[serde(default)]
    pub job: Option<ProcessId>,
    /// The supervisor's process.
    #[serde(default)]
    pub supervisor: Option<ProcessId>,
    /// Where both run.
    pub host: Host,
    /// The job's command line.
    pub command: Vec<Argument>,
    /// Shown instead of the command line.
    #[serde(default)]
    pub name: Option<Argument>,
    /// The job's working directory.
    #[serde(default)]
    pub cwd: Option<Argument>,
    /// Who started it.
    #[serde(default)]
    pub uid: u32,
    /// Their name.
    #[serde(default)]
    pub user: Option<String>,
    /// When, RFC 3339 UTC; for people, it decides nothing.
    pub started_at: String,
    /// It is to be repeated when it turns out to be a phantom.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rerun_if_lost: bool,
    /// Processes of its job that outlived it, and that the machine is held for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// The file that its output goes to, where that is not its supervisor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Argument>,
    /// Under what it was started.
    #[serde(default)]
    pub context: Context,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How a holder shares its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Not at all.
    Exclusive,
    /// With others that share it.
    Shared,
}

/// Where a holder is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its job has not been forked yet.
    Claiming,
    /// Its job runs.
    Running,
    /// Its job was told to end.
    Stopping,
    /// It waits to try again.
    Retrying,
    /// Its job is over, leftovers of it are not.
    Draining,
}

/// Whose life keeps a machine held; fixed at the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// The job's: when it is over, the release is due.
    Job,
    /// The supervisor's too.
    Supervisor,
}

/// A process that outlived its job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leftover {
    /// Its PID.
    pub pid: i32,
    /// What it calls itself (`/proc/PID/comm`).
    #[serde(default)]
    pub name: String,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Under what a run was started; recorded for people, never trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// The systemd unit.
    #[serde(default)]
    pub systemd_unit: Option<String>,
    /// systemd's ID of the unit's invocation.
    #[serde(default)]
    pub invocation_id: Option<String>,
    /// The controlling terminal.
    #[serde(default)]
    pub tty: Option<String>,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastRun {
    /// Its token.
    pub token: u64,
    /// In which way.
    pub ended: Ending,
    /// Its exit status, or the number of the signal that ended it; the errno of a failed exec.
    #[serde(default)]
    pub code: Option<i32>,
    /// When it started.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended, or was found over.
    pub ended_at: String,
    /// What it used, where that is known.
    #[serde(flatten)]
    pub used: Used,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A run that was lost and is to be repeated. What takes to do so is in a file of its user's (see
/// [`crate::machine::store::memos`]): this may be anybody's word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lost {
    /// Its token.
    pub token: u64,
    /// Its command line.
    pub command: Vec<Argument>,
    /// Shown instead of the command line.
    #[serde(default)]
    pub name: Option<Argument>,
    /// Who started it.
    #[serde(default)]
    pub uid: u32,
    /// Their name.
    #[serde(default)]
    pub user: Option<String>,
    /// When.
    pub started_at: String,
    /// When it was found lost.
    pub lost_at: String,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Lost {
    /// A holder that is lost.
    pub fn new(holder: &Holder, lost_at: &str) -> Self {
        Self {
            token: holder.token,
            command: holder.command.clone(),
            name: holder.name.clone(),
            uid: holder.uid,
            user: holder.user.clone(),
            started_at: holder.started_at.clone(),
            lost_at: lost_at.to_owned(),
            unknown: Unknown::new(),
        }
    }
}

/// In which way a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The job exited.
    Exited,
    /// A signal ended the job.
    Signaled,
    /// The job overran its time limit.
    TimedOut,
    /// The job could not be executed.
    ExecFailed,
    /// It was cut off, by a reboot or with its supervisor.
    Lost,
    /// Nobody saw how.
    Unknown,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What has happened on a machine so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Counters {
    /// Runs that took the machine.
    #[serde(default)]
    pub runs: u64,
    /// Runs that found the machine held.
    #[serde(default)]
    pub contended: u64,
    /// Runs that were skipped because it was held.
    #[serde(default)]
    pub skipped: u64,
    /// Runs that did not want to wait for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Runs that left it to the one that held it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reused: u64,
    /// Waits that were over before it was free.
    #[serde(default)]
    pub timed_out: u64,
    /// Waits that were over because a newer run took the place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u64,
    /// Phantoms cleared, by reason.
    #[serde(default)]
    pub phantoms: BTreeMap<String, u64>,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Unknown,
}
