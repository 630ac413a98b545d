//! Giving a machine back, after its job is over and before it is reaped.

use super::edit::{Edit, Editing};
use super::rewrite::without_run;
use super::{Act, Seen};
use crate::machine::argument::Argument;
use crate::machine::events::What;
use crate::machine::record::{LastRun, Record};

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The machine is free.
    Released,
    /// The record did not name us any more: somebody cleared us by force, or found us stalled.
    TakenOver,
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// A release under way.
pub type Release = Editing<Ended>;

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ended {
    token: u64,
    /// How it ended; `None`: it never began.
    run: Option<LastRun>,
    outcome: Outcome,
    event: Option<What>,
}

impl Release {
    /// The release of the run that ended like this.
    pub fn new(run: LastRun) -> Self {
        Self::of(Ended::new(run.token, Some(run)))
    }

    /// Takes back a run that never began: nothing is left to show that it was there.
    pub fn of_none(token: u64) -> Self {
        Self::of(Ended::new(token, None))
    }
}

impl Ended {
    fn new(token: u64, run: Option<LastRun>) -> Self {
        Self { token, run, outcome: Outcome::Released, event: None }
    }
}

impl Edit for Ended {
    type Outcome = Outcome;

    const MISLED: Outcome = Outcome::Misled;

    fn decide(&mut self, seen: Seen) -> Option<Record> {
        let Some(command) = command_of(&seen.record, self.token) else {
            // Whatever the record says now is somebody else's: touch nothing but the log.
            self.outcome = Outcome::TakenOver;
            self.event = self.run.clone().map(|run| What::EndedUnrecorded { run });
            return None;
        };
        Some(match self.run.clone() {
            None => without_run(seen.record, self.token),
            Some(run) => {
                self.event = Some(What::Ended { run: run.clone(), command });
                released(seen.record, run)
            }
        })
    }

    fn events(&mut self) -> Vec<(u64, What)> {
        self.event.take().map(|what| (self.token, what)).into_iter().collect()
    }

    fn afterwards(&self) -> Vec<Act> {
        match self.outcome {
            // Unlinked first, so nobody can feel it slack and take that for a crash.
            Outcome::Released => {
                vec![Act::Unlink(vec![self.token]), Act::Unlock, Act::CloseLifeline]
            }
            Outcome::TakenOver | Outcome::Misled => vec![Act::Unlock, Act::CloseLifeline],
        }
    }

    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

/// The command line of a run; `None` when the record does not name it.
fn command_of(record: &Record, token: u64) -> Option<Vec<Argument>> {
    let mine = record.holders.iter().find(|holder| holder.token == token)?;
    Some(mine.command.clone())
}

/// The record without the holder that ended.
fn released(mut record: Record, run: LastRun) -> Record {
    record.holders.retain(|holder| holder.token != run.token);
    record.last = Some(run);
    record
}

#[cfg(test)]
mod tests;
