//! The queue of a machine: a lifeline for each waiter, named by a number, and a ticket that says
//! who that is. Numbers only grow while anybody waits; the lowest is the head.
//!
//! Passing over a waiter is always safe, so this inverts the rule for holders: who is not provably
//! there is not there.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{MachineDir, make_dir, write_new};
use crate::error::Error;
use crate::identity::lifeline::{Feel, Lifeline, feel, whose};
use crate::machine::reading::is_overgrown;
use crate::machine::ticket::Ticket;
use crate::sys::file::{entries, open_dir, openat, rmdirat, unlinkat};

const QUEUE: &str = "queue";

/// Numbers from here on are nobody's: a million waiters a second would take ten thousand years.
const MAX_TICKET: u64 = 1 << 58;

/// So many before us are watched, and so many watch the holders: when the head is gone, or does
/// nothing, the next is there, and has a successor who knows it.
pub const NEAR: usize = 2;

/// The largest ticket file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// A place in the queue: whoever keeps it waits. Dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    /// Its number.
    pub number: u64,
    lifeline: Lifeline,
    queue: OwnedFd,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lifeline.as_fd()
    }
}

impl Place {
    /// Whether it is still ours: somebody may have removed it, and another have it by now.
    pub fn is_there(&self) -> bool {
        let Ok(id) = self.lifeline.id() else { return true };
        whose(self.queue.as_fd(), &self.number.to_string()).is_some_and(|(found, _)| found == id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_there() {
            remove(&self.queue, self.number);
        }
    }
}

/// Who waits, in order, and whose tickets were left behind.
#[derive(Debug, Default)]
pub struct Waiters {
    /// The numbers of those who are there.
    pub waiting: Vec<u64>,
    /// The write ends of the lifelines of the last of them: each errs when its owner leaves. Not of
    /// all: there may be more waiters than descriptors.
    pub nearest: VecDeque<OwnedFd>,
    /// The numbers of those who are gone.
    pub gone: Vec<u64>,
    /// There is a queue, even if nobody is in it.
    pub is_made: bool,
}

impl MachineDir {
    /// Feels those who wait before the ticket `before`, or all.
    pub fn waiters(&self, before: Option<u64>) -> Result<Waiters, Error> {
        let mut waiters = Waiters::default();
        let Some(queue) = self.open_queue()? else { return Ok(waiters) };
        waiters.is_made = true;
        for number in self.list_queue(&queue)?.numbers {
            if before.is_some_and(|before| number >= before) {
                break;
            }
            match feel(queue.as_fd(), &number.to_string(), None) {
                Feel::Taut(lifeline) => {
                    waiters.waiting.push(number);
                    waiters.nearest.push_back(lifeline);
                    if waiters.nearest.len() > NEAR {
                        waiters.nearest.pop_front();
                    }
                }
                Feel::Slack | Feel::Missing => waiters.gone.push(number),
                Feel::Unknown(_) => {} // passed over, and left alone
            }
        }
        Ok(waiters)
    }

    /// What a waiter says of itself, if it can be read.
    pub fn ticket(&self, number: u64) -> Option<Ticket> {
        let queue = self.open_queue().ok()??;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&queue, ticket_name(number).as_str(), flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        (!is_overgrown(&bytes)).then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Takes the last place in the queue, under the machine lock.
    ///
    /// The ticket is there before the lifeline has its name: who is seen to wait can be read.
    pub fn enqueue(&self, ticket: &Ticket) -> Result<Place, Error> {
        let cannot = |error: io::Error| self.cannot("write", QUEUE)(error);
        let bytes = serde_json::to_vec(ticket).map_err(|error| cannot(error.into()))?;
        let mut queue = self.make_queue()?;
        let mut number = 0;
        for _ in 0..MAX_TRIES {
            let listing = self.list_queue(&queue)?;
            for name in &listing.scratch {
                let _ = unlinkat(&queue, name); // left by a crash; the next tries again
            }
            number = listing.numbers.last().map_or(number, |last| number.max(*last)) + 1;
            match write_new(queue.as_fd(), &ticket_name(number), &bytes) {
                // Removed by a claim under another lock file.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    queue = self.make_queue()?;
                    continue;
                }
                written => written.map_err(cannot)?,
            }
            if let Some(lifeline) = self.place_lifeline(queue.as_fd(), &number.to_string())? {
                return Ok(Place { number, lifeline, queue });
            }
        }
        Err(cannot(Errno::EEXIST.into()))
    }

    /// Removes the queue, when nobody is in it, and what crashes left half made there. Under the
    /// machine lock.
    pub fn remove_empty_queue(&self) {
        if let Ok(Some(queue)) = self.open_queue() {
            self.remove_if_empty(&queue);
        }
    }

    fn remove_if_empty(&self, queue: &OwnedFd) {
        if let Ok(Listing { numbers, scratch }) = self.list_queue(queue)
            && numbers.is_empty()
        {
            for name in &scratch {
                let _ = unlinkat(queue, name); // then the queue stays, and the next tries again
            }
            let _ = rmdirat(&self.fd, QUEUE); // as above
        }
    }

    /// Removes the tickets of waiters who are gone.
    pub fn sweep_queue(&self, gone: &[u64]) {
        if let Ok(Some(queue)) = self.open_queue() {
            for number in gone {
                // Once more: a claim under another lock file may be making it.
                if !matches!(feel(queue.as_fd(), &number.to_string(), None), Feel::Taut(_)) {
                    remove(&queue, *number);
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
            let number = name.strip_suffix(TICKET).unwrap_or(name);
            match number.parse::<u64>() {
                // Not what we would have written is not ours.
                Ok(parsed) if parsed < MAX_TICKET && number == parsed.to_string() => {
                    listing.numbers.push(parsed);
                }
                _ if !matches!(name, "." | "..") && name.starts_with('.') => {
                    listing.scratch.push(name.to_owned());
                }
                _ => {}
            }
        }
        listing.numbers.sort_unstable();
        listing.numbers.dedup();
        Ok(listing)
    }
}

/// What lies in a queue.
#[derive(Debug, Default)]
struct Listing {
    /// All numbers, in order, whether anybody waits there or not.
    numbers: Vec<u64>,
    /// Lifelines half made.
    scratch: Vec<String>,
}

/// A queue, or a place in it, is not taken from us more often than this.
const MAX_TRIES: usize = 100;

const TICKET: &str = ".json";

fn ticket_name(number: u64) -> String {
    format!("{number}{TICKET}")
}

/// The ticket first: as long as the lifeline is there nobody else takes the number.
fn remove(queue: &OwnedFd, number: u64) {
    let _ = unlinkat(queue, &ticket_name(number)); // what stays is swept by a later claim
    let _ = unlinkat(queue, &number.to_string()); // as above
}
