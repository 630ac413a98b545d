//! Ending runs: TERM, and after a grace KILL, to the jobs that a record proves, to whatever descends from
//! them, and to nobody else.
//!
//! Nothing is printed here: what was done comes back, for a command to say. Nothing is cleared
//! either: a run is gone when it no longer holds the machine, and what its supervisor leaves in the
//! record when that was killed, or is stopped, is a phantom like any other.

use std::io;
use std::time::{Duration, Instant};

use nix::unistd::getuid;

use crate::error::{Error, plain};
use crate::identity::observe::Patience;
use crate::identity::verdict::{Observer, Subject};
use crate::identity::warrant::{Refusal, Role, warrant};
use crate::look::{Sight, Wakers, look};
use crate::machine::events::What;
use crate::machine::store::MachineDir;
use crate::protocol::Judged;
use crate::protocol::rewrite::as_recorded;
use crate::sys::pidfd::PidFd;
use crate::sys::signal::SignalSet;

mod prey;
pub mod sweep;

use prey::Prey;

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
    /// How long to wait for the machine lock, to write down that they are to end.
    pub lock_timeout: Duration,
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
    /// It no longer holds the machine, but so many processes of its job are still there.
    Left(usize),
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
    /// Ends these runs, and waits until none of them holds the machine and nothing of their jobs is left;
    /// those that it may not signal it does not wait for. Takes the grace and four times [`AFTER_KILL`] at most.
    ///
    /// # Errors
    /// The machine cannot be looked at any more.
    pub fn end(&self, runs: Vec<Judged>, patience: &mut Patience) -> Result<Vec<Ended>, Error> {
        let mut preys: Vec<Prey<'_>> = runs.into_iter().map(Prey::new).collect();
        // The last one is for supervisors: of what is left of a job KILL may be all that it takes, and who
        // holds the machine without a job may be stopped.
        let rounds = [(Sent::Term, self.grace), (Sent::Kill, AFTER_KILL), (Sent::Kill, AFTER_KILL)];
        for (signal, time) in rounds {
            let sight = self.look(&mut preys, patience)?;
            for prey in preys.iter_mut().filter(|prey| prey.is_to_end()) {
                prey.pursue(signal, self, &sight);
            }
            // A time that no clock reaches is none.
            self.wait(&mut preys, Instant::now().checked_add(time), patience)?;
        }
        Ok(preys.into_iter().map(Prey::ended).collect())
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

    /// Waits until all runs are gone that are not refused, or `until`.
    fn wait(
        &self,
        preys: &mut [Prey<'_>],
        until: Option<Instant>,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        loop {
            let sight = self.look(preys, patience)?;
            let done = !preys.iter().any(Prey::is_to_end);
            if done || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            let left: Vec<PidFd> = preys.iter().flat_map(|prey| prey.left()).collect();
            let mut wakers = Wakers::default();
            wakers.holders(&sight);
            wakers.processes(&left);
            if preys.iter().any(Prey::is_crowded) {
                wakers.at_most(LOOK_AGAIN);
            }
            wakers.sleep(until, self.mask)?;
        }
    }

    /// Looks at the machine, which of the runs no longer hold it, and what is left of their jobs.
    fn look(&self, preys: &mut [Prey<'_>], patience: &mut Patience) -> Result<Sight, Error> {
        let sight = look(self.dir, self.observer, patience)?;
        preys.iter_mut().for_each(|prey| prey.look(&sight));
        Ok(sight)
    }
}

/// Where the ends of not all processes can be waited for, so often is looked.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Ended {
    /// The event of what was done to it, if anything was.
    pub fn event(&self) -> Option<(u64, What)> {
        let signals: Vec<String> = self.signals.iter().map(|s| s.name().to_owned()).collect();
        let (uid, holder) = (getuid().as_raw(), as_recorded(&self.run.subject));
        let event = (self.run.subject.token(), What::Stopped { signals, uid, holder });
        (!self.signals.is_empty()).then_some(event)
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
