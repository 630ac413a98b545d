//! What comes after the job: processes of it that are still there.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::job::Job;
use super::policy::{Group, STOPS, Standing, ends_a_run, react, sender_of};
use super::terminal;
use crate::ending::{AFTER_KILL, sweep};
use crate::identity::tree::{Member, Tree};
use crate::sys::disposition::is_ignored;
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
    /// The job that they are left of.
    pub job: &'a Job,
    /// When to kill them.
    pub kill_at: Option<Instant>,
    /// Somebody wants all of this to end.
    pub is_to_end: bool,
    /// Whoever cannot be killed is not waited for.
    pub gives_up: bool,
    /// They were sent KILL.
    pub is_killed: bool,
    /// When they were last told.
    pub told: Option<(Instant, Vec<Member>)>,
    /// When somebody wanted all of this to end, until it was told who stays all the same.
    pub asked: Option<Instant>,
    /// They are still there, a while after somebody wanted all of this to end.
    pub stay: bool,
}

/// How often it is told who is left, at most.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Where the ends of not all can be waited for, so often is looked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Drain<'_> {
    /// Those that are left, once they are others than last time; `None` when nobody is, or nobody is to
    /// be waited for.
    ///
    /// # Errors
    /// `/proc` cannot be read, or signals cannot.
    pub fn step(&mut self) -> io::Result<Option<Vec<Member>>> {
        loop {
            self.tree.look()?;
            if self.are_gone()? {
                return Ok(None);
            }
            let now = Instant::now();
            if self.kill_at.is_some_and(|at| now >= at) {
                self.kill(now)?;
                if self.gives_up || self.are_gone()? {
                    return Ok(None);
                }
            }
            let left: Vec<Member> = self.tree.members().copied().collect();
            if self.asked.is_some_and(|asked| asked.elapsed() >= TELL_AFTER) {
                (self.asked, self.stay, self.told) = (None, true, None);
            }
            let is_told = self.told.as_ref().is_some_and(|(_, told)| *told == left);
            let may_tell = self.told.as_ref().is_none_or(|(at, _)| at.elapsed() >= TELL_AFTER);
            if !is_told && may_tell {
                self.told = Some((Instant::now(), left.clone()));
                return Ok(Some(left));
            }
            self.sleep(!is_told)?;
        }
    }

    /// Whether nobody is left, by a look just taken; nor anybody that is too quick to be seen.
    fn are_gone(&self) -> io::Result<bool> {
        let has_children = reap_all()? && self.tree.run().adopter.is_some();
        let group_lives = || self.job.signal_rest_of_group(0) && !self.tree.group_is_dead();
        Ok(self.tree.is_empty() && !has_children && !group_lives())
    }

    /// Kills them; those who survive that will be met again.
    fn kill(&mut self, now: Instant) -> io::Result<()> {
        let group = |signal| {
            let _ = self.job.signal_rest_of_group(signal); // nobody may be in it
        };
        let patience = if self.is_killed { LOOK_AGAIN / 10 } else { AFTER_KILL };
        sweep::kill(&mut self.tree, group, self.job.cgroup(), now + patience)?;
        self.is_killed = true;
        self.kill_at = Instant::now().checked_add(LOOK_AGAIN);
        self.tree.look()
    }

    /// Until one of them is over, or a signal came, which they get.
    fn sleep(&mut self, soon: bool) -> io::Result<()> {
        let pidfds = sweep::pidfds(&self.tree);
        let ends: Vec<_> = pidfds.iter().map(|pidfd| (pidfd.as_fd(), Interest::Readable)).collect();
        let mut timeout = Duration::MAX;
        let seen = self.tree.members().count();
        if soon || seen == 0 || pidfds.len() < seen {
            timeout = LOOK_AGAIN;
        }
        if let Some(at) = self.asked {
            timeout = timeout.min((at + TELL_AFTER).saturating_duration_since(Instant::now()));
        }
        if let Some(at) = self.kill_at {
            timeout = timeout.min(at.saturating_duration_since(Instant::now()));
        }
        if self.signals.wait_beside(&ends, timeout)? {
            self.on_signal()?;
        }
        reap_all().map(drop)
    }

    fn on_signal(&mut self) -> io::Result<()> {
        let arrival = self.signals.read()?;
        let ourselves = std::process::id().cast_signed();
        let is_theirs = |pid: i32| self.tree.members().any(|member| member.pid == pid);
        let group = self.job.group();
        let sender = sender_of(arrival, ourselves, is_theirs);
        let mut standing = Standing { leads_session: terminal::leads_session(), ..Standing::NEW };
        if !self.is_to_end && ends_a_run(arrival.signal) && !is_ignored(arrival.signal)? {
            (self.is_to_end, self.asked) = (true, Some(Instant::now()));
        }
        if react(arrival, sender, group, &mut standing) {
            self.tree.look()?; // they may have forked others while we slept
            sweep::signal(&self.tree, arrival.signal);
        } else if arrival.code > 0 && group == Group::Shared && STOPS.contains(&arrival.signal) {
            // If that fails the shell is not told.
            let _ = stop_ourselves(arrival.signal, false, || true);
        }
        Ok(())
    }
}
