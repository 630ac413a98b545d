//! The job: a child behind its gate, then a process to signal, then a zombie to reap; or a process that
//! we adopted, which has all but the first behind it.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::adoptee::Adoptee;

use super::cgroup::Cgroup;
use super::environment::Environment;
use super::notify::Notifier;
use super::output::Output;
use super::policy::{self, Group};
use super::program::Program;
use super::spent::Spent;
use super::terminal;
use crate::error::Error;
use crate::identity::process::{Kernel, ProcessId};
use crate::identity::stat::Stat;
use crate::machine::holds::Holds;
use crate::machine::memo::Memo;
use crate::machine::record::Holder;
use crate::machine::store::MachineDir;
use crate::machine::store::memos::Kept;
use crate::sys::fork::{Child, Failure, Image, Setup, fork_gated};
use crate::sys::kill::{signal_unreaped, signal_unreaped_group};
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;
use crate::sys::signal::{Arrival, SignalSet};
use crate::sys::wait::{Ended, await_end, peek};

mod adopted;
mod nursery;

mod traces;

/// What a job is made from, and the job once it is born.
#[derive(Debug)]
pub struct Job {
    origin: Origin,
    /// Everything the record says of the holder but token, lifeline and job.
    draft: Holder,
    setting: Setting,
    /// Signals that came before its gate was open, to us and to it.
    early: SignalSet,
    child: Option<Child>,
    id: Option<ProcessId>,
    cgroup: Option<Cgroup>,
    pidfd: Option<PidFd>,
    gate_error: Option<io::Error>,
    /// What it takes to repeat it, and where to keep that.
    rerun: Option<(MachineDir, Memo)>,
    memo: Option<Kept>,
    spent: Spent,
    /// Where its output goes, when not where ours does.
    output: Option<Output>,
}

/// The blocked signals that wait to be delivered to a process.
fn pending_of(pid: i32) -> Option<SignalSet> {
    let shared = procfs::field(&format!("/proc/{pid}/status"), "ShdPnd").ok()??;
    u64::from_str_radix(&shared, 16).ok().map(SignalSet)
}

/// Where a job comes from.
#[derive(Debug)]
pub enum Origin {
    /// We start it.
    Program(Program),
    /// It runs already.
    Process(Adoptee),
}

/// How long an exec may take before its success is told unseen.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

/// What the job gets from us.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The environment, but for the token's variables.
    pub environment: Environment,
    /// The signal mask that we inherited.
    pub mask: SignalSet,
    /// SIGCHLD was ignored when we were started.
    pub ignore_sigchld: bool,
    /// Whose process group it runs in.
    pub group: Group,
    /// We are the reaper of its descendants.
    pub adopts_orphans: bool,
    /// It is to have a control group of its own.
    pub own_cgroup: bool,
    /// How its process can be looked at.
    pub kernel: Kernel,
    /// Whom to tell how it does.
    pub notifier: Notifier,
}

impl Job {
    /// A job that is not born yet.
    pub fn new(origin: Origin, draft: Holder, setting: Setting) -> Self {
        let (early, gate_error, spent) = (SignalSet::EMPTY, None, Spent::default());
        let (child, id, cgroup, pidfd) = (None, None, None, None);
        let (rerun, memo) = (None, None);
        Self {
            origin,
            draft,
            setting,
            early,
            child,
            id,
            cgroup,
            pidfd,
            gate_error,
            rerun,
            memo,
            spent,
            output: None,
        }
    }

    /// The same, with what it takes to repeat it kept there.
    #[must_use]
    pub fn kept_in(self, rerun: Option<(MachineDir, Memo)>) -> Self {
        Self { rerun, ..self }
    }

    /// Removes what was kept: it need not be repeated.
    pub fn forget(&mut self) {
        if let (Some(kept), Some((dir, memo))) = (self.memo.take(), &self.rerun) {
            kept.empty();
            dir.forget_memo(memo.token);
        }
    }

    /// Before it can be lost.
    fn keep(&mut self, tokens: &[u64]) -> Result<(), Error> {
        if let Some((dir, memo)) = &mut self.rerun
            && self.memo.is_none()
        {
            memo.token = tokens.first().copied().unwrap_or_default();
            self.memo = Some(dir.keep_memo(memo)?);
        }
        Ok(())
    }

