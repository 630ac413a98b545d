//! An imagined machine directory, the processes on it, and what may happen to them.
//!
//! Every step is atomic and as small as a system call where that matters: opening the lock file and
//! getting the lock are two, the last look before a record is replaced and the replacement are two.

use std::collections::BTreeMap;

use jobguard::identity::verdict::{PhantomReason, Subject, Verdict};
use jobguard::machine::events::Why;
use jobguard::machine::record::{Ending, Holder, LastRun, Record};
use jobguard::protocol::claim::{self, Claim, Request};
use jobguard::protocol::clear::{Clear, Force};
use jobguard::protocol::release::Release;
use jobguard::protocol::withdraw::Withdraw;
use jobguard::protocol::{Act, Answer, Felt, Next, Protocol, Queue};

use crate::evidence;
use crate::mutant::{Broken, Mutant};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `jobguard -m m1 -- job`.
    Run,
    /// `jobguard -n -m m1 -- job`.
    Try,
    /// `jobguard clear m1`.
    Clear,
    /// `jobguard clear m1 --force --token TOKEN`, by somebody who has seen that run end.
    Force(u64),
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Each process is in a PID namespace of its own: others feel its lifeline, and see nothing else.
    /// Its job dies with it.
    pub contained: bool,
    /// Which boot this is.
    pub boot: u8,
    /// The inode of the lock file; `None` when it was deleted.
    pub lock: Option<u8>,
    next_inode: u8,
    pub record: Option<Record>,
    /// Every lifeline there is, by token, and the process that reads it.
    pub lifelines: BTreeMap<u64, Option<usize>>,
    /// Every ticket there is, and the process that waits with it.
    pub queue: BTreeMap<u64, Option<usize>>,
    pub processes: Vec<Process>,
    /// Every child ever forked; its index is its identity.
    pub jobs: Vec<Job>,
    pub faults: Faults,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Faults {
    pub crashes: u8,
    pub lock_deletions: u8,
    /// Deletions of a lock file that nobody has locked.
    pub idle_deletions: u8,
    pub reboots: u8,
    pub reuses: u8,
    /// How often a release may be found overdue.
    pub stalls: u8,
    /// Waiters who are stopped for good.
    pub stops: u8,
}

impl Faults {
    pub const NONE: Self = Self {
        crashes: 0,
        lock_deletions: 0,
        idle_deletions: 0,
        reboots: 0,
        reuses: 0,
        stalls: 0,
        stops: 0,
    };
}

/// A child of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Job {
    pub parent: usize,
    pub state: JobState,
    /// Its PID belongs to somebody else by now.
    pub reused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Behind its gate.
    Gated,
    /// Behind a gate that nobody can open any more: it will end.
    Shut,
    Running,
    /// Its supervisor is dead, and the signal that kills it on its way.
    Doomed,
    Over,
}

impl JobState {
    /// Whether it does something.
    pub fn is_at_work(self) -> bool {
        matches!(self, Self::Running | Self::Doomed)
    }
}

/// A jobguard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    role: Role,
    pub life: Life,
    /// The lock file that is open, and whether it is locked.
    opened: Option<u8>,
    pub locked: bool,
    seen: Option<Option<Record>>,
    reads: u8,
    made: Option<u64>,
    token: u64,
    pub job: Option<usize>,
    /// Its place in the queue.
    ticket: Option<u64>,
    /// Stopped, and nobody continues it.
    stopped: bool,
    /// A rewrite that has had its last look.
    looked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Life {
    NotStarted,
    Claiming(Claim, Act),
    Waiting,
    Supervising,
    Releasing(Release, Act),
    Clearing(Clear, Act),
    Withdrawing(Withdraw, Act),
    Done,
    Dead,
}

impl Life {
    /// What it is about to do, in a few words.
    fn doing(&self) -> String {
        match self {
            Self::Claiming(_, act)
            | Self::Releasing(_, act)
            | Self::Clearing(_, act)
            | Self::Withdrawing(_, act) => {
                let act = format!("{act:?}");
                act.split(['(', ' ']).next().unwrap_or_default().to_owned()
            }
            other => format!("{other:?}"),
        }
    }
}

impl Process {
    fn new(role: Role) -> Self {
        Self {
            role,
            life: Life::NotStarted,
            opened: None,
            locked: false,
            seen: None,
            reads: 0,
            made: None,
            token: 0,
            job: None,
            ticket: None,
            stopped: false,
            looked: false,
        }
    }

    pub fn is_alive(&self) -> bool {
        !matches!(self.life, Life::NotStarted | Life::Done | Life::Dead)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.life, Life::Done | Life::Dead)
    }

    /// Whether nothing more is to be expected of it.
    pub fn is_at_rest(&self) -> bool {
        self.stopped || self.is_over()
    }
}

/// A promise that was broken.
pub type Violation = String;

