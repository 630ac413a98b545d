//! Going away without having had the machine: counted and logged, so that nothing is silent.

use super::edit::{Edit, Editing};
use super::{Judged, Seen};
use crate::identity::verdict::{Subject, Verdict};
use crate::machine::argument::Argument;
use crate::machine::events::{What, Why};
use crate::machine::record::Record;

pub use super::note::Outcome;

/// A withdrawal under way.
pub type Withdraw = Editing<Withdrawal>;

/// Who goes away, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Withdrawal {
    why: Why,
    command: Vec<Argument>,
    /// The run that was in the way; 0 when none was.
    token: u64,
}

impl Withdraw {
    /// The withdrawal of somebody who would have run this.
    pub fn new(why: Why, command: Vec<Argument>) -> Self {
        Self::of(Withdrawal { why, command, token: 0 })
    }
}

impl Edit for Withdrawal {
    type Outcome = Outcome;

    const MISLED: Outcome = Outcome::Misled;

    fn decide(&mut self, seen: Seen) -> Option<Record> {
        self.token = seen.judged.first().map_or(0, |judged| judged.subject.token());
        // A record that is not ours to write, or may be written by another host, keeps what it says:
        // a counter is not worth a risk.
        let ours = |judged: &Judged| {
            matches!(judged.subject, Subject::Holder(_))
                && !matches!(judged.judgement.verdict, Verdict::Unverifiable(_))
        };
        seen.judged.iter().all(ours).then(|| counted(seen.record, self.why))
    }

    fn events(&mut self) -> Vec<(u64, What)> {
        let command = std::mem::take(&mut self.command);
        vec![(self.token, What::NotRun { why: self.why, command })]
    }

    fn outcome(&self) -> Outcome {
        Outcome::Done
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
