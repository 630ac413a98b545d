//! kill(2), for whom a pidfd cannot be had.

use std::io;

use super::retry::call;

/// Sends `signal` to the unreaped child `pid`.
pub fn signal_unreaped(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes plain integers. The child is ours and not reaped, so its number cannot belong to
    // anybody else.
    call(|| unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends `signal` to the group led by the unreaped child `pid`.
pub fn signal_unreaped_group(pid: i32, signal: i32) -> io::Result<()> {
    signal_unreaped(-pid, signal) // its number is the group's
}

/// Whether the group that the child `pid` led, which is reaped, has no process left.
///
/// The number of a group that has is no other process's, and nobody else's group (see `alloc_pid` and
/// `free_pid` in the kernel); that of an empty one may be by now, so this is no ground to signal.
pub fn group_is_empty(pid: i32) -> bool {
    // SAFETY: takes plain integers, and signal 0 only asks.
    let asked = call(|| unsafe { libc::kill(-pid, 0) }.into());
    asked.is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}
