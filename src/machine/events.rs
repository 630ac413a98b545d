//! The event log of a machine: one JSON object a line, appended, rotated by size.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::Serialize;
use serde_json::Value;

use super::argument::Argument;
use super::record::LastRun;
use super::store::{check_plain, open_lasting};
use crate::sys::rename::{Rename, rename_in};

/// The log's name.
pub const FILE: &str = "events.jsonl";

/// What the log is called once it has been rotated; one older file is kept.
pub const ROTATED: &str = "events.1.jsonl";

/// The size, in bytes, from which a log is rotated before the next line.
const ROTATE_AT: u64 = 1 << 20;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When, RFC 3339 UTC.
    pub time: String,
    /// The machine.
    pub machine: String,
    /// The run that it is about; 0 where none is known.
    pub token: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A run ended and released its machine.
    Ended {
        /// How.
        run: LastRun,
        /// Its command line.
        command: Vec<Argument>,
    },
    /// A run ended whose hold had been taken from it meanwhile.
    EndedUnrecorded {
        /// How.
        run: LastRun,
    },
    /// A holder that was provably over was removed from the record.
    PhantomCleared {
        /// The phantom reason.
        reason: String,
        /// The rule of the verdict table that decided.
        proof: String,
        /// The holder, as it was recorded.
        holder: Value,
    },
    /// A holder was removed by hand, without proof.
    ForceCleared {
        /// The verdict on it.
        verdict: String,
        /// The user who did it.
        uid: u32,
        /// The holder, as it was recorded.
        holder: Value,
    },
}

/// Appends events, under the machine lock.
pub fn append(dir: BorrowedFd<'_>, events: &[Event], mode: Mode) -> io::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event)?;
        lines.push(b'\n');
    }
    let mut log = open_log(dir, mode)?;
    let mut length = log.metadata()?.len();
    if length >= ROTATE_AT {
        rename_in(dir, c"events.jsonl", c"events.1.jsonl", Rename::Replace)?;
        log = open_log(dir, mode)?;
        length = 0;
    }
    log.write_all(&lines).inspect_err(|_| {
        // Half a line, on a full disk, would spoil the next one, too.
        let _ = log.set_len(length); // nothing else can be done
    })
}

fn open_log(dir: BorrowedFd<'_>, mode: Mode) -> io::Result<File> {
    let log = open_lasting(dir, FILE, OFlag::O_WRONLY | OFlag::O_APPEND, mode)?;
    check_plain(&log)?;
    Ok(log)
}
