//! The loop: read a signal, do what the policy says, until the job is over.

use std::io;

use super::job::Job;
use super::policy::{react, sender_of, stops_us};
use crate::sys::signal::{SignalFd, stop_ourselves};
use crate::sys::wait::{Ended, stopped_by};

/// Watches over a job that was let through its gate, and says how it ended. It is not reaped.
///
/// One descriptor is enough: the job's end is a signal, too (SIGCHLD). It sleeps in a read, so
/// nothing costs anything as long as nothing happens.
pub fn watch(job: &Job, signals: &SignalFd) -> io::Result<Ended> {
    let ourselves = std::process::id().cast_signed();
    // It may have ended before the first read; then its SIGCHLD waits there, too.
    loop {
        let arrival = signals.read()?;
        let sender = sender_of(arrival, ourselves, |pid| job.is_related(pid));
        let reaction = react(arrival, sender, job.group());
        if reaction.check_job {
            if let Some(ended) = job.ended()? {
                return Ok(ended);
            }
            if let Some(signal) = stopped_by(job.pid())?
                && stops_us(signal, job.group())
            {
                stop_ourselves();
            }
        }
        if reaction.forward {
            // It may be a zombie by now, or run under another user: as without us.
            let _ = job.signal(arrival.signal);
        }
    }
}
