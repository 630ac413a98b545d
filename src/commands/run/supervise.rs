//! From the open gate to the release: signals, time limits, leftovers.

use std::time::{Duration, Instant};

use super::{Held, Run};
use crate::cli::args::Leftovers;
use crate::cli::signal;
use crate::ending::{AFTER_KILL, sweep};
use crate::error::{Error, plain};
use crate::identity::observe::Patience;
use crate::identity::tree::{self, Member, Tree};
use crate::machine::events::What;
use crate::machine::record::{Leftover, State, Unknown};
use crate::protocol::Protocol;
use crate::protocol::amend::{Amend, Change};
use crate::protocol::note::Note;
use crate::report::escape::escape;
use crate::report::{human, output};
use crate::supervise::drain::Drain;
use crate::supervise::limits::{Countdown, Due};
use crate::supervise::policy::Group;
use crate::supervise::watch::Watch;
use crate::sys::fork::Failure;
use crate::sys::kill::group_is_empty;
use crate::sys::procfs;
use crate::sys::signal::SignalFd;
use crate::sys::wait::Ended;
use crate::transaction::{Transaction, misled};

/// A job that is over.
pub(super) struct Over {
    pub(super) ended: Ended,
    /// Why it never began, if it did not.
    pub(super) failure: Option<Failure>,
    /// Somebody wanted all of this to end.
    pub(super) is_to_end: bool,
    /// By this signal, when there was no job to have it.
    pub(super) signal: Option<i32>,
    /// The signal that ended it for overrunning.
    pub(super) overran: Option<i32>,
    /// When whoever of it is left is to be killed for that.
    pub(super) kill_at: Option<Instant>,
    /// Who was found of it, to be ended with it.
    pub(super) members: Vec<Member>,
}

