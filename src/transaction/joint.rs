//! Claims of several machines, executed: one child for all.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::Transaction;
use crate::error::Error;
use crate::machine::record::Holder;
use crate::machine::ticket::Ticket;
use crate::protocol::claim::Outcome;
use crate::protocol::claims::{Claims, Joint, Step};
use crate::protocol::{Act, Answer};

/// Brings the job into the world when the protocol says so.
pub trait Nursery {
    /// Forks the job behind its gate, without these descriptors, tells it its tokens, one for each
    /// machine, and says who it is.
    fn fork(&mut self, tokens: &[u64], keep_out: &[RawFd]) -> Result<Holder, Error>;
    /// Opens the gate.
    fn open_gate(&mut self);
    /// Ends the child behind its closed gate, if there is one.
    fn abandon(&mut self);
    /// Who waits, for the queue.
    fn ticket(&self) -> Ticket;
}

/// Runs claims to their end, in the order of their machines. After an error everything is undone, in
/// reverse: the child, the lifelines, the locks. A record that names the child by then stays: a
/// phantom.
pub fn claim_all<P: Joint>(
    transactions: &mut [Transaction<'_>],
    claims: &mut Claims<P>,
    nursery: &mut dyn Nursery,
) -> Result<Vec<Outcome>, Error> {
    let mut answer = Answer::Begin;
    let result = loop {
        let answered = match claims.next(answer) {
            Step::Finish(outcomes) => break Ok(outcomes),
            Step::Do(_, Act::Fork(tokens)) => {
                let keep_out: Vec<RawFd> = transactions.iter().flat_map(ours_alone).collect();
                nursery.fork(&tokens, &keep_out).map(|holder| Answer::Born(Box::new(holder)))
            }
            Step::Do(_, Act::Abandon) => {
                nursery.abandon();
                Ok(Answer::Done)
            }
            Step::Do(_, Act::OpenGate) => {
                transactions.iter_mut().for_each(Transaction::flush);
                nursery.open_gate();
                Ok(Answer::Done)
            }
            Step::Do(index, Act::Lock) => {
                lock_beside(&mut transactions[..=index]).map(|()| Answer::Done)
            }
            Step::Do(index, Act::Enqueue(spot)) => {
                transactions[index].enqueue(spot, &nursery.ticket())
            }
            Step::Do(index, act) => transactions[index].perform(act),
        };
        match answered {
            Ok(next) => answer = next,
            Err(error) => break Err(error),
        }
    };
    if result.is_err() {
        nursery.abandon();
        transactions.iter_mut().rev().for_each(Transaction::undo);
    }
    result
}

/// Takes the last of these locks beside the others, which are held already. None is held while another
/// is waited for: whoever keeps that one keeps nobody from the rest.
fn lock_beside(transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
    let begun = Instant::now();
    let Some(last) = transactions.len().checked_sub(1) else { return Ok(()) };
    let mut contended = last;
    loop {
        let left = transactions[contended].lock_timeout.saturating_sub(begun.elapsed());
        // As it is said when it is over.
        let left =
            Duration::from_millis(left.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX));
        if transactions.len() == 1 || !transactions[contended].try_lock()? {
            transactions.iter_mut().for_each(Transaction::unlock);
            transactions[contended].lock(left)?;
        }
        let missing = transactions.iter().position(|other| other.state.lock.is_none());
        match missing {
            None => return Ok(()),
            Some(missing) => contended = missing,
        }
    }
}

/// The descriptors that the child must not have.
fn ours_alone(transaction: &Transaction<'_>) -> impl Iterator<Item = RawFd> {
    let all = [
        transaction.state.lock.as_ref().map(|lock| lock.file().as_raw_fd()),
        transaction.lifeline.as_ref().map(|lifeline| lifeline.as_fd().as_raw_fd()),
        transaction.place.as_ref().map(|place| place.as_fd().as_raw_fd()),
    ];
    all.into_iter().flatten()
}
