//! `/proc/PID/stat`, where it is needed.

use std::fmt::Display;
use std::fs;
use std::io;
use std::str::FromStr;

use crate::sys::procfs;
use crate::sys::retry::retry;

/// The fields of `/proc/PID/stat` that matter here (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: `R`, `S`, `Z`, …
    pub state: u8,
    /// Field 4: the parent's PID.
    pub parent: i32,
    /// Field 5: the process group.
    pub group: i32,
    /// Field 7: the controlling terminal's device number; 0 when there is none.
    pub terminal: u32,
    /// Field 20: how many threads still run or wait to be reaped.
    pub threads: u64,
    /// Field 22: when it started, in clock ticks since boot.
    pub start_ticks: u64,
}

/// The fields of a line, as proc_pid_stat(5) numbers them.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    /// Splits a line. The command name may hold spaces and `)`, so the last `)` counts.
    fn of(line: &'a [u8]) -> Option<Self> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(end + 1..)?).ok()?;
        Some(Self(rest.split_ascii_whitespace().collect()))
    }

    /// From the state on, which is number 3.
    fn get(&self, number: usize) -> Option<&'a str> {
        self.0.get(number - 3).copied()
    }

    fn parse<T: FromStr>(&self, number: usize) -> Option<T> {
        self.get(number)?.parse().ok()
    }
}

/// The line about a process: a PID, or `self`.
fn line_of(process: impl Display) -> io::Result<Vec<u8>> {
    procfs::read_piece(&format!("/proc/{process}/stat"))
}

impl Stat {
    /// Reads `/proc/PID/stat`.
    pub fn read(pid: i32) -> io::Result<Self> {
        Self::parse(&line_of(pid)?).ok_or_else(garbled)
    }

    /// Reads our own, which is right in any `/proc`.
    pub fn read_own() -> io::Result<Self> {
        Self::parse(&line_of("self")?).ok_or_else(garbled)
    }

    /// Parses the line. One that ends with the last field wanted may have been cut off within it.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let fields = Fields::of(line)?;
        fields.get(23)?;
        Some(Self {
            state: *fields.get(3)?.as_bytes().first()?,
            parent: fields.parse(4)?,
            group: fields.parse(5)?,
            terminal: fields.parse::<i32>(7)?.cast_unsigned(),
            threads: fields.parse(20)?,
            start_ticks: fields.parse(22)?,
        })
    }

    /// Whether a process is a thread of the kernel (`PF_KTHREAD` in field 9, the flags).
    pub fn is_kernel_thread(pid: i32) -> io::Result<bool> {
        const PF_KTHREAD: u64 = 0x0020_0000;
        let line = line_of(pid)?;
        let flags: Option<u64> = Fields::of(&line).and_then(|fields| fields.parse(9));
        Ok(flags.ok_or_else(garbled)? & PF_KTHREAD != 0)
    }

    /// The wait status of a process that is over and was not reaped: field 52, which those are shown as 0
    /// who may not trace it (PTRACE_MODE_READ); `None` for them.
    pub fn exit_status(pid: i32) -> io::Result<Option<i32>> {
        let line = line_of(pid)?;
        // The same permission, and there is nothing to find: its memory is gone.
        let is_shown = retry(|| fs::read_link(format!("/proc/{pid}/exe")))
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        Ok(Self::status_in(&line).filter(|_| is_shown))
    }

    fn status_in(line: &[u8]) -> Option<i32> {
        let is_over = Self::parse(line)?.is_over();
        let status = Fields::of(line.strip_suffix(b"\n")?)?.parse(52);
        status.filter(|_| is_over)
    }

    /// Whether the process is over. A first thread that ended is shown as `Z` while others live.
    pub fn is_over(self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is garbled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_may_hold_spaces_and_parentheses() {
        let line = b"42 (a) b) Z (c) S 7 42 1 34816 42 0 0 0 0 0 0 0 0 0 20 0 3 0 189428 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group), (b'S', 7, 42));
        assert_eq!((stat.terminal, stat.threads, stat.start_ticks), (34816, 3, 189_428));
    }

    #[test]
    fn a_garbled_line_is_none() {
        let cut = b"42 (x) S 7 42 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 1894";
        for line in [&b""[..], b"42 (x", b"42 (x)", b"42 (x) S 7 42", b"42 (\xff) S a b c", cut] {
            assert_eq!(Stat::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn only_what_is_over_has_a_status_and_a_whole_line() {
        let line = |state: char| {
            let zeros = " 0".repeat(28);
            format!("7 (a) b) {state} 7 1 1 0 1 0 0 0 0 0 0 0 0 0 20 0 1 0 5{zeros} 0 768\n")
        };
        let zombie = line('Z');
        assert_eq!(Stat::status_in(zombie.as_bytes()), Some(768));
        assert_eq!(Stat::status_in(line('S').as_bytes()), None);
        assert_eq!(Stat::status_in(&zombie.as_bytes()[..zombie.len() - 2]), None);
        assert_eq!(Stat::status_in(zombie.replace(" 768", "").as_bytes()), None);
    }

    #[test]
    fn a_zombie_first_thread_with_living_others_is_not_over() {
        let line = |state: char, threads: u8| {
            let line = format!("1 (x) {state} 7 1 1 0 1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 5 0");
            Stat::parse(line.as_bytes()).unwrap().is_over()
        };
        assert!(!line('Z', 2));
        assert!(line('Z', 1));
        assert!(line('Z', 0));
        assert!(!line('T', 1));
    }
}
