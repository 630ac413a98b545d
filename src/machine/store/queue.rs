//! The queue of a machine: a lifeline for each waiter, named by a number, and a ticket that says
//! who that is. Numbers only grow while anybody waits; the lowest is the head.
//!
//! Passing over a waiter is always safe, so this inverts the rule for holders: who is not provably
//! there is not there.

pub mod place;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{MachineDir, make_dir};
use crate::error::Error;
use crate::identity::lifeline::{Feel, feel, try_feel};
use crate::machine::name::MachineName;
use crate::machine::reading::is_overgrown;
use crate::machine::ticket::{Ticket, TicketId};
use crate::sys::file::{entries, lstatat, open_dir, openat, rmdirat, unlinkat};

const QUEUE: &str = "queue";

/// So many before us are watched, and so many watch the holders: when the head is gone, or does
/// nothing, the next is there, and has a successor who knows it.
pub const NEAR: usize = 2;

/// The largest ticket file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Whom to feel in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// In which queue: outside, or in the job of a holder.
    pub within: Option<u64>,
    /// Those outside wait behind those inside these holders, too; `None`: inside any.
    pub insiders: Option<&'a [u64]>,
    /// Before which number; `None`: to the end.
    pub before: Option<u64>,
    /// Not more than so many of those who wait in that queue, from the last on.
    pub at_most: usize,
    /// All machines that the asker must have. Who is away for another one is not before him.
    pub machines: &'a [MachineName],
}

impl Stretch<'_> {
    /// Whether a ticket is in it.
    pub fn holds(&self, id: TicketId) -> bool {
        match (self.within, id.within) {
            (None, Some(inside)) => self.insiders.is_none_or(|holders| holders.contains(&inside)),
            (within, other) if within != other => false,
            _ => self.before.is_none_or(|before| id.number < before),
        }
    }
}

/// Who waits, in order, and whose tickets were left behind.
#[derive(Debug, Default)]
pub struct Waiters {
    /// The tickets of those who are there.
    pub waiting: Vec<TicketId>,
    /// How many of them wait in the asker's own queue, not inside a holder's job.
    pub own: usize,
    /// The write ends of the lifelines of the last [`NEAR`] of them, and of those inside: each errs when
    /// its owner leaves. Not of all: there may be more waiters than descriptors.
    pub nearest: Vec<OwnedFd>,
    /// The tickets of those who are away for a machine that the asker does not need.
    pub away: Vec<TicketId>,
    /// The tickets of those who are gone.
    pub gone: Vec<TicketId>,
    /// There is a queue, even if nobody is in it.
    pub is_made: bool,
    /// Who was away when it was listed, whatever that means to the asker.
    listed_away: BTreeSet<TicketId>,
}

impl MachineDir {
    /// Feels those who wait in a stretch of the queue.
    ///
    /// # Errors
    /// Also when descriptors or memory are short: nobody is passed over for our want of them.
    pub fn waiters(&self, stretch: Stretch<'_>) -> Result<Waiters, Error> {
        let Some(queue) = self.open_queue()? else { return Ok(Waiters::default()) };
        loop {
            let waiters = self.felt_once(&queue, stretch)?;
            let is_away = |id: &TicketId| lstatat(&queue, &away_name(*id)).is_ok();
            // Whoever went away between the list and the feel has a new lifeline, which wakes nobody.
            let mut nearest = waiters.waiting.iter().rev().take(NEAR);
            if !nearest.any(|id| !waiters.listed_away.contains(id) && is_away(id)) {
                return Ok(waiters);
            }
        }
    }