    fn fork_child(&mut self, tokens: &[u64], close: &[RawFd]) -> io::Result<ProcessId> {
        let Origin::Program(program) = &self.origin else {
            return Err(io::Error::other("it runs already"));
        };
        (self.early, self.gate_error) = (SignalSet::EMPTY, None);
        let envp = self.setting.environment.with_tokens(tokens);
        let image = Image::new(program.path(), program.argv(), envp);
        let setup = Setup {
            mask: self.setting.mask,
            ignore_sigchld: self.setting.ignore_sigchld,
            own_group: self.setting.group == Group::Own,
            dies_with_supervisor: self.draft.dies_with_supervisor,
            gets_output: self.output.is_some(),
            close,
        };
        let child = self.child.insert(fork(&image, setup)?);
        // Without one the PID must do, and that is ours until we reap it.
        self.pidfd = PidFd::open_if_there_are_any(child.pid())?;
        if self.setting.own_cgroup {
            let (machine, token) = (self.setting.environment.machines().first(), tokens.first());
            // Who cannot have one does without.
            self.cgroup =
                machine.zip(token).and_then(|(m, t)| Cgroup::make(m, *t, child.pid()).ok());
        }
        let id = self.setting.kernel.identify(child.pid(), self.pidfd.as_ref())?;
        self.note_what_our_group_was_sent();
        Ok(self.id.insert(id).clone())
    }

    /// A child that leads its own group was born into ours: what somebody sent to that a moment
    /// earlier waits behind the gate with it, and with us. Mostly there is nothing to look for.
    fn note_what_our_group_was_sent(&mut self) {
        self.early = SignalSet::EMPTY;
        let ours = SignalSet::pending().unwrap_or(SignalSet::EMPTY);
        if self.setting.group == Group::Own && ours != SignalSet::EMPTY {
            let its = pending_of(self.pid()).unwrap_or(SignalSet::EMPTY);
            self.early = SignalSet(ours.0 & its.0);
        }
    }

    /// Sends a child in our group the keys that were pressed before it was born: the terminal sent
    /// them to the group, and the policy takes it that the job has had them. It blocks all signals
    /// behind its gate, so one that it did have merges with ours.
    fn hand_over_early_keys(&mut self) {
        if self.setting.group == Group::Own || self.adopted().is_some() {
            return; // it gets everything by the watch; or was there, and has had them
        }
        let Ok(pending) = SignalSet::pending() else { return };
        for key in policy::FOR_GROUP.into_iter().filter(|key| pending.contains(*key)) {
            if self.signal(key).is_ok() {
                self.early = self.early.with(key);
            }
        }
    }

    /// Its PID; 0 before it is born.
    pub fn pid(&self) -> i32 {
        match &self.origin {
            Origin::Program(_) => self.child.as_ref().map_or(0, Child::pid),
            Origin::Process(process) => process.id().pid,
        }
    }

    /// The control group that it has for itself.
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    /// Who it is, once it is born.
    pub fn id(&self) -> Option<&ProcessId> {
        self.id.as_ref()
    }

    /// What it is, but for its token, lifeline and process.
    pub fn draft(&self) -> &Holder {
        &self.draft
    }

    /// Whether we are the reaper of its descendants.
    pub fn adopts_orphans(&self) -> bool {
        self.setting.adopts_orphans
    }

    /// When it was born, RFC 3339 UTC.
    pub fn started_at(&self) -> &str {
        &self.draft.started_at
    }

    /// The signal mask that we inherited, and it gets.
    pub fn inherited_mask(&self) -> SignalSet {
        self.setting.mask
    }

    /// What the job that we are part of holds.
    pub fn holds(&self) -> &Holds {
        self.setting.environment.outer()
    }

    /// Tells the service manager what the job waits for.
    pub fn tell_that_it_waits(&mut self, what_for: &str) {
        self.setting.notifier.waits(what_for);
    }

    /// Signals that came before its gate was open: they wait for us, too, but it has had them.
    pub fn early(&self) -> SignalSet {
        self.early
    }

    /// How its process group relates to ours by now: timeout(1) and interactive shells make
    /// themselves leaders of their own.
    pub fn group(&self) -> Group {
        let child = self.child.as_ref();
        child.and_then(|child| terminal::group_of(child.pid())).unwrap_or(self.setting.group)
    }

    /// Whether we, and so it, have a controlling terminal.
    fn has_terminal(&self) -> bool {
        self.draft.context.tty.is_some()
    }

    /// Continues it, in the foreground if we are there.
    ///
    /// # Errors
    /// As [`Job::signal`].
    pub fn resume(&self) -> io::Result<()> {
        self.signal(libc::SIGCONT)
    }