/// What came of a step.
pub type Step = Result<World, Violation>;

impl World {
    pub fn new(roles: &[Role], faults: Faults) -> Self {
        Self {
            contained: false,
            boot: 0,
            lock: None,
            next_inode: 0,
            record: None,
            lifelines: BTreeMap::new(),
            queue: BTreeMap::new(),
            processes: roles.iter().copied().map(Process::new).collect(),
            jobs: Vec::new(),
            faults,
        }
    }

    /// The same, in containers.
    pub fn contained(mut self) -> Self {
        self.contained = true;
        self
    }

    /// The same world, in which nothing goes wrong any more and somebody new wants the machine.
    pub fn with_newcomer(&self) -> Self {
        let mut world = self.clone();
        world.faults = Faults::NONE;
        world.processes.push(Process::new(Role::Run));
        world
    }

    /// What changed on the way to `next`, a line each.
    pub fn difference(&self, next: &Self) -> String {
        let mut lines = String::new();
        for (index, (old, new)) in self.processes.iter().zip(&next.processes).enumerate() {
            if old != new {
                lines.push_str(&format!("  process {index}: {}\n", old.life.doing()));
            }
        }
        for (index, job) in next.jobs.iter().enumerate() {
            if self.jobs.get(index) != Some(job) {
                lines.push_str(&format!("    job {index} is {job:?}\n"));
            }
        }
        if self.lifelines != next.lifelines {
            lines.push_str(&format!("    lifelines {:?}\n", next.lifelines));
        }
        if self.record != next.record {
            let holders = next.record.iter().flat_map(|record| &record.holders);
            let tokens: Vec<u64> = holders.map(|holder| holder.token).collect();
            lines.push_str(&format!("    record names {tokens:?}\n"));
        }
        if self.faults != next.faults {
            lines.push_str(&format!("    fault: {:?} are left\n", next.faults));
        }
        lines
    }

