//! The fork behind a gate: a child that exists, but runs no instruction of the job before it is
//! told to.
//!
//! Gate and errno travel over one close-on-exec socket pair: the supervisor writes a byte to open
//! the gate, the child writes an errno when it cannot become the job. If the supervisor dies first the child
//! reads end-of-file, or is killed by its parent-death signal, and the job never begins.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use super::disposition::set_disposition;
use super::kill::signal_unreaped;
use super::own_pid::OwnPid;
use super::pass::{self, receive_as_output};
use super::poll::{Interest, wait_any};
use super::retry::{call, retry};
use super::signal::{SignalSet, send_ourselves};
use super::wait;

/// Everything exec needs, laid out before the fork: the child must not allocate.
#[derive(Debug)]
pub struct Image {
    path: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// Those of `envp` that the child writes itself.
    own_pids: Vec<OwnPid>,
    /// `/bin/sh PATH ARG…`, for a script without `#!` (`ENOEXEC`), as execvp(3) does.
    shell_argv: Vec<CString>,
}

impl Image {
    /// Lays out `argv` (its first word included) for the file `path`. Where `envp` is meant for our PID
    /// the child will find its own.
    pub fn new(path: CString, argv: Vec<CString>, mut envp: Vec<CString>) -> Self {
        let own_pids = OwnPid::find(&mut envp, std::process::id());
        let shell_argv = [c"/bin/sh".to_owned(), path.clone()]
            .into_iter()
            .chain(argv.iter().skip(1).cloned())
            .collect();
        Self { path, argv, envp, own_pids, shell_argv }
    }
}

/// What the child does between the fork and the exec.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The signal mask to restore.
    pub mask: SignalSet,
    /// SIGCHLD was ignored on entry and is to be ignored again.
    pub ignore_sigchld: bool,
    /// The job leads a process group of its own.
    pub own_group: bool,
    /// Keep the parent-death signal: the job ends with its supervisor.
    pub dies_with_supervisor: bool,
    /// The gate opens with a file that is to be its standard output and error.
    pub gets_output: bool,
    /// Descriptors that only the supervisor may keep: the machine lock and the lifeline. They are
    /// closed, never unlocked: an unlock here would unlock the supervisor.
    pub close: &'a [RawFd],
}

/// A child that was forked; it stays behind its gate until [`Child::open_gate`].
#[derive(Debug)]
pub struct Child {
    pid: i32,
    gate: UnixStream,
}

/// Forks a child that waits behind its gate.
///
/// All signals must be blocked: one that came between fork and exec would be lost.
///
/// # Safety
/// No other thread may run: a lock that it holds would stay locked in the child.
pub unsafe fn fork_gated(image: &Image, setup: Setup<'_>) -> io::Result<Child> {
    let (gate, childs_end) = retry(UnixStream::pair)?;
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let argv = pointers(&image.argv);
    let mut envp = pointers(&image.envp);
    let mut own_pids = image.own_pids.clone();
    let shell_argv = pointers(&image.shell_argv);
    // SAFETY: no other thread runs (the caller's promise), and the child makes nothing below but system
    // calls, and its PID's digits, until it execs or exits: no allocation, no unwinding, no destructor.
    let pid = call(|| unsafe { libc::fork() }.into())? as i32;
    if pid == 0 {
        let closed_gate = gate.as_raw_fd();
        let mine = childs_end.as_raw_fd();
        // SAFETY: we are the child, and these are its copies of the descriptors.
        if let Err(errno) = unsafe { wait_behind_gate(mine, closed_gate, setup) } {
            // SAFETY: still the child.
            unsafe { give_up(mine, Stage::Setup, errno) }
        }
        for own_pid in &mut own_pids {
            own_pid.put(std::process::id(), &mut envp);
        }
        // SAFETY: still the child; the vectors were built before the fork and end with null.
        unsafe { exec_or_give_up(mine, image, &argv, &shell_argv, &envp) }
    }
    // Born: from here on a failure must not leave the child behind, and closing the gate does that.
    drop(OwnedFd::from(childs_end));
    if setup.own_group {
        // SAFETY: takes plain integers. The child cannot have exec'd yet, so this succeeds.
        unsafe { libc::setpgid(pid, pid) };
    }
    Ok(Child { pid, gate })
}

/// # Safety
/// Only in a child between fork and exec; all descriptors are the child's own.
unsafe fn wait_behind_gate(mine: RawFd, gate: RawFd, setup: Setup<'_>) -> Result<(), Errno> {
    // SAFETY: system calls on plain integers and on one byte of this stack frame; nothing that
    // could take a lock another thread held at the fork.
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers them all")]
    unsafe {
        // The gate's other end first: while any copy of it is open, a dead supervisor is no EOF.
        libc::close(gate);
        for fd in setup.close {
            libc::close(*fd);
        }
        set_parent_death_signal(libc::SIGKILL)?;
        if !pass_gate(mine, setup.gets_output)? {
            libc::_exit(EXIT_NEVER_BEGAN);
        }
        if setup.dies_with_supervisor {
            // The gate may have been opened by a supervisor that was dead before the prctl above,
            // and so never kills us. Its descriptors were closed before that (exit_files in the
            // kernel's do_exit precedes exit_notify): either we are killed, or we see it here.
            let mut gate = libc::pollfd { fd: mine, events: 0, revents: 0 };
            if retry(|| Errno::result(libc::poll(&raw mut gate, 1, 0)))? != 0 {
                libc::_exit(EXIT_NEVER_BEGAN);
            }
        } else {
            set_parent_death_signal(0)?;
        }
    }
    if setup.ignore_sigchld {
        // That takes one away which is pending, and which somebody sent to the job before it was here.
        let waits = SignalSet::pending().map_err(errno_of)?.contains(libc::SIGCHLD);
        set_disposition(libc::SIGCHLD, libc::SIG_IGN).map_err(errno_of)?;
        if waits {
            send_ourselves(libc::SIGCHLD);
        }
    }
    // Last: a signal that came early acts from here on as the job's dispositions say.
    setup.mask.set_mask().map(drop).map_err(errno_of)
}

