//! What may go wrong, and what that does to a world.

use super::{Fate, JobState, Life, Machine, World};
use crate::mutant::Broken;

impl World {
    /// Every world that one fault leads to.
    pub fn go_wrong(&self, broken: Broken) -> Vec<World> {
        let mut next = Vec::new();
        self.wake_for_nothing(broken, &mut next);
        self.crash(&mut next);
        self.stop(&mut next);
        self.delete(&mut next);
        self.reboot(&mut next);
        self.reuse(&mut next);
        next
    }

    /// Somebody claims what does not look ready: its look was out of date.
    fn wake_for_nothing(&self, broken: Broken, next: &mut Vec<World>) {
        for (index, process) in self.processes.iter().enumerate() {
            let is_told = process.at.iter().any(|at| at.fate != Fate::Kept);
            if process.life == Life::Waiting
                && !process.stopped
                && !is_told
                && process.role.queues()
            {
                next.extend(self.claim(index, broken));
            }
        }
    }

    fn crash(&self, next: &mut Vec<World>) {
        for index in 0..self.processes.len() {
            if self.faults.crashes > 0 && self.processes[index].is_alive() {
                let mut world = self.clone();
                world.faults.crashes -= 1;
                world.kill(index);
                next.push(world);
            }
        }
    }

    fn stop(&self, next: &mut Vec<World>) {
        for (index, process) in self.processes.iter().enumerate() {
            if self.faults.stops > 0 && process.life == Life::Waiting && !process.stopped {
                let mut world = self.clone();
                world.faults.stops -= 1;
                world.processes[index].stopped = true;
                next.push(world);
            }
        }
    }

    /// Somebody deletes a lock file, or a ticket.
    fn delete(&self, next: &mut Vec<World>) {
        for machine in 0..self.machines.len() {
            let is_there = self.machines[machine].lock.is_some();
            let idle = !self.processes.iter().any(|process| process.at[machine].locked);
            if self.faults.lock_deletions > 0 && is_there {
                let mut world = self.clone();
                world.faults.lock_deletions -= 1;
                world.machines[machine].lock = None;
                next.push(world);
            }
            if self.faults.idle_deletions > 0 && is_there && idle {
                let mut world = self.clone();
                world.faults.idle_deletions -= 1;
                world.machines[machine].lock = None;
                next.push(world);
            }
            for (ticket, waiter) in &self.machines[machine].queue {
                if self.faults.lost_places > 0
                    && let Some(waiter) = *waiter
                {
                    let mut world = self.clone();
                    world.faults.lost_places -= 1;
                    world.machines[machine].queue.remove(ticket);
                    world.processes[waiter].at[machine].fate = Fate::Lost;
                    next.push(world);
                }
            }
        }
    }

    fn reboot(&self, next: &mut Vec<World>) {
        if self.faults.reboots > 0 && self.processes.iter().any(|process| process.is_alive()) {
            let mut world = self.clone();
            world.faults.reboots -= 1;
            world.boot += 1;
            (0..world.processes.len())
                .filter(|index| self.processes[*index].is_alive())
                .for_each(|index| world.kill(index));
            world.jobs.iter_mut().for_each(|job| job.state = JobState::Over);
            next.push(world);
        }
    }

    fn reuse(&self, next: &mut Vec<World>) {
        for (index, job) in self.jobs.iter().enumerate() {
            // A zombie keeps its PID as long as its parent does not reap it.
            let parent = &self.processes[job.parent];
            let reaped = parent.is_over() || parent.job != Some(index);
            if self.faults.reuses > 0 && job.state == JobState::Over && reaped && !job.reused {
                let mut world = self.clone();
                world.faults.reuses -= 1;
                world.jobs[index].reused = true;
                next.push(world);
            }
        }
    }

    /// SIGKILL: the locks go, the lifelines go slack, a child behind its gate sees it shut.
    fn kill(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.life = Life::Dead;
        for at in &mut process.at {
            (at.locked, at.opened, at.seen) = (false, None, None);
            at.passed.clear();
        }
        for machine in &mut self.machines {
            let Machine { lifelines, queue, .. } = &mut **machine;
            let ends = lifelines.values_mut().chain(queue.values_mut());
            ends.for_each(|reader| *reader = reader.filter(|r| *r != index));
        }
        for job in self.jobs.iter_mut().filter(|job| job.parent == index) {
            job.state = match job.state {
                JobState::Gated => JobState::Shut,
                JobState::Running if self.contained => JobState::Doomed,
                other => other,
            };
        }
    }
}
