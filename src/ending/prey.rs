//! A run that is to end: its job, what descends from it, and, where that holds the machine without
//! either, its supervisor.

use std::io;
use std::time::Instant;

use super::{AFTER_KILL, Ended, Ending, Fate, Sent, refused, sweep};
use crate::identity::mark::bears;
use crate::identity::stat::Stat;
use crate::identity::tree::{self, Tree};
use crate::identity::verdict::Subject;
use crate::identity::warrant::{Refusal, Role, warrant};
use crate::look::Sight;
use crate::machine::record::{HeldBy, Holder, State};
use crate::protocol::Judged;
use crate::protocol::amend::{Amend, Change};
use crate::supervise::cgroup::Cgroup;
use crate::sys::pidfd::PidFd;
use crate::transaction::Transaction;

/// A run that is to end.
pub(super) struct Prey<'a> {
    ended: Ended,
    /// What descends from its job; once there was leave to signal that.
    tree: Option<Tree<'a>>,
    /// Its job, where that leads a process group: what is left of that is known by it.
    leader: Option<PidFd>,
}

impl<'a> Prey<'a> {
    /// A run that was not sent anything yet.
    pub(super) fn new(run: Judged) -> Self {
        let ended = Ended { run, signals: Vec::new(), fate: Fate::Holds };
        Self { ended, tree: None, leader: None }
    }

    /// Says in the record that it is to end: a supervisor tries no job again then. If that cannot be
    /// said, a job that is tried again is met by the next signal.
    fn write_down(holder: &Holder, ending: &Ending<'_>) {
        let mut patience = Default::default();
        let Ending { dir, observer, lock_timeout, .. } = *ending;
        let mut transaction = Transaction::new(dir, observer, &mut patience, lock_timeout);
        let leftovers = holder.leftovers.clone();
        let change = Change { state: State::Stopping, leftovers };
        let _ = transaction.run(&mut Amend::new(holder.token, change, Vec::new()));
    }

    /// Whether there is still something to wait for.
    pub(super) fn is_to_end(&self) -> bool {
        matches!(self.ended.fate, Fate::Holds | Fate::Left(_))
    }

    /// What was done to it, and what became of it.
    pub(super) fn ended(self) -> Ended {
        self.ended
    }

    /// Handles on what is left of its job.
    pub(super) fn left(&self) -> Vec<PidFd> {
        self.tree.iter().flat_map(sweep::pidfds).collect()
    }

    /// Whether there are others than can be waited for.
    pub(super) fn is_crowded(&self) -> bool {
        let seen = self.tree.as_ref().map_or(0, |tree| tree.members().count());
        seen > sweep::MAX_WATCHED || matches!(self.ended.fate, Fate::Left(left) if left > seen)
    }

