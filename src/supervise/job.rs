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
use super::policy::Group;
use super::program::Program;
use super::spent::Spent;
use super::terminal;
use crate::identity::process::{Kernel, ProcessId};
use crate::identity::stat::Stat;
use crate::machine::holds::Holds;
use crate::machine::memo::Memo;
use crate::machine::record::Holder;
use crate::machine::store::MachineDir;
use crate::machine::store::memos::Kept;
use crate::sys::fork::{Child, Failure, Image, Setup, fork_gated};
use crate::sys::pidfd::PidFd;
use crate::sys::signal::SignalSet;
use crate::sys::wait::{Ended, await_end, peek};

mod adopted;
mod keeping;
mod nursery;
mod signals;
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
