//! The event log of a machine: one JSON object a line, appended, rotated by size.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::Serialize;
use serde_json::Value;

use super::argument::Argument;
use super::record::{Ending, LastRun, Leftover};
use super::store::{check_plain, open_lasting};
use crate::sys::file::fstat;
use crate::sys::rename::{Rename, rename_in};
use crate::sys::retry::retry;

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
    /// A job failed, and is tried again by the same run.
    Retried {
        /// Which attempt it was, counted from one.
        attempt: u32,
        /// How it ended.
        run: LastRun,
        /// How long until the next, in milliseconds.
        after_ms: u64,
        /// Its command line.
        command: Vec<Argument>,
    },
    /// A run has taken as long as it was to be warned of.
    StillRunning {
        /// How long, in milliseconds.
        after_ms: u64,
        /// Its command line.
        command: Vec<Argument>,
    },
    /// A run ended, and processes of its job did not; they hold nothing.
    LeftRunning {
        /// Which.
        processes: Vec<Leftover>,
    },
    /// Somebody went away without having had the machine; the run that this is about had it.
    NotRun {
        /// For which reason.
        why: Why,
        /// What it would have run.
        command: Vec<Argument>,
    },
    /// A holder was sent signals by `stop`, or to be replaced.
    Stopped {
        /// Their names, in order.
        signals: Vec<String>,
        /// The user who did it.
        uid: u32,
        /// The holder, as it was recorded.
        holder: Value,
    },
    /// A holder that was provably over was removed from the record.
    PhantomCleared {
        /// The phantom reason.
        reason: String,
        /// The rule of the verdict table that decided.
        proof: String,
        /// How its job ended, as far as that is known.
        ended: Ending,
        /// Its exit status, or the number of the signal that ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The holder, as it was recorded.
        holder: Value,
    },
    /// A run whose supervisor was over has another.
    TakenOver {
        /// The user whose process that is.
        uid: u32,
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

/// Why somebody went away without having had the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It does not wait (`--on-busy fail`), not with so many others (`--max-pending`), or would wait
    /// for itself.
    Refused,
    /// It need not run (`--on-busy skip`).
    Skipped,
    /// The run that is there will do (`--on-busy reuse`).
    Reused,
    /// It has waited long enough.
    TimedOut,
    /// A newer run took its place in the queue (`--max-pending 1`, `--on-busy replace`).
    Replaced,
}

/// Appends events, under the machine lock.
pub fn append(dir: BorrowedFd<'_>, events: &[Event], mode: Mode) -> io::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut log = open_log(dir, mode)?;
    let mut length = u64::try_from(fstat(&log)?.st_size).unwrap_or(0);
    if length >= ROTATE_AT {
        retry(|| rename_in(dir, c"events.jsonl", c"events.1.jsonl", Rename::Replace))?;
        log = open_log(dir, mode)?;
        length = 0;
    }
    let mut lines = Vec::new();
    if is_torn(&log, length)? {
        lines.push(b'\n');
    }
    for event in events {
        serde_json::to_writer(&mut lines, event)?;
        lines.push(b'\n');
    }
    log.write_all(&lines).inspect_err(|_| {
        // Half a line, on a full disk, would spoil the next one, too.
        let _ = log.set_len(length); // nothing else can be done
    })
}

/// Whether the last line was not written to its end: SIGKILL stops a long write(2) between two
/// pages, a power loss anywhere. The next line must not become a part of it.
fn is_torn(log: &File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else { return Ok(false) };
    let mut byte = [0];
    let read = retry(|| log.read_at(&mut byte, last))?; // none, when somebody truncated it just now
    Ok(read == 1 && byte != *b"\n")
}

fn open_log(dir: BorrowedFd<'_>, mode: Mode) -> io::Result<File> {
    let log = open_lasting(dir, FILE, OFlag::O_RDWR | OFlag::O_APPEND, mode)?;
    check_plain(&log)?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(FILE);
        let event = Event {
            time: "t".to_owned(),
            machine: "m1".to_owned(),
            token: 5,
            what: What::ForceCleared { verdict: "live".to_owned(), uid: 0, holder: Value::Null },
        };
        let line = serde_json::to_string(&event).unwrap() + "\n";
        let append = |events: &[Event]| {
            append(
                File::open(dir.path()).unwrap().as_fd(),
                events,
                Mode::from_bits_truncate(0o644),
            )
            .unwrap();
            fs::read_to_string(&log).unwrap()
        };
        assert_eq!(append(&[event.clone(), event.clone()]), line.repeat(2));
        fs::write(&log, format!("{line}{{\"time\":")).unwrap();
        assert_eq!(append(std::slice::from_ref(&event)), format!("{line}{{\"time\":\n{line}"));
        assert_eq!(append(&[event]), format!("{line}{{\"time\":\n{line}{line}"));
    }
}
