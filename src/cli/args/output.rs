//! The options that say where the job's output goes.
#![allow(missing_docs, reason = "doc comments are help texts here; groups of options have none")]

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::cli::log_name::LogName;
use crate::cli::size;

/// Where the job's output goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output options")]
pub struct OutputArgs {
    /// Append the job's output to this file; {machine}, {token}, {date} and {time} (UTC) stand for those of
    /// the run.
    #[arg(long, value_name = "FILE", value_parser = log_parser())]
    pub log: Option<LogName>,

    /// When a run begins and the log has this size, move it to FILE.1, and begin a new one: 4096, 64K,
    /// 10M, 1G.
    #[arg(long, value_name = "SIZE", requires = "log", allow_hyphen_values = true, value_parser = size::parse)]
    pub log_max_size: Option<u64>,

    /// Keep so many of those that were moved, FILE.1 (the newest) to FILE.N [default: 5].
    #[arg(long, value_name = "N", requires = "log_max_size", allow_hyphen_values = true, value_parser = keep)]
    pub log_keep: Option<u32>,

    /// Show the job's output, standard error included, only when the job fails, and then at its end.
    #[arg(long)]
    pub quiet_unless_fail: bool,
}

/// Where the job's output goes, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlan {
    /// Into this log.
    pub log: Option<LogPlan>,
    /// It is shown only when the job fails.
    pub quiet_unless_fail: bool,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlan {
    /// Its name.
    pub name: LogName,
    /// From which size, in bytes, it makes place for a new one; `None`: never.
    pub max_size: Option<u64>,
    /// How many older ones are kept.
    pub keep: u32,
}

const KEEP: u32 = 5;
const MAX_KEEP: u32 = 999;

impl OutputArgs {
    /// Resolves them.
    pub fn plan(self) -> OutputPlan {
        let (max_size, keep) = (self.log_max_size, self.log_keep.unwrap_or(KEEP));
        let log = self.log.map(|name| LogPlan { name, max_size, keep });
        OutputPlan { log, quiet_unless_fail: self.quiet_unless_fail }
    }
}

fn log_parser() -> impl TypedValueParser<Value = LogName> {
    OsStringValueParser::new().try_map(|name: OsString| LogName::parse(&name))
}

fn keep(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|keep| (1..=MAX_KEEP).contains(keep));
    number.ok_or_else(|| format!("'{text}' is no number of logs: say one from 1 to {MAX_KEEP}"))
}
