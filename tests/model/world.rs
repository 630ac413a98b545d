//! An imagined machine directory, and the processes on it.
//!
//! Every step is atomic and as small as a system call where that matters: opening the lock file and
//! getting the lock are two, the last look before a record is replaced and the replacement are two.

use std::collections::BTreeMap;

use jobguard::machine::record::Record;
use jobguard::machine::ticket::TicketId;
use jobguard::protocol::Act;
use jobguard::protocol::clear::Clear;
use jobguard::protocol::release::Release;
use jobguard::protocol::withdraw::Withdraw;

mod acts;
mod faults;
mod roles;
mod steps;

use steps::Single;

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `jobguard -m m1 -- job`.
    Run,
    /// `jobguard -s -m m1 -- job`.
    Read,
    /// `jobguard --slots 2 -m m1 -- job`.
    Slot,
    /// `jobguard -m m1 -- job`, called by the job of that process.
    Inner(usize),
    /// `jobguard --max-pending 1 -m m1 -- job`.
    Newest,
    /// Ahead of the queue, as with `--on-busy replace`; the holder is not ended here.
    Ahead,
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
    pub queue: BTreeMap<TicketId, Option<usize>>,
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
    pub role: Role,
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
    pub ticket: Option<TicketId>,
    /// Somebody took its place.
    evicted: bool,
    /// Stopped, and nobody continues it.
    stopped: bool,
    /// A rewrite that has had its last look.
    looked: bool,
    /// A record that it replaced though it was not the one it had seen.
    displaced: Option<Box<Record>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "most worlds have a claim in them")]
pub enum Life {
    NotStarted,
    Claiming(Single, Act),
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
            evicted: false,
            stopped: false,
            looked: false,
            displaced: None,
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
        // What nobody has called need not begin.
        let uncalled = self.life == Life::NotStarted && matches!(self.role, Role::Inner(_));
        self.stopped || self.is_over() || uncalled
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
}
