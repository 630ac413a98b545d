//! What a run asks for, and what it gets.

use crate::machine::ticket::TicketId;
use crate::protocol::Judged;
use crate::protocol::want::Want;

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The machine is ours, and the job runs. The phantoms that were in the way are cleared.
    Granted {
        /// Our token.
        token: u64,
        /// Whom we cleared.
        cleared: Vec<Judged>,
    },
    /// Somebody holds the machine, or it is another's turn. The lock is released; nothing of ours
    /// is left but a ticket, if we took one.
    Busy {
        /// Whom we cleared nevertheless.
        cleared: Vec<Judged>,
        /// More wait already than we would wait with: we have no ticket.
        is_full: bool,
    },
    /// The lost run that was to be repeated is not there any more: somebody else has, or it was never
    /// lost. The lock is released, and nothing is left but a ticket that we had.
    NotLost,
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// What a run asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Request {
    /// How it wants the machine.
    pub want: Want,
    /// An earlier claim of this run found the machine held.
    pub contended: bool,
    /// How it waits, if it has to.
    pub queueing: Queueing,
    /// The ticket that it has.
    pub ticket: Option<TicketId>,
    /// How many of those before it may be passed over: they have let the machine go by.
    pub passes: usize,
    /// It is to be repeated if it is lost.
    pub rerun_if_lost: bool,
    /// The lost run that it repeats.
    pub repeats: Option<u64>,
}

/// How a run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Queueing {
    /// Not at all.
    #[default]
    Never,
    /// Behind the others, where fewer than so many wait, if there is a limit.
    Last(Option<usize>),
    /// Alone: in the place of whoever waits, but for one who goes ahead.
    Newest,
    /// Ahead of the others, in the place of whoever went ahead before.
    Ahead,
}
