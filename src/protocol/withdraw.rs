//! Going away without having had the machine: counted and logged, so that nothing is silent.

use super::rewrite::next_revision;
use super::{Act, Answer, Judged, Next, Protocol, Seen};
use crate::identity::verdict::{Subject, Verdict};
use crate::machine::argument::Argument;
use crate::machine::events::{What, Why};
use crate::machine::record::Record;

pub use super::note::Outcome;

/// A withdrawal under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Withdraw {
    step: Step,
    why: Why,
    command: Vec<Argument>,
    /// The run that was in the way; 0 when none was.
    token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Putting,
    Logging,
    Unlocking,
    Over,
}

impl Withdraw {
    /// The withdrawal of somebody who would have run this.
    pub fn new(why: Why, command: Vec<Argument>) -> Self {
        Self { step: Step::Start, why, command, token: 0 }
    }

    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        self.token = seen.judged.first().map_or(0, |judged| judged.subject.token());
        // A record that is not ours to write, or may be written by another host, keeps what it says:
        // a counter is not worth a risk.
        let ours = |judged: &Judged| {
            matches!(judged.subject, Subject::Holder(_))
                && !matches!(judged.judgement.verdict, Verdict::Unverifiable(_))
        };
        match seen.judged.iter().all(ours) {
            true => self.go(Step::Putting, Act::Put(next_revision(counted(seen.record, self.why)))),
            false => self.log(),
        }
    }

    fn log(&mut self) -> Next<Outcome> {
        let command = std::mem::take(&mut self.command);
        let what = What::NotRun { why: self.why, command };
        self.go(Step::Logging, Act::Log(vec![(self.token, what)]))
    }
}

impl Protocol for Withdraw {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),
            (Step::Putting, Answer::Done) => self.log(),
            (Step::Logging, Answer::Done) => self.go(Step::Unlocking, Act::Unlock),
            (Step::Unlocking, Answer::Done) => Next::Finish(Outcome::Done),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

/// The record with one more of these.
fn counted(mut record: Record, why: Why) -> Record {
    let counters = &mut record.counters;
    let counter = match why {
        Why::Refused => &mut counters.refused,
        Why::Skipped => &mut counters.skipped,
        Why::Reused => &mut counters.reused,
        Why::TimedOut => &mut counters.timed_out,
        Why::Replaced => &mut counters.replaced,
    };
    *counter = counter.saturating_add(1);
    record
}

#[cfg(test)]
mod tests;
