//! Options about how a job is watched over, and how it ends.
#![allow(missing_docs, reason = "doc comments are help texts here; groups of options have none")]

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::token;
use crate::cli::duration;
use crate::cli::signal;
use crate::supervise::retries::RetryOn;

/// Options about the end of a job.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ending options")]
pub struct EndArgs {
    #[command(flatten)]
    pub limits: LimitArgs,

    /// What to do about processes of the job that outlive it [default: leave].
    #[arg(long, value_name = "WHAT", value_enum)]
    pub leftovers: Option<Leftovers>,
}

/// Options about how long a job may take.
#[derive(Debug, Args)]
pub struct LimitArgs {
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
}

/// Options about trying a job again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retry options")]
pub struct RetryArgs {
    /// Try a job that failed again, so often at most; the machine is held throughout, and the last
    /// attempt's status is ours.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = retries)]
    pub retries: Option<u32>,

    /// How long to wait before the job is tried again [default: 1].
    #[arg(long, value_name = "DURATION", requires = "retries", allow_hyphen_values = true, value_parser = duration::parse)]
    pub retry_delay: Option<Duration>,

    /// Wait twice as long each time, up to an hour.
    #[arg(long, requires = "retries")]
    pub retry_backoff: bool,

    /// Try again only after these ends: exit statuses (1,75,100-110), signal, timeout [default: every
    /// failure].
    #[arg(long, value_name = "ENDS", requires = "retries", allow_hyphen_values = true, value_parser = RetryOn::parse)]
    pub retry_on: Option<RetryOn>,
}

/// Options about a run that is lost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rerun options")]
pub struct RerunArgs {
    /// Keep what it takes to repeat this run (jobguard rerun NAME) if it turns out to be a phantom: cut
    /// off by a reboot, or gone with its supervisor.
    #[arg(long)]
    pub rerun_if_lost: bool,

    /// Environment variables to keep for that, beside PATH, HOME, USER, LOGNAME, SHELL, TMPDIR, TZ, LANG
    /// and LC_*; in a file that only you may read.
    #[arg(long, value_name = "NAME,...", requires = "rerun_if_lost", value_delimiter = ',', value_parser = variable)]
    pub rerun_env: Vec<OsString>,

    /// The lost run that this one repeats; for `rerun` to use.
    #[arg(long, value_name = "TOKEN", hide = true, allow_hyphen_values = true, value_parser = token)]
    pub repeat_of: Option<u64>,
}

fn variable(name: &str) -> Result<OsString, String> {
    if name.is_empty() || name.contains('=') {
        return Err(format!("'{name}' is no name of an environment variable"));
    }
    Ok(name.into())
}

fn retries(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is no number of retries: say one from 0 to {}", u32::MAX))
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
