//! Passing signals on to the job, as the policy says.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::adoptee::Adoptee;
use super::job::Job;
use super::policy::{Standing, react, sender_of};
use super::terminal;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::signal::{Arrival, SignalFd, SignalSet};

/// Passes on what is read from a signalfd.
#[derive(Debug)]
pub struct Forwarder<'a> {
    job: &'a Job,
    signals: &'a SignalFd,
    /// What decisions depend on.
    standing: Standing,
    /// Realtime signals that the job's queue had no room for: sigqueue(3) has told their sender that
    /// they are queued. What is queued for us and for the job is counted together, by user, so there is
    /// only room when one of ours is read; another sender may be quicker to take it.
    held: VecDeque<Arrival>,
    /// The last sender that was seen to belong to the job.
    kin: Option<i32>,
}

/// How often a full queue is tried again. The kernel tells nobody when there is room.
const RETRY: Duration = Duration::from_millis(2);

impl<'a> Forwarder<'a> {
    /// Forwards to a job that was let through its gate.
    pub fn new(job: &'a Job, signals: &'a SignalFd) -> Self {
        let leads_session = terminal::leads_session();
        let standing = Standing { early: job.early(), leads_session, ..Standing::NEW };
        Self { job, signals, standing, held: VecDeque::new(), kin: None }
    }

    /// Waits for a signal, or for the end of a process that is no child of ours; whether there is a signal.
    fn wait_beside(&self, process: &Adoptee, until: Option<Instant>) -> io::Result<bool> {
        let timeout = until.map_or(Duration::MAX, |u| u.saturating_duration_since(Instant::now()));
        let end = [(process.pidfd().as_fd(), Interest::Readable)];
        self.signals.wait_beside(&end, timeout)
    }

    /// The next signal; `None` where none came in time, or the job has ended, or while some are held that are to be tried
    /// again.
    ///
    /// # Errors
    /// When signals cannot be read any more.
    pub fn next(&mut self, until: Option<Instant>) -> io::Result<Option<Arrival>> {
        let moved = self.try_again();
        let mut until = until;
        if !self.held.is_empty() {
            // Not one is read before its time: whoever sends them is to find the queue full.
            wait_any(&[], Some(if moved { Duration::ZERO } else { RETRY }), SignalSet::ALL)?;
            until = Some(Instant::now());
        }
        if let Some(process) = self.job.adopted() {
            if !self.wait_beside(process, until)? {
                return Ok(None);
            }
        } else if let Some(until) = until
            && !self.signals.wait(until)?
        {
            return Ok(None);
        }
        self.signals.read().map(Some)
    }

    /// What decisions depend on, for who finds out about the job.
    pub fn standing(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// Passes a signal on, if it is to be.
    pub fn take(&mut self, arrival: Arrival) {
        let ourselves = std::process::id().cast_signed();
        let sender = sender_of(arrival, ourselves, |pid| self.is_kin(pid));
        let forward = react(arrival, sender, self.job.group(), &mut self.standing);
        if forward && (self.must_wait(arrival) || !self.pass_on(arrival)) {
            self.held.push_back(arrival);
        }
    }

    /// Sends it to the job; `false` when its queue has no room. It may be a zombie by now, or run under
    /// another user: as without us.
    fn pass_on(&self, arrival: Arrival) -> bool {
        let sent = self.job.pass_on(arrival);
        !sent.is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN))
    }

    /// Whether others are before it. Those that are merged are never refused.
    fn must_wait(&self, arrival: Arrival) -> bool {
        !self.held.is_empty() && !SignalSet::STANDARD.contains(arrival.signal)
    }

    /// Sends what is held, as long as there is room, and returns whether there was.
    fn try_again(&mut self) -> bool {
        let before = self.held.len();
        while let Some(arrival) = self.held.front()
            && self.pass_on(*arrival)
        {
            self.held.pop_front();
        }
        self.held.len() < before
    }

    /// Whether a sender belongs to the job. One that is gone cannot be told from a stranger, unless it
    /// was seen when its signals began to come.
    fn is_kin(&mut self, pid: i32) -> bool {
        let kin = self.job.is_related(pid).unwrap_or(self.kin == Some(pid));
        if kin {
            self.kin = Some(pid);
        } else if self.kin == Some(pid) {
            self.kin = None; // the number is another's by now
        }
        kin
    }
}
