//! Giving a machine back, after its job is over and before it is reaped.

use super::rewrite::next_revision;
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
    run: LastRun,
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
        Self { step: Step::Start, run, outcome: Outcome::Released, event: None }
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
                self.go(Step::Unlinking, Act::Unlink(vec![self.run.token]))
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
        let run = self.run.clone();
        let Some((record, command)) = released(seen.record, run.clone()) else {
            // Whatever the record says now is somebody else's: touch nothing but the log.
            self.outcome = Outcome::TakenOver;
            self.event = Some(What::EndedUnrecorded { run });
            return self.log();
        };
        self.event = Some(What::Ended { run, command });
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }

    fn log(&mut self) -> Next<Outcome> {
        let events = self.event.iter().map(|what| (self.run.token, what.clone())).collect();
        self.go(Step::Logging, Act::Log(events))
    }
}

/// The record without the holder that ended, and that one's command line; `None` when the record
/// does not name it.
fn released(mut record: Record, run: LastRun) -> Option<(Record, Vec<Argument>)> {
    let mine = record.holders.iter().position(|holder| holder.token == run.token)?;
    let holder = record.holders.remove(mine);
    record.last = Some(run);
    Some((record, holder.command))
}

#[cfg(test)]
mod tests;
