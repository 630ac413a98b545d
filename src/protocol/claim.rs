//! Taking a machine: from the lock to the open gate.

use super::claims::Joint;
use super::rewrite::{next_revision, phantom_event, without_run};
use super::{Act, Answer, Judged, Next, Protocol, Queue};
use crate::identity::verdict::{Judgement, Subject, UNRECORDED, Verdict};
use crate::machine::record::Record;

mod decide;
mod line;
mod request;

pub use request::{Outcome, Queueing, Request};

/// A claim under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    step: Step,
    request: Request,
    queue: Queue,
    is_full: bool,
    /// Another machine is not to be had, so this one is not either.
    is_refused: bool,
    plan: Plan,
}

/// What was decided on the record as it was read, and so must hold until it is rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Plan {
    /// The record without phantoms.
    record: Record,
    phantoms: Vec<Judged>,
    token: u64,
    /// The identity of the lifeline that we made.
    lifeline: Option<String>,
    /// Who holds the machine.
    holders: Vec<Judged>,
    /// The holder in whose job we are.
    within: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    FeelingQueue,
    SweepingQueue,
    MakingLifeline,
    Feeling,
    ReadingAgain {
        slack: Vec<u64>,
    },
    Sweeping,
    Forking,
    Putting,
    Logging,
    Unlinking,
    /// Leaving a queue that is not ours any more, for the one that is.
    Moving,
    Evicting,
    Enqueuing,
    LeavingQueue,
    Unlocking,
    Opening,
    /// Undoing the fork, then the lifeline, then starting over with the lock in hand.
    Abandoning,
    StartingOver,
    /// Undoing the lifeline to try another token.
    Renaming(u64),
    /// Undoing the lifeline because somebody is there.
    Yielding,
    /// Undoing the record, then the lifeline: another machine is not to be had after all.
    Rereading,
    Retracting,
    Unnaming,
    Closing,
    Over,
}

impl Claim {
    /// A claim that has not begun.
    pub fn new(machine: &str, request: Request) -> Self {
        let plan = Plan {
            record: Record::new(machine),
            phantoms: Vec::new(),
            token: 0,
            lifeline: None,
            holders: Vec::new(),
            within: None,
        };
        let queue = Queue::default();
        Self { step: Step::Start, request, queue, is_full: false, is_refused: false, plan }
    }
}

impl Protocol for Claim {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking | Step::StartingOver, Answer::Done) => self.read(),
            (Step::Reading, Answer::Seen(seen)) => self.seen(*seen),
            (Step::FeelingQueue, Answer::Queue(queue)) => self.felt_queue(queue),
            (Step::SweepingQueue, Answer::Done) => self.decide(),

            // Everybody makes a lifeline before looking for others', so of two that hold different
            // lock files (one was deleted) at least one sees the other.
            (Step::MakingLifeline, Answer::Made(id)) => {
                self.plan.lifeline = Some(id);
                self.go(Step::Feeling, Act::FeelOthers)
            }
            (Step::MakingLifeline, Answer::Taken) => self.make_lifeline(self.plan.token + 1),
            (Step::Feeling, Answer::Felt(felt)) => self.felt(felt),
            (Step::Renaming(token), Answer::Done) => self.make_lifeline(token),
            (Step::ReadingAgain { slack }, Answer::Done) => {
                self.go(Step::Sweeping, Act::Sweep(slack))
            }
            (Step::ReadingAgain { .. } | Step::Abandoning, Answer::Changed | Answer::Done) => {
                self.go(Step::StartingOver, Act::DropLifeline)
            }

            (Step::Sweeping, Answer::Done) => {
                self.go(Step::Forking, Act::Fork(vec![self.plan.token]))
            }
            (Step::Forking, Answer::Born(holder)) => self.record(*holder),
            (Step::Forking | Step::Abandoning, Answer::Refused) => {
                self.is_refused = true;
                self.go(Step::Yielding, Act::DropLifeline)
            }
            (Step::Putting, Answer::Changed) if self.is_ours() => {
                self.go(Step::Abandoning, Act::Abandon)
            }
            (Step::Putting, Answer::Changed) => self.read(),
            (Step::Putting, Answer::Done) => {
                let events = self.plan.phantoms.iter().filter_map(phantom_event).collect();
                self.go(Step::Logging, Act::Log(events))
            }
            // Only now: until the new record is in place the old one names these lifelines.
            (Step::Logging, Answer::Done) => {
                let tokens = self.plan.phantoms.iter().map(|p| p.subject.token()).collect();
                self.go(Step::Unlinking, Act::Unlink(tokens))
            }
            (Step::Unlinking, Answer::Done) if self.is_ours() => match self.request.ticket {
                Some(_) => self.go(Step::LeavingQueue, Act::LeaveQueue),
                None => self.go(Step::Unlocking, Act::Unlock),
            },
            // Refused with phantoms in the record: they go, as where the machine is not ours.
            (Step::Yielding, Answer::Done) => self.decide(),
            (Step::Unlinking, Answer::Done) => self.line_up(),
            (Step::Moving, Answer::Done) => self.enter_queue(),
            (Step::Evicting, Answer::Done) => self.enqueue(),
            (Step::Enqueuing | Step::LeavingQueue, Answer::Done) => {
                self.go(Step::Unlocking, Act::Unlock)
            }
            (Step::Closing, Answer::Done) => self.line_up(),
            (Step::LeavingQueue | Step::Unlocking, Answer::Refused) => {
                self.is_refused = true;
                self.go(Step::Rereading, Act::Read)
            }
            (Step::Rereading, Answer::Seen(seen)) => {
                let mut record = without_run(seen.record, self.plan.token);
                if self.request.repeats.is_some() {
                    record.lost = record.lost.or(self.plan.record.lost.take());
                }
                self.go(Step::Retracting, Act::Put(next_revision(record)))
            }
            (Step::Retracting, Answer::Changed) => self.go(Step::Rereading, Act::Read),
            (Step::Retracting, Answer::Done) => {
                self.go(Step::Unnaming, Act::Unlink(vec![self.plan.token]))
            }
            (Step::Unnaming, Answer::Done) => self.go(Step::Closing, Act::CloseLifeline),
            (Step::Unlocking, Answer::Done) if self.is_ours() => {
                self.go(Step::Opening, Act::OpenGate)
            }
            (Step::Unlocking, Answer::Done) if !self.is_wanted() => Next::Finish(Outcome::NotLost),
            (Step::Unlocking, Answer::Done) => Next::Finish(Outcome::Busy {
                cleared: std::mem::take(&mut self.plan.phantoms),
                is_full: self.is_full,
            }),
            (Step::Opening, Answer::Done) => Next::Finish(Outcome::Granted {
                token: self.plan.token,
                cleared: std::mem::take(&mut self.plan.phantoms),
            }),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Joint for Claim {
    fn is_granted(&self) -> bool {
        matches!(self.step, Step::LeavingQueue)
    }
}

impl Claim {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn read(&mut self) -> Next<Outcome> {
        self.go(Step::Reading, Act::Read)
    }
}

/// A live holder whom no record names.
pub(super) fn unrecorded_holder(token: u64) -> Judged {
    let judgement = Judgement { verdict: Verdict::Live, rule: UNRECORDED };
    Judged::new(Subject::Unrecorded(token), judgement)
}

#[cfg(test)]
mod tests;
