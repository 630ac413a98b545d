//! Being the first process of a PID namespace, as in a container. It inherits everybody's orphans, and
//! the kernel keeps from it every signal that would do to it what it does by default, unless that is
//! blocked (`sig_task_ignored` in the kernel's `kernel/signal.c`): nobody inside may end it by mistake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::policy::ends_by_default;
use crate::sys::disposition::is_ignored;
use crate::sys::signal::{SignalFd, SignalSet};
use crate::sys::wait::reap_all;

/// Whether we are it.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Does for a sleeping PID 1 what the kernel does for everybody else: a signal ends it that would have
/// ended the job that it waits for.
#[derive(Debug)]
pub struct Vigil {
    signals: SignalFd,
    taken: SignalSet,
}

impl Vigil {
    /// One for a sleep under the mask `inherited`, if we are PID 1. All signals must be blocked.
    pub fn keep(inherited: SignalSet) -> io::Result<Option<Self>> {
        if !is_init() {
            return Ok(None);
        }
        // What is blocked waits for the job, and what is ignored does nothing to it.
        let ends = |signal: &i32| ends_by_default(*signal) && !is_ignored(*signal).unwrap_or(false);
        let ending = (1..=64).filter(ends);
        let taken = ending.chain([libc::SIGCHLD]).filter(|signal| !inherited.contains(*signal));
        let taken = taken.fold(SignalSet::EMPTY, SignalSet::with);
        Ok(Some(Self { signals: SignalFd::open(taken)?, taken }))
    }

    /// The mask to sleep under.
    pub fn mask(&self, inherited: SignalSet) -> SignalSet {
        SignalSet(inherited.0 | self.taken.0)
    }

    /// Takes one of the signals that came, and returns it if it ends us. Reaps orphans.
    pub fn answer(&self) -> io::Result<Option<i32>> {
        let signal = self.signals.read()?.signal;
        if signal == libc::SIGCHLD {
            return reap_all().map(|_| None);
        }
        Ok(Some(signal))
    }
}

impl AsFd for Vigil {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
