//! Executes the acts of [`crate::protocol`] on a real state directory.
//!
//! A [`Transaction`] is on one machine; [`joint::claim_all`] runs several of them as one. A thin layer: it
//! decides nothing. Signals must be blocked while it runs, job control's too, so that nobody is stopped
//! with the machine lock in hand.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::identity::host::Locality;
use crate::identity::lifeline::Lifeline;
use crate::identity::observe::{Patience, observe_all};
use crate::identity::verdict::Observer;
use crate::machine::events::{Event, What};
use crate::machine::lock::{MachineLock, Unflushed};
use crate::machine::name::MachineName;
use crate::machine::record::Record;
use crate::machine::store::MachineDir;
use crate::machine::store::queue::Stretch;
use crate::machine::store::queue::place::Place;
use crate::machine::store::sidecar::{Put, Snapshot};
use crate::machine::ticket::{Spot, Ticket, TicketId};
use crate::protocol::{Act, Answer, Judged, Next, Protocol, Queue, Seen};

pub mod joint;
mod lifelines;

/// One machine under the protocol.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// The machine's directory.
    pub dir: &'a MachineDir,
    /// Who judges.
    pub observer: &'a Observer,
    /// What this process has seen of the machine before.
    pub patience: &'a mut Patience,
    /// How long to wait for the machine lock.
    pub lock_timeout: Duration,
    /// All machines that are claimed together, where there are several.
    pub machines: &'a [MachineName],
    /// Our lifeline, between its making and its closing.
    pub lifeline: Option<Lifeline>,
    /// Our place in the queue, if we wait.
    pub place: Option<Place>,
    /// What went wrong and need not stop anybody.
    pub warnings: Vec<Error>,
    state: Held,
}

/// What is held only while a protocol runs.
#[derive(Debug, Default)]
struct Held {
    lock: Option<MachineLock>,
    seen: Option<Snapshot>,
    /// The note of this boot, to be flushed before the gate opens.
    unflushed: Option<Unflushed>,
    /// Since when the machine lock is held.
    since: Option<Instant>,
    /// The token of a lifeline that is to be unlinked if the protocol fails.
    made: Option<u64>,
    reads: u32,
    makes: u32,
    /// Names of what crashes left half made, from the last time the directory was listed.
    scratch: Vec<String>,
}

/// After so many rereads, or lifelines, somebody is playing with us.
const MAX_READS: u32 = 1000;

fn cannot_note(error: std::io::Error) -> Error {
    Error::io("note the boot")(error)
}

/// The error of a protocol that was answered what it did not ask: a defect of ours.
pub fn misled() -> Error {
    Error::State("internal error: the protocol was answered what it did not ask".to_owned())
}

impl<'a> Transaction<'a> {
    /// A transaction on the machine in `dir`.
    pub fn new(
        dir: &'a MachineDir,
        observer: &'a Observer,
        patience: &'a mut Patience,
        lock_timeout: Duration,
    ) -> Self {
        let (lifeline, place, warnings, state) = (None, None, Vec::new(), Held::default());
        let machines = &[];
        Self { dir, observer, patience, lock_timeout, machines, lifeline, place, warnings, state }
    }

    /// Runs a protocol to its end. After an error everything is undone, in reverse: the lifeline, the
    /// lock.
    pub fn run<P: Protocol>(&mut self, protocol: &mut P) -> Result<P::Outcome, Error> {
        let mut answer = Answer::Begin;
        let result = loop {
            match protocol.next(answer) {
                Next::Finish(outcome) => break Ok(outcome),
                Next::Do(act) => match self.perform(act) {
                    Ok(next) => answer = next,
                    Err(error) => break Err(error),
                },
            }
        };
        if result.is_err() {
            self.undo();
        }
        result
    }

    fn undo(&mut self) {
        self.drop_lifeline();
        self.place = None;
        self.unlock();
    }

    /// Executes an act, but for those that need a child or are about somebody who waits.
    fn perform(&mut self, act: Act) -> Result<Answer, Error> {
        match act {
            Act::Lock => self.lock(self.lock_timeout)?,
            Act::FeelQueue { within, before } => return self.feel_queue(within, before),
            Act::SweepQueue(gone) => self.dir.sweep_queue(&gone),
            Act::Evict(waiting) => self.dir.evict(&waiting),
            Act::LeaveQueue => {
                self.place = None;
                self.dir.remove_empty_queue();
            }
            Act::Read => return self.read(),
            Act::MakeLifeline(token) => {
                return self.make_lifeline(token, MachineDir::make_lifeline);
            }
            Act::RemakeLifeline(token) => {
                return self.make_lifeline(token, MachineDir::remake_lifeline);
            }
            Act::FeelOthers => return self.feel_others(),
            Act::ReadAgain => {
                let Some(seen) = &self.state.seen else { return Err(misled()) };
                if !self.dir.still_reads(seen)? {
                    return Ok(Answer::Changed);
                }
            }
            Act::Sweep(tokens) => self.sweep(&tokens),
            Act::Put(record) => return self.put(&record),
            Act::Log(events) => self.log(events),
            Act::Unlink(tokens) => tokens.iter().for_each(|t| self.dir.unlink_lifeline(*t)),
            Act::Unlock => self.unlock(),
            Act::DropLifeline => self.drop_lifeline(),
            Act::CloseLifeline => self.lifeline = None,
            Act::Enqueue(_) | Act::Fork(_) | Act::OpenGate | Act::Abandon => return Err(misled()),
        }
        Ok(Answer::Done)
    }

