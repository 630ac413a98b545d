//! What a signal does to this process: its default, nothing, or a handler's work; we have none.

use std::io;
use std::mem;
use std::ptr;

use super::retry::call;
use super::signal::KERNEL_SIGSET_SIZE;

/// If SIGCHLD is ignored, resets it to its default and returns true.
///
/// While it is ignored the kernel reaps children by itself, and their status is lost (wait(2),
/// NOTES). The child gets the old disposition back.
pub fn stop_ignoring_sigchld() -> io::Result<bool> {
    let action = disposition(libc::SIGCHLD)?;
    let reaps = action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0;
    if reaps {
        set_disposition(libc::SIGCHLD, libc::SIG_DFL)?;
    }
    Ok(reaps)
}

/// Whether a signal is ignored, one that the C library keeps for itself included.
pub fn is_ignored(signal: i32) -> io::Result<bool> {
    // The kernel's struct sigaction begins with the handler, and none is larger than this.
    let mut action = [0_usize; 16];
    let (new, old) = (ptr::null::<usize>(), action.as_mut_ptr());
    // SAFETY: a null new action only queries; `old` is valid for writes of the kernel's struct.
    call(|| unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, new, old, KERNEL_SIGSET_SIZE)
    })?;
    Ok(action[0] == libc::SIG_IGN)
}

fn disposition(signal: i32) -> io::Result<libc::sigaction> {
    // SAFETY: an all-zero sigaction is a valid one (SIG_DFL, empty mask, no flags).
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null new action only queries; the other pointer is to a live sigaction.
    call(|| unsafe { libc::sigaction(signal, ptr::null(), &mut action) }.into())?;
    Ok(action)
}

/// Sets a signal to `SIG_DFL` or `SIG_IGN`.
pub(super) fn set_disposition(signal: i32, to: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid one (SIG_DFL, empty mask, no flags).
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = to;
    // SAFETY: `action` is initialised and installs no handler, so nothing of ours can be called.
    call(|| unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }.into())?;
    Ok(())
}

/// Sets a signal to `SIG_DFL`, one that the C library keeps for itself included: a job can die of
/// those, and posix_spawn(3) of glibc even starts programs with two of them ignored.
pub(super) fn reset_disposition(signal: i32) -> io::Result<()> {
    // The kernel's struct sigaction differs between architectures, but none is larger than this,
    // and all zeroes is SIG_DFL, no flags and an empty mask everywhere.
    let default = [0_u64; 8];
    let (new, old) = (default.as_ptr(), ptr::null_mut::<u64>());
    // SAFETY: `new` is valid for reads of the kernel's struct; a null old action is not written.
    call(|| unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, new, old, KERNEL_SIGSET_SIZE)
    })?;
    Ok(())
}
