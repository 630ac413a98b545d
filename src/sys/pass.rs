//! A descriptor that goes to another process through a socket, with a byte (unix(7), `SCM_RIGHTS`).
//!
//! So a child that was forked long ago gets a file that is opened only now. What it gets is
//! close-on-exec, and the sender keeps its own.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use nix::errno::Errno;

use super::retry::{call, retry};

/// Room for a control message with one descriptor, and aligned like one.
type Control = [u64; 4];

/// Sends a byte, and the descriptor with it.
pub(super) fn send(socket: &UnixStream, mut byte: u8, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control: Control = [0; 4];
    let mut bytes = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut bytes, &mut control);
    // SAFETY: takes a plain integer.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(FD_SIZE) } as _;
    // SAFETY: `message` has a control buffer that is live, and larger than a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: as above: the header, and the descriptor behind it, are in `control`, which is aligned for
    // both.
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers them all")]
    unsafe {
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(FD_SIZE) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
    }
    let socket = socket.as_raw_fd();
    // SAFETY: everything that `message` points to lives across the call.
    let send = || unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) };
    call(|| send() as libc::c_long).map(drop)
}

/// Receives a byte, and the file that came with it as standard output and error; false at the end of the
/// stream.
///
/// # Safety
/// Only in a child whose standard descriptors are its own to replace; callable between fork and exec.
pub(super) unsafe fn receive_as_output(socket: RawFd) -> Result<bool, Errno> {
    // SAFETY: it asks for nothing more.
    let Some(file) = (unsafe { receive(socket) })? else { return Ok(false) };
    for standard in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: takes plain integers; what was there is the caller's to replace.
        retry(|| Errno::result(unsafe { libc::dup2(file, standard) }))?;
    }
    Ok(true)
}

/// Receives a byte, and the descriptor that came with it; `None` at the end of the stream.
///
/// # Safety
/// None beyond that of its system call; callable between fork and exec.
unsafe fn receive(socket: RawFd) -> Result<Option<RawFd>, Errno> {
    let (mut byte, mut control): (u8, Control) = (0, [0; 4]);
    let mut bytes = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut bytes, &mut control);
    // SAFETY: everything that `message` points to lives across the call, and has the size that it says.
    let mut read = || unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if retry(|| Errno::result(read()))? == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has filled in `message`, and its control buffer.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() {
        return Err(Errno::EMFILE); // it did not fit in
    }
    // SAFETY: not null, so there is a whole message in the buffer; we are sent but one descriptor.
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers them all")]
    let fd = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
    Ok(Some(fd))
}

const FD_SIZE: libc::c_uint = mem::size_of::<RawFd>() as libc::c_uint;

fn message(bytes: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: plain data, some of it padding on musl; all zeroes is an empty message.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = ptr::null_mut();
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of::<Control>() as _;
    message
}
