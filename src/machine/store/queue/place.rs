//! A waiter's own place in a queue: taking it, keeping it, losing it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::write;

use super::{MAX_TRIES, QUEUE, away_name, remove, ticket_name};
use crate::error::Error;
use crate::identity::lifeline::{Ends, Feel, Lifeline, feel, whose};
use crate::machine::store::{MachineDir, write_new};
use crate::machine::ticket::{AHEAD, Spot, Ticket, TicketId};
use crate::sys::file::unlinkat;
use crate::sys::rename::Rename;
use crate::sys::retry::retry;

/// A place in the queue: whoever keeps it waits. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    /// Its ticket.
    pub id: TicketId,
    lifeline: Lifeline,
    queue: OwnedFd,
    is_away: bool,
}

/// What became of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is still ours.
    Kept,
    /// Somebody removed it, and another may have it by now.
    Lost,
    /// A newer run took it from us (see [`MachineDir::evict`]).
    Taken,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }
}

impl Place {
    /// What has become of it.
    pub fn fate(&self) -> Fate {
        // Anybody may write into it, so that alone means nothing; but it wakes us, and is taken out.
        let told = self.lifeline.drain();
        match (self.is_there(), told) {
            (true, _) => Fate::Kept,
            (false, false) => Fate::Lost,
            (false, true) => Fate::Taken,
        }
    }

    /// Whether it is still ours.
    pub fn is_there(&self) -> bool {
        let Ok(id) = self.lifeline.id() else { return true };
        whose(self.queue.as_fd(), &self.id.to_string()).is_some_and(|(found, _)| found == id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_there() {
            remove(&self.queue, self.id);
        }
    }
}

impl MachineDir {
    /// Takes a place in a queue, the last one or the one ahead of all. Under the machine lock.
    ///
    /// The ticket is there before the lifeline has its name: who is seen to wait can be read.
    pub fn enqueue(&self, spot: Spot, ticket: &Ticket) -> Result<Place, Error> {
        let cannot = |error: io::Error| self.cannot("write", QUEUE)(error);
        let bytes = serde_json::to_vec(ticket).map_err(|error| cannot(error.into()))?;
        let mut queue = self.make_queue()?;
        let mut number = AHEAD;
        for _ in 0..MAX_TRIES {
            let listing = self.list_queue(&queue)?;
            for name in &listing.scratch {
                let _ = unlinkat(&queue, name); // left by a crash; the next tries again
            }
            if !spot.ahead {
                number = listing.tickets.last().map_or(number, |id| number.max(id.number)) + 1;
            }
            let id = TicketId { number, within: spot.within };
            if spot.ahead {
                // Evicted, or gone; or it waits on another host, and takes a new place.
                remove(&queue, id);
            }
            match write_new(queue.as_fd(), &ticket_name(id), &bytes) {
                // Removed by a claim under another lock file.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    queue = self.make_queue()?;
                    continue;
                }
                written => written.map_err(cannot)?,
            }
            if let Some(lifeline) =
                self.place_lifeline(queue.as_fd(), &id.to_string(), Ends::Both, Rename::NoReplace)?
            {
                return Ok(Place { id, lifeline, queue, is_away: false });
            }
        }
        Err(cannot(Errno::EEXIST.into()))
    }

    /// Says whether whoever has this place could not take the machine now, because another one that it
    /// must have at the same time is not to be had. `false`: not now, somebody has the machine lock.
    ///
    /// Those behind are woken: they sleep on a lifeline that is another's then.
    pub fn set_away(&self, place: &mut Place, away: bool) -> Result<bool, Error> {
        if place.is_away == away {
            return Ok(true);
        }
        let name = away_name(place.id);
        if !away {
            place.is_away = false;
            let _ = unlinkat(&place.queue, &name); // else they do not wait for us
            return Ok(true);
        }
        let Some(lock) = self.try_lock()? else { return Ok(false) };
        if place.is_there() {
            let queue = place.queue.as_fd();
            write_new(queue, &name, b"").map_err(self.cannot("write", QUEUE))?;
            let id = place.id.to_string();
            if let Some(new) = self.place_lifeline(queue, &id, Ends::Both, Rename::Replace)? {
                place.lifeline = new;
            }
            place.is_away = true;
        }
        lock.release();
        Ok(true)
    }

    /// Takes their places from these waiters, and tells them. Under the machine lock.
    pub fn evict(&self, waiting: &[TicketId]) {
        let Ok(Some(queue)) = self.open_queue() else { return };
        for id in waiting {
            let lifeline = match feel(queue.as_fd(), &id.to_string(), None) {
                Feel::Taut(lifeline) => Some(lifeline),
                _ => None, // gone, and as good as told
            };
            // Before, so that nobody takes its place for lost who looks in between; and after, when
            // there is something to see.
            let tell = || {
                let _ = lifeline.as_ref().map(|fd| retry(|| write(fd, b"!"))); // full, it wakes, too
            };
            tell();
            remove(&queue, *id);
            tell();
        }
    }
}
