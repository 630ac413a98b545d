//! Giving a machine back, after its job is over and before it is reaped.

use super::rewrite::{next_revision, without_run};
use super::{Act, Answer, Next, Protocol, Seen};
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Release {
    step: Step,
    token: u64,
    /// How it ended; `None`: it never began.
    run: Option<LastRun>,
    outcome: Outcome,
    event: Option<What>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Putting,
    Logging,
    Unlinking,
    Unlocking,
    Closing,
    Over,
}

impl Release {
    /// The release of the run that ended like this.
    pub fn new(run: LastRun) -> Self {
        Self { run: Some(run.clone()), ..Self::of_none(run.token) }
    }

    /// Takes back a run that never began: nothing is left to show that it was there.
    pub fn of_none(token: u64) -> Self {
        let (step, outcome) = (Step::Start, Outcome::Released);
        Self { step, token, run: None, outcome, event: None }
    }
}

impl Protocol for Release {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),
            (Step::Putting, Answer::Done) => self.log(),
            (Step::Logging, Answer::Done) if self.outcome == Outcome::Released => {
                self.go(Step::Unlinking, Act::Unlink(vec![self.token]))
            }
            (Step::Logging | Step::Unlinking, Answer::Done) => {
                self.go(Step::Unlocking, Act::Unlock)
            }
            // Unlinked first, so nobody can feel it slack and take that for a crash.
            (Step::Unlocking, Answer::Done) => self.go(Step::Closing, Act::CloseLifeline),
            (Step::Closing, Answer::Done) => Next::Finish(self.outcome),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Release {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        let Some(command) = command_of(&seen.record, self.token) else {
            // Whatever the record says now is somebody else's: touch nothing but the log.
            self.outcome = Outcome::TakenOver;
            self.event = self.run.clone().map(|run| What::EndedUnrecorded { run });
            return self.log();
        };
        let record = match self.run.clone() {
            None => without_run(seen.record, self.token),
            Some(run) => {
                self.event = Some(What::Ended { run: run.clone(), command });
                released(seen.record, run)
            }
        };
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }

    fn log(&mut self) -> Next<Outcome> {
        let events = self.event.iter().map(|what| (self.token, what.clone())).collect();
        self.go(Step::Logging, Act::Log(events))
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
