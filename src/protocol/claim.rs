//! Taking a machine: from the lock to the open gate.

use super::rewrite::{next_revision, phantom_event, with, without};
use super::{Act, Answer, Felt, Judged, Next, Protocol, Queue, Seen};
use crate::identity::verdict::{Judgement, Subject, UNRECORDED, Verdict};
use crate::machine::record::Record;

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The machine is ours, and the job runs. The phantoms that were in the way are cleared.
    Granted {
        /// Our token.
        token: u64,
        /// Whom we cleared.
        cleared: Vec<Judged>,
    },
    /// Somebody holds the machine, or it is another's turn. The lock is released; nothing of ours
    /// is left but a ticket, if we took one.
    Busy {
        /// Who holds it.
        holders: Vec<Judged>,
        /// Whom we cleared nevertheless.
        cleared: Vec<Judged>,
    },
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// What a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// An earlier claim of this run found the machine held.
    pub contended: bool,
    /// It takes a ticket when it has to wait.
    pub queues: bool,
    /// The ticket that it has.
    pub ticket: Option<u64>,
    /// How many of those before it may be passed over: they have let a free machine go by.
    pub passes: usize,
}

/// A claim under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    step: Step,
    request: Request,
    /// How many wait before us.
    before: usize,
    plan: Plan,
}

/// What was decided on the record as it was read, and so must hold until it is rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Plan {
    /// The record without phantoms.
    record: Record,
    phantoms: Vec<Judged>,
    token: u64,
    /// Who holds the machine.
    holders: Vec<Judged>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    FeelingQueue,
    SweepingQueue,
    Reading,
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
    Over,
}

impl Claim {
    /// A claim that has not begun.
    pub fn new(machine: &str, request: Request) -> Self {
        let plan = Plan {
            record: Record::new(machine),
            phantoms: Vec::new(),
            token: 0,
            holders: Vec::new(),
        };
        Self { step: Step::Start, request, before: 0, plan }
    }
}

