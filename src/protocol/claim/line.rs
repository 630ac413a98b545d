//! Lining up: where a claim ends that cannot have its machine now.

use super::{Claim, Outcome, Queueing, Step};
use crate::machine::ticket::{AHEAD, Spot, TicketId};
use crate::protocol::{Act, Next};

impl Claim {
    /// It is not ours now: waits in the queue, if it is to wait, and is not there yet.
    pub(super) fn line_up(&mut self) -> Next<Outcome> {
        match self.request.ticket {
            _ if self.request.queueing == Queueing::Never => self.go(Step::Unlocking, Act::Unlock),
            // The holder in whose job it waited is over, or has begun to be one.
            Some(ticket) if ticket.within != self.plan.within => {
                self.go(Step::Moving, Act::LeaveQueue)
            }
            Some(_) => self.go(Step::Unlocking, Act::Unlock),
            None => self.enter_queue(),
        }
    }

    pub(super) fn enter_queue(&mut self) -> Next<Outcome> {
        let all = self.queue.waiting.iter().chain(&self.queue.away);
        let ours = all.filter(|ticket| ticket.within == self.plan.within).copied();
        let (ahead, behind): (Vec<TicketId>, Vec<TicketId>) = ours.partition(|t| t.number == AHEAD);
        let evicted = match self.request.queueing {
            Queueing::Last(Some(most)) if ahead.len() + behind.len() >= most => {
                self.is_full = true;
                return self.go(Step::Unlocking, Act::Unlock);
            }
            Queueing::Newest => behind,
            Queueing::Ahead => ahead,
            Queueing::Last(_) | Queueing::Never => Vec::new(),
        };
        match evicted.is_empty() {
            true => self.enqueue(),
            false => self.go(Step::Evicting, Act::Evict(evicted)),
        }
    }

    pub(super) fn enqueue(&mut self) -> Next<Outcome> {
        let ahead = self.request.queueing == Queueing::Ahead;
        let spot = Spot { within: self.plan.within, ahead };
        self.go(Step::Enqueuing, Act::Enqueue(spot))
    }
}
