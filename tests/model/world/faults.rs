//! What may go wrong, and what that does to a world.

use super::{JobState, Life, Process, World};

impl World {
    /// Every world that one fault leads to.
    pub fn go_wrong(&self) -> Vec<World> {
        let mut next = Vec::new();
        if self.faults.crashes > 0 {
            for index in 0..self.processes.len() {
                if self.processes[index].is_alive() {
                    let mut world = self.clone();
                    world.faults.crashes -= 1;
                    world.kill(index);
                    next.push(world);
                }
            }
        }
        if self.faults.stops > 0 {
            for (index, process) in self.processes.iter().enumerate() {
                if matches!(process.life, Life::Waiting) && !process.stopped {
                    let mut world = self.clone();
                    world.faults.stops -= 1;
                    world.processes[index].stopped = true;
                    next.push(world);
                }
            }
        }
        if self.faults.lock_deletions > 0 && self.lock.is_some() {
            let mut world = self.clone();
            world.faults.lock_deletions -= 1;
            world.lock = None;
            next.push(world);
        }
        let idle = !self.processes.iter().any(|process| process.locked);
        if self.faults.idle_deletions > 0 && self.lock.is_some() && idle {
            let mut world = self.clone();
            world.faults.idle_deletions -= 1;
            world.lock = None;
            next.push(world);
        }
        if self.faults.reboots > 0 && self.processes.iter().any(Process::is_alive) {
            let mut world = self.clone();
            world.faults.reboots -= 1;
            world.boot += 1;
            (0..world.processes.len())
                .filter(|index| self.processes[*index].is_alive())
                .for_each(|index| world.kill(index));
            world.jobs.iter_mut().for_each(|job| job.state = JobState::Over);
            next.push(world);
        }
        if self.faults.reuses > 0 {
            for (index, job) in self.jobs.iter().enumerate() {
                // A zombie keeps its PID as long as its parent does not reap it.
                let reaped = self.processes[job.parent].is_over();
                if job.state == JobState::Over && reaped && !job.reused {
                    let mut world = self.clone();
                    world.faults.reuses -= 1;
                    world.jobs[index].reused = true;
                    next.push(world);
                }
            }
        }
        next
    }

    /// SIGKILL: the lock goes, the lifeline goes slack, a child behind its gate sees it shut.
    fn kill(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.life = Life::Dead;
        (process.locked, process.opened, process.seen) = (false, None, None);
        let ends = self.lifelines.values_mut().chain(self.queue.values_mut());
        ends.for_each(|reader| *reader = reader.filter(|r| *r != index));
        for job in self.jobs.iter_mut().filter(|job| job.parent == index) {
            job.state = match job.state {
                JobState::Gated => JobState::Shut,
                JobState::Running if self.contained => JobState::Doomed,
                other => other,
            };
        }
    }
}
