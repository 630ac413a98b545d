//! ppoll(2) with the mask of this crate: sleep until a descriptor, a signal or a time.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use super::retry::check;
use super::signal::{KERNEL_SIGSET_SIZE, SignalSet};

/// Waits until one of `fds` has something to say (an end of stream or an error is something), or
/// `timeout` is over, under the signal mask `mask`, and returns which of them spoke.
///
/// A signal that `mask` lets through acts as its disposition says, at once and without a window.
///
/// # Errors
/// `EINTR` after a stop and a continue, or a signal that ended nothing.
pub fn wait_any(
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
    mask: SignalSet,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|(fd, interest)| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: match interest {
                Interest::Readable => libc::POLLIN,
                Interest::Writable => libc::POLLOUT,
                Interest::Closed => 0,
            },
            revents: 0,
        })
        .collect();
    // The raw call writes the time left back, so it gets a copy of its own.
    let mut left = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let limit = match timeout {
        None => ptr::null_mut(),
        Some(timeout) => {
            // Wide enough for any time_t; nobody notices that 68 years are not for ever.
            left.tv_sec = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).into();
            left.tv_nsec = libc::c_long::from(timeout.subsec_nanos() as i32);
            &raw mut left
        }
    };
    // SAFETY: every pointer is to a live local of the size passed; `left` may be written.
    check(unsafe {
        libc::syscall(
            libc::SYS_ppoll,
            polled.as_mut_ptr(),
            polled.len(),
            limit,
            &raw const mask.0,
            KERNEL_SIGSET_SIZE,
        )
    })?;
    Ok(polled.iter().map(|fd| fd.revents != 0).collect())
}

/// What a descriptor is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something to read; a pidfd becomes readable when its process is over.
    Readable,
    /// Something can be written.
    Writable,
    /// Only its other end's closing (`POLLERR`, `POLLHUP`), as of a lifeline's reader.
    Closed,
}