    fn lock(&mut self, deadline: Duration) -> Result<(), Error> {
        self.state.lock = Some(self.dir.lock(deadline)?);
        self.state.since = Some(Instant::now());
        Ok(())
    }

    /// Takes the lock if nobody has it.
    fn try_lock(&mut self) -> Result<bool, Error> {
        self.state.lock = self.dir.try_lock()?;
        self.state.since = Some(Instant::now());
        Ok(self.state.lock.is_some())
    }

    fn feel_queue(&self, within: Option<u64>, before: Option<u64>) -> Result<Answer, Error> {
        let machines = self.machines;
        let stretch = Stretch { within, insiders: None, before, at_most: usize::MAX, machines };
        let mut waiters = self.dir.waiters(stretch)?;
        // From another host they feel slack that wait there.
        let is_ours = |id: &TicketId| {
            self.observer.locality == Locality::Local
                || self.dir.ticket(*id).is_some_and(|t| t.host == self.observer.host.name)
        };
        waiters.gone.retain(is_ours);
        let is_lost = before.is_some() && !self.place.as_ref().is_some_and(Place::is_there);
        let (waiting, away, gone) = (waiters.waiting, waiters.away, waiters.gone);
        let queue = Queue { waiting, gone, away, is_lost };
        if before.is_none() && waiters.is_made && queue == Queue::default() {
            self.dir.remove_empty_queue(); // somebody gave up
        }
        Ok(Answer::Queue(queue))
    }

    fn enqueue(&mut self, spot: Spot, ticket: &Ticket) -> Result<Answer, Error> {
        self.place = Some(self.dir.enqueue(spot, ticket)?);
        Ok(Answer::Done)
    }

    /// Makes sure that the note of this boot outlives a power loss.
    fn flush(&mut self) {
        let flushed = self.state.unflushed.take().map_or(Ok(()), Unflushed::flush);
        self.warnings.extend(flushed.map_err(cannot_note).err());
    }

    fn put(&mut self, record: &Record) -> Result<Answer, Error> {
        let (Some(seen), Some(lock)) = (&self.state.seen, &self.state.lock) else {
            return Err(misled());
        };
        match self.dir.put(record, seen, lock)? {
            Put::Placed => self.state.made = None, // the record names it
            Put::Overtaken => return Ok(Answer::Changed),
        }
        // A crash before this leaves no job that runs: its gate is closed still.
        let here = &self.observer.host;
        match lock.note_boot(&here.boot_id, here.boot_id_genuine) {
            Ok(unflushed) => self.state.unflushed = unflushed,
            Err(error) => self.warnings.push(cannot_note(error)),
        }
        Ok(Answer::Done)
    }

    fn read(&mut self) -> Result<Answer, Error> {
        self.state.reads += 1;
        let late = self.state.since.is_some_and(|since| since.elapsed() > self.lock_timeout);
        if self.state.reads > MAX_READS || (self.state.reads > 1 && late) {
            return Err(Error::State(format!(
                "the record in '{}' keeps changing under us",
                crate::report::escape::escape_path(self.dir.path())
            )));
        }
        // If the lock file was replaced, we exclude nobody any more: take the new one first. The
        // first time, taking it has just made sure of that.
        let Some(lock) = &self.state.lock else { return Err(misled()) };
        if self.state.reads > 1
            && !self.dir.is_current(lock).map_err(Error::io("look at the machine lock"))?
        {
            self.unlock();
            self.state.lock = Some(self.dir.lock(self.lock_timeout)?);
        }
        let snapshot = self.dir.read()?;
        let observed = observe_all(self.dir, &snapshot, self.observer, self.patience);
        let judged = observed.into_iter().map(Judged::from).collect();
        let (now, now_ms) = now();
        let record = snapshot.reading.record.clone();
        self.state.seen = Some(snapshot);
        Ok(Answer::Seen(Box::new(Seen { record, judged, now, now_ms })))
    }

    fn log(&mut self, events: Vec<(u64, What)>) {
        let (time, _) = now();
        let machine = self.dir.name().as_str();
        let event =
            |(token, what)| Event { time: time.clone(), machine: machine.to_owned(), token, what };
        let events: Vec<Event> = events.into_iter().map(event).collect();
        // A full disk must not keep a job from running, nor a machine from being released.
        self.warnings.extend(self.dir.log(&events).err());
    }

    fn unlock(&mut self) {
        if let Some(lock) = self.state.lock.take() {
            lock.release();
        }
    }
}

/// The time, for people and in milliseconds since the Unix epoch.
pub fn now() -> (String, u64) {
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = humantime::format_rfc3339_millis(now).to_string();
    (text, u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