impl Protocol for Claim {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) => {
                self.go(Step::FeelingQueue, Act::FeelQueue(self.request.ticket))
            }
            (Step::FeelingQueue, Answer::Queue(queue)) => self.felt_queue(queue),
            (Step::SweepingQueue | Step::StartingOver, Answer::Done) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),

            // Everybody makes a lifeline before looking for others', so of two that hold different
            // lock files (one was deleted) at least one sees the other.
            (Step::MakingLifeline, Answer::Done) => self.go(Step::Feeling, Act::FeelOthers),
            (Step::MakingLifeline, Answer::Taken) => self.make_lifeline(self.plan.token + 1),
            (Step::Feeling, Answer::Felt(felt)) => self.felt(felt),
            (Step::Renaming(token), Answer::Done) => self.make_lifeline(token),
            (Step::ReadingAgain { slack }, Answer::Done) => {
                self.go(Step::Sweeping, Act::Sweep(slack))
            }
            (Step::ReadingAgain { .. } | Step::Abandoning, Answer::Changed | Answer::Done) => {
                self.go(Step::StartingOver, Act::DropLifeline)
            }

            (Step::Sweeping, Answer::Done) => self.go(Step::Forking, Act::Fork(self.plan.token)),
            (Step::Forking, Answer::Born(mut holder)) => {
                holder.token = self.plan.token;
                let record = with(self.plan.record.clone(), *holder, self.request.contended);
                self.go(Step::Putting, Act::Put(next_revision(record)))
            }
            (Step::Putting, Answer::Changed) if self.is_ours() => {
                self.go(Step::Abandoning, Act::Abandon)
            }
            (Step::Putting, Answer::Changed) => self.go(Step::Reading, Act::Read),
            (Step::Putting, Answer::Done) => {
                let events = self.plan.phantoms.iter().filter_map(phantom_event).collect();
                self.go(Step::Logging, Act::Log(events))
            }
            // Only now: until the new record is in place the old one names these lifelines.
            (Step::Logging, Answer::Done) => {
                let tokens = self.plan.phantoms.iter().map(|p| p.subject.token()).collect();
                self.go(Step::Unlinking, Act::Unlink(tokens))
            }
            (Step::Unlinking, Answer::Done) if self.is_ours() && self.request.ticket.is_some() => {
                self.go(Step::LeavingQueue, Act::LeaveQueue)
            }
            (Step::Unlinking, Answer::Done) if self.is_ours() => {
                self.go(Step::Unlocking, Act::Unlock)
            }
            (Step::Unlinking | Step::Yielding, Answer::Done) => self.line_up(),
            (Step::Enqueuing | Step::LeavingQueue, Answer::Done) => {
                self.go(Step::Unlocking, Act::Unlock)
            }
            (Step::Unlocking, Answer::Done) if self.is_ours() => {
                self.go(Step::Opening, Act::OpenGate)
            }
            (Step::Unlocking, Answer::Done) => Next::Finish(Outcome::Busy {
                holders: std::mem::take(&mut self.plan.holders),
                cleared: std::mem::take(&mut self.plan.phantoms),
            }),
            (Step::Opening, Answer::Done) => Next::Finish(Outcome::Granted {
                token: self.plan.token,
                cleared: std::mem::take(&mut self.plan.phantoms),
            }),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Claim {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    /// Whether the plan is to take the machine: nobody holds it, and it is our turn.
    fn is_ours(&self) -> bool {
        self.plan.holders.is_empty() && self.before <= self.request.passes
    }

    fn felt_queue(&mut self, queue: Queue) -> Next<Outcome> {
        self.before = queue.waiting.len();
        match queue.gone.is_empty() {
            true => self.go(Step::Reading, Act::Read),
            false => self.go(Step::SweepingQueue, Act::SweepQueue(queue.gone)),
        }
    }

    /// It is not ours now: waits in the queue, if it is to wait, and is not there yet.
    fn line_up(&mut self) -> Next<Outcome> {
        match self.request.queues && self.request.ticket.is_none() {
            true => self.go(Step::Enqueuing, Act::Enqueue),
            false => self.go(Step::Unlocking, Act::Unlock),
        }
    }

    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        let (phantoms, holders): (Vec<_>, Vec<_>) =
            seen.judged.into_iter().partition(Judged::is_phantom);
        let record = without(seen.record, &phantoms, &seen.now);
        let token = record.token.saturating_add(1).max(seen.now_ms);
        self.plan = Plan { record, phantoms, token, holders };
        if self.is_ours() {
            return self.make_lifeline(token);
        }
        if self.plan.phantoms.is_empty() {
            return self.line_up();
        }
        // Beside those who hold it there were phantoms, or another is to have it: they go, we wait.
        let record = next_revision(self.plan.record.clone());
        self.go(Step::Putting, Act::Put(record))
    }

    fn make_lifeline(&mut self, token: u64) -> Next<Outcome> {
        self.plan.token = token;
        self.go(Step::MakingLifeline, Act::MakeLifeline(token))
    }

    fn felt(&mut self, Felt { taut, slack }: Felt) -> Next<Outcome> {
        // The record's phantoms go by the record: a stalled supervisor still holds its lifeline.
        let named = |token: &u64| self.plan.phantoms.iter().any(|p| p.subject.token() == *token);
        let unrecorded: Vec<u64> = taut.iter().copied().filter(|token| !named(token)).collect();
        let slack: Vec<u64> = slack.into_iter().filter(|token| !named(token)).collect();
        if !unrecorded.is_empty() {
            self.plan.holders = unrecorded.into_iter().map(unrecorded_holder).collect();
            self.plan.phantoms = Vec::new(); // nothing was rewritten, so nobody was cleared
            return self.go(Step::Yielding, Act::DropLifeline);
        }
        // A token names one run for ever, also when the record that knew the last one was lost.
        match slack.iter().max() {
            Some(highest) if *highest >= self.plan.token => {
                self.go(Step::Renaming(highest + 1), Act::DropLifeline)
            }
            _ => self.go(Step::ReadingAgain { slack }, Act::ReadAgain),
        }
    }
}

/// A live holder whom no record names.
pub(super) fn unrecorded_holder(token: u64) -> Judged {
    Judged {
        subject: Subject::Unrecorded(token),
        judgement: Judgement { verdict: Verdict::Live, rule: UNRECORDED },
    }
}

#[cfg(test)]
mod tests;
