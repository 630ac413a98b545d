//! The loop: read a signal, do what the policy says, until the job is over.

use std::io;
use std::time::{Duration, Instant};

use super::forward::Forwarder;
use super::init::is_init;
use super::job::Job;
use super::policy::{Standing, ends_a_run, is_reason_to_look};
use super::stops::{Change, Follow, Stop, follow};
use super::terminal;
use crate::sys::disposition::is_ignored;
use crate::sys::signal::{Arrival, SignalFd, stop_ourselves};
use crate::sys::wait::{Ended, changed, is_still_stopped, reap_all, reap_others};

/// Watches over a job that was let through its gate.
#[derive(Debug)]
pub struct Watch<'a> {
    job: &'a Job,
    forwarder: Forwarder<'a>,
    /// Somebody wants all of this to end.
    is_to_end: bool,
}

impl<'a> Watch<'a> {
    /// A watch that begins.
    pub fn new(job: &'a Job, signals: &'a SignalFd) -> Self {
        Self { job, forwarder: Forwarder::new(job, signals), is_to_end: false }
    }

    /// Whether somebody wants all of this to end, not this job alone.
    pub fn is_to_end(&self) -> bool {
        self.is_to_end
    }

    /// Goes on until the job is over, and says how it ended, or until the time is up: `None`. The job
    /// is not reaped.
    ///
    /// One descriptor is enough: the job's end is a signal, too (SIGCHLD). It sleeps in a read, so
    /// nothing costs anything as long as nothing happens. That of a process that we adopted is none, and
    /// is waited for beside it.
    ///
    /// # Errors
    /// When signals cannot be read any more, or the job cannot be looked at; it may still run.
    pub fn until(&mut self, until: Option<Instant>) -> io::Result<Option<Ended>> {
        if is_init() {
            reap_others(self.job.pid())?; // they ended while there was no job, or before we were this
        }
        while until.is_none_or(|until| Instant::now() < until) {
            if let Some(process) = self.job.adopted()
                && let Some(ended) = process.ended()?
            {
                return Ok(Some(ended));
            }
            let Some(arrival) = self.forwarder.next(until)? else { continue };
            self.is_to_end |= ends_a_run(arrival.signal) && !is_ignored(arrival.signal)?;
            if is_reason_to_look(arrival.signal)
                && let Some(ended) = look_at(self.job, self.forwarder.standing())?
            {
                return Ok(Some(ended));
            }
            self.forwarder.take(arrival);
            if self.job.adopted().is_some() && is_stop_key(arrival) {
                // It is no child of ours, so nobody tells us that it stops, and a shell waits for us: a
                // terminal whose foreground we kept would obey no key any more. If it fails, that is so.
                let _ = stop_ourselves(arrival.signal, false, || true);
            }
        }
        // It may have ended before, while we were stopped, or kept busy.
        self.job.ended()
    }
}

/// Whether the terminal's key was pressed that stops its foreground.
fn is_stop_key(arrival: Arrival) -> bool {
    arrival.signal == libc::SIGTSTP && arrival.code > 0
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
            stop_ourselves(signal, false, || true)?;
        }
        reap_all()?;
    }
}

/// Nobody waits longer without looking at the clock again.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// Sees whether the job ended, stopped or went on.
fn look_at(job: &Job, standing: &mut Standing) -> io::Result<Option<Ended>> {
    if let Some(ended) = job.ended()? {
        return Ok(Some(ended));
    }
    while let Some(change) = changed(job.pid())? {
        standing.job_is_stopped = change != Change::Continued;
        if let Change::Stopped(signal) = change {
            stop_with(job, signal);
        }
    }
    if is_init() || job.adopts_orphans() {
        reap_others(job.pid())?;
    }
    Ok(None)
}

/// Does what a stop of the job asks of us; comes back when we are continued.
fn stop_with(job: &Job, signal: i32) {
    let group = job.group();
    let (owner, has_shell) = (terminal::owner(), terminal::has_shell());
    let still = || is_still_stopped(job.pid());
    // Whatever fails here: to the shell the job seems to run.
    let _ = match follow(Stop { signal, group, owner, has_shell }) {
        Follow::Nothing => Ok(()),
        Follow::Stop => stop_ourselves(signal, false, still),
        Follow::StopGroup => stop_ourselves(signal, true, still),
        Follow::Resume => job.resume(),
    };
}
