//! Signalling all processes of a run that can be found, those included that fork meanwhile.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::identity::tree::{Member, Tree};
use crate::supervise::cgroup::Cgroup;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::signal::SignalSet;

/// So many ends are waited for at once: there may be more processes than descriptors.
pub const MAX_WATCHED: usize = 64;

/// How often is looked for more of them than that, and for those that were forked meanwhile.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Sends a signal to every one found last, but the job.
pub fn signal(tree: &Tree<'_>, signal: i32) {
    tree.members().for_each(|member| send(member, signal));
}

/// Sends a signal to those in other groups than that of the job, which has it already.
pub fn signal_beyond_group(tree: &Tree<'_>, signal: i32) {
    let run = tree.run();
    let beyond = |member: &&Member| !run.leads_group || member.group != run.job.pid;
    tree.members().filter(beyond).for_each(|member| send(member, signal));
}

/// It may be over by now, or another user's, which shows when it is looked for again.
fn send(member: &Member, signal: i32) {
    let _ = member.open().and_then(|pidfd| pidfd.signal(signal));
}

/// Kills the job, through `job`, and everything found of it, until nothing is left or the time is up;
/// whether nothing is left.
///
/// A process that is killed leaves room for another fork, one that is stopped does not, and cannot fork
/// itself. So all are stopped first, until no new one is found; those in a control group of their own the
/// kernel kills at once.
pub fn kill(
    tree: &mut Tree<'_>,
    job: impl Fn(i32),
    cgroup: Option<&Cgroup>,
    until: Instant,
) -> io::Result<bool> {
    let are_caught = cgroup.is_some_and(|cgroup| cgroup.kill().is_ok());
    if !are_caught {
        job(libc::SIGSTOP);
        stop_all(tree, until)?;
    }
    job(libc::SIGKILL);
    loop {
        tree.look()?;
        if tree.is_empty() || Instant::now() >= until {
            return Ok(tree.is_empty());
        }
        signal(tree, libc::SIGKILL);
        await_one(tree, until)?;
    }
}

fn stop_all(tree: &mut Tree<'_>, until: Instant) -> io::Result<()> {
    let mut stopped = BTreeSet::new();
    loop {
        tree.look()?;
        let new: Vec<Member> =
            tree.members().filter(|m| stopped.insert((m.pid, m.start_ticks))).copied().collect();
        if new.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        new.iter().for_each(|member| send(member, libc::SIGSTOP));
    }
}

/// Sleeps until one of those found is over, or a moment.
fn await_one(tree: &Tree<'_>, until: Instant) -> io::Result<()> {
    let pidfds = pidfds(tree);
    let ends: Vec<_> = pidfds.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable)).collect();
    let timeout = LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()));
    match wait_any(&ends, Some(timeout), SignalSet::ALL) {
        Err(error) if error.raw_os_error() != Some(Errno::EINTR as i32) => Err(error),
        _ => Ok(()),
    }
}

/// Handles on some of those found, to wait for their ends.
pub fn pidfds(tree: &Tree<'_>) -> Vec<PidFd> {
    tree.members().filter_map(|member| member.open().ok()).take(MAX_WATCHED).collect()
}
