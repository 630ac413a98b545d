//! Ending runs: TERM, and after a grace KILL, to the jobs that a record proves and to nobody else.
//!
//! Nothing is printed here: what was done comes back, for a command to say. Nothing is cleared
//! either: a run is gone when it no longer holds the machine, and what its supervisor leaves in the
//! record when that was killed, or is stopped, is a phantom like any other.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::getuid;

use crate::error::{Error, plain};
use crate::identity::observe::{Observed, Patience};
use crate::identity::stat::Stat;
use crate::identity::verdict::{Observer, Subject};
use crate::identity::warrant::{Refusal, Role, warrant};
use crate::look::{Sight, Wakers, look};
use crate::machine::events::What;
use crate::machine::store::MachineDir;
use crate::protocol::Judged;
use crate::protocol::rewrite::as_recorded;
use crate::sys::pidfd::PidFd;
use crate::sys::signal::SignalSet;

/// How long a job may take to end after KILL, and its supervisor to release the machine: the kernel
/// may be at work for it, which nothing interrupts.
pub const AFTER_KILL: Duration = Duration::from_secs(5);

/// How runs are ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The machine that they hold.
    pub dir: &'a MachineDir,
    /// Who judges them.
    pub observer: &'a Observer,
    /// How long they may take to end after TERM.
    pub grace: Duration,
    /// The signal mask while we wait.
    pub mask: SignalSet,
}

/// A signal that a job was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// TERM, and CONT after it: a job that is stopped could not act on it.
    Term,
    /// KILL.
    Kill,
}

impl Sent {
    /// Its name, as kill(1) takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It no longer holds the machine; by itself, when it was sent nothing.
    Gone,
    /// It holds the machine, and is left alone.
    Refused(Refusal),
    /// It holds the machine, whatever it was sent.
    Holds,
}

/// A run, what was done to it, and what became of it.
#[derive(Debug)]
pub struct Ended {
    /// The run, as it was when it was chosen.
    pub run: Judged,
    /// What it was sent, in order.
    pub signals: Vec<Sent>,
    /// What became of it.
    pub fate: Fate,
}

impl Ending<'_> {
    /// Ends these runs, and waits until none of them holds the machine; those that it may not signal
    /// it does not wait for. Takes the grace and [`AFTER_KILL`] at most.
    ///
    /// # Errors
    /// The machine cannot be looked at any more.
    pub fn end(&self, runs: Vec<Judged>, patience: &mut Patience) -> Result<Vec<Ended>, Error> {
        let begin = |run| Ended { run, signals: Vec::new(), fate: Fate::Holds };
        let mut runs: Vec<Ended> = runs.into_iter().map(begin).collect();
        for (signal, time) in [(Sent::Term, self.grace), (Sent::Kill, AFTER_KILL)] {
            let sight = self.look(&mut runs, patience)?;
            for run in runs.iter_mut().filter(|run| run.fate == Fate::Holds) {
                let Some(now) = sight.holding().find(|found| run.is(found)) else { continue };
                match self.send(&now.subject, signal) {
                    Ok(true) => run.signals.push(signal),
                    Ok(false) => {}
                    Err(refusal) => run.fate = Fate::Refused(refusal),
                }
            }
            // A time that no clock reaches is none.
            self.wait(&mut runs, Instant::now().checked_add(time), patience)?;
        }
        Ok(runs)
    }

    /// Why one of these runs must not be signalled, if one must not; nobody is.
    pub fn refusal(&self, runs: Vec<Judged>) -> Option<Ended> {
        runs.into_iter().find_map(|run| {
            // Signal 0 is none, and asks whether one may be sent (kill(2)).
            let asked = warrant(self.dir, &run.subject, Role::Job, self.observer)
                .and_then(|job| job.signal(0).map_err(|error| refused(&error, &run.subject)));
            match asked {
                Ok(()) | Err(Refusal::Over) => None,
                Err(why) => Some(Ended { run, signals: Vec::new(), fate: Fate::Refused(why) }),
            }
        })
    }

    /// Signals the job of a run, if that is not over by now, by itself or of the last signal.
    fn send(&self, subject: &Subject, signal: Sent) -> Result<bool, Refusal> {
        let pidfd = match warrant(self.dir, subject, Role::Job, self.observer) {
            Err(Refusal::Over) => return Ok(false),
            warranted => warranted?,
        };
        let Subject::Holder(holder) = subject else { return Err(Refusal::NoProcess) };
        let Some(job) = &holder.job else { return Err(Refusal::NoProcess) };
        match signal_job(&pidfd, job.pid, signal.number()).map_err(|e| refused(&e, subject)) {
            Err(Refusal::Over) => return Ok(false),
            sent => sent?,
        }
        if signal == Sent::Term {
            let _ = signal_job(&pidfd, job.pid, libc::SIGCONT); // it may be over by now
        }
        Ok(true)
    }

    /// Waits until all runs are gone that are not refused, or `until`.
    fn wait(
        &self,
        runs: &mut [Ended],
        until: Option<Instant>,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        loop {
            let sight = self.look(runs, patience)?;
            let all_gone = runs.iter().all(|run| run.fate != Fate::Holds);
            if all_gone || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            let mut wakers = Wakers::default();
            wakers.holders(&sight);
            wakers.sleep(until, self.mask)?;
        }
    }

    /// Looks at the machine, and which of the runs no longer hold it.
    fn look(&self, runs: &mut [Ended], patience: &mut Patience) -> Result<Sight, Error> {
        let sight = look(self.dir, self.observer, patience)?;
        for run in runs {
            if !sight.holding().any(|found| run.is(found)) {
                run.fate = Fate::Gone;
            }
        }
        Ok(sight)
    }
}

impl Ended {
    /// The event of what was done to it, if anything was.
    pub fn event(&self) -> Option<(u64, What)> {
        let signals: Vec<String> = self.signals.iter().map(|s| s.name().to_owned()).collect();
        let (uid, holder) = (getuid().as_raw(), as_recorded(&self.run.subject));
        let event = (self.run.subject.token(), What::Stopped { signals, uid, holder });
        (!self.signals.is_empty()).then_some(event)
    }

    fn is(&self, found: &Observed) -> bool {
        found.subject.token() == self.run.subject.token()
    }
}

/// Why a signal could not be sent.
fn refused(error: &io::Error, subject: &Subject) -> Refusal {
    match (error.raw_os_error(), subject) {
        (Some(libc::ESRCH), _) => Refusal::Over,
        (Some(libc::EPERM), Subject::Holder(holder)) => Refusal::Forbidden { uid: holder.uid },
        _ => Refusal::Unclear(plain(error)),
    }
}

/// Signals a job, and its process group where it leads one.
fn signal_job(pidfd: &PidFd, pid: i32, signal: i32) -> io::Result<()> {
    let leads = Stat::read(pid).is_ok_and(|stat| stat.group == pid);
    // While it lives, what was read under its PID is its own.
    if leads && !pidfd.is_over()? { pidfd.signal_group(pid, signal) } else { pidfd.signal(signal) }
}
