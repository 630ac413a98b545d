//! Signals without handlers: a mask that blocks all of them, and a signalfd(2) to read them from.
//!
//! Nothing here ever installs a handler or changes a disposition (but SIGCHLD, see
//! [`super::disposition`]), so what the job inherits is what jobguard inherited by construction.
//! A blocked signal is queued even when its disposition is "ignore" (`sig_ignored` in the kernel's
//! `kernel/signal.c`), and merged exactly as it would have been for the job itself.
//!
//! The system calls are made raw: the C libraries hide signals 32 to 34 from their wrappers, and a
//! mask of all 64 fits one `u64`.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::disposition::reset_disposition;
use super::poll::{Interest, wait_any};
use super::retry::call;

/// The size of the kernel's `sigset_t`, in bytes; the C libraries' type is larger.
pub(super) const KERNEL_SIGSET_SIZE: usize = mem::size_of::<u64>();

/// A set of signals as the kernel keeps it: bit `n − 1` stands for signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Every signal there is; the kernel leaves out SIGKILL and SIGSTOP by itself.
    pub const ALL: Self = Self(u64::MAX);

    /// Those that are merged while they wait: 1 to 31.
    pub const STANDARD: Self = Self((1 << 31) - 1);

    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// Whether signal `signal` is in the set.
    pub fn contains(self, signal: i32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// The set without signal `signal`.
    #[must_use]
    pub fn without(self, signal: i32) -> Self {
        Self(self.0 & !Self::bit(signal))
    }

    /// The set with signal `signal`.
    #[must_use]
    pub fn with(self, signal: i32) -> Self {
        Self(self.0 | Self::bit(signal))
    }

    fn bit(signal: i32) -> u64 {
        match u32::try_from(signal - 1) {
            Ok(shift) if shift < 64 => 1 << shift,
            _ => 0,
        }
    }

    /// Makes this set the calling thread's mask and returns the mask it replaces.
    pub fn set_mask(self) -> io::Result<Self> {
        Self::swap_mask(&raw const self.0)
    }

    /// The calling thread's mask as it is.
    pub fn current_mask() -> io::Result<Self> {
        Self::swap_mask(ptr::null())
    }

    /// The blocked signals that wait to be delivered to us.
    pub fn pending() -> io::Result<Self> {
        let mut pending = 0_u64;
        // SAFETY: the pointer is to a live `u64` of the size passed.
        call(|| unsafe {
            libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, KERNEL_SIGSET_SIZE)
        })?;
        Ok(Self(pending))
    }

    fn swap_mask(new: *const u64) -> io::Result<Self> {
        let mut old = 0_u64;
        // SAFETY: `new` is null, which only queries, or points to a live `u64`, as does the third
        // argument; both have the size passed.
        call(|| unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                new,
                &raw mut old,
                KERNEL_SIGSET_SIZE,
            )
        })?;
        Ok(Self(old))
    }
}

/// One signal, as it arrived: the fields of `siginfo_t` that forwarding is decided on, and those that
/// sigqueue(3) carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The signal's number, 1 to 64.
    pub signal: i32,
    /// `si_code`: positive when the kernel sent it, `SI_USER` (0) for kill(2), −1 for sigqueue(3).
    pub code: i32,
    /// The sender's PID in our namespace; 0 when it has none there, or for the kernel.
    pub sender: i32,
    /// The sender's real user ID.
    pub uid: u32,
    /// What sigqueue(3) was given: a pointer's bits, of which an int takes the first.
    pub value: u64,
}

impl Arrival {
    /// A signal as kill(2) sends it.
    pub fn plain(signal: i32) -> Self {
        Self { signal, ..Self::default() }
    }
}

/// A signalfd(2); the signals that it reads must be blocked before it is made.
#[derive(Debug)]
pub struct SignalFd(File);

