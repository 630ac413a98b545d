//! A pidfd: a handle on one process that no PID reuse can redirect (pidfd_open(2), Linux 5.3).

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::FsType;

use super::file::{file_system, fstat};
use super::procfs;
use super::retry::{call, retry};
use super::siginfo::queued;
use super::signal::Arrival;
use super::wait::Ended;

/// `PID_FS_MAGIC` of `linux/magic.h`: the file system of pidfds since Linux 6.9.
const PID_FS_MAGIC: FsType = FsType(0x5049_4446);

/// `PIDFD_SIGNAL_PROCESS_GROUP` of `linux/pidfd.h` (Linux 6.9).
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// An open pidfd, close-on-exec.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens a pidfd of the process with this PID.
    ///
    /// # Errors
    /// `ESRCH`: no process. `EINVAL`, or `ENOENT` since Linux 6.15: the number is not positive or
    /// belongs to a thread. `ENOSYS` or `EPERM`: this kernel or its seccomp filter has no such
    /// call. A zombie that nobody has reaped yet opens.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: takes plain integers.
        let fd = call(|| unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the call succeeded, so this is a descriptor that nobody else owns; descriptors
        // fit an int.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }))
    }

    /// Opens a pidfd, or none where this kernel has none or its seccomp filter forbids them.
    pub fn open_if_there_are_any(pid: i32) -> io::Result<Option<Self>> {
        match Self::open(pid) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// The inode number that names this process until the next boot, or `None` on a kernel whose
    /// pidfds all share one (before 6.9).
    pub fn inode(&self) -> io::Result<Option<u64>> {
        /// Whether they have one each: all of a kernel, or none.
        static HAVE_INODES: OnceLock<bool> = OnceLock::new();
        let have_inodes = match HAVE_INODES.get() {
            Some(have) => *have,
            None => {
                let have = file_system(&self.0)? == PID_FS_MAGIC;
                *HAVE_INODES.get_or_init(|| have)
            }
        };
        Ok(if have_inodes { Some(fstat(&self.0)?.st_ino) } else { None })
    }

    /// Whether the process is over: ended, whether or not somebody has reaped it.
    pub fn is_over(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(retry(|| poll(&mut fds, PollTimeout::ZERO))? != 0)
    }

    /// Makes it non-blocking (`PIDFD_NONBLOCK`), which its fdinfo shows to others.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        retry(|| fcntl(&self.0, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)))?;
        Ok(())
    }

    /// How the process ended, once that is told: when somebody has reaped it. Whoever had this open
    /// before is told (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, Linux 6.15).
    ///
    /// # Errors
    /// This kernel does not tell, or the process is out of our sight.
    pub fn ended(&self) -> io::Result<Option<Ended>> {
        let exit = u64::from(libc::PIDFD_INFO_EXIT);
        // SAFETY: pidfd_info is plain integers.
        let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
        info.mask = exit;
        let fd = self.0.as_raw_fd();
        // SAFETY: the request reads and writes one pidfd_info, of the size that is encoded in it, and
        // `info` is one, alive across the call.
        call(|| unsafe { libc::ioctl(fd, libc::PIDFD_GET_INFO, &raw mut info) }.into())?;
        Ok((info.mask & exit != 0).then(|| Ended::of_status(info.exit_code)))
    }

    /// The PID of the process as we see it, from the descriptor itself (`Pid:` of its fdinfo).
    ///
    /// # Errors
    /// `ESRCH`: it has none any more, or not for us. Or there is no `/proc`.
    pub fn pid(&self) -> io::Result<i32> {
        let pid = procfs::field(&format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()), "Pid")?;
        let pid = pid.and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0);
        pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }

    /// Whether somebody has reaped the process: nobody can find out any more how it ended but by
    /// [`Self::ended`] (`POLLHUP`, since Linux 6.9).
    pub fn is_reaped(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        Ok(retry(|| poll(&mut fds, PollTimeout::ZERO))? != 0)
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.pass_on(Arrival::plain(signal))
    }

    /// Sends a signal to the process as it came to us: with the value and the sender that
    /// sigqueue(3) gave it.
    ///
    /// # Errors
    /// `EAGAIN`: as many signals are queued for its user as may be (`RLIMIT_SIGPENDING`); only for
    /// realtime signals that came by sigqueue(3).
    pub fn pass_on(&self, arrival: Arrival) -> io::Result<()> {
        self.send(arrival, 0)
    }

    /// Sends a signal to the process group that this process leads; its PID, and so the group's
    /// number, is `pid`.
    ///
    /// Before Linux 6.9 that number must do, so the caller must just have seen that it is this
    /// process's. It cannot become another's before somebody has reaped the process and the group is
    /// empty; a stranger would then have to lead a group under it, which takes all other PIDs being
    /// handed out first, between two of our system calls.
    ///
    /// # Errors
    /// `ESRCH`: it leads none. `EPERM`: none of the group may be signalled.
    pub fn signal_group(&self, pid: i32, signal: i32) -> io::Result<()> {
        self.pass_on_to_group(pid, Arrival::plain(signal))
    }

    /// The same with a signal as it came to us; before Linux 6.9 without its value.
    pub fn pass_on_to_group(&self, pid: i32, arrival: Arrival) -> io::Result<()> {
        match self.send(arrival, SIGNAL_PROCESS_GROUP) {
            // kill(2) takes -1 for everybody.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && pid > 1 => {
                // SAFETY: takes plain integers.
                call(|| unsafe { libc::kill(-pid, arrival.signal) }.into()).map(drop)
            }
            sent => sent,
        }
    }

    /// Sends a signal to what is left of the process group that this process led, which may be over and
    /// reaped: the group keeps its number from everybody else, and the pidfd knows it.
    ///
    /// # Errors
    /// `ESRCH`: nobody is left. `EINVAL`: a kernel before 6.9, where only a number could name the group.
    pub fn signal_rest_of_group(&self, signal: i32) -> io::Result<()> {
        self.send(Arrival::plain(signal), SIGNAL_PROCESS_GROUP)
    }

    fn send(&self, arrival: Arrival, flags: libc::c_uint) -> io::Result<()> {
        let queued = queued(arrival);
        let info = queued.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (fd, signal) = (self.0.as_raw_fd(), arrival.signal);
        // SAFETY: the siginfo is a live one, or null, which means what kill(2) would send; the rest
        // are plain integers.
        call(|| unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, flags) })?;
        Ok(())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rstest::rstest;

    use super::*;

    /// Each request is one that this kernel may not know; tests/identity/orphans says what that means.
    #[rstest]
    #[case::success("exit 0", Ended::Exited(0))]
    #[case::failure("exit 200", Ended::Exited(200))]
    #[case::killed("kill -KILL $$", Ended::Signaled(libc::SIGKILL))]
    #[case::ended("kill -TERM $$", Ended::Signaled(libc::SIGTERM))]
    fn who_had_a_handle_is_told_after_the_reap(#[case] script: &str, #[case] ended: Ended) {
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = child.id().cast_signed();
        let pidfd = PidFd::open(pid).unwrap();
        assert_eq!(pidfd.pid().unwrap(), pid);
        crate::sys::wait::await_end(pid).unwrap();
        let told = pidfd.ended();
        assert!(!pidfd.is_reaped().unwrap() && !matches!(told, Ok(Some(_))), "{told:?}");
        child.wait().unwrap();
        assert!(pidfd.is_reaped().unwrap() && pidfd.pid().is_err());
        match pidfd.ended() {
            Ok(told) => assert_eq!(told, Some(ended)),
            Err(error) => {
                let unknown = [libc::ENOTTY, libc::EINVAL, libc::ESRCH];
                assert!(error.raw_os_error().is_some_and(|e| unknown.contains(&e)), "{error}");
            }
        }
    }

    #[rstest]
    #[case(0, Ended::Exited(0))]
    #[case(0xff00, Ended::Exited(255))]
    #[case(9, Ended::Signaled(9))]
    #[case(0x8b, Ended::Signaled(11))]
    fn a_wait_status(#[case] status: i32, #[case] ended: Ended) {
        assert_eq!(Ended::of_status(status), ended);
    }
}