    /// A job that leads its own group is to own the terminal when we do.
    fn hand_over_terminal(&self) {
        if self.child.is_some() && self.has_terminal() && self.group() == Group::Own {
            let _ = terminal::hand_to(self.pid()); // it is not ours: then not the job's either
        }
    }

    /// How it ended, if it has. A child stays a zombie, so its PID stays its own.
    pub fn ended(&self) -> io::Result<Option<Ended>> {
        self.adopted().map_or_else(|| peek(self.pid()), Adoptee::ended)
    }

    /// Waits for its end; it stays as it is.
    pub fn await_end(&self) -> io::Result<Ended> {
        self.adopted().map_or_else(|| await_end(self.pid()), Adoptee::await_end)
    }

    /// Why it never began, once its process is over; `None` when it did.
    pub fn failure(&mut self) -> Option<Failure> {
        // A gate that could not be opened ended it without a word.
        let gate_error = self.gate_error.take().map(Failure::Setup);
        gate_error.or_else(|| self.child.as_mut().and_then(Child::failure))
    }

    /// Sends it a signal: to its whole group where that is its own.
    ///
    /// # Errors
    /// `EPERM`: it runs under another user by now.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.pass_on(Arrival::plain(signal))
    }

    /// Sends it a signal as it came to us. One that continues it comes with the terminal.
    ///
    /// # Errors
    /// `EPERM`: it runs under another user by now. `EAGAIN`: it has as many queued as it may have.
    pub fn pass_on(&self, arrival: Arrival) -> io::Result<()> {
        if arrival.signal == libc::SIGCONT {
            self.hand_over_terminal();
        }
        if self.group() == Group::Own {
            match self.pass_on_to_group(arrival) {
                // It has moved to another group, which is none of ours.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => return result,
            }
        }
        match self.pidfd() {
            Some(pidfd) => pidfd.pass_on(arrival),
            None => signal_unreaped(self.pid(), arrival.signal),
        }
    }

    /// Sends a signal to what is left of its own group, once it is reaped; whether there was anybody, as
    /// far as the kernel tells (since 6.9).
    pub fn signal_rest_of_group(&self, signal: i32) -> bool {
        let leader = self.pidfd.as_ref().filter(|_| self.setting.group == Group::Own);
        leader.is_some_and(|leader| leader.signal_rest_of_group(signal).is_ok())
    }

    fn pass_on_to_group(&self, arrival: Arrival) -> io::Result<()> {
        match self.pidfd() {
            Some(pidfd) => pidfd.pass_on_to_group(self.pid(), arrival),
            None => signal_unreaped_group(self.pid(), arrival.signal),
        }
    }

    /// Whether the process `pid` is the job, in its own group, or a descendant of it; `None` when
    /// there is no such process any more.
    pub fn is_related(&self, pid: i32) -> Option<bool> {
        /// Deeper trees than this are not followed: somebody may fork faster than we climb.
        const MAX_DEPTH: u32 = 64;
        let job = self.pid();
        let mut current = pid;
        for _ in 0..MAX_DEPTH {
            if current == job {
                return Some(true);
            }
            let Ok(stat) = Stat::read(current) else {
                return (current != pid).then_some(false);
            };
            if self.setting.group == Group::Own && stat.group == job {
                return Some(true);
            }
            if stat.parent <= 1 {
                return Some(false);
            }
            current = stat.parent;
        }
        Some(false)
    }

    /// Reaps it; its PID is anybody's afterwards.
    pub fn reap(&mut self) -> io::Result<()> {
        if self.has_terminal() && self.child.is_some() {
            let _ = terminal::take_back_from(self.pid()); // it hung up: nobody is left to use it
        }
        match self.adopted() {
            Some(process) => process.reap(),
            None => self.child.take().map_or(Ok(()), Child::reap),
        }
    }

    /// Gives back what it had for itself, when nothing of it is left.
    pub fn clear_away(&mut self) {
        self.cgroup.take().iter().for_each(Cgroup::remove);
    }
}

#[allow(unsafe_code, reason = "what it asks for is a fact about the whole program")]
fn fork(image: &Image, setup: Setup<'_>) -> io::Result<Child> {
    // SAFETY: the only other thread of this program waits for a contended machine lock
    // (machine/lock.rs), and is joined when that is taken. If it timed out earlier in this run, it is
    // asleep in flock(2), where it holds nothing that the child could wait for.
    unsafe { fork_gated(image, setup) }
}
