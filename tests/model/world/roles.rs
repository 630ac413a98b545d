//! What each role asks for.

use jobguard::machine::record::Mode;
use jobguard::protocol::claim::{Queueing, Request};
use jobguard::protocol::want::Want;

use super::{Life, Process, Role, World};
use crate::mutant::{Broken, Mutant};

impl Role {
    /// Whether it brings up a job.
    pub fn runs(self) -> bool {
        !matches!(self, Self::Clear | Self::Force(_))
    }

    /// The machines that it wants, in their order.
    pub fn machines(self) -> &'static [usize] {
        match self {
            Self::Both | Self::ReadBoth | Self::AgainBoth | Self::InnerBoth(_) => &[0, 1],
            Self::RunB => &[1],
            _ => &[0],
        }
    }

    /// Whose job calls it, if one does.
    pub fn outer(self) -> Option<usize> {
        match self {
            Self::Inner(outer) | Self::InnerBoth(outer) => Some(outer),
            _ => None,
        }
    }

    /// Whether it tries its job again, once.
    pub fn tries_again(self) -> bool {
        matches!(self, Self::Again | Self::AgainBoth)
    }

    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadBoth)
    }

    /// Whether it waits.
    pub fn queues(self) -> bool {
        self.queueing() != Queueing::Never
    }

    fn queueing(self) -> Queueing {
        match self {
            Self::Newest => Queueing::Newest,
            Self::Ahead => Queueing::Ahead,
            Self::Try | Self::Clear | Self::Force(_) => Queueing::Never,
            _ => Queueing::Last(None),
        }
    }
}

impl World {
    /// The machines of a process, in the order in which it claims them.
    pub fn order(&self, index: usize, broken: Broken) -> &'static [usize] {
        match self.processes[index].role.machines() {
            [0, 1] if index % 2 == 1 && broken.by(Mutant::ClaimOutOfOrder) => &[1, 0],
            machines => machines,
        }
    }

    /// The claim that this process makes next, of that machine.
    pub fn request(&self, index: usize, machine: usize) -> Request {
        let process = &self.processes[index];
        let at = &process.at[machine];
        let (mode, slots) = match process.role {
            role if role.reads() => (Mode::Shared, 256),
            Role::Slot => (Mode::Exclusive, 2),
            _ => (Mode::Exclusive, 1),
        };
        let holds = self.outer_run(index, machine).into_iter().collect();
        Request {
            want: Want { mode, slots, holds },
            contended: process.life == Life::Waiting,
            queueing: process.role.queueing(),
            ticket: at.ticket,
            passes: at.passed.len(),
            rerun_if_lost: false,
            repeats: None,
        }
    }

    /// The run that this process is part of, by its token.
    pub fn outer_run(&self, index: usize, machine: usize) -> Option<u64> {
        let outer = &self.processes[self.processes[index].role.outer()?];
        outer.role.machines().contains(&machine).then_some(outer.at[machine].token)
    }

    /// Whether a process may begin: the job that calls it is at work.
    pub fn may_begin(&self, process: &Process) -> bool {
        let Some(outer) = process.role.outer() else { return true };
        self.processes[outer].job.is_some_and(|job| self.jobs[job].state.is_at_work())
    }
}
