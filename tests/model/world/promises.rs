//! What is promised, and checked wherever it could break.

use jobguard::machine::record::{Holder, Record};
use jobguard::machine::ticket::TicketId;

use super::queue::is_before;
use super::{At, Fate, JobState, Life, Role, Violation, World};
use crate::evidence;

impl World {
    /// The jobs that are at work, if they may not be beside each other.
    pub fn collision(&self) -> Option<Violation> {
        let at_work: Vec<(usize, Role)> = self
            .jobs
            .iter()
            .filter(|job| job.state.is_at_work())
            .map(|job| (job.parent, self.processes[job.parent].role))
            .collect();
        let slots = at_work.iter().filter(|(_, role)| *role == Role::Slot).count();
        let share = |one: &(usize, Role), other: &(usize, Role)| match (one.1, other.1) {
            (Role::Slot, Role::Slot) => slots <= 2,
            (role, _) if role.outer() == Some(other.0) => true,
            (_, role) if role.outer() == Some(one.0) => true,
            (one, other) if one.reads() && other.reads() => true,
            (one, other) => !one.machines().iter().any(|m| other.machines().contains(m)),
        };
        let collides = |(index, one): (usize, &(usize, Role))| {
            at_work[index + 1..].iter().any(|other| !share(one, other))
        };
        at_work.iter().enumerate().any(collides).then(|| format!("{} jobs at once", at_work.len()))
    }

    /// Those who wait before it in a queue of a machine, or all of them if it has no place there.
    pub fn before(&self, index: usize, machine: usize, within: Option<u64>) -> Vec<usize> {
        let ours = self.processes[index].at[machine].ticket.filter(|own| own.within == within);
        let number = ours.map(|own| own.number);
        let counts = |(id, _): &(&TicketId, &Option<usize>)| {
            let inside = id.within.filter(|_| within.is_none());
            is_before(id, within, number) && inside.is_none_or(|token| self.holds(machine, token))
        };
        self.machines[machine].queue.iter().filter(counts).filter_map(|(_, w)| *w).collect()
    }

    /// Whether a run holds a machine: inside one that is over nobody is waited for.
    fn holds(&self, machine: usize, token: u64) -> bool {
        let mut holders = self.machines[machine].record.iter().flat_map(|record| &record.holders);
        holders.find(|holder| holder.token == token).is_some_and(|holder| {
            let job = &self.jobs[evidence::job_of(holder)];
            job.state != JobState::Over || self.processes[job.parent].is_alive()
        })
    }

    /// Nobody jumps a queue, as long as there was but one lock file.
    pub(super) fn check_turn(&self, index: usize) -> Result<(), Violation> {
        let process = &self.processes[index];
        for &machine in process.role.machines() {
            let At { fate, passed, .. } = &*process.at[machine];
            if !self.machines[machine].has_its_first_lock() {
                continue;
            }
            if *fate == Fate::Taken {
                return Err(format!("process {index} runs though its place was taken"));
            }
            let waits =
                |waiter: &&usize| !self.processes[**waiter].stopped && !passed.contains(*waiter);
            let before = self.before(index, machine, self.outer_run(index, machine));
            if let Some(waiter) = before.iter().find(waits) {
                return Err(format!("process {index} jumps the queue before {waiter}"));
            }
        }
        Ok(())
    }

    /// Nobody who may still run is removed from the record of a machine.
    pub(super) fn check_removed(
        &self,
        index: usize,
        machine: usize,
        new: &Record,
    ) -> Result<(), Violation> {
        let old = self.machines[machine].record.iter().flat_map(|record| &record.holders);
        for holder in old.filter(|old| !new.holders.iter().any(|new| new.token == old.token)) {
            let job = evidence::job_of(holder);
            let parent = self.jobs[job].parent;
            let run = &self.processes[parent];
            let tries_again = run.role.tries_again() && run.is_alive() && parent != index;
            let state = self.jobs[job].state;
            if tries_again || state.is_at_work() || state == JobState::Gated {
                return Err(format!("process {index} cleared the live holder {}", holder.token));
            }
        }
        Ok(())
    }

    /// No job begins without a record on every machine that it wants.
    pub(super) fn check_recorded(&self, job: usize) -> Result<(), Violation> {
        let names = |record: &Record| {
            record.holders.iter().any(|holder: &Holder| evidence::job_of(holder) == job)
        };
        for &machine in self.processes[self.jobs[job].parent].role.machines() {
            // One that is about to be put back is there all but for a moment, in which the lifelines
            // count.
            let displaced = self.processes.iter().flat_map(|p| p.at[machine].displaced.as_deref());
            if !self.machines[machine].record.iter().chain(displaced).any(names) {
                return Err(format!("job {job} begins without a record"));
            }
        }
        Ok(())
    }

    /// Whoever waits for several machines has a place in each of their queues; and of two, one is
    /// before the other everywhere, as long as there was but one lock file of the first: that is held
    /// while all tickets are taken.
    pub(super) fn check_places(&self, index: usize) -> Result<(), Violation> {
        let process = &self.processes[index];
        let machines = process.role.machines();
        if process.life != Life::Waiting || !process.role.queues() {
            return Ok(());
        }
        if machines.iter().any(|machine| process.at[*machine].ticket.is_none()) {
            return Err(format!("process {index} waits without a place"));
        }
        if !self.machines[machines[0]].has_its_first_lock() {
            return Ok(());
        }
        for (other, _) in self.processes.iter().enumerate().filter(|(other, _)| *other != index) {
            let orders: Vec<bool> = machines
                .iter()
                .filter_map(|machine| self.is_before(index, other, *machine))
                .collect();
            if orders.contains(&true) && orders.contains(&false) {
                return Err(format!("processes {index} and {other} wait for each other"));
            }
        }
        Ok(())
    }

    /// Whether the one waits before the other, if both wait in the same queue.
    fn is_before(&self, one: usize, other: usize, machine: usize) -> Option<bool> {
        let place = |index: usize| {
            let at = &self.processes[index].at[machine];
            at.ticket.filter(|_| at.fate == Fate::Kept && self.processes[index].is_alive())
        };
        let (one, other) = (place(one)?, place(other)?);
        (one.within == other.within).then_some(one < other)
    }
}
