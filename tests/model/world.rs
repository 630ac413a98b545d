//! An imagined state directory, and the processes on it.
//!
//! Every step is atomic and as small as a system call where that matters: opening the lock file and
//! getting the lock are two, the last look before a record is replaced and the replacement are two.

use std::collections::BTreeMap;

use jobguard::machine::record::Record;
use jobguard::machine::ticket::TicketId;
use jobguard::protocol::Act;

mod acts;
mod broken;
mod course;
mod faults;
mod promises;
mod queue;
mod rewrite;
mod roles;
mod shared;
mod steps;
mod tell;
mod waiting;

use course::Course;
use shared::Shared;
pub use tell::NAMES;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `jobguard -m a -- job`.
    Run,
    /// `jobguard -m b -- job`.
    RunB,
    /// `jobguard -m a -m b -- job`.
    Both,
    /// `jobguard -s -m a -- job`.
    Read,
    /// `jobguard -s -m a -m b -- job`.
    ReadBoth,
    /// `jobguard --slots 2 -m a -- job`.
    Slot,
    /// `jobguard -m a -- job`, called by the job of that process.
    Inner(usize),
    /// `jobguard -m a -m b -- job`, called by the job of that process.
    InnerBoth(usize),
    /// `jobguard --max-pending 1 -m a -- job`.
    Newest,
    /// Ahead of the queue, as with `--on-busy replace`; the holder is not ended here.
    Ahead,
    /// `jobguard --retries 1 -m a -- job`.
    Again,
    /// `jobguard --retries 1 -m a -m b -- job`.
    AgainBoth,
    /// `jobguard -n -m a -- job`.
    Try,
    /// `jobguard clear a`.
    Clear,
    /// `jobguard clear a --force --token TOKEN`, by somebody who has seen that run end.
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
    /// In their order: `a`, then `b`, if anybody wants that.
    pub machines: Vec<Shared<Machine>>,
    pub processes: Vec<Shared<Process>>,
    /// Every child ever forked; its index is its identity.
    pub jobs: Vec<Job>,
    pub faults: Faults,
}

/// A machine's directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Machine {
    /// The inode of the lock file; `None` when it was deleted.
    pub lock: Option<u8>,
    /// How many lock files there have been.
    locks: u8,
    pub record: Option<Record>,
    /// Every lifeline there is, by token, and the process that reads it.
    pub lifelines: BTreeMap<u64, Option<usize>>,
    /// Every ticket there is, and the process that waits with it.
    pub queue: BTreeMap<TicketId, Option<usize>>,
}

impl Machine {
    /// Whether nobody has deleted its lock file. What is promised of the queue is promised then.
    fn has_its_first_lock(&self) -> bool {
        self.locks == 1
    }
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
    /// Tickets that somebody deletes.
    pub lost_places: u8,
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
        lost_places: 0,
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
    pub role: Role,
    pub life: Life,
    pub job: Option<usize>,
    /// It has tried its job again.
    tried_again: bool,
    /// Stopped, and nobody continues it.
    stopped: bool,
    /// What it has to do with each machine.
    pub at: Vec<Shared<At>>,
}

/// What a process has to do with a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct At {
    /// The lock file that is open, and whether it is locked.
    opened: Option<u8>,
    pub locked: bool,
    seen: Option<Option<Record>>,
    reads: u8,
    made: Option<u64>,
    token: u64,
    /// Its place in the queue.
    pub ticket: Option<TicketId>,
    fate: Fate,
    /// Those before it who are not stopped, and have let the machine go by.
    passed: Vec<usize>,
    /// A rewrite that has had its last look.
    looked: bool,
    /// A record that it replaced though it was not the one it had seen.
    displaced: Option<Box<Record>>,
}

/// What became of a place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Fate {
    #[default]
    Kept,
    /// Somebody deleted the ticket.
    Lost,
    /// A newer run took it.
    Taken,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "most worlds have a claim in them")]
pub enum Life {
    NotStarted,
    /// It is about to act on this one of its machines, in their order.
    Acting(Course, usize, Act),
    Waiting,
    Supervising,
    Done,
    Dead,
}

impl Process {
    fn new(role: Role, machines: usize) -> Self {
        let at = vec![Shared::default(); machines];
        let tried_again = false;
        Self { role, life: Life::NotStarted, job: None, tried_again, stopped: false, at }
    }

    pub fn is_alive(&self) -> bool {
        !matches!(self.life, Life::NotStarted | Life::Done | Life::Dead)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.life, Life::Done | Life::Dead)
    }

    /// Whether nothing more is to be expected of it.
    pub fn is_at_rest(&self) -> bool {
        // What nobody has called need not begin.
        let uncalled = self.life == Life::NotStarted && self.role.outer().is_some();
        self.stopped || self.is_over() || uncalled
    }
}

/// A promise that was broken.
pub type Violation = String;

/// What came of a step.
pub type Step = Result<World, Violation>;

impl World {
    pub fn new(roles: &[Role], faults: Faults) -> Self {
        let machines =
            roles.iter().flat_map(|role| role.machines()).max().map_or(1, |last| last + 1);
        Self {
            contained: false,
            boot: 0,
            machines: vec![Shared::default(); machines],
            processes: roles.iter().map(|role| Process::new(*role, machines).into()).collect(),
            jobs: Vec::new(),
            faults,
        }
    }

    /// The same, in containers.
    pub fn contained(mut self) -> Self {
        self.contained = true;
        self
    }

    /// The same world, in which nothing goes wrong any more and somebody new wants all there is.
    pub fn with_newcomer(&self) -> Self {
        let mut world = self.clone();
        world.faults = Faults::NONE;
        let role = if self.machines.len() > 1 { Role::Both } else { Role::Run };
        world.processes.push(Process::new(role, self.machines.len()).into());
        world
    }
}
