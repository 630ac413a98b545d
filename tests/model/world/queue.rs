//! The queues of the machines.

use jobguard::machine::ticket::{AHEAD, Spot, TicketId};
use jobguard::protocol::{Answer, Queue};

use super::acts::Acted;
use super::{Fate, Life, Process, World};
use crate::mutant::{Broken, Mutant};

impl World {
    /// Who waits in the queue of those within that holder, before that number: with those who may be
    /// away for another machine, or without them.
    pub(super) fn feel_queue(
        &self,
        index: usize,
        machine: usize,
        stretch: (Option<u64>, Option<u64>),
        broken: Broken,
    ) -> Acted {
        let heed_all = self.felt_queue(index, machine, stretch, &[], broken);
        let mut away = self.before(index, machine, stretch.0);
        away.retain(|waiter| self.may_be_away(*waiter, index));
        let mut all = vec![(self.clone(), Ok(Some(Answer::Queue(heed_all))))];
        if !away.is_empty() {
            let mut world = self.clone();
            let queue = self.felt_queue(index, machine, stretch, &away, broken);
            world.processes[index].at[machine].passed.extend(away);
            all.push((world, Ok(Some(Answer::Queue(queue)))));
        }
        all
    }

    /// Whether a waiter may say that it waits for another machine, which the asker does not want.
    fn may_be_away(&self, waiter: usize, asker: usize) -> bool {
        let wants = self.processes[asker].role.machines();
        let Process { life, role, .. } = &*self.processes[waiter];
        *life == Life::Waiting && !role.machines().iter().all(|machine| wants.contains(machine))
    }

    fn felt_queue(
        &self,
        index: usize,
        machine: usize,
        (within, before): (Option<u64>, Option<u64>),
        away: &[usize],
        broken: Broken,
    ) -> Queue {
        let mut queue = Queue::default();
        for (ticket, waiter) in &self.machines[machine].queue {
            match waiter {
                _ if !is_before(ticket, within, before) => {}
                None => queue.gone.push(*ticket),
                Some(waiter) if away.contains(waiter) || broken.by(Mutant::JumpTheQueue) => {}
                Some(_) => queue.waiting.push(*ticket),
            }
        }
        queue.is_lost = before.is_some()
            && self.processes[index].at[machine].fate != Fate::Kept
            && !broken.by(Mutant::RunAllTheSame);
        queue
    }

    pub(super) fn evict(&mut self, machine: usize, waiting: &[TicketId]) {
        for ticket in waiting {
            if let Some(Some(waiter)) = self.machines[machine].queue.remove(ticket) {
                self.processes[waiter].at[machine].fate = Fate::Taken;
            }
        }
    }

    pub(super) fn enqueue(&mut self, index: usize, machine: usize, spot: Spot, broken: Broken) {
        let is_first = self.processes[index].role.machines()[0] == machine;
        if broken.by(Mutant::EnqueueOnce) && !is_first {
            return;
        }
        let queue = &mut self.machines[machine].queue;
        let last = queue.last_key_value().map_or(0, |(last, _)| last.number);
        let number = if spot.ahead { AHEAD } else { last + 1 };
        let ticket = TicketId { number, within: spot.within };
        queue.insert(ticket, Some(index));
        self.processes[index].at[machine].ticket = Some(ticket);
    }

    /// Its place is another's by now, if it was taken.
    pub(super) fn leave_queue(&mut self, index: usize, machine: usize) {
        let at = &mut self.processes[index].at[machine];
        let fate = std::mem::take(&mut at.fate);
        if let Some(ticket) = at.ticket.take().filter(|_| fate == Fate::Kept) {
            self.machines[machine].queue.remove(&ticket);
        }
    }
}

/// Whether that ticket is before this number in that queue: those outside wait behind those inside, too.
pub fn is_before(ticket: &TicketId, within: Option<u64>, before: Option<u64>) -> bool {
    match (within, ticket.within) {
        (None, Some(_)) => true,
        (within, other) if within != other => false,
        _ => before.is_none_or(|before| ticket.number < before),
    }
}
