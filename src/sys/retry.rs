//! A call that a signal interrupted is made again (`EINTR`, signal(7)).
//!
//! We block all signals, so it should not happen; but a file system in user space can say so at any
//! call, and a run that fails for that would fail for nothing.

use std::fs::TryLockError;
use std::io;

use nix::errno::Errno;

/// An error that may say "interrupted".
pub trait Interruptible {
    /// Whether it does.
    fn is_interruption(&self) -> bool;
}

impl Interruptible for io::Error {
    fn is_interruption(&self) -> bool {
        self.kind() == io::ErrorKind::Interrupted
    }
}

impl Interruptible for Errno {
    fn is_interruption(&self) -> bool {
        *self == Self::EINTR
    }
}

impl Interruptible for TryLockError {
    fn is_interruption(&self) -> bool {
        matches!(self, Self::Error(error) if error.is_interruption())
    }
}

/// Makes a call until it is not interrupted.
pub fn retry<T, E: Interruptible>(mut call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    loop {
        match call() {
            Err(error) if error.is_interruption() => {}
            result => return result,
        }
    }
}

/// Turns the −1 of a raw system call into the error that it left in `errno`.
pub(super) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a raw system call until it is not interrupted.
pub(super) fn call(mut raw: impl FnMut() -> libc::c_long) -> io::Result<libc::c_long> {
    retry(|| check(raw()))
}
