//! Options about how a job is watched over, and how it ends.
#![allow(missing_docs, reason = "doc comments are help texts here; groups of options have none")]

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::duration;
use crate::cli::signal;

/// Options about the end of a job.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ending options")]
pub struct EndArgs {
    /// End the job, and all processes of it that can be found, when it has run for so long; then exit
    /// with 124, or 137 if it took KILL. Time in which the machine is suspended does not count [default:
    /// no limit].
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub timeout: Option<Duration>,

    /// How long whoever is ended (by --timeout, --leftovers kill, --on-busy replace) may take before
    /// KILL [default: 10].
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub kill_after: Option<Duration>,

    /// With --timeout: the signal to send, by name or number [default: TERM].
    #[arg(long, value_name = "SIGNAL", value_parser = signal::parse, requires = "timeout")]
    pub signal: Option<i32>,

    /// Say so, and log it, when the job has run for so long; nothing is ended.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub warn_after: Option<Duration>,

    /// What to do about processes of the job that outlive it [default: leave].
    #[arg(long, value_name = "WHAT", value_enum)]
    pub leftovers: Option<Leftovers>,
}

/// What to do about processes of a job that outlive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Leftovers {
    /// Nothing: the machine is free when the job is over.
    Leave,
    /// Hold the machine until they are over, too.
    Wait,
    /// End them: TERM, then KILL, see -k; the machine is free when they are over.
    Kill,
}
