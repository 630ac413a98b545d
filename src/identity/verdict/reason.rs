//! Why a verdict is what it is: a code for programs, words for people.

use std::fmt;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
