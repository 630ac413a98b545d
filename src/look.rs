//! Looking at a machine without taking its lock, and waiting for it to change.
//!
//! Read, probe, read again: if the record changed in between, what was probed may belong to
//! another run, so start over. Nothing is written, and a held machine lock is no hindrance.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::identity::observe::{Handles, Observed, Patience, observe_all, observe_unrecorded};
use crate::identity::verdict::{GRACE, Observer, Subject, Verdict};
use crate::machine::name::MachineName;
use crate::machine::record::Record;
use crate::machine::store::MachineDir;
use crate::machine::store::queue::place::Place;
use crate::machine::store::sidecar::Snapshot;
use crate::machine::ticket::{Ticket, TicketId};
use crate::supervise::init::Vigil;
use crate::supervise::policy::OF_OUR_WRITES;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::signal::{Arrival, SignalFd, SignalSet, send_ourselves};

/// A machine as it was seen.
#[derive(Debug)]
pub struct Sight {
    /// Its record.
    pub record: Record,
    /// Everybody it names, and everybody else who holds it.
    pub observed: Vec<Observed>,
    /// Who waits, in order; looked at only by [`Sight::with_queue`].
    pub queue: Vec<Queued>,
}

/// Somebody in the queue.
#[derive(Debug)]
pub struct Queued {
    /// The name of the ticket.
    pub id: TicketId,
    /// Its position in its own queue, counted from one.
    pub position: usize,
    /// What it says, if it can be read.
    pub ticket: Option<Ticket>,
}

impl Sight {
    /// A machine that has no directory.
    pub fn never_used(machine: &MachineName) -> Self {
        Self { record: Record::new(machine.as_str()), observed: Vec::new(), queue: Vec::new() }
    }

    /// Those who hold the machine, provably or for want of proof.
    pub fn holding(&self) -> impl Iterator<Item = &Observed> {
        self.observed.iter().filter(|observed| observed.holds())
    }

    /// Whether time alone changes nothing about it. A lifeline that nobody names may be that of a
    /// claim under way.
    pub fn is_settled(&self) -> bool {
        !self.observed.iter().any(|observed| {
            observed.judgement.verdict == Verdict::Finishing
                || matches!(observed.subject, Subject::Unrecorded(_))
        })
    }

    /// Until when to wait for this to change. A release that is due, or its proven absence, takes a
    /// second at most (see [`settled_by`]): worth it even for those who do not wait.
    pub fn until(&self, until: Option<Instant>, settled: Instant) -> Option<Instant> {
        if self.is_settled() { until } else { until.map(|until| until.max(settled)) }
    }

    /// The same, with those who wait.
    pub fn with_queue(self, dir: &MachineDir) -> Result<Self, Error> {
        let (waiting, _) = dir.all_waiters()?;
        let queued = |last: &mut (Option<u64>, usize), id: TicketId| {
            let position = if last.0 == id.within { last.1 + 1 } else { 1 };
            *last = (id.within, position);
            Some(Queued { id, position, ticket: dir.ticket(id) })
        };
        Ok(Self { queue: waiting.into_iter().scan((None, 0), queued).collect(), ..self })
    }

    /// The same, with nothing left open: there may be more machines than descriptors.
    pub fn without_handles(mut self) -> Self {
        self.observed.iter_mut().for_each(|observed| observed.handles = Handles::default());
        self
    }
}

/// A record that changes more often than this while it is looked at is taken as it is.
const MAX_TRIES: usize = 16;

/// Looks at a machine, now.
pub fn look(
    dir: &MachineDir,
    observer: &Observer,
    patience: &mut Patience,
) -> Result<Sight, Error> {
    let mut snapshot = dir.read()?;
    for _ in 1..MAX_TRIES {
        let sight = probe(dir, &snapshot, observer, patience)?;
        let again = dir.read()?;
        if again.same_as(&snapshot) {
            return Ok(sight);
        }
        snapshot = again;
    }
    probe(dir, &snapshot, observer, patience)
}

fn probe(
    dir: &MachineDir,
    snapshot: &Snapshot,
    observer: &Observer,
    patience: &mut Patience,
) -> Result<Sight, Error> {
    let mut observed = observe_all(dir, snapshot, observer, patience);
    let named: BTreeSet<u64> = observed.iter().map(|other| other.subject.token()).collect();
    for token in dir.lifelines()?.tokens.into_iter().filter(|token| !named.contains(token)) {
        let Some(mut unrecorded) = observe_unrecorded(dir, token, observer) else { continue };
        if observed.len() >= Handles::MAX_KEPT {
            unrecorded.handles = Handles::default();
        }
        observed.push(unrecorded);
    }
    Ok(Sight { record: snapshot.reading.record.clone(), observed, queue: Vec::new() })
}

/// How often a holder is looked at that gives no sign by itself: no lifeline and no pidfd.
const SLOW_POLL: Duration = Duration::from_secs(5);

/// How often everybody looks, whatever they sleep on: a holder that was cleared by force gives no
/// sign while its job lives on.
const INSURANCE: Duration = Duration::from_secs(60);

