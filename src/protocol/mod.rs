//! The protocol, as pure steps: who may take, release or clear a machine, and in which order.
//!
//! [`claim::Claim`], [`again::Again`], [`take_over::TakeOver`], [`clear::Clear`] and [`note::Note`] are
//! machines without I/O, and so are [`release::Release`], [`withdraw::Withdraw`] and [`amend::Amend`], which
//! share their steps ([`edit`]): each is told the [`Answer`] to its last [`Act`] and says the next.
//! [`claims::Claims`] runs claims, or further attempts, of several machines as one.
//! [`crate::transaction`] executes the acts on the real state directory; a model can execute them on an
//! imagined one. The order of the acts *is* the protocol, and it stands here and nowhere else.

pub mod again;
pub mod amend;
pub mod claim;
pub mod claims;
pub mod clear;
pub mod edit;
pub mod note;
pub mod release;
pub mod rewrite;
pub mod take_over;
pub mod want;
pub mod withdraw;

#[cfg(test)]
mod fixtures;

use crate::identity::observe::Observed;
use crate::identity::verdict::{Judgement, Subject, Verdict};
use crate::machine::events::What;
use crate::machine::record::{Holder, Record};
use crate::machine::ticket::{Spot, TicketId};
use crate::sys::wait::Ended;
use want::Standing;

/// One step that the protocol asks for. Each says what a crash right after it leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    /// Take the machine lock. Left behind: nothing; the lock goes with its process.
    Lock,
    /// Feel the waiters of a queue, of which there is one outside and one in the job of each holder.
    /// Left behind: nothing.
    FeelQueue {
        /// In whose job.
        within: Option<u64>,
        /// Only those before our ticket, which has this number.
        before: Option<u64>,
    },
    /// Unlink these tickets, whose waiters are gone. Left behind: as before.
    SweepQueue(Vec<TicketId>),
    /// Read the record and judge everybody in it. Left behind: nothing.
    Read,
    /// Take these waiters' places from them, and tell them. Left behind: some who keep theirs.
    Evict(Vec<TicketId>),
    /// Take a ticket. Left behind: a slack one, which everybody passes over.
    Enqueue(Spot),
    /// Give our ticket back. Left behind: nothing.
    LeaveQueue,
    /// Make a lifeline for this token, taut. Left behind: a slack lifeline that nobody names,
    /// swept by the next claim.
    MakeLifeline(u64),
    /// Make a lifeline, taut, in the place of that of this run, which is slack. Left behind: a run without a
    /// supervisor as before, whose lifeline is not the one that was recorded: it says nothing.
    RemakeLifeline(u64),
    /// Feel every other lifeline there is. Left behind: as before.
    FeelOthers,
    /// Read the record again, and compare. Left behind: as before.
    ReadAgain,
    /// Unlink these slack lifelines, and what else crashes left half made.
    Sweep(Vec<u64>),
    /// Fork the job behind its gate, and tell it its tokens, one for each machine. Left behind: a child
    /// that reads end-of-file from its gate, or is killed by its parent-death signal, and never
    /// becomes the job.
    Fork(Vec<u64>),
    /// Put this record in place, unless lock file or record were replaced meanwhile. Left behind:
    /// a record that names a child which never became the job: a phantom.
    Put(Box<Record>),
    /// Append these events. Left behind: a record whose last change the log does not tell.
    Log(Vec<(u64, What)>),
    /// Unlink the lifelines of holders that the record names no more. Left behind: slack ones.
    Unlink(Vec<u64>),
    /// Give the machine lock back. Left behind: as before.
    Unlock,
    /// Let the job begin. Left behind: a job that runs, and a record that is true.
    OpenGate,
    /// Undo: end the child behind its closed gate.
    Abandon,
    /// Undo: unlink our lifeline and close it.
    DropLifeline,
    /// Close our lifeline, which is unlinked.
    CloseLifeline,
}

/// What an act brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The machine is asked for its first act.
    Begin,
    /// Done, and there is nothing to tell.
    Done,
    /// To `FeelQueue`.
    Queue(Queue),
    /// To `Read`.
    Seen(Box<Seen>),
    /// To `MakeLifeline` and `RemakeLifeline`: its identity, for the record.
    Made(String),
    /// To `MakeLifeline`: that token has one already. To both: it was swept.
    Taken,
    /// To `FeelOthers`.
    Felt(Felt),
    /// To `Fork`: the holder to record, its processes filled in.
    Born(Box<Holder>),
    /// To `ReadAgain` and `Put`: somebody else rewrote the record, or replaced the lock file.
    Changed,
    /// To what waits for the other machines of a claim ([`claims`]): one of them is not to be had.
    Refused,
}

/// A record and everybody in it, judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// What a rewrite starts from.
    pub record: Record,
    /// Whom the record names.
    pub judged: Vec<Judged>,
    /// The time, for people.
    pub now: String,
    /// The time, for tokens: milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// A subject and the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Judged {
    /// Whom it is about.
    pub subject: Subject,
    /// What it is, and why.
    pub judgement: Judgement,
    /// How its job ended, where the kernel told us.
    pub ended: Option<Ended>,
    /// Its supervisor is provably over.
    pub is_orphan: bool,
}

/// The waiters before us, by their tickets, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Queue {
    /// Those who wait.
    pub waiting: Vec<TicketId>,
    /// Those who are gone, or can't be proven to be there: nobody waits for them.
    pub gone: Vec<TicketId>,
    /// Those who wait, but for another machine, too, which we do not need: we need not wait for them.
    pub away: Vec<TicketId>,
    /// Our own ticket is not there any more.
    pub is_lost: bool,
}

/// How all lifelines but our own felt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Felt {
    /// Tokens of those somebody holds, or that would not tell.
    pub taut: Vec<u64>,
    /// Tokens of those nobody holds.
    pub slack: Vec<u64>,
}

/// What a machine wants next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Next<Outcome> {
    /// Execute this and come back with its answer.
    Do(Act),
    /// It is finished.
    Finish(Outcome),
}

/// A machine of this module: what its executor sees of it.
pub trait Protocol {
    /// How it can end.
    type Outcome;

    /// Takes the answer to the last act, and says the next.
    fn next(&mut self, answer: Answer) -> Next<Self::Outcome>;
}

impl From<Observed> for Judged {
    fn from(observed: Observed) -> Self {
        let (ended, is_orphan) = (observed.evidence.told.ended(), observed.is_orphan());
        Self { ended, is_orphan, ..Self::new(observed.subject, observed.judgement) }
    }
}

impl Judged {
    /// A subject of whom nothing else is known.
    pub fn new(subject: Subject, judgement: Judgement) -> Self {
        Self { subject, judgement, ended: None, is_orphan: false }
    }

    /// What decides who may go beside it.
    pub fn standing(&self) -> Standing<'_> {
        (&self.subject, &self.judgement.verdict)
    }

    /// Whether the subject is a phantom.
    pub fn is_phantom(&self) -> bool {
        matches!(self.judgement.verdict, Verdict::Phantom(_))
    }
}
