//! The loop: read a signal, do what the policy says, until the job is over.

use std::io;
use std::time::Instant;

use super::job::Job;
use super::policy::{react, sender_of, stops_us};
use crate::sys::signal::{Arrival, SignalFd, SignalSet, stop_ourselves};
use crate::sys::wait::{Ended, reap_others, stopped_by};

/// The first process of a PID namespace, which inherits everybody's orphans.
const INIT: i32 = 1;

/// Watches over a job that was let through its gate.
#[derive(Debug)]
pub struct Watch<'a> {
    job: &'a Job,
    signals: &'a SignalFd,
    /// Keys of the terminal that the job has had at its birth.
    early: SignalSet,
}

impl<'a> Watch<'a> {
    /// A watch that begins.
    pub fn new(job: &'a Job, signals: &'a SignalFd) -> Self {
        Self { job, signals, early: job.early() }
    }

    /// Goes on until the job is over, and says how it ended, or until the time is up: `None`. The job
    /// is not reaped.
    ///
    /// One descriptor is enough: the job's end is a signal, too (SIGCHLD). It sleeps in a read, so
    /// nothing costs anything as long as nothing happens.
    ///
    /// # Errors
    /// When signals cannot be read any more, or the job cannot be looked at; it may still run.
    pub fn until(&mut self, until: Option<Instant>) -> io::Result<Option<Ended>> {
        loop {
            if let Some(until) = until
                && !self.signals.wait(until)?
            {
                return Ok(None);
            }
            let arrival = self.signals.read()?;
            let was_early = self.early.contains(arrival.signal);
            self.early = self.early.without(arrival.signal);
            if let Some(ended) = on_signal(self.job, arrival, was_early)? {
                return Ok(Some(ended));
            }
        }
    }
}

fn on_signal(job: &Job, arrival: Arrival, early: bool) -> io::Result<Option<Ended>> {
    let ourselves = std::process::id().cast_signed();
    let sender = sender_of(arrival, ourselves, |pid| job.is_related(pid));
    let reaction = react(arrival, sender, job.group(), early);
    if reaction.check_job {
        if let Some(ended) = job.ended()? {
            return Ok(Some(ended));
        }
        if let Some(signal) = stopped_by(job.pid())?
            && stops_us(signal, job.group())
        {
            // If that fails the shell is not told; to it the job seems to run.
            let _ = stop_ourselves(signal);
        }
        if ourselves == INIT || job.adopts_orphans() {
            reap_others(job.pid())?;
        }
    }
    if reaction.forward {
        // It may be a zombie by now, or run under another user: as without us.
        let _ = job.signal(arrival.signal);
    }
    Ok(None)
}
