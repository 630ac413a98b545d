//! A process that jobguard did not start, and is to supervise: whose job it is to be, and why not.
//!
//! Its pidfd is taken first and kept: whatever its PID becomes, this is the process that was meant. It
//! is set to non-blocking, which means nothing to a pidfd but is to be seen in our fdinfo: it tells a
//! process that we supervise from those that we only look at, and [`crate::identity::warrant`] goes by
//! it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::slice;
use std::time::Instant;

use nix::unistd::getuid;

use super::policy::Group;
use super::terminal::group_of;
use crate::error::{Error, plain};
use crate::identity::mark::uids;
use crate::identity::observe::told;
use crate::identity::process::{Kernel, ProcessId, Sighting};
use crate::identity::stat::Stat;
use crate::identity::verdict::{GRACE, Told};
use crate::machine::argument::Argument;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::procfs;
use crate::sys::retry::retry;
use crate::sys::signal::SignalSet;
use crate::sys::wait::{Ended, peek_through, reap_through};

/// A process that is to be adopted, or was.
#[derive(Debug)]
pub struct Adoptee {
    pidfd: PidFd,
    id: ProcessId,
    kernel: Kernel,
}

impl Adoptee {
    /// Finds the process with this PID.
    ///
    /// # Errors
    /// Why it cannot be adopted.
    pub fn find(pid: i32, kernel: Kernel) -> Result<Self, Error> {
        let refuse = |why: &str| Error::State(format!("PID {pid} cannot be adopted: {why}"));
        let pidfd = PidFd::open(pid).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => refuse("there is no such process"),
            Some(libc::EINVAL | libc::ENOENT) => refuse("it is a thread, not a process"),
            _ => refuse(&format!("this kernel gives no handle on it: {}", plain(&error))),
        })?;
        if !kernel.proc {
            return Err(refuse("/proc is not that of our PID namespace"));
        }
        let cannot_look = |error: io::Error| match error.raw_os_error() {
            Some(libc::ESRCH | libc::ENOENT) => refuse("it is over, or hidden from us"),
            _ => refuse(&format!("it cannot be looked at: {}", plain(&error))),
        };
        let id = kernel.identify(pid, Some(&pidfd)).map_err(cannot_look)?;
        let adoptee = Self { pidfd, id, kernel };
        let why = adoptee.why_not().map_err(cannot_look)?;
        adoptee.must_be_there()?; // else what was read may be of another
        match why {
            Some(why) => Err(refuse(&why)),
            None => {
                adoptee.pidfd.set_nonblocking().map_err(Error::io("mark a pidfd"))?;
                Ok(adoptee)
            }
        }
    }

    fn why_not(&self) -> io::Result<Option<String>> {
        let pid = self.id.pid;
        if Stat::is_kernel_thread(pid)? {
            return Ok(Some("it is a thread of the kernel".to_owned()));
        }
        if pid == 1 {
            return Ok(Some("it is the first process, which all others depend on".to_owned()));
        }
        if pid == std::process::id().cast_signed() {
            return Ok(Some("it is this very command".to_owned()));
        }
        if is_ancestor(pid)? {
            return Ok(Some("this command descends from it, and would wait for itself".to_owned()));
        }
        let (us, theirs) = (getuid(), uids(pid)?);
        let stranger = theirs.iter().find(|uid| **uid != us.as_raw());
        let is_forbidden =
            self.pidfd.signal(0).is_err_and(|e| e.raw_os_error() == Some(libc::EPERM));
        let owner = stranger.filter(|_| is_forbidden || !us.is_root());
        Ok(owner.map(|uid| format!("it belongs to uid {uid}: only that user and root may do so")))
    }

    /// Who it is.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// A handle on it.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// The same, for those who wait for ends.
    pub fn handles(&self) -> &[PidFd] {
        slice::from_ref(&self.pidfd)
    }

    /// Makes sure that it runs, and that its PID is still its own.
    ///
    /// # Errors
    /// It is over.
    pub fn must_be_there(&self) -> Result<(), Error> {
        let is_there = self.kernel.look_for(&self.id, true).sighting == Sighting::Alive
            && self.pidfd.is_over().is_ok_and(|over| !over);
        let gone = || Error::State(format!("PID {} is over: it was not adopted", self.id.pid));
        is_there.then_some(()).ok_or_else(gone)
    }

    /// Its command line; where it has none, the name that it goes by.
    pub fn command(&self) -> Vec<Argument> {
        let of =
            |file: &str| procfs::read(&format!("/proc/{}/{file}", self.id.pid)).unwrap_or_default();
        let line = of("cmdline");
        let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0);
        let words: Vec<Argument> = words.map(|word| OsStr::from_bytes(word).into()).collect();
        if words.iter().any(|word| !word.0.is_empty()) {
            return words;
        }
        vec![OsStr::from_bytes(of("comm").trim_ascii_end()).into()]
    }

    /// Its working directory.
    pub fn cwd(&self) -> Option<Argument> {
        let cwd = retry(|| fs::read_link(format!("/proc/{}/cwd", self.id.pid))).ok()?;
        Some(Argument(cwd.into_os_string()))
    }

    /// How its process group relates to ours.
    pub fn group(&self) -> Group {
        group_of(self.id.pid).unwrap_or(Group::Own)
    }

    /// How it ended, if it has. Its parent, which may be anybody, gets a moment to reap it: until then
    /// not everybody is told.
    pub fn ended(&self) -> io::Result<Option<Ended>> {
        if !self.pidfd.is_over()? {
            return Ok(None);
        }
        // A shell that executes us in its place leaves us its children.
        if let Ok(Some(ended)) = peek_through(&self.pidfd) {
            return Ok(Some(ended));
        }
        // Shorter than the time after which others take our release for overdue.
        let until = Instant::now() + GRACE / 2;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match told(&self.pidfd) {
                Told::Ended(ended) => return Ok(Some(ended)),
                Told::Soon if !left.is_zero() => {}
                Told::Soon | Told::Nothing => return Ok(Some(Ended::Unseen)),
            }
            let reap = [(self.pidfd.as_fd(), Interest::Closed)];
            retry(|| wait_any(&reap, Some(left), SignalSet::ALL))?;
        }
    }

    /// Waits for its end.
    pub fn await_end(&self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            let end = [(self.pidfd.as_fd(), Interest::Readable)];
            retry(|| wait_any(&end, None, SignalSet::ALL))?;
        }
    }

    /// Reaps it, where it is our child.
    pub fn reap(&self) -> io::Result<()> {
        reap_through(&self.pidfd).map(drop)
    }
}

/// Whether we descend from this process.
fn is_ancestor(pid: i32) -> io::Result<bool> {
    let mut current = Stat::read_own()?.parent;
    while current > 1 {
        if current == pid {
            return Ok(true);
        }
        // One that ended meanwhile has left us to another.
        current = Stat::read(current).map_or(0, |stat| stat.parent);
    }
    Ok(current == pid)
}
