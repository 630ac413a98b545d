//! What each role asks for, and who may be at work beside whom.

use jobguard::machine::record::Mode;
use jobguard::machine::ticket::TicketId;
use jobguard::protocol::claim::{Queueing, Request};
use jobguard::protocol::want::Want;

use super::{Life, Process, Role, World};

impl Role {
    /// Whether it brings up a job.
    pub fn runs(self) -> bool {
        !matches!(self, Self::Clear | Self::Force(_))
    }

    fn queueing(self) -> Queueing {
        match self {
            Self::Run | Self::Read | Self::Slot | Self::Inner(_) => Queueing::Last(None),
            Self::Newest => Queueing::Newest,
            Self::Ahead => Queueing::Ahead,
            Self::Try | Self::Clear | Self::Force(_) => Queueing::Never,
        }
    }
}

impl World {
    /// The claim that this process makes next.
    pub fn request(&self, index: usize, passes: usize) -> Request {
        let process = &self.processes[index];
        let (mode, slots) = match process.role {
            Role::Read => (Mode::Shared, 256),
            Role::Slot => (Mode::Exclusive, 2),
            _ => (Mode::Exclusive, 1),
        };
        let holds = match process.role {
            Role::Inner(outer) => vec![self.processes[outer].token],
            _ => Vec::new(),
        };
        Request {
            want: Want { mode, slots, holds },
            contended: process.life == Life::Waiting,
            queueing: process.role.queueing(),
            ticket: process.ticket,
            passes,
        }
    }

    /// Whether a process may begin: the job that calls it is at work.
    pub fn may_begin(&self, process: &Process) -> bool {
        let Role::Inner(outer) = process.role else { return true };
        self.processes[outer].job.is_some_and(|job| self.jobs[job].state.is_at_work())
    }

    /// The jobs that are at work, if they may not be beside each other.
    pub fn collision(&self) -> Option<String> {
        let at_work: Vec<(usize, Role)> = self
            .jobs
            .iter()
            .filter(|job| job.state.is_at_work())
            .map(|job| (job.parent, self.processes[job.parent].role))
            .collect();
        let slots = at_work.iter().filter(|(_, role)| *role == Role::Slot).count();
        let share = |one: &(usize, Role), other: &(usize, Role)| match (one.1, other.1) {
            (Role::Read, Role::Read) => true,
            (Role::Slot, Role::Slot) => slots <= 2,
            (Role::Inner(outer), _) if outer == other.0 => true,
            (_, Role::Inner(outer)) if outer == one.0 => true,
            _ => false,
        };
        let collides = |(index, one): (usize, &(usize, Role))| {
            at_work[index + 1..].iter().any(|other| !share(one, other))
        };
        at_work.iter().enumerate().any(collides).then(|| format!("{} jobs at once", at_work.len()))
    }

    /// Those who wait before this ticket: in its own queue, and outside all that wait inside.
    pub fn before(&self, ticket: TicketId) -> impl Iterator<Item = usize> {
        let is_before = move |(other, _): &(&TicketId, _)| match (ticket.within, other.within) {
            (None, Some(_)) => true,
            (within, other_within) => within == other_within && other.number < ticket.number,
        };
        self.queue.iter().filter(is_before).filter_map(|(_, waiter)| *waiter)
    }
}
