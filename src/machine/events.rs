//! The event log of a machine: one JSON object a line, appended, rotated by size.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use serde::Serialize;
use serde_json::Value;

use super::argument::Argument;
use super::record::LastRun;
use super::store::check_plain;
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
    let whole = end_of_lines(&log, length)?;
    if whole < length {
        log.set_len(whole)?;
        length = whole;
    }
    log.write_all(&lines).inspect_err(|_| {
        // Half a line, on a full disk, would spoil the next one, too.
        let _ = log.set_len(length); // nothing else can be done
    })
}

/// Where the last whole line of a log ends. What a power loss leaves behind it, half a line or zeros,
/// would spoil the next one.
fn end_of_lines(log: &File, length: u64) -> io::Result<u64> {
    let mut block = [0; 4096];
    let mut end = length;
    while end > 0 {
        let start = (end - 1) / block.len() as u64 * block.len() as u64;
        let read = &mut block[..usize::try_from(end - start).map_err(io::Error::other)?];
        log.read_exact_at(read, start)?;
        if let Some(newline) = read.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn open_log(dir: BorrowedFd<'_>, mode: Mode) -> io::Result<File> {
    let flags = OFlag::O_RDWR
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_CLOEXEC;
    let log = openat(dir, FILE, flags, mode)?;
    let stat = check_plain(&log)?;
    if Mode::from_bits_truncate(stat.st_mode) != mode && stat.st_uid == geteuid().as_raw() {
        fchmod(&log, mode)?; // the umask took bits away
    }
    Ok(File::from(log))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::os::fd::AsFd;

    #[rstest]
    #[case::new("", "")]
    #[case::whole("{}\n{}\n", "{}\n{}\n")]
    #[case::half_a_line("{}\n{\"time\":\"20", "{}\n")]
    #[case::half_a_first_line("{\"time\":\"20", "")]
    #[case::zeros("{}\n\0\0\0", "{}\n")]
    #[case::zeros_alone("\0".repeat(9000), "")]
    #[case::up_to_a_block(format!("{}\n{}", "x".repeat(4095), "\0".repeat(4096)), format!("{}\n", "x".repeat(4095)))]
    #[case::beyond_a_block(format!("{}\n{}", "x".repeat(4096), "\0".repeat(8192)), format!("{}\n", "x".repeat(4096)))]
    fn the_next_line_is_whole(#[case] left: impl AsRef<[u8]>, #[case] kept: impl AsRef<[u8]>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), left).unwrap();
        let what = What::ForceCleared { verdict: "live".into(), uid: 0, holder: Value::Null };
        let event = Event { time: "t".into(), machine: "m1".into(), token: 1, what };
        let fd = File::open(dir.path()).unwrap();
        append(fd.as_fd(), std::slice::from_ref(&event), Mode::from_bits_truncate(0o644)).unwrap();
        let log = std::fs::read(dir.path().join(FILE)).unwrap();
        let line = [serde_json::to_vec(&event).unwrap(), b"\n".to_vec()].concat();
        assert_eq!(log, [kept.as_ref(), &line].concat());
    }
}
