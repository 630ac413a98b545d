//! What comes after the job: processes of it that are still there.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::cgroup::Cgroup;
use super::policy::{Group, STOPS, Standing, react, sender_of};
use super::terminal;
use crate::ending::sweep;
use crate::identity::tree::{Member, Tree};
use crate::sys::poll::Interest;
use crate::sys::signal::{SignalFd, stop_ourselves};
use crate::sys::wait::reap_all;

/// The wait for the processes that a job left behind. The job is reaped.
#[derive(Debug)]
pub struct Drain<'a> {
    /// Where they are looked for.
    pub tree: Tree<'a>,
    /// What comes for us meanwhile, they get.
    pub signals: &'a SignalFd,
    /// How the job related to our group, and so do they.
    pub group: Group,
    /// The control group that they are in.
    pub cgroup: Option<&'a Cgroup>,
    /// When to kill them.
    pub kill_at: Option<Instant>,
    /// Whoever cannot be killed is not waited for.
    pub gives_up: bool,
    /// When they were last told.
    pub told: Option<(Instant, Vec<Member>)>,
}

/// How often it is told who is left, at most.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Where the ends of not all can be waited for, so often is looked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long what was killed may take to end: the kernel may be at work for it.
const AFTER_KILL: Duration = crate::ending::AFTER_KILL;

impl Drain<'_> {
    /// Those that are left, once they are others than last time; `None` when nobody is, or nobody is to
    /// be waited for.
    ///
    /// # Errors
    /// `/proc` cannot be read, or signals cannot.
    pub fn step(&mut self) -> io::Result<Option<Vec<Member>>> {
        loop {
            self.tree.look()?;
            if self.tree.is_empty() {
                return Ok(None);
            }
            if self.kill_at.is_some_and(|at| Instant::now() >= at) {
                self.kill_at = None;
                let all_gone =
                    sweep::kill(&mut self.tree, |_| {}, self.cgroup, Instant::now() + AFTER_KILL)?;
                reap_all()?;
                if all_gone || self.gives_up {
                    return Ok(None);
                }
                continue;
            }
            let left: Vec<Member> = self.tree.members().copied().collect();
            let is_told = self.told.as_ref().is_some_and(|(_, told)| *told == left);
            let may_tell = self.told.as_ref().is_none_or(|(at, _)| at.elapsed() >= TELL_AFTER);
            if !is_told && may_tell {
                self.told = Some((Instant::now(), left.clone()));
                return Ok(Some(left));
            }
            self.sleep(!is_told)?;
        }
    }

    /// Until one of them is over, or a signal came, which they get.
    fn sleep(&mut self, soon: bool) -> io::Result<()> {
        let pidfds = sweep::pidfds(&self.tree);
        let ends: Vec<_> = pidfds.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable)).collect();
        let mut timeout = Duration::MAX;
        if soon || pidfds.len() < self.tree.members().count() {
            timeout = LOOK_AGAIN;
        }
        if let Some(at) = self.kill_at {
            timeout = timeout.min(at.saturating_duration_since(Instant::now()));
        }
        if self.signals.wait_beside(&ends, timeout)? {
            self.on_signal()?;
        }
        reap_all()
    }

    fn on_signal(&mut self) -> io::Result<()> {
        let arrival = self.signals.read()?;
        let ourselves = std::process::id().cast_signed();
        let is_theirs = |pid: i32| self.tree.members().any(|member| member.pid == pid);
        let sender = sender_of(arrival, ourselves, is_theirs);
        let mut standing = Standing { leads_session: terminal::leads_session(), ..Standing::NEW };
        if react(arrival, sender, self.group, &mut standing) {
            sweep::signal(&self.tree, arrival.signal);
        } else if arrival.code > 0 && self.group == Group::Shared && STOPS.contains(&arrival.signal)
        {
            // If that fails the shell is not told.
            let _ = stop_ourselves(arrival.signal, false, || true);
        }
        Ok(())
    }
}