    /// Sees whether it still holds the machine, and what is left of its job.
    pub(super) fn look(&mut self, sight: &Sight) {
        let token = self.ended.run.subject.token();
        let holds = sight.holding().any(|found| found.subject.token() == token);
        let leader = self.leader.as_ref();
        let look = |tree: &mut Tree<'_>| match tree.look() {
            Ok(()) => tree.members().count().max(unseen(tree, leader)),
            Err(_) => 0,
        };
        let left = self.tree.as_mut().map_or(0, look);
        match self.ended.fate {
            Fate::Holds | Fate::Left(_) if holds => self.ended.fate = Fate::Holds,
            Fate::Holds | Fate::Left(_) if left > 0 => self.ended.fate = Fate::Left(left),
            Fate::Refused(_) if holds => {}
            _ => self.ended.fate = Fate::Gone,
        }
    }

    /// Sends it a signal, as it is by now.
    pub(super) fn pursue(&mut self, signal: Sent, ending: &Ending<'a>, sight: &Sight) {
        let token = self.ended.run.subject.token();
        let now = sight.holding().find(|found| found.subject.token() == token);
        let subject = now.map_or(&self.ended.run.subject, |now| &now.subject).clone();
        match self.send(&subject, signal, ending) {
            Ok(true) if self.ended.signals.last() != Some(&signal) => {
                self.ended.signals.push(signal);
            }
            Ok(_) => {}
            Err(refusal) => self.ended.fate = Fate::Refused(refusal),
        }
    }

    /// Signals whatever there is of it; whether there was anything.
    fn send(
        &mut self,
        subject: &Subject,
        signal: Sent,
        ending: &Ending<'a>,
    ) -> Result<bool, Refusal> {
        let Ending { dir, observer, .. } = *ending;
        let Subject::Holder(holder) = subject else { return Err(Refusal::NoProcess) };
        let job = match warrant(dir, subject, Role::Job, observer) {
            Err(Refusal::Over) => None,
            warranted => Some(warranted?),
        };
        let supervisor = warrant(dir, subject, Role::Supervisor, observer);
        if signal == Sent::Term && (job.is_some() || supervisor.is_ok()) {
            Self::write_down(holder, ending);
        }
        if let Some(job) = job.as_ref().filter(|_| leads_group(pid_of(holder))) {
            self.leader =
                PidFd::open(pid_of(holder)).ok().filter(|_| job.is_over().is_ok_and(|o| !o));
        }
        // One that is over, or another's, has nothing to add to the job.
        let refusal = supervisor.as_ref().err().cloned();
        let supervisor = supervisor.ok();
        if self.tree.is_none() && job.is_none() && supervisor.is_none() {
            // Who it was is nothing but the record's word.
            return refusal.filter(|why| *why != Refusal::Over).map_or(Ok(false), Err);
        }
        let warranted = (job.is_some(), supervisor.is_some());
        let tree = self.tree.get_or_insert_with(|| tree_of(holder, ending, warranted));
        let was_sent = |sent: io::Result<()>| match sent.map_err(|e| refused(&e, subject)) {
            Err(Refusal::Over) => Ok(false),
            sent => sent.map(|()| true),
        };
        let to_job = |signal: i32| match &job {
            Some(pidfd) => was_sent(signal_job(pidfd, holder, signal)),
            None => Ok(false),
        };
        tree.look().map_err(|error| Refusal::Unclear(error.to_string()))?;
        let mut sent = !tree.is_empty();
        match signal {
            Sent::Term => {
                sent |= to_job(libc::SIGTERM)?;
                sweep::signal_beyond_group(tree, libc::SIGTERM);
                let _ = to_job(libc::SIGCONT); // it may be over by now
                sweep::signal_beyond_group(tree, libc::SIGCONT);
            }
            Sent::Kill => {
                sent |= to_job(libc::SIGKILL)?;
                let leader = self.leader.as_ref();
                // Once it could be signalled, it is over by now.
                let again = |signal| match (to_job(signal), leader) {
                    (Ok(true), _) | (_, None) => {}
                    (_, Some(leader)) => drop(leader.signal_rest_of_group(signal)),
                };
                let process = [&holder.supervisor, &holder.job];
                let pid = process.into_iter().flatten().next().map_or(0, |process| process.pid);
                let cgroup = Cgroup::find(dir.name(), holder.token, pid).ok();
                let cgroup = cgroup.filter(|_| supervisor.is_some());
                let until = Instant::now() + AFTER_KILL;
                sweep::kill(tree, again, cgroup.as_ref(), until)
                    .map_err(|error| Refusal::Unclear(error.to_string()))?;
            }
        }
        // Between two attempts, or when its job is over and it does not release.
        if !sent && holder.held_by == HeldBy::Supervisor {
            match (&supervisor, refusal) {
                (Some(supervisor), _) => sent |= was_sent(supervisor.signal(signal.number()))?,
                (None, Some(refusal)) if refusal != Refusal::Over => return Err(refusal),
                _ => {}
            }
        }
        Ok(sent)
    }
}

/// The processes of a run for whose job, and for whose supervisor, there was a warrant.
fn tree_of<'a>(
    holder: &Holder,
    ending: &Ending<'a>,
    (has_job, supervised): (bool, bool),
) -> Tree<'a> {
    let job = holder.job.clone().unwrap_or_default();
    let leads_group = leads_group(job.pid);
    let adopter = holder.supervisor.clone().filter(|_| supervised && holder.adopts_orphans);
    // Whoever may write here can give a run the token of an earlier one, whose daemons bear that.
    let is_its_own = has_job && bears(job.pid, ending.dir, holder.token).unwrap_or(false);
    Tree::new(tree::Run {
        dir: ending.dir,
        token: Some(holder.token).filter(|_| is_its_own),
        uid: holder.uid,
        leads_group,
        job,
        adopter,
    })
}

/// How many are there, at least, that were too quick to be seen.
fn unseen(tree: &Tree<'_>, leader: Option<&PidFd>) -> usize {
    let in_group = leader.is_some_and(|leader| leader.signal_rest_of_group(0).is_ok());
    let is_dead = tree.group_is_dead() || Stat::read(tree.run().job.pid).is_ok_and(Stat::is_over);
    usize::from(in_group && !is_dead)
}

fn pid_of(holder: &Holder) -> i32 {
    holder.job.as_ref().map_or(0, |job| job.pid)
}

fn leads_group(pid: i32) -> bool {
    Stat::read(pid).is_ok_and(|stat| stat.group == pid)
}

/// Signals a job, and its process group where it leads one.
fn signal_job(pidfd: &PidFd, holder: &Holder, signal: i32) -> io::Result<()> {
    let pid = pid_of(holder);
    // While it lives, what was read under its PID is its own.
    if leads_group(pid) && !pidfd.is_over()? {
        pidfd.signal_group(pid, signal)
    } else {
        pidfd.signal(signal)
    }
}
