//! The loop: read a signal, do what the policy says, until the job is over.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::adoptee::Adoptee;
use super::job::Job;
use super::policy::{ends_a_run, react, sender_of, stops_us};
use crate::sys::poll::Interest;
use crate::sys::signal::{Arrival, SignalFd, SignalSet, is_ignored, stop_ourselves};
use crate::sys::wait::{Ended, reap_all, reap_others, stopped_by};

/// The first process of a PID namespace, which inherits everybody's orphans.
const INIT: i32 = 1;

/// Watches over a job that was let through its gate.
#[derive(Debug)]
pub struct Watch<'a> {
    job: &'a Job,
    signals: &'a SignalFd,
    /// Keys of the terminal that the job has had at its birth.
    early: SignalSet,
    /// Somebody wants all of this to end.
    is_to_end: bool,
}

impl<'a> Watch<'a> {
    /// A watch that begins.
    pub fn new(job: &'a Job, signals: &'a SignalFd) -> Self {
        Self { job, signals, early: job.early(), is_to_end: false }
    }

    /// Whether somebody wants all of this to end, not this job alone.
    pub fn is_to_end(&self) -> bool {
        self.is_to_end
    }

    /// Goes on until the job is over, and says how it ended, or until the time is up: `None`. The job
    /// is not reaped.
    ///
    /// One descriptor is enough: the job's end is a signal, too (SIGCHLD). It sleeps in a read, so
    /// nothing costs anything as long as nothing happens. That of a process that we adopted is not.
    ///
    /// # Errors
    /// When signals cannot be read any more, or the job cannot be looked at; it may still run.
    pub fn until(&mut self, until: Option<Instant>) -> io::Result<Option<Ended>> {
        loop {
            match (self.job.adopted(), until) {
                (Some(process), _) => {
                    let is_signal = self.wait_beside(process, until)?;
                    if let Some(ended) = process.ended()? {
                        return Ok(Some(ended));
                    }
                    if !is_signal && until.is_some_and(|until| Instant::now() >= until) {
                        return Ok(None);
                    }
                    if !is_signal {
                        continue;
                    }
                }
                (None, Some(until)) if !self.signals.wait(until)? => return Ok(None),
                (None, _) => {}
            }
            let arrival = self.signals.read()?;
            let was_early = self.early.contains(arrival.signal);
            self.early = self.early.without(arrival.signal);
            self.is_to_end |= ends_a_run(arrival.signal) && !is_ignored(arrival.signal)?;
            if let Some(ended) = on_signal(self.job, arrival, was_early)? {
                return Ok(Some(ended));
            }
        }
    }
}

/// Sleeps until the time, or until somebody wants all of this to end: the signal that said so.
///
/// There is no job: what else is sent is meant for none.
pub fn pause(signals: &SignalFd, until: Option<Instant>) -> io::Result<Option<i32>> {
    loop {
        let now = Instant::now();
        if until.is_some_and(|until| now >= until) {
            return Ok(None);
        }
        if !signals.wait(until.unwrap_or(now + FOR_EVER))? {
            continue;
        }
        let signal = signals.read()?.signal;
        if ends_a_run(signal) && !is_ignored(signal)? {
            return Ok(Some(signal));
        }
        if signal == libc::SIGTSTP {
            stop_ourselves(signal)?;
        }
        reap_all()?;
    }
}

/// Nobody waits longer without looking at the clock again.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

impl Watch<'_> {
    /// Waits for a signal to read, or for the end of a process that is no child of ours; whether there is
    /// a signal.
    fn wait_beside(&self, process: &Adoptee, until: Option<Instant>) -> io::Result<bool> {
        let timeout = until.map_or(Duration::MAX, |u| u.saturating_duration_since(Instant::now()));
        let end = [(process.pidfd().as_fd(), Interest::Readable)];
        self.signals.wait_beside(&end, timeout)
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