    fn felt_once(&self, queue: &OwnedFd, stretch: Stretch<'_>) -> Result<Waiters, Error> {
        let (mut waiters, mut inside) = (Waiters { is_made: true, ..Waiters::default() }, 0);
        let Listing { tickets, away, .. } = self.list_queue(queue)?;
        for id in tickets.into_iter().rev().filter(|id| stretch.holds(*id)) {
            let is_own = id.within == stretch.within;
            if is_own && waiters.own >= stretch.at_most {
                continue;
            }
            match try_feel(queue.as_fd(), &id.to_string(), None) {
                // Away for another machine than those of the asker, who is not to wait for that.
                Ok(Feel::Taut(_))
                    if away.contains(&id) && self.needs_more(id, stretch.machines) =>
                {
                    waiters.away.push(id);
                }
                Ok(Feel::Taut(lifeline)) => {
                    let place = if is_own { &mut waiters.own } else { &mut inside };
                    *place += 1;
                    if *place <= NEAR {
                        waiters.nearest.push(lifeline);
                    }
                    waiters.waiting.push(id);
                }
                Ok(Feel::Slack | Feel::Missing) => waiters.gone.push(id),
                Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
                    return Err(self.cannot("feel", QUEUE)(errno.into()));
                }
                Ok(Feel::Unknown(_)) | Err(_) => {} // passed over, and left alone
            }
        }
        waiters.listed_away = away;
        waiters.waiting.reverse();
        waiters.away.reverse();
        waiters.gone.reverse();
        Ok(waiters)
    }

    /// Whether a waiter must have other machines than these. Who is away for one of them is not to be
    /// waited for.
    fn needs_more(&self, id: TicketId, machines: &[MachineName]) -> bool {
        self.ticket(id).is_some_and(|ticket| ticket.needs_more(machines))
    }

    /// The tickets of all who wait, outside and in the jobs of holders, in order; and who is away.
    pub fn all_waiters(&self) -> Result<(Vec<TicketId>, BTreeSet<TicketId>), Error> {
        let Some(queue) = self.open_queue()? else { return Ok(Default::default()) };
        let Listing { mut tickets, away, .. } = self.list_queue(&queue)?;
        tickets.retain(|id| matches!(feel(queue.as_fd(), &id.to_string(), None), Feel::Taut(_)));
        tickets.sort_unstable_by_key(|id| (id.within, id.number));
        Ok((tickets, away))
    }

    /// What a waiter says of itself, if it can be read.
    pub fn ticket(&self, id: TicketId) -> Option<Ticket> {
        let queue = self.open_queue().ok()??;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&queue, ticket_name(id).as_str(), flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        (!is_overgrown(&bytes)).then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Removes the queue, when nobody is in it, and what crashes left half made there. Under the
    /// machine lock.
    pub fn remove_empty_queue(&self) {
        if let Ok(Some(queue)) = self.open_queue() {
            self.remove_if_empty(&queue);
        }
    }

    fn remove_if_empty(&self, queue: &OwnedFd) {
        if let Ok(Listing { tickets, scratch, .. }) = self.list_queue(queue)
            && tickets.is_empty()
        {
            for name in &scratch {
                let _ = unlinkat(queue, name); // then the queue stays, and the next tries again
            }
            let _ = rmdirat(&self.fd, QUEUE); // as above
        }
    }

    /// Removes the tickets of waiters who are gone.
    pub fn sweep_queue(&self, gone: &[TicketId]) {
        if let Ok(Some(queue)) = self.open_queue() {
            for id in gone {
                // Once more: a claim under another lock file may be making it.
                if !matches!(feel(queue.as_fd(), &id.to_string(), None), Feel::Taut(_)) {
                    remove(&queue, *id);
                }
            }
            self.remove_if_empty(&queue);
        }
    }

    fn open_queue(&self) -> Result<Option<OwnedFd>, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, QUEUE, flags, Mode::empty()) {
            Ok(queue) => Ok(Some(queue)),
            // What cannot be entered has no waiters that could be felt.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => Ok(None),
            Err(errno) => Err(self.cannot("open", QUEUE)(errno.into())),
        }
    }

    fn make_queue(&self) -> Result<OwnedFd, Error> {
        for _ in 0..MAX_TRIES {
            match make_dir(&self.fd, QUEUE, self.shared) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.cannot("make", QUEUE)(errno.into())),
            }
            if let Some(queue) = self.open_queue()? {
                return Ok(queue);
            }
        }
        Err(Error::State(format!(
            "cannot {}: something else is in its place, or its owner keeps others out; remove that",
            self.doing("make", QUEUE)
        )))
    }

    fn list_queue(&self, queue: &OwnedFd) -> Result<Listing, Error> {
        let listed = open_dir(queue).and_then(|mut dir| entries(&mut dir));
        let listed = listed.map_err(|errno| self.cannot("list", QUEUE)(errno.into()))?;
        let mut listing = Listing::default();
        for entry in listed {
            let Ok(name) = entry.file_name().to_str() else { continue };
            let away = name.strip_suffix(AWAY).and_then(TicketId::parse);
            listing.away.extend(away);
            match away.or_else(|| TicketId::parse(name.strip_suffix(TICKET).unwrap_or(name))) {
                Some(id) => listing.tickets.push(id),
                None if !matches!(name, "." | "..") && name.starts_with('.') => {
                    listing.scratch.push(name.to_owned());
                }
                None => {} // not what we would have written is not ours
            }
        }
        listing.tickets.sort_unstable();
        listing.tickets.dedup();
        Ok(listing)
    }
}

/// What lies in a queue.
#[derive(Debug, Default)]
struct Listing {
    /// All tickets, in order, whether anybody waits there or not.
    tickets: Vec<TicketId>,
    /// Those that say that their waiter is away.
    away: BTreeSet<TicketId>,
    /// Lifelines half made.
    scratch: Vec<String>,
}

/// A queue, or a place in it, is not taken from us more often than this.
const MAX_TRIES: usize = 100;

const TICKET: &str = ".json";

/// What the name of an empty file ends in that says that a waiter is away.
const AWAY: &str = ".away";

fn ticket_name(id: TicketId) -> String {
    format!("{id}{TICKET}")
}

fn away_name(id: TicketId) -> String {
    format!("{id}{AWAY}")
}

/// The ticket first: as long as the lifeline is there nobody else takes the number.
fn remove(queue: &OwnedFd, id: TicketId) {
    let _ = unlinkat(queue, &ticket_name(id)); // what stays is swept by a later claim
    let _ = unlinkat(queue, &away_name(id)); // as above; mostly there is none
    let _ = unlinkat(queue, &id.to_string()); // as above
}
