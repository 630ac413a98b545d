//! How somebody waits: until all its machines look ready, or one of its places is gone.

use jobguard::protocol::want::Standing;
use jobguard::protocol::{Judged, Seen};

use super::{Fate, Process, Role, Step, World};
use crate::evidence;
use crate::mutant::Broken;

impl World {
    /// What a waiter does next.
    pub(super) fn wait(&self, index: usize, broken: Broken) -> Vec<Step> {
        let process = &self.processes[index];
        if process.at.iter().any(|at| at.fate == Fate::Lost) {
            return vec![self.clone().line_up_anew(index, broken)];
        }
        if process.role == Role::Try || process.at.iter().any(|at| at.fate == Fate::Taken) {
            return vec![self.clone().give_up(index)];
        }
        let machines = process.role.machines();
        if machines.iter().any(|machine| self.is_elsewhere(index, *machine, broken)) {
            return vec![self.claim(index, broken)];
        }
        let passed: Option<Vec<Vec<usize>>> =
            machines.iter().map(|machine| self.let_by(index, *machine, broken)).collect();
        let Some(passed) = passed else { return Vec::new() };
        let mut world = self.clone();
        for (machine, passed) in machines.iter().zip(passed) {
            world.processes[index].at[*machine].passed = passed;
        }
        vec![world.claim(index, broken)]
    }

    /// Of somebody who has lost a place, all places: at the end of all queues again.
    fn line_up_anew(mut self, index: usize, broken: Broken) -> Step {
        let process = &self.processes[index];
        let machines = process.role.machines();
        let is_kept = |machine: &&usize| {
            let at = &process.at[**machine];
            at.ticket.is_some() && at.fate == Fate::Kept
        };
        if let Some(machine) = machines.iter().find(is_kept) {
            self.leave_queue(index, *machine);
            return Ok(self);
        }
        machines.iter().for_each(|machine| self.leave_queue(index, *machine));
        self.claim(index, broken)
    }

    /// Whether the run in whose job it waits is over: the next claim moves it to another queue.
    fn is_elsewhere(&self, index: usize, machine: usize, broken: Broken) -> bool {
        let Some(ticket) = self.processes[index].at[machine].ticket else { return false };
        let want = self.request(index, machine).want;
        let elsewhere = |(seen, _): &(Seen, u8)| want.within(&holding(seen)) != ticket.within;
        !want.holds.is_empty() && evidence::judged(self, machine, broken).iter().any(elsewhere)
    }

    /// Who waits before it for a machine that it could have, all of whom have let it go by: those
    /// who are stopped, or wait for another machine. `None`: it must wait.
    fn let_by(&self, index: usize, machine: usize, broken: Broken) -> Option<Vec<usize>> {
        let seen = evidence::judged(self, machine, broken);
        let passable = |(seen, _): &(Seen, u8)| self.passable(index, machine, seen, broken);
        seen.iter().find_map(passable)
    }

    fn passable(
        &self,
        index: usize,
        machine: usize,
        seen: &Seen,
        broken: Broken,
    ) -> Option<Vec<usize>> {
        let holding = holding(seen);
        let want = self.request(index, machine).want;
        let fits = |waiter: &usize| self.request(*waiter, machine).want.fits(&holding);
        let goes_by = |waiter: &usize| {
            let Process { role, stopped, .. } = &*self.processes[*waiter];
            let others = role.machines().iter().filter(|other| **other != machine);
            *stopped || others.copied().any(|other| !self.is_ready(*waiter, other, broken))
        };
        let before = self.before(index, machine, want.within(&holding));
        (want.fits(&holding) && before.iter().all(|waiter| fits(waiter) && goes_by(waiter)))
            .then_some(before)
    }

    /// Whether it is a waiter's turn on a machine that it could have.
    fn is_ready(&self, index: usize, machine: usize, broken: Broken) -> bool {
        let is_ready = |(seen, _): &(Seen, u8)| {
            let holding = holding(seen);
            let want = self.request(index, machine).want;
            let before = self.before(index, machine, want.within(&holding));
            want.fits(&holding) && before.iter().all(|waiter| self.processes[*waiter].stopped)
        };
        evidence::judged(self, machine, broken).iter().any(is_ready)
    }
}

fn holding(seen: &Seen) -> Vec<Standing<'_>> {
    seen.judged.iter().filter(|judged| !judged.is_phantom()).map(Judged::standing).collect()
}