impl SignalFd {
    /// Opens one that reads these signals, close-on-exec and blocking.
    pub fn open(signals: SignalSet) -> io::Result<Self> {
        let (mask, flags) = (&raw const signals.0, libc::SFD_CLOEXEC);
        // SAFETY: the mask lives across the call and has the size passed.
        let fd = call(|| unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, mask, KERNEL_SIGSET_SIZE, flags)
        })?;
        // SAFETY: the call succeeded, so this is a descriptor that nobody else owns; descriptors
        // fit an int.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })))
    }

    /// Waits until there is a signal to read, or for the time; whether there is one. It may wake up
    /// early.
    pub fn wait(&self, until: Instant) -> io::Result<bool> {
        self.wait_beside(&[], until.saturating_duration_since(Instant::now()))
    }

    /// The same, or until one of these has something to say.
    pub fn wait_beside(
        &self,
        others: &[(BorrowedFd<'_>, Interest)],
        timeout: Duration,
    ) -> io::Result<bool> {
        let fds: Vec<_> = [(self.as_fd(), Interest::Readable)]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        match wait_any(&fds, Some(timeout), SignalSet::ALL) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false), // stopped, and continued
            spoke => Ok(spoke?.first() == Some(&true)),
        }
    }

    /// Waits for the next signal.
    pub fn read(&self) -> io::Result<Arrival> {
        let mut bytes = [0_u8; mem::size_of::<libc::signalfd_siginfo>()];
        (&self.0).read_exact(&mut bytes)?;
        // SAFETY: the struct is of that size, and integers, which any bytes are.
        let info: libc::signalfd_siginfo = unsafe { mem::transmute(bytes) };
        Ok(Arrival {
            signal: info.ssi_signo.cast_signed(),
            code: info.ssi_code,
            sender: info.ssi_pid.cast_signed(),
            uid: info.ssi_uid,
            value: info.ssi_ptr,
        })
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> libc::c_int {
        self.0.as_raw_fd()
    }
}

/// Blocks all signals, and returns the mask that this process inherited.
pub fn block_all() -> io::Result<SignalSet> {
    let before = SignalSet::ALL.set_mask()?;
    Ok(INHERITED.get().copied().unwrap_or(before))
}

/// The mask that this process inherited, as long as nobody has changed it but [`block_from_the_start`].
pub fn inherited_mask() -> io::Result<SignalSet> {
    INHERITED.get().copied().map_or_else(SignalSet::current_mask, Ok)
}

/// Blocks all signals before anything else happens, for one whom an unblocked signal never reaches.
/// What came before we could do this nobody has had.
pub fn block_from_the_start() {
    if let Ok(mask) = SignalSet::ALL.set_mask() {
        let _ = INHERITED.set(mask); // there is one start
    }
}

/// The mask that was replaced by [`block_from_the_start`].
static INHERITED: OnceLock<SignalSet> = OnceLock::new();

/// Ends this process by signal `signal`, as the job was ended, without writing a second core.
///
/// Returns where the kernel would not have it: PID 1 of a namespace survives its own signals, and
/// some signals do not end a process by default.
pub fn die_of(signal: i32) {
    // A core of ours would be one nobody asked for, and would overwrite the job's. RLIMIT_CORE is
    // not consulted when core_pattern is a pipe (core(5)); an undumpable process never dumps.
    // SAFETY: PR_SET_DUMPABLE takes one `unsigned long`.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong) };
    let _ = reset_disposition(signal); // refused for SIGKILL, which has no other
    send_ourselves(signal);
    // It is pending now; unblocking delivers it before the call returns.
    let _ = SignalSet::ALL.without(signal).set_mask(); // on failure the caller's exit code stands
}

/// Stops this process by signal `signal`, as the job was stopped, until somebody continues it: our
/// parent is told the signal. All signals must be blocked, and are again afterwards.
pub fn stop_ourselves(signal: i32) -> io::Result<()> {
    // If we inherited it ignored, the job did so, too, and set it back. It has its own by now.
    reset_disposition(signal)?;
    send_ourselves(signal);
    // The key's own, if it is still to be read, merges into ours. We stop before the call returns.
    SignalSet::ALL.without(signal).set_mask()?;
    SignalSet::ALL.set_mask()?;
    Ok(())
}

/// Sends a signal to this process.
pub fn send_ourselves(signal: i32) {
    let me = std::process::id().cast_signed();
    // SAFETY: takes plain integers; the target is this very process.
    unsafe { libc::kill(me, signal) };
}

/// Makes this process the reaper of its descendants: they become its children when their parents are
/// over (PR_SET_CHILD_SUBREAPER(2const), Linux 3.4). Its own children do not inherit that.
pub fn adopt_orphans() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one `unsigned long`.
    call(|| unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) }.into())
        .map(drop)
}

/// The parent-death signal that this process inherited through exec; 0 when there is none.
pub fn parent_death_signal() -> i32 {
    let mut signal: libc::c_int = 0;
    // SAFETY: PR_GET_PDEATHSIG writes one int, to a live one.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    signal
}