/// Waits until the gate is opened; false when it is shut for good.
///
/// # Safety
/// None beyond that of its system calls; callable between fork and exec.
unsafe fn pass_gate(mine: RawFd, gets_output: bool) -> Result<bool, Errno> {
    if gets_output {
        // SAFETY: may be called here.
        return unsafe { receive_as_output(mine) };
    }
    let mut byte = 0_u8;
    // SAFETY: the pointer is to a live byte, which is all that may be written.
    retry(|| Errno::result(unsafe { libc::read(mine, (&raw mut byte).cast(), 1) }))
        .map(|read| read == 1)
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// # Safety
/// None beyond that of a system call on plain integers; callable between fork and exec.
unsafe fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    let signal = libc::c_ulong::from(signal.unsigned_abs());
    // SAFETY: PR_SET_PDEATHSIG takes one `unsigned long`.
    retry(|| Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })).map(drop)
}

/// # Safety
/// Only in a child between fork and exec; the vectors end with a null pointer.
unsafe fn exec_or_give_up(
    mine: RawFd,
    image: &Image,
    argv: &[*const libc::c_char],
    shell_argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
) -> ! {
    // SAFETY: all strings are NUL-terminated, all vectors end with null (the caller's promise).
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers them all")]
    unsafe {
        libc::execve(image.path.as_ptr(), argv.as_ptr(), envp.as_ptr());
        let mut errno = Errno::last();
        if errno == Errno::ENOEXEC {
            libc::execve(c"/bin/sh".as_ptr(), shell_argv.as_ptr(), envp.as_ptr());
            errno = Errno::last();
        }
        give_up(mine, Stage::Exec, errno)
    }
}

/// How far a child got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Setup,
    Exec,
}

/// Says where and why, and ends: the last words of a child that never became the job.
///
/// # Safety
/// Only in a child between fork and exec.
unsafe fn give_up(mine: RawFd, at: Stage, errno: Errno) -> ! {
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    let words = [at as u8, a, b, c, d];
    // SAFETY: the pointer is to a live array of the length passed; a write that fails has nobody
    // to tell.
    let _ =
        retry(|| Errno::result(unsafe { libc::write(mine, words.as_ptr().cast(), words.len()) }));
    // SAFETY: ends this process without running anything of it.
    unsafe { libc::_exit(EXIT_NEVER_BEGAN) }
}

/// The status of a child that never became the job; nobody sees it.
const EXIT_NEVER_BEGAN: i32 = 125;

/// Why a child never became the job.
#[derive(Debug)]
pub enum Failure {
    /// It could not be given what the job is to have.
    Setup(io::Error),
    /// The command could not be executed.
    Exec(io::Error),
}

impl Child {
    /// The child's PID, which cannot be reused before [`Child::reap`].
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the job begin, with this file as standard output and error where it is to get one. If that fails the gate is shut for good: the child reads end-of-file
    /// and ends, instead of waiting behind it for ever.
    pub fn open_gate(&mut self, output: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let opened = match output {
            None => self.gate.write_all(&[1]),
            Some(file) => pass::send(&self.gate, 1, file),
        };
        opened.inspect_err(|_| self.shut_gate())
    }

    /// Lets the child end, which never becomes the job.
    pub fn shut_gate(&self) {
        let _ = self.gate.shutdown(Shutdown::Write); // fails only when the child is gone
    }

    /// Whether the child became the job, which it does as soon as its gate is open: then its end of
    /// the gate is closed. An exec that takes longer than `patience` counts as one that succeeds.
    pub fn becomes_the_job(&self, patience: Duration) -> bool {
        let gate = [(self.gate.as_fd(), Interest::Readable)];
        // Whatever comes of it, the next call tells as well.
        let _ = wait_any(&gate, Some(patience), SignalSet::ALL);
        let mut byte = 0_u8;
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: the pointer is to one live byte, which is all that may be written.
        let read = call(|| unsafe {
            libc::recv(self.gate.as_raw_fd(), (&raw mut byte).cast(), 1, flags) as libc::c_long
        });
        !matches!(read, Ok(1)) // it has not said why it gave up
    }

    /// Ends a child whose gate was never opened.
    pub fn abandon(self) {
        // A closed gate would do, were the child not stopped.
        let _ = signal_unreaped(self.pid, libc::SIGKILL); // it is ours, and not reaped
        let _ = wait::reap(self.pid); // there is nobody to tell
    }

    /// Why the child, once it is over, never became the job; `None` when it did.
    pub fn failure(&mut self) -> Option<Failure> {
        let mut words = [0_u8; 5];
        retry(|| self.gate.set_nonblocking(true)).ok()?;
        self.gate.read_exact(&mut words).ok()?;
        let [at, errno @ ..] = words;
        let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
        Some(if at == Stage::Exec as u8 { Failure::Exec(error) } else { Failure::Setup(error) })
    }

    /// Reaps the child, which must be over.
    pub fn reap(self) -> io::Result<()> {
        wait::reap(self.pid).map(drop)
    }
}
