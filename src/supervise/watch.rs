//! The loop: read a signal, do what the policy says, until the job is over.

use std::io;
use std::time::{Duration, Instant};

use super::job::Job;
use super::policy::{Standing, ends_a_run, is_reason_to_look, react, sender_of};
use super::stops::{Change, Follow, Stop, follow};
use super::terminal;
use crate::sys::signal::{Arrival, SignalFd, is_ignored, stop_ourselves};
use crate::sys::wait::{Ended, changed, is_still_stopped, reap_all, reap_others};

/// The first process of a PID namespace, which inherits everybody's orphans.
const INIT: i32 = 1;

/// Watches over a job that was let through its gate.
#[derive(Debug)]
pub struct Watch<'a> {
    job: &'a Job,
    signals: &'a SignalFd,
    /// What decisions depend on.
    standing: Standing,
    /// Somebody wants all of this to end.
    is_to_end: bool,
}

impl<'a> Watch<'a> {
    /// A watch that begins.
    pub fn new(job: &'a Job, signals: &'a SignalFd) -> Self {
        let leads_session = terminal::leads_session();
        let standing = Standing { early: job.early(), leads_session, ..Standing::NEW };
        Self { job, signals, standing, is_to_end: false }
    }

    /// Whether somebody wants all of this to end, not this job alone.
    pub fn is_to_end(&self) -> bool {
        self.is_to_end
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
            self.is_to_end |= ends_a_run(arrival.signal) && !is_ignored(arrival.signal)?;
            if is_reason_to_look(arrival.signal)
                && let Some(ended) = look_at(self.job, &mut self.standing)?
            {
                return Ok(Some(ended));
            }
            let ourselves = std::process::id().cast_signed();
            let sender = sender_of(arrival, ourselves, |pid| self.job.is_related(pid));
            if react(arrival, sender, self.job.group(), &mut self.standing) {
                // It may be a zombie by now, or run under another user: as without us.
                let _ = pass_on(self.job, arrival);
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
            stop_ourselves(signal, false, || true)?;
        }
        reap_all()?;
    }
}

/// Nobody waits longer without looking at the clock again.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

fn pass_on(job: &Job, arrival: Arrival) -> io::Result<()> {
    if arrival.signal == libc::SIGCONT { job.resume() } else { job.signal(arrival.signal) }
}

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
    if std::process::id().cast_signed() == INIT || job.adopts_orphans() {
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
