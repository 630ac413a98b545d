//! What a child used, read before it is reaped: the fifth argument of the kernel's waitid(2), which
//! C libraries leave out. It is filled in under `WNOWAIT`, too.

use std::io;
use std::mem;
use std::time::Duration;

use super::retry::call;

/// What a process used, and those of its children that it waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode and in the kernel.
    pub cpu: Duration,
    /// The most memory that one of them had at once, in KiB. An exec does not begin anew: not less than
    /// the forked copy of us had.
    pub max_rss_kib: u64,
    /// Blocks of 512 bytes that were read from disks.
    pub blocks_read: u64,
    /// Blocks of 512 bytes that were written to disks, or wait for it.
    pub blocks_written: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            max_rss_kib: self.max_rss_kib.max(other.max_rss_kib),
            blocks_read: self.blocks_read.saturating_add(other.blocks_read),
            blocks_written: self.blocks_written.saturating_add(other.blocks_written),
        }
    }

    /// What came to it since it was `before`. Of memory that is known only where it grew.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let grew = self.max_rss_kib > before.max_rss_kib;
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            max_rss_kib: if grew { self.max_rss_kib } else { 0 },
            blocks_read: self.blocks_read.saturating_sub(before.blocks_read),
            blocks_written: self.blocks_written.saturating_sub(before.blocks_written),
        }
    }
}

/// The kernel's `struct rusage`, of `long`s everywhere; that of a C library can have wider times.
#[repr(C)]
struct RawUsage {
    user: [libc::c_long; 2],
    system: [libc::c_long; 2],
    max_rss: libc::c_long,
    _unmaintained: [libc::c_long; 3],
    _faults: [libc::c_long; 2],
    _swaps: libc::c_long,
    blocks_in: libc::c_long,
    blocks_out: libc::c_long,
    _others: [libc::c_long; 5],
}

/// What the child `pid` used, if it is over; it stays a zombie.
pub fn usage(pid: i32) -> io::Result<Option<Usage>> {
    // SAFETY: siginfo_t is plain data; all zeroes is what "nothing happened" looks like.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: integers, for which all zeroes is a value.
    let mut raw: RawUsage = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: both pointers are to live locals, of the types that the kernel fills in.
    call(|| unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PID, pid, &raw mut info, options, &raw mut raw)
    })?;
    // SAFETY: waitid succeeded, so either nothing was filled in (zeroes) or the SIGCHLD fields.
    let child = unsafe { info.si_pid() };
    Ok((child != 0).then(|| raw.usage()))
}

/// What all children used that we have reaped, since long before an exec made this program of us.
pub fn of_reaped() -> io::Result<Usage> {
    // SAFETY: integers, for which all zeroes is a value.
    let mut raw: RawUsage = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a live local, of the type that the kernel fills in.
    call(|| unsafe { libc::syscall(libc::SYS_getrusage, libc::RUSAGE_CHILDREN, &raw mut raw) })?;
    Ok(raw.usage())
}

impl RawUsage {
    fn usage(&self) -> Usage {
        let count = |number: libc::c_long| u64::try_from(number).unwrap_or(0);
        let time = |[seconds, micros]: [libc::c_long; 2]| {
            Duration::from_secs(count(seconds)) + Duration::from_micros(count(micros))
        };
        Usage {
            cpu: time(self.user) + time(self.system),
            max_rss_kib: count(self.max_rss),
            blocks_read: count(self.blocks_in),
            blocks_written: count(self.blocks_out),
        }
    }
}
