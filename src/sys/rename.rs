//! renameat2(2) with its flags (Linux 3.15): rename without replacing, or exchange two names.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::retry::check;

/// What renameat2(2) does about a name that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rename {
    /// Replaces it.
    Replace,
    /// Fails with `EEXIST`.
    NoReplace,
    /// Swaps the two; fails with `ENOENT` unless both exist.
    Exchange,
}

/// Renames `from` to `to`, both in the directory `dir`.
///
/// # Errors
/// `EINVAL`: the file system does not know the flag. `EINTR` is left to the caller: an exchange that
/// was made all the same must not be made again.
pub fn rename_in(dir: BorrowedFd<'_>, from: &CStr, to: &CStr, how: Rename) -> io::Result<()> {
    let flags = match how {
        Rename::Replace => 0,
        Rename::NoReplace => libc::RENAME_NOREPLACE,
        Rename::Exchange => libc::RENAME_EXCHANGE,
    };
    let (dir, from, to) = (dir.as_raw_fd(), from.as_ptr(), to.as_ptr());
    // SAFETY: both names are NUL-terminated and live across the call.
    check(unsafe { libc::syscall(libc::SYS_renameat2, dir, from, dir, to, flags) }).map(drop)
}
