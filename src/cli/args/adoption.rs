//! Options of `adopt`: those of a run that make sense for a job that runs already.
#![allow(missing_docs, reason = "doc comments are help texts here; groups of options have none")]

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::{LimitArgs, exit_status, slots};
use crate::cli::duration;

/// Options of an adoption.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The process, by its PID here.
    #[arg(long, value_name = "PID", allow_hyphen_values = true, value_parser = pid)]
    pub pid: i32,

    /// Share the machine with others that share it (readers).
    #[arg(short, long)]
    pub shared: bool,

    /// Let so many jobs have it at once, as of a run.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = slots)]
    pub slots: Option<u32>,

    /// Do not wait for a busy machine: exit at once.
    #[arg(short, long, conflicts_with = "wait")]
    pub nonblock: bool,

    /// Wait for a busy machine no longer than this: 90, 0.5, 5m, 1h30m.
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub wait: Option<Duration>,

    /// Exit with this status instead of 75 when the machine is busy.
    #[arg(short = 'E', long, value_name = "STATUS", allow_hyphen_values = true, value_parser = exit_status)]
    pub conflict_exit_code: Option<u8>,

    /// Show this instead of the command line.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<OsString>,

    #[command(flatten)]
    pub limits: LimitArgs,
}

fn pid(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|pid| *pid > 0);
    number.ok_or_else(|| format!("'{text}' is no PID: say a number from 1"))
}
