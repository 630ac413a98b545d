//! Taking a machine: from the lock to the open gate.

use super::claims::Joint;
use super::rewrite::{next_revision, phantom_event, with, without, without_run};
use super::want::Standing;
use super::{Act, Answer, Felt, Judged, Next, Protocol, Queue, Seen};
use crate::identity::verdict::{Judgement, Subject, UNRECORDED, Verdict};
use crate::machine::record::{Holder, Record};

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

    /// Whether the plan is to take the machine: it fits beside those who hold it, and it is our turn.
    fn is_ours(&self) -> bool {
        let holding: Vec<Standing<'_>> = self.plan.holders.iter().map(Judged::standing).collect();
        self.is_wanted()
            && !self.is_refused
            && !self.queue.is_lost
            && self.queue.waiting.len() <= self.request.passes
            && self.request.want.fits(&holding)
    }

    fn seen(&mut self, seen: Seen) -> Next<Outcome> {
        let (phantoms, holders): (Vec<_>, Vec<_>) =
            seen.judged.into_iter().partition(Judged::is_phantom);
        let record = without(seen.record, &phantoms, &seen.now);
        let token = record.token.saturating_add(1).max(seen.now_ms);
        let holding: Vec<Standing<'_>> = holders.iter().map(Judged::standing).collect();
        let within = self.request.want.within(&holding);
        self.plan = Plan { record, phantoms, token, lifeline: None, holders, within };
        let ours = self.request.ticket.filter(|ticket| ticket.within == within);
        let before = ours.map(|ticket| ticket.number);
        self.go(Step::FeelingQueue, Act::FeelQueue { within, before })
    }

    fn felt_queue(&mut self, queue: Queue) -> Next<Outcome> {
        self.queue = queue;
        // Inside a run that is over nobody waits any more; they are about to move.
        let holders = &self.plan.holders;
        let is_held = |token| holders.iter().any(|holder| holder.subject.token() == token);
        self.queue.waiting.retain(|ticket| ticket.within.is_none_or(is_held));
        match self.queue.gone.is_empty() {
            true => self.decide(),
            false => {
                let gone = std::mem::take(&mut self.queue.gone);
                self.go(Step::SweepingQueue, Act::SweepQueue(gone))
            }
        }
    }

    /// Whether the lost run that is to be repeated is still there, if that is what this is for.
    fn is_wanted(&self) -> bool {
        let lost = self.plan.record.lost.as_ref().map(|lost| lost.token);
        self.request.repeats.is_none_or(|token| lost == Some(token))
    }

    fn decide(&mut self) -> Next<Outcome> {
        if !self.is_wanted() {
            return self.go(Step::Unlocking, Act::Unlock);
        }
        if self.is_ours() {
            return self.make_lifeline(self.plan.token);
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
        // Whom the record names goes by the record: a stalled supervisor still holds its lifeline,
        // and that of an orphan is slack.
        let Plan { phantoms, holders, .. } = &self.plan;
        let named =
            |token: &u64| phantoms.iter().chain(holders).any(|j| j.subject.token() == *token);
        // One that we are part of holds the machine for us, also when its record was lost.
        let own = |token: &u64| self.request.want.holds.contains(token);
        let in_the_way = |token: &u64| !named(token) && !own(token);
        let unrecorded: Vec<u64> = taut.iter().copied().filter(in_the_way).collect();
        let slack: Vec<u64> = slack.into_iter().filter(|token| !named(token)).collect();
        if !unrecorded.is_empty() {
            self.plan.holders.extend(unrecorded.into_iter().map(unrecorded_holder));
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

    fn record(&mut self, holder: Holder) -> Next<Outcome> {
        let holder = Holder {
            token: self.plan.token,
            lifeline: self.plan.lifeline.clone(),
            mode: self.request.want.mode,
            slots: self.request.want.slots,
            parent: self.plan.within,
            rerun_if_lost: self.request.rerun_if_lost,
            ..holder
        };
        let mut record = with(self.plan.record.clone(), holder, self.request.contended);
        if self.request.repeats.is_some() {
            record.lost = None;
        }
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }
}

/// A live holder whom no record names.
pub(super) fn unrecorded_holder(token: u64) -> Judged {
    let judgement = Judgement { verdict: Verdict::Live, rule: UNRECORDED };
    Judged::new(Subject::Unrecorded(token), judgement)
}

#[cfg(test)]
mod tests;