impl Run<'_> {
    /// Watches over the job, within its limits, until it is over.
    pub(super) fn supervise(&mut self, held: &Held, signals: &SignalFd) -> Result<Over, Error> {
        let begun = Instant::now();
        // A time that no clock reaches is none.
        let at = |ran: Option<Duration>| ran.and_then(|ran| begun.checked_add(ran));
        let mut countdown = Countdown::new(self.plan.limits);
        let mut watch = Watch::new(&self.job, signals);
        let mut tree = self.tree(held, Vec::new()).ok_or_else(misled)?;
        let ended = loop {
            match watch.until(at(countdown.next())) {
                Ok(Some(ended)) => break ended,
                Ok(None) => {
                    if let Some(due) = countdown.due(begun.elapsed()) {
                        self.act(due, &mut tree, held);
                    }
                }
                // The job's status is worth more than the signals that it will not have.
                Err(error) => {
                    let (machines, error) = (self.names(), plain(&error));
                    output::message(format!(
                        "{machines}: signals are not forwarded any more, nor time limits kept: {error}"
                    ));
                    break self.job.await_end().map_err(Error::io("watch the job"))?;
                }
            }
        };
        let (overran, is_to_end) = (countdown.ended_by(), watch.is_to_end());
        let kill_at = match overran {
            Some(libc::SIGKILL) => Some(Instant::now()), // who is left of it has had it, too
            Some(_) => at(countdown.next()),
            None => None,
        };
        if overran.is_some() || self.plan.leftovers != Leftovers::Leave {
            // As long as the PID, and so the group, is known to be its own; else those of before.
            let _ = tree.look();
        }
        let members = tree.members().copied().collect();
        self.job.tally();
        let failure = self.job.failure();
        Ok(Over { ended, failure, is_to_end, signal: None, overran, kill_at, members })
    }

    /// The processes of the run, whose job is born.
    fn tree(&self, held: &Held, known: Vec<Member>) -> Option<Tree<'_>> {
        let run = tree::Run {
            dir: &self.targets[0].dir,
            token: Some(held.runs[0].token),
            uid: self.job.draft().uid,
            job: self.job.id()?.clone(),
            leads_group: self.job.group() == Group::Own,
            adopter: self.job.draft().supervisor.clone().filter(|_| self.job.adopts_orphans()),
        };
        Some(Tree::known(run, known))
    }

    /// The wait for those of them that are left.
    fn rest<'a>(&'a self, tree: Tree<'a>, signals: &'a SignalFd) -> Drain<'a> {
        let (job, kill_at, told, asked) = (&self.job, None, None, None);
        let (is_to_end, gives_up, is_killed, stay) = (false, false, false, false);
        Drain { tree, signals, job, kill_at, is_to_end, gives_up, is_killed, told, asked, stay }
    }

    fn act(&self, due: Due, tree: &mut Tree<'_>, held: &Held) {
        let (machines, limits) = (self.names(), self.plan.limits);
        let job = human::title(self.job.draft());
        let time = |time: Option<Duration>| humantime::format_duration(time.unwrap_or_default());
        match due {
            Due::Warn => {
                let after = limits.warn_after;
                output::message(format!("{machines}: \"{job}\" still runs after {}", time(after)));
                let after_ms = after.unwrap_or_default().as_millis();
                let after_ms = u64::try_from(after_ms).unwrap_or(u64::MAX);
                let command = self.job.draft().command.clone();
                self.tell_all(held, |token| {
                    Note::new(vec![(
                        token,
                        What::StillRunning { after_ms, command: command.clone() },
                    )])
                });
            }
            Due::End => {
                let signal = limits.signal;
                if let Err(error) = tree.look() {
                    self.cannot_find_all(&error);
                }
                // It may be over by now, or another user's.
                for signal in [signal, libc::SIGCONT] {
                    let _ = self.job.signal(signal);
                    sweep::signal_beyond_group(tree, signal);
                }
                let name = signal::name(signal);
                let limit = time(limits.timeout);
                output::message(format!("{machines}: \"{job}\" ran for {limit}: sent {name}"));
            }
            Due::Kill => {
                let name = signal::name(limits.signal);
                let grace = time(Some(limits.kill_after));
                output::message(format!(
                    "{machines}: \"{job}\" was still there {grace} after {name}: sent KILL"
                ));
                let kill = |signal| drop(self.job.signal(signal)); // as above
                if let Err(error) =
                    sweep::kill(tree, kill, self.job.cgroup(), Instant::now() + AFTER_KILL)
                {
                    kill(libc::SIGKILL);
                    self.cannot_find_all(&error);
                }
            }
        }
    }

    fn cannot_find_all(&self, error: &std::io::Error) {
        let (machines, error) = (self.names(), plain(error));
        output::message(format!(
            "{machines}: cannot look for the job's other processes, which go on: {error}"
        ));
    }

    /// Waits for what the job left running, or ends it, as asked; the machines are held meanwhile. The
    /// job is reaped.
    pub(super) fn drain(&mut self, held: &Held, over: &mut Over, signals: &SignalFd) {
        if self.plan.leftovers == Leftovers::Leave {
            return;
        }
        let _ = self.job.reap(); // its PID may become another's, which would not be taken for it
        let kill = self.plan.leftovers == Leftovers::Kill;
        let kill_at = over
            .kill_at
            .or_else(|| Instant::now().checked_add(self.plan.limits.kill_after).filter(|_| kill));
        let Some(mut tree) = self.tree(held, over.members.clone()) else { return };
        if kill && over.overran.is_none() {
            // Else they have had it.
            for signal in [libc::SIGTERM, libc::SIGCONT] {
                let _ = tree.look(); // what fails here fails below, and is said there
                sweep::signal(&tree, signal);
            }
        }
        let mut drain = Drain { kill_at, ..self.rest(tree, signals) };
        loop {
            match drain.step() {
                Ok(None) => break,
                Ok(Some(left)) => {
                    self.amend(held, State::Draining, &left);
                    if std::mem::take(&mut drain.stay) {
                        self.say_who_stays(&left);
                    }
                }
                Err(error) => break self.cannot_find_all(&error),
            }
        }
        over.is_to_end |= drain.is_to_end;
    }

    fn say_who_stays(&self, left: &[Member]) {
        let machine = self.targets[0].name();
        let process = |left: Leftover| format!("{} (PID {})", escape(&left.name), left.pid);
        let first: Vec<String> = left.iter().take(3).map(leftover).map(process).collect();
        let more = if left.len() > first.len() { ", …" } else { "" };
        let chosen = self.plan.settings.state_dir.as_deref();
        output::message(format!(
            "{}: the job left {}{more} running, which did not end; `{}` ends that",
            self.names(),
            first.join(", "),
            human::command(&format!("stop {machine}"), chosen)
        ));
    }

    /// Ends what is left of a job that overran, whose machine is free by now.
    pub(super) fn end_the_rest(&self, held: &Held, over: &mut Over, signals: &SignalFd) {
        let (Some(tree), Some(_)) = (self.tree(held, over.members.clone()), over.overran) else {
            return;
        };
        let mut drain = Drain { kill_at: over.kill_at, gives_up: true, ..self.rest(tree, signals) };
        while let Some(_left) = drain.step().unwrap_or_else(|error| {
            self.cannot_find_all(&error);
            None
        }) {}
        over.is_to_end |= drain.is_to_end;
    }

    /// Leaves word of what a job that is reaped left running, where that can be found at no cost: in
    /// its own process group.
    pub(super) fn name_leftovers(&self, held: &Held) {
        let is_left = self.plan.leftovers == Leftovers::Leave && self.job.group() == Group::Own;
        let job = self.job.id().filter(|_| is_left);
        let Some(job) = job.filter(|job| !group_is_empty(job.pid)) else { return };
        // A word that cannot be had is not worth one of ours.
        let left = tree::of_group(job.pid).unwrap_or_default();
        if !left.is_empty() {
            let processes: Vec<Leftover> = left.iter().take(MAX_NAMED).map(leftover).collect();
            self.tell_all(held, |token| {
                Note::new(vec![(token, What::LeftRunning { processes: processes.clone() })])
            });
        }
    }

    /// Says in the records what the run does by now.
    fn amend(&self, held: &Held, state: State, left: &[Member]) {
        let leftovers: Vec<Leftover> = left.iter().take(MAX_NAMED).map(leftover).collect();
        let change = Change { state, leftovers };
        self.tell_all(held, |token| Amend::new(token, change.clone(), Vec::new()));
    }

    /// Runs a protocol on each of our machines. What cannot be written down is so all the same.
    pub(super) fn tell_all<P: Protocol>(
        &self,
        held: &Held,
        protocol: impl Fn(u64) -> P,
    ) -> Vec<P::Outcome> {
        let lock_timeout = self.plan.settings.lock_timeout;
        let tell = |(target, run): (&super::Target, &super::HeldRun)| {
            let mut patience = Patience::default();
            let mut transaction =
                Transaction::new(&target.dir, self.observer, &mut patience, lock_timeout);
            let told = transaction.run(&mut protocol(run.token));
            transaction.warnings.iter().for_each(output::message);
            told.inspect_err(|error| output::message(error)).ok()
        };
        self.targets.iter().zip(&held.runs).filter_map(tell).collect()
    }
}

/// A record names so many of them.
const MAX_NAMED: usize = 32;

fn leftover(member: &Member) -> Leftover {
    let name = procfs::read(&format!("/proc/{}/comm", member.pid)).unwrap_or_default();
    let name = String::from_utf8_lossy(name.trim_ascii_end()).into_owned();
    Leftover { pid: member.pid, name, unknown: Unknown::new() }
}
