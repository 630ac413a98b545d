//! What a claim makes of what it reads and feels.

use super::{Claim, Outcome, Plan, Step, unrecorded_holder};
use crate::machine::record::Holder;
use crate::protocol::rewrite::{next_revision, with, without};
use crate::protocol::want::Standing;
use crate::protocol::{Act, Felt, Judged, Next, Queue, Seen};

impl Claim {
    /// Whether the plan is to take the machine: it fits beside those who hold it, and it is our turn.
    pub(super) fn is_ours(&self) -> bool {
        let holding: Vec<Standing<'_>> = self.plan.holders.iter().map(Judged::standing).collect();
        self.is_wanted()
            && !self.is_refused
            && !self.queue.is_lost
            && self.queue.waiting.len() <= self.request.passes
            && self.request.want.fits(&holding)
    }

    pub(super) fn seen(&mut self, seen: Seen) -> Next<Outcome> {
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

    pub(super) fn felt_queue(&mut self, queue: Queue) -> Next<Outcome> {
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
    pub(super) fn is_wanted(&self) -> bool {
        let lost = self.plan.record.lost.as_ref().map(|lost| lost.token);
        self.request.repeats.is_none_or(|token| lost == Some(token))
    }

    pub(super) fn decide(&mut self) -> Next<Outcome> {
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

    pub(super) fn make_lifeline(&mut self, token: u64) -> Next<Outcome> {
        self.plan.token = token;
        self.go(Step::MakingLifeline, Act::MakeLifeline(token))
    }

    pub(super) fn felt(&mut self, Felt { taut, slack }: Felt) -> Next<Outcome> {
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

    pub(super) fn record(&mut self, holder: Holder) -> Next<Outcome> {
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