    /// Every world that one step of the processes and jobs leads to.
    pub fn progress(&self, broken: Broken) -> Vec<Step> {
        let mut next = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            // Those who have not begun are all alike: it does not matter who of them is next.
            let alike = |other: &Process| other.role == process.role;
            let mut before = self.processes[..index].iter().filter(|other| alike(other));
            let waits_its_turn = |other: &Process| other.life == Life::NotStarted;
            if process.life == Life::NotStarted && before.any(waits_its_turn) {
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

    fn step(&self, index: usize, broken: Broken) -> Vec<Step> {
        let process = &self.processes[index];
        match &process.life {
            Life::NotStarted => match process.role {
                Role::Run => {
                    let request = Request { queues: true, ..Request::default() };
                    vec![self.begin(index, Claim::new("m1", request), Life::Claiming)]
                }
                Role::Try => {
                    vec![self.begin(index, Claim::new("m1", Request::default()), Life::Claiming)]
                }
                Role::Clear => vec![self.begin(index, Clear::new(None), Life::Clearing)],
                Role::Force(token) if self.has_seen_the_end_of(token) => {
                    let force = Force { token, uid: 0 };
                    vec![self.begin(index, Clear::new(Some(force)), Life::Clearing)]
                }
                Role::Force(_) => Vec::new(),
            },
            Life::Waiting if process.role == Role::Try => {
                let withdraw = Withdraw::new(Why::Refused, Vec::new());
                vec![self.begin(index, withdraw, Life::Withdrawing)]
            }
            Life::Waiting => {
                // It looks free and ours, or those before us have let it go by.
                let patient = self.passed_over(process.ticket);
                [0].into_iter().chain(patient).map(|passes| self.wait_over(index, passes)).collect()
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
            let runs = |process: &&Process| matches!(process.role, Role::Run | Role::Try);
            self.processes.iter().filter(runs)
        };
        let mut jobs = runs().filter(|run| run.token == token).filter_map(|run| run.job).peekable();
        match jobs.peek() {
            Some(_) => jobs.all(|job| self.jobs[job].state == JobState::Over),
            None => runs().all(Process::is_over),
        }
    }

    /// How many of those before a waiter are stopped, where all of them are.
    fn passed_over(&self, ticket: Option<u64>) -> Option<usize> {
        let before = self.queue.range(..ticket?).filter_map(|(_, waiter)| *waiter);
        let stopped: Vec<bool> = before.map(|waiter| self.processes[waiter].stopped).collect();
        (!stopped.is_empty() && stopped.iter().all(|stopped| *stopped)).then_some(stopped.len())
    }

    fn wait_over(&self, index: usize, passes: usize) -> Step {
        let ticket = self.processes[index].ticket;
        let request = Request { contended: true, queues: true, ticket, passes };
        self.begin(index, Claim::new("m1", request), Life::Claiming)
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

    /// What one act may do to the world, and its answer; `None` when it is not finished yet.
    fn act(
        &self,
        index: usize,
        act: &Act,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        let mut world = self.clone();
        let done = |world| vec![(world, Ok(Some(Answer::Done)))];
        match act {
            Act::Lock => world
                .take_lock(index, broken)
                .map_or_else(Vec::new, |got| vec![(world, Ok(got.then_some(Answer::Done)))]),
            Act::FeelQueue(before) => {
                let mut queue = Queue::default();
                for (ticket, waiter) in world.queue.range(..before.unwrap_or(u64::MAX)) {
                    match waiter {
                        Some(_) if broken.by(Mutant::JumpTheQueue) => {}
                        Some(_) => queue.waiting.push(*ticket),
                        None => queue.gone.push(*ticket),
                    }
                }
                vec![(world, Ok(Some(Answer::Queue(queue))))]
            }
            Act::SweepQueue(gone) => {
                world.queue.retain(|ticket, _| !gone.contains(ticket));
                done(world)
            }
            Act::Enqueue => {
                let ticket = world.queue.last_key_value().map_or(0, |(last, _)| *last) + 1;
                world.queue.insert(ticket, Some(index));
                world.processes[index].ticket = Some(ticket);
                vec![(world, Ok(Some(Answer::Ticket(ticket))))]
            }
            Act::LeaveQueue => {
                if let Some(ticket) = world.processes[index].ticket.take() {
                    world.queue.remove(&ticket);
                }
                done(world)
            }
            Act::Read => world.read(index, broken),
            Act::MakeLifeline(token) => {
                if world.lifelines.contains_key(token) {
                    return vec![(world, Ok(Some(Answer::Taken)))];
                }
                world.lifelines.insert(*token, Some(index));
                world.processes[index].made = Some(*token);
                world.processes[index].token = *token;
                done(world)
            }
            Act::FeelOthers => {
                let felt = world.feel(index, broken);
                vec![(world, Ok(Some(Answer::Felt(felt))))]
            }
            Act::ReadAgain => {
                let same = world.processes[index].seen.as_ref() == Some(&world.record)
                    || broken.by(Mutant::IgnoreChanges);
                let answer = if same { Answer::Done } else { Answer::Changed };
                vec![(world, Ok(Some(answer)))]
            }
            Act::Sweep(tokens) | Act::Unlink(tokens) => {
                world.lifelines.retain(|token, _| !tokens.contains(token));
                done(world)
            }
            Act::Fork(token) => world.fork(index, *token, broken),
            Act::Put(record) => world.put(index, record, broken),
            Act::Log(_) => done(world),
            Act::Unlock => {
                world.processes[index].locked = false;
                world.processes[index].opened = None;
                done(world)
            }
            Act::OpenGate => {
                let opened = world.open_gate(index);
                vec![(world, opened.map(|()| Some(Answer::Done)))]
            }
            Act::Abandon => {
                if let Some(job) = world.processes[index].job.take() {
                    world.jobs[job].state = JobState::Over;
                }
                done(world)
            }
            Act::DropLifeline => {
                if let Some(token) = world.processes[index].made.take() {
                    world.lifelines.remove(&token);
                }
                done(world)
            }
            Act::CloseLifeline => {
                let mine = |reader: &mut Option<usize>| *reader = reader.filter(|r| *r != index);
                world.lifelines.values_mut().for_each(mine);
                world.processes[index].made = None;
                done(world)
            }
        }
    }

    /// What a broken protocol would make of an answer.
    fn mutate(&self, index: usize, answer: &mut Answer, broken: Broken) {
        let Answer::Seen(seen) = answer else { return };
        let process = &self.processes[index];
        let releasing = matches!(process.life, Life::Releasing(..));
        let claimed = match process.role {
            Role::Run | Role::Try if releasing && broken.by(Mutant::ReleaseAnybody) => {
                Some(process.token)
            }
            Role::Force(token) if broken.by(Mutant::IgnoreTheToken) => Some(token),
            _ => None,
        };
        if let Some(token) = claimed {
            seen.record.holders.iter_mut().for_each(|holder| holder.token = token);
            for judged in &mut seen.judged {
                if let Subject::Holder(holder) = &mut judged.subject {
                    holder.token = token;
                }
            }
        }
        if broken.by(Mutant::CallTheLivingDead) {
            let dead = Verdict::Phantom(PhantomReason::ProcessGone);
            seen.judged.iter_mut().for_each(|j| j.judgement.verdict = dead.clone());
        }
    }

    /// Opens the lock file, then locks it, then compares it with the path; `None`: it is held, so
    /// there is no step; false: not locked yet.
    fn take_lock(&mut self, index: usize, broken: Broken) -> Option<bool> {
        let Some(inode) = self.processes[index].opened else {
            let next_inode = &mut self.next_inode;
            let inode = *self.lock.get_or_insert_with(|| {
                *next_inode += 1;
                *next_inode
            });
            self.processes[index].opened = Some(inode);
            return Some(false);
        };
        let held = |other: &Process| other.locked && other.opened == Some(inode);
        if self.processes.iter().any(held) {
            return None;
        }
        if self.lock != Some(inode) && !broken.by(Mutant::IgnoreTheInode) {
            self.processes[index].opened = None;
            return Some(false);
        }
        self.processes[index].locked = true;
        Some(true)
    }

    fn read(
        mut self,
        index: usize,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        if !self.processes[index].locked {
            // Taking the lock anew, because its file was replaced.
            return match self.take_lock(index, broken) {
                Some(_) => vec![(self, Ok(None))],
                None => Vec::new(),
            };
        }
        let current = self.lock == self.processes[index].opened;
        if self.processes[index].reads > 0 && !current && !broken.by(Mutant::IgnoreTheInode) {
            self.processes[index].locked = false;
            self.processes[index].opened = None;
            return vec![(self, Ok(None))];
        }
        self.processes[index].reads = 1;
        self.processes[index].seen = Some(self.record.clone());
        evidence::judged(&self, broken)
            .into_iter()
            .map(|(seen, stalls)| {
                let mut world = self.clone();
                world.faults.stalls = stalls;
                (world, Ok(Some(Answer::Seen(Box::new(seen)))))
            })
            .collect()
    }

    fn feel(&self, index: usize, broken: Broken) -> Felt {
        let mut felt = Felt::default();
        for (token, reader) in &self.lifelines {
            match reader {
                _ if self.processes[index].made == Some(*token) => {}
                Some(_) if broken.by(Mutant::IgnoreLifelines) => {}
                Some(_) => felt.taut.push(*token),
                None => felt.slack.push(*token),
            }
        }
        felt
    }

    fn fork(
        mut self,
        index: usize,
        token: u64,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        if let Err(why) = self.check_turn(index) {
            return vec![(self, Err(why))];
        }
        let job = self.jobs.len();
        self.jobs.push(Job { parent: index, state: JobState::Gated, reused: false });
        self.processes[index].job = Some(job);
        let holder = evidence::holder(token, job, index, &self);
        let opened =
            if broken.by(Mutant::OpenTheGateFirst) { self.open_gate(index) } else { Ok(()) };
        vec![(self, opened.map(|()| Some(Answer::Born(Box::new(holder)))))]
    }

    fn put(
        mut self,
        index: usize,
        record: &Record,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        let process = &mut self.processes[index];
        if !process.looked {
            let current = self.lock == process.opened || broken.by(Mutant::IgnoreTheInode);
            let same =
                process.seen.as_ref() == Some(&self.record) || broken.by(Mutant::IgnoreChanges);
            if !current || !same {
                return vec![(self, Ok(Some(Answer::Changed)))];
            }
            process.looked = true;
            return vec![(self, Ok(None))];
        }
        process.looked = false;
        process.made = None;
        let kept = self.check_removed(index, record);
        self.record = Some(record.clone());
        vec![(self, kept.map(|()| Some(Answer::Done)))]
    }

    /// Nobody jumps the queue, as long as there was but one lock file.
    fn check_turn(&self, index: usize) -> Result<(), Violation> {
        let before = self.queue.range(..self.processes[index].ticket.unwrap_or(u64::MAX));
        let mut waiters = before.filter_map(|(_, waiter)| *waiter);
        match waiters.find(|waiter| !self.processes[*waiter].stopped) {
            Some(waiter) if self.next_inode == 1 => {
                Err(format!("process {index} jumps the queue before {waiter}"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody who may still run is removed from the record.
    fn check_removed(&self, index: usize, new: &Record) -> Result<(), Violation> {
        let old = self.record.iter().flat_map(|record| &record.holders);
        for holder in old.filter(|old| !new.holders.iter().any(|new| new.token == old.token)) {
            let job = evidence::job_of(holder);
            if self.jobs[job].state.is_at_work() || self.jobs[job].state == JobState::Gated {
                return Err(format!("process {index} cleared the live holder {}", holder.token));
            }
        }
        Ok(())
    }

    fn open_gate(&mut self, index: usize) -> Result<(), Violation> {
        let Some(job) = self.processes[index].job else { return Err("no child".to_owned()) };
        let named = |record: &Record| {
            record.holders.iter().any(|holder: &Holder| evidence::job_of(holder) == job)
        };
        if !self.record.as_ref().is_some_and(named) {
            return Err(format!("job {job} begins without a record"));
        }
        if self.jobs[job].state == JobState::Gated {
            self.jobs[job].state = JobState::Running;
        }
        match self.jobs.iter().filter(|job| job.state.is_at_work()).count() {
            0 | 1 => Ok(()),
            count => Err(format!("{count} jobs at once")),
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
