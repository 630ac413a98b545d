//! What happens by itself: each process takes its next step, each job comes to its end.

use jobguard::machine::events::Why;
use jobguard::machine::record::{Ending, LastRun};
use jobguard::machine::ticket::TicketId;
use jobguard::protocol::claim::{self, Claim};
use jobguard::protocol::claims::{self, Claims};
use jobguard::protocol::clear::{Clear, Force};
use jobguard::protocol::release::Release;
use jobguard::protocol::withdraw::Withdraw;
use jobguard::protocol::{Act, Answer, Next, Protocol};

use super::{JobState, Life, Process, Role, Step, Violation, World};
use crate::mutant::Broken;

impl World {
    /// Every world that one step of the processes and jobs leads to.
    pub fn progress(&self, broken: Broken) -> Vec<Step> {
        let mut next = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            // Those who have not begun are all alike: it does not matter who of them is next.
            let alike = |other: &Process| other.role == process.role;
            let mut before = self.processes[..index].iter().filter(|other| alike(other));
            let waits_its_turn = |other: &Process| other.life == Life::NotStarted;
            if process.life == Life::NotStarted
                && (before.any(waits_its_turn) || !self.may_begin(process))
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
                role if role.runs() => vec![self.claim(index, 0)],
                Role::Clear => vec![self.begin(index, Clear::new(None), Life::Clearing)],
                Role::Force(token) if self.has_seen_the_end_of(token) => {
                    let force = Force { token, uid: 0 };
                    vec![self.begin(index, Clear::new(Some(force)), Life::Clearing)]
                }
                _ => Vec::new(),
            },
            Life::Waiting if process.role == Role::Try || process.evicted => {
                let mut world = self.clone();
                world.leave_queue(index);
                let withdraw = Withdraw::new(Why::Refused, Vec::new());
                vec![world.begin(index, withdraw, Life::Withdrawing)]
            }
            Life::Waiting => {
                // It looks free and ours, or those before us have let it go by.
                let patient = self.passed_over(process.ticket);
                [0].into_iter().chain(patient).map(|passes| self.claim(index, passes)).collect()
            }
            Life::Supervising => {
                let over = process.job.is_some_and(|job| self.jobs[job].state == JobState::Over);
                if !over {
                    return Vec::new();
                }
                vec![self.begin(index, Release::new(last_run(process.token)), Life::Releasing)]
            }
            Life::Claiming(claim, act) => self.perform(index, act, claim, broken, Life::Claiming),
            Life::Releasing(release, act) => {
                self.perform(index, act, release, broken, Life::Releasing)
            }
            Life::Withdrawing(withdraw, act) => {
                self.perform(index, act, withdraw, broken, Life::Withdrawing)
            }
            Life::Clearing(clear, act) => self.perform(index, act, clear, broken, Life::Clearing),
            Life::Done | Life::Dead => Vec::new(),
        }
    }

    /// Whether the job of that run is over, or there will never be one.
    fn has_seen_the_end_of(&self, token: u64) -> bool {
        let runs = || {
            let runs = |process: &&Process| process.role.runs();
            self.processes.iter().filter(runs)
        };
        let mut jobs = runs().filter(|run| run.token == token).filter_map(|run| run.job).peekable();
        match jobs.peek() {
            Some(_) => jobs.all(|job| self.jobs[job].state == JobState::Over),
            None => runs().all(Process::is_over),
        }
    }

    /// How many of those before a waiter are stopped, where all of them are.
    fn passed_over(&self, ticket: Option<TicketId>) -> Option<usize> {
        let stopped: Vec<bool> =
            self.before(ticket?).map(|waiter| self.processes[waiter].stopped).collect();
        (!stopped.is_empty() && stopped.iter().all(|stopped| *stopped)).then_some(stopped.len())
    }

    fn claim(&self, index: usize, passes: usize) -> Step {
        let claim = Claim::new("m1", self.request(index, passes));
        self.begin(index, Single(Claims::new(vec![claim])), Life::Claiming)
    }

    fn begin<P: Protocol + Clone>(
        &self,
        index: usize,
        mut protocol: P,
        life: fn(P, Act) -> Life,
    ) -> Step {
        let mut world = self.clone();
        world.processes[index].reads = 0;
        match protocol.next(Answer::Begin) {
            Next::Do(act) => world.processes[index].life = life(protocol, act),
            Next::Finish(_) => return Err("a protocol ended before its first act".to_owned()),
        }
        Ok(world)
    }

    /// Performs one act, and asks the protocol for the next.
    fn perform<P: Protocol + Clone>(
        &self,
        index: usize,
        act: &Act,
        protocol: &P,
        broken: Broken,
        life: fn(P, Act) -> Life,
    ) -> Vec<Step>
    where
        P::Outcome: Ended,
    {
        let performed = self.act(index, act, broken);
        performed
            .into_iter()
            .map(|(mut world, answer)| {
                let Some(mut answer) = answer? else { return Ok(world) };
                world.mutate(index, &mut answer, broken);
                let mut protocol = protocol.clone();
                world.processes[index].life = match protocol.next(answer) {
                    Next::Do(act) => life(protocol, act),
                    Next::Finish(outcome) => {
                        world.processes[index].seen = None;
                        outcome.life()?
                    }
                };
                Ok(world)
            })
            .collect()
    }
}

/// The claims of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Single(Claims);

impl Protocol for Single {
    type Outcome = claim::Outcome;

    fn next(&mut self, answer: Answer) -> Next<claim::Outcome> {
        match self.0.next(answer) {
            claims::Step::Do(_, act) => Next::Do(act),
            claims::Step::Finish(mut outcomes) => Next::Finish(outcomes.remove(0)),
        }
    }
}

/// What a process does once a protocol has ended.
pub trait Ended {
    fn life(self) -> Result<Life, Violation>;
}

impl Ended for claim::Outcome {
    fn life(self) -> Result<Life, Violation> {
        match self {
            Self::Granted { .. } => Ok(Life::Supervising),
            Self::Busy { .. } => Ok(Life::Waiting),
            Self::Misled => Err("the claim was misled".to_owned()),
        }
    }
}

impl Ended for jobguard::protocol::release::Outcome {
    fn life(self) -> Result<Life, Violation> {
        match self {
            Self::Released | Self::TakenOver => Ok(Life::Done),
            Self::Misled => Err("the release was misled".to_owned()),
        }
    }
}

impl Ended for jobguard::protocol::withdraw::Outcome {
    fn life(self) -> Result<Life, Violation> {
        match self {
            Self::Done => Ok(Life::Done),
            Self::Misled => Err("the withdrawal was misled".to_owned()),
        }
    }
}

impl Ended for jobguard::protocol::clear::Outcome {
    fn life(self) -> Result<Life, Violation> {
        match self {
            Self::Done { .. } => Ok(Life::Done),
            Self::Misled => Err("the clear was misled".to_owned()),
        }
    }
}

fn last_run(token: u64) -> LastRun {
    LastRun {
        token,
        ended: Ending::Exited,
        code: Some(0),
        started_at: None,
        ended_at: String::new(),
        unknown: serde_json::Map::new(),
    }
}