/// What to sleep on, until something about a machine may have changed.
#[derive(Debug)]
pub struct Wakers<'a> {
    fds: Vec<(BorrowedFd<'a>, Interest)>,
    timeout: Duration,
}

impl Default for Wakers<'_> {
    /// Nothing but the insurance.
    fn default() -> Self {
        Self { fds: Vec::new(), timeout: INSURANCE }
    }
}

impl<'a> Wakers<'a> {
    /// Not longer than this.
    pub fn at_most(&mut self, limit: Duration) {
        self.timeout = self.timeout.min(limit);
    }

    /// Not longer than until then.
    pub fn at_the_latest(&mut self, until: Instant) {
        self.at_most(until.saturating_duration_since(Instant::now()));
    }

    /// Until whoever owns this lifeline lets go.
    pub fn lifeline(&mut self, lifeline: &'a OwnedFd) {
        self.fds.push((lifeline.as_fd(), Interest::Closed));
    }

    /// Until one of these is over.
    pub fn processes(&mut self, processes: &'a [PidFd]) {
        self.fds.extend(processes.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable)));
    }

    /// Until somebody tells us that our place is theirs.
    pub fn told(&mut self, place: &'a Place) {
        self.fds.push((place.as_fd(), Interest::Readable));
    }

    /// Until somebody who holds the machine is over, or a verdict is ripe.
    pub fn holders(&mut self, sight: &'a Sight) {
        for observed in sight.holding() {
            let handles = &observed.handles;
            handles.lifeline.iter().for_each(|lifeline| self.lifeline(lifeline));
            self.fds.extend(handles.processes.iter().map(|p| (p.as_fd(), Interest::Readable)));
            self.fds.extend(handles.unreaped.iter().map(|p| (p.as_fd(), Interest::Closed)));
            if observed.judgement.verdict == Verdict::Finishing {
                // Whichever of the two is still to ripen; the other may have before, to no effect.
                let (over, slack) = (observed.evidence.job_over_for, observed.evidence.slack_for);
                let ripening = [over, slack].into_iter().filter(|waited| *waited < GRACE).max();
                self.at_most(GRACE - ripening.unwrap_or_default());
            } else if is_blind(observed) {
                self.at_most(SLOW_POLL);
            }
        }
    }

    /// Sleeps, until `until` at most.
    ///
    /// `mask` is the signal mask meanwhile: a waiter has no job yet, so a signal does to it what it
    /// would have done to the job that it stands for.
    pub fn sleep(mut self, until: Option<Instant>, mask: SignalSet) -> Result<(), Error> {
        if let Some(until) = until {
            self.at_the_latest(until);
        }
        self.sleep_under(mask)
            .map_err(Error::io("wait for the machine"))?
            .map_or(Ok(()), |signal| Err(Error::Signaled(signal)))
    }

    /// Sleeps, and returns the signal that is to end us, where the kernel does not do that.
    fn sleep_under(self, mask: SignalSet) -> io::Result<Option<i32>> {
        take_own(mask)?;
        let vigil = Vigil::keep(mask)?;
        let mask = vigil.as_ref().map_or(mask, |vigil| vigil.mask(mask));
        let mut fds = self.fds;
        fds.extend(vigil.iter().map(|vigil| (vigil.as_fd(), Interest::Readable)));
        match (wait_any(&fds, Some(self.timeout), mask), &vigil) {
            (Ok(spoke), Some(vigil)) if spoke.last() == Some(&true) => vigil.answer(),
            (Err(error), _) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(None), // look again
        }
    }
}

/// Takes what writes of our own brought about, as to a closed stderr, and what would end us under this
/// mask: it is nobody's signal.
fn take_own(mask: SignalSet) -> io::Result<()> {
    let own = OF_OUR_WRITES.into_iter().fold(SignalSet::EMPTY, SignalSet::with).0 & !mask.0;
    let waiting = || SignalSet::pending().map(|pending| SignalSet(pending.0 & own));
    let mut left = waiting()?;
    while left != SignalSet::EMPTY {
        let Arrival { signal, sender, .. } = SignalFd::open(left)?.read()?;
        left = waiting()?;
        if sender != std::process::id().cast_signed() {
            send_ourselves(signal); // it was somebody else's, and is to do what it does
            left = left.without(signal);
        }
    }
    Ok(())
}

/// Whether the end of this holder cannot be waited for, only looked for.
pub fn is_blind(observed: &Observed) -> bool {
    observed.handles.lifeline.is_none() && observed.handles.processes.is_empty()
}

/// When every verdict is settled that depends on time, counted from now.
pub fn settled_by() -> Instant {
    Instant::now() + GRACE + GRACE / 4
}

/// Looks at a machine until no verdict depends on the next second (a release that is due comes, or
/// its absence is proof) or `until`.
pub fn settle(
    dir: &MachineDir,
    observer: &Observer,
    patience: &mut Patience,
    mask: SignalSet,
    until: Instant,
) -> Result<Sight, Error> {
    loop {
        let sight = look(dir, observer, patience)?;
        if sight.is_settled() || Instant::now() >= until {
            return Ok(sight);
        }
        let mut wakers = Wakers::default();
        wakers.holders(&sight);
        wakers.sleep(Some(until), mask)?;
    }
}
