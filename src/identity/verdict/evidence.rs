//! What a verdict rests on: who looks, from where, and what was found.

use std::time::Duration;

use crate::identity::host::{Host, Locality};
use crate::identity::process::{Kernel, Sighting};
use crate::sys::wait::Ended;

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

/// What the kernel tells of how a process ended, to one who had a handle on it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: it is too old, nobody had a handle, or the process runs.
    Nothing,
    /// It will, once somebody has reaped the process.
    Soon,
    /// This.
    Ended(Ended),
}

impl Told {
    /// How the process ended, if that was told.
    pub fn ended(self) -> Option<Ended> {
        match self {
            Self::Ended(ended) => Some(ended),
            Self::Nothing | Self::Soon => None,
        }
    }
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
    /// What the kernel tells of how the job ended.
    pub told: Told,
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
            told: Told::Nothing,
            job_over_for: Duration::ZERO,
            slack_for: Duration::ZERO,
            now: 0,
            torn_before_boot: false,
        }
    }
}
