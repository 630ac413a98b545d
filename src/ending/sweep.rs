//! Signalling all processes of a run that can be found, those included that fork meanwhile.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::process;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::identity::stat::Stat;
use crate::identity::tree::{Member, Tree};
use crate::supervise::cgroup::Cgroup;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::signal::SignalSet;
use crate::sys::wait::reap_others;

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
        let left = until.saturating_duration_since(Instant::now());
        stop_all(tree, Instant::now() + left / 2)?;
    }
    loop {
        job(libc::SIGKILL);
        tree.look()?;
        signal(tree, libc::SIGKILL);
        let all_gone = chase(tree, until)? && tree.is_empty();
        if all_gone || Instant::now() >= until {
            return Ok(all_gone);
        }
        await_one(tree, until)?;
    }
}

/// Kills the children of whoever adopts the orphans of the run, until it has none; whether that is so.
///
/// Somebody who forks a successor and ends, again and again, is nowhere any more when `/proc` has been
/// read. But each successor becomes a child of that one process, whose children are read in no time.
fn chase(tree: &Tree<'_>, until: Instant) -> io::Result<bool> {
    // Who was over before the children were read is not the only one of them by having been quick.
    let (mut over, mut before) = (BTreeSet::from([tree.run().job.pid]), Vec::new());
    while let Some(children) = tree.adopted() {
        if children.iter().all(|pid| over.contains(pid)) {
            return Ok(true);
        }
        over = children.iter().copied().filter(|pid| !kill_adopted(tree, *pid)).collect();
        over.insert(tree.run().job.pid);
        if Instant::now() >= until {
            return Ok(false);
        }
        if tree.run().adopter.as_ref().is_some_and(|a| a.pid == process::id().cast_signed()) {
            reap_others(tree.run().job.pid)?; // zombies count, where processes are counted
        }
        if children == before {
            await_one(tree, until)?;
        }
        before = children;
    }
    Ok(true)
}

/// Kills a child of the adopter, unless it is over: then nothing is done.
fn kill_adopted(tree: &Tree<'_>, pid: i32) -> bool {
    let Ok(pidfd) = PidFd::open(pid) else { return true };
    match Stat::read(pid) {
        Ok(stat) if stat.is_over() => return false,
        Ok(stat) if tree.is_adopted(&stat) => {
            let _ = pidfd.signal(libc::SIGKILL); // as below
        }
        _ => {} // it ended meanwhile
    }
    true
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
