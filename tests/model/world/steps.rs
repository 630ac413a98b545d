//! What happens by itself: each process takes its next step, each job comes to its end.

use jobguard::machine::events::Why;
use jobguard::protocol::again::Again;
use jobguard::protocol::claim::Claim;
use jobguard::protocol::claims::Claims;
use jobguard::protocol::clear::{Clear, Force};
use jobguard::protocol::withdraw::Withdraw;
use jobguard::protocol::{Act, Answer};

use super::course::{Course, Then};
use super::tell::NAMES;
use super::{JobState, Life, Role, Step, World};
use crate::mutant::Broken;

impl World {
    /// Every world that one step of the processes and jobs leads to.
    pub fn progress(&self, broken: Broken) -> Vec<Step> {
        let mut next = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            // Those who have not begun are all alike: it does not matter who of them is next.
            let mut alike = self.processes[..index].iter().filter(|o| o.role == process.role);
            if process.life == Life::NotStarted
                && (alike.any(|other| other.life == Life::NotStarted) || !self.may_begin(process))
            {
                continue;
            }
            if !process.stopped {
                next.extend(self.step(index, broken));
            }
        }
        for (index, job) in self.jobs.iter().enumerate() {
            if matches!(job.state, JobState::Running | JobState::Doomed | JobState::Shut) {
                let mut world = self.clone();
                world.jobs[index].state = JobState::Over;
                next.push(Ok(world));
            }
        }
        next
    }

    fn step(&self, index: usize, broken: Broken) -> Vec<Step> {
        let process = &self.processes[index];
        match &process.life {
            Life::NotStarted => match process.role {
                role if role.runs() => vec![self.claim(index, broken)],
                Role::Clear => vec![self.begin(index, 0, Course::Clear(Clear::new(None)))],
                Role::Force(token) if self.has_seen_the_end_of(token) => {
                    let force = Force { token, uid: 0 };
                    vec![self.begin(index, 0, Course::Clear(Clear::new(Some(force))))]
                }
                _ => Vec::new(),
            },
            Life::Waiting => self.wait(index, broken),
            Life::Supervising => {
                let over = process.job.is_some_and(|job| self.jobs[job].state == JobState::Over);
                let begin = || match process.role.tries_again() && !process.tried_again {
                    true => self.try_again(index),
                    false => self.release(index),
                };
                over.then(begin).into_iter().collect()
            }
            Life::Acting(course, at, act) => self.perform(index, course, *at, act, broken),
            Life::Done | Life::Dead => Vec::new(),
        }
    }

    /// Whether the job of that run is over, or there will never be one.
    fn has_seen_the_end_of(&self, token: u64) -> bool {
        let runs = || self.processes.iter().filter(|process| process.role.runs());
        let mut jobs =
            runs().filter(|run| run.at[0].token == token).filter_map(|run| run.job).peekable();
        match jobs.peek() {
            Some(_) => jobs.all(|job| self.jobs[job].state == JobState::Over),
            None => runs().all(|run| run.is_over()),
        }
    }

    /// Begins to claim, passing over as many as have let the machines go by.
    pub(super) fn claim(&self, index: usize, broken: Broken) -> Step {
        let machines = self.order(index, broken);
        let claim = |m: &usize| Claim::new(NAMES[*m], self.request(index, *m));
        self.begin(index, 0, Course::Claim(Claims::new(machines.iter().map(claim).collect())))
    }

    fn release(&self, index: usize) -> Step {
        let process = &self.processes[index];
        let token = process.at[process.role.machines()[0]].token;
        self.begin(index, 0, Course::release(token))
    }

    fn try_again(&self, index: usize) -> Step {
        let mut world = self.clone();
        let process = &mut world.processes[index];
        process.tried_again = true;
        let again = |machine: &usize| Again::new(process.at[*machine].token);
        let again = process.role.machines().iter().map(again).collect();
        world.begin(index, 0, Course::Again(Claims::new(again)))
    }

    /// Goes away without having had its machines.
    pub(super) fn give_up(mut self, index: usize) -> Step {
        for machine in self.processes[index].role.machines() {
            self.leave_queue(index, *machine);
        }
        self.begin(index, 0, Course::Withdraw(Withdraw::new(Why::Refused, Vec::new())))
    }

    fn begin(&self, index: usize, at: usize, mut course: Course) -> Step {
        let mut world = self.clone();
        let process = &mut world.processes[index];
        process.at.iter_mut().for_each(|at| at.reads = 0);
        match course.next(at, Answer::Begin)? {
            Then::Do(at, act) => process.life = Life::Acting(course, at, act),
            _ => return Err("a protocol ended before its first act".to_owned()),
        }
        Ok(world)
    }

    /// Performs one act, and asks the protocol for the next.
    fn perform(
        &self,
        index: usize,
        course: &Course,
        at: usize,
        act: &Act,
        broken: Broken,
    ) -> Vec<Step> {
        let machine = match course {
            Course::Claim(_) | Course::Again(_) => self.order(index, broken)[at],
            _ => self.processes[index].role.machines()[at],
        };
        let performed = self.act(index, machine, act, broken);
        performed
            .into_iter()
            .map(|(mut world, answer)| {
                let Some(mut answer) = answer? else { return Ok(world) };
                world.mutate(index, machine, &mut answer, broken);
                let mut course = course.clone();
                match course.next(at, answer)? {
                    Then::Do(at, act) => {
                        world.processes[index].life = Life::Acting(course, at, act);
                        Ok(world)
                    }
                    then => world.after(index, course, at, then),
                }
            })
            .collect()
    }

    /// What a process does once a protocol has ended.
    fn after(mut self, index: usize, course: Course, at: usize, then: Then) -> Step {
        let process = &mut self.processes[index];
        for at in &mut process.at {
            (at.seen, at.passed) = (None, Vec::new());
        }
        let next = process.role.machines().get(at + 1);
        process.life = match (then, course, next) {
            (Then::Granted, ..) => Life::Supervising,
            (Then::Busy, Course::Again(_), _) => return self.release(index),
            (Then::Busy, ..) => Life::Waiting,
            (_, Course::Release(_), Some(next)) => {
                let release = Course::release(process.at[*next].token);
                return self.begin(index, at + 1, release);
            }
            (_, Course::Withdraw(_), Some(_)) => {
                let withdraw = Withdraw::new(Why::Refused, Vec::new());
                return self.begin(index, at + 1, Course::Withdraw(withdraw));
            }
            _ => Life::Done,
        };
        self.check_places(index).map(|()| self)
    }
}
