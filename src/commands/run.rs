//! `jobguard -m NAME -- COMMAND`: plan → claim → supervise → release → exit.

mod adopt;
mod attempt;
mod claim;
mod cycle;
mod give_up;
mod outlook;
mod replace;
mod supervise;
mod wait;

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use claim::Claimed;
use supervise::Over;

use super::{fail, observer};
use crate::Exit;
use crate::cli::args::Leftovers;
use crate::cli::plan::RunPlan;
use crate::error::Error;
use crate::identity::lifeline::Lifeline;
use crate::identity::observe::Patience;
use crate::identity::process::Kernel;
use crate::identity::verdict::Observer;
use crate::machine::argument::Argument;
use crate::machine::memo::Memo;
use crate::machine::name::MachineName;
use crate::machine::record::{Ending, LastRun, Unknown};
use crate::machine::state_dir::{Missing, StateDir, locate};
use crate::machine::store::MachineDir;
use crate::machine::store::queue::place::Place;
use crate::machine::used::Used;
use crate::protocol::release::{self, Release};
use crate::protocol::want::Want;
use crate::report::{human, output};
use crate::supervise::adoptee::Adoptee;
use crate::supervise::draft::draft;
use crate::supervise::environment::Environment;
use crate::supervise::job::{Job, Origin, Setting};
use crate::supervise::notify::{self, Notifier};
use crate::supervise::output::Output;
use crate::supervise::program::Program;
use crate::sys::disposition::stop_ignoring_sigchld;
use crate::sys::fork::Failure;
use crate::sys::signal::{SignalFd, SignalSet, adopt_orphans, block_all};
use crate::sys::startup;
use crate::sys::wait::Ended;
use crate::transaction::{Transaction, misled, now};

/// Runs the job, and says how we are to end.
pub(super) fn run(plan: &RunPlan) -> Exit {
    let busy_exit = plan.busy_exit;
    try_run(plan).unwrap_or_else(|error| {
        let code = if matches!(error, Error::Busy(_)) { busy_exit } else { error.exit_code() };
        fail(&error, code)
    })
}

fn try_run(plan: &RunPlan) -> Result<Exit, Error> {
    // From here on a signal waits until there is a job to have it, or we sleep.
    let mask = block_all().map_err(Error::io("block signals"))?;
    // Before any queue: nobody should wait for hours to learn of a typing error.
    let origin = origin(plan)?;
    let path = locate(plan.settings.state_dir.as_deref())?;
    let state = StateDir::open(&path, Missing::Create, plan.settings.allow_network_fs)?;
    let state = state.ok_or_else(misled)?;
    let holds = state.inherited_holds();
    let open = |machine: &MachineName| {
        let dir = state.machine(machine, Missing::Create)?.ok_or_else(misled)?;
        Ok(Target::new(dir, plan.want(&holds, machine)))
    };
    let targets = plan.machines.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
    let file = Output::plan(plan, &state)?;
    let observer = observer(&plan.settings, &state)?;
    let (mut draft, mut group) = draft(plan, &observer)?;
    if let Origin::Process(process) = &origin {
        group = process.group();
        (draft.adopted, draft.command, draft.cwd) = (true, process.command(), process.cwd());
    }
    let mut environment =
        Environment::new(startup::environment(), holds, &plan.machines, state.path());
    if plan.notify.is_some() {
        environment = environment.without(notify::SOCKET);
    }
    let notifier = Notifier::new(plan.notify);
    let ignore_sigchld = stop_ignoring_sigchld().map_err(Error::io("look at SIGCHLD"))?;
    let signals = SignalFd::open(SignalSet::ALL).map_err(Error::io("open a signalfd"))?;
    let adopts_orphans = draft.adopts_orphans;
    let own_cgroup = plan.leftovers == Leftovers::Kill;
    if adopts_orphans {
        adopt_orphans().map_err(Error::io("become the reaper of the job's orphans"))?;
    }
    let kernel = observer.kernel;
    let setting = Setting {
        environment,
        mask,
        ignore_sigchld,
        group,
        adopts_orphans,
        own_cgroup,
        kernel,
        notifier,
    };
    let job = Job::new(origin, draft, setting).kept_in(memo(plan, &state)?).writing_to(file);
    let (state, observer) = (&state, &observer);
    let (told, contended, closed) = (false, false, None);
    let mut run = Run { plan, state, targets, observer, job, told, contended, closed };

    let Claimed::Held(mut held) = run.claim()? else { return Ok(Exit::Code(0)) };
    run.confirm(&mut held)?;
    let over = run.attempt(&mut held, &signals)?;
    run.end(held, over, &signals)
}

/// What it takes to repeat the run, if it is to be, and where that is kept.
fn memo(plan: &RunPlan, state: &StateDir) -> Result<Option<(MachineDir, Memo)>, Error> {
    if !plan.rerun_if_lost {
        return Ok(None);
    }
    let cwd = std::env::current_dir().map_err(Error::io("find out our working directory"))?;
    let memo =
        Memo::new(&plan.words, cwd.into_os_string(), &startup::environment(), &plan.rerun_env);
    let dir = state.machine(&plan.machines[0], Missing::Create)?.ok_or_else(misled)?;
    Ok(Some((dir, memo)))
}

/// Where the job comes from.
fn origin(plan: &RunPlan) -> Result<Origin, Error> {
    Ok(match plan.adopts {
        None => Origin::Program(Program::find(&plan.command)?),
        Some(pid) => Origin::Process(Adoptee::find(pid, Kernel::here())?),
    })
}

/// The exit status after a time limit, and where that took KILL, as those of timeout(1).
const TIMED_OUT: u8 = 124;
const KILLED: u8 = 137;

/// A run under way.
struct Run<'a> {
    plan: &'a RunPlan,
    state: &'a StateDir,
    /// The machines, in order.
    targets: Vec<Target>,
    observer: &'a Observer,
    job: Job,
    /// Whoever waits at a terminal was told for whom.
    told: bool,
    /// A machine was not to be had at once.
    contended: bool,
    /// Our wait seems to close a cycle: when that is proven, if it is seen until then.
    closed: Option<Instant>,
}

/// One of the machines that the job must have.
struct Target {
    dir: MachineDir,
    want: Want,
    patience: Patience,
    /// Our place in its queue.
    place: Option<Place>,
    /// Since when it could be had, for us and for all before us.
    free_since: Option<Instant>,
    /// How many before us have let it go by.
    passes: usize,
    /// The last run that we saw there, and that no record named then.
    unrecorded: Option<u64>,
    /// How often in a row the queue could not be told that we are away.
    unsaid: u32,
}

impl Target {
    fn new(dir: MachineDir, want: Want) -> Self {
        let (patience, place, free_since) = (Patience::default(), None, None);
        let (passes, unrecorded, unsaid) = (0, None, 0);
        Self { dir, want, patience, place, free_since, passes, unrecorded, unsaid }
    }

    /// Gives the machine back.
    fn release(
        &mut self,
        run: &mut HeldRun,
        mut release: Release,
        observer: &Observer,
        lock_timeout: Duration,
    ) {
        let mut transaction =
            Transaction::new(&self.dir, observer, &mut self.patience, lock_timeout);
        transaction.lifeline = run.lifeline.take();
        let result = transaction.run(&mut release);
        transaction.warnings.iter().for_each(output::message);
        let machine = self.dir.name();
        match result {
            Ok(release::Outcome::Released) => {}
            Ok(release::Outcome::TakenOver) => output::message(format!(
                "{machine}: this run was not in the record any more when its job ended: it was \
                 cleared by force, or its release came too late"
            )),
            Ok(release::Outcome::Misled) => output::message(misled()),
            Err(error) => output::message(format!(
                "{machine}: cannot be released, the next run will clear it: {error}"
            )),
        }
    }

    fn name(&self) -> &MachineName {
        self.dir.name()
    }
}

/// What we hold while the job runs.
struct Held {
    /// Of each machine, in their order.
    runs: Vec<HeldRun>,
    started_at: String,
}

/// Our run of one machine.
struct HeldRun {
    token: u64,
    lifeline: Option<Lifeline>,
}

impl Run<'_> {
    /// Releases the machine, reaps the job, and says how we are to end.
    fn end(mut self, mut held: Held, mut over: Over, signals: &SignalFd) -> Result<Exit, Error> {
        let last = self.last_run(&over, held.started_at.clone(), self.job.used());
        self.release(&mut held, last);
        self.job.forget();
        self.forget_taken_over(&held);
        // Last: until here its PID could not become another process's.
        let _ = self.job.reap(); // a zombie that is not reaped goes when we go
        self.end_the_rest(&held, &mut over, signals);
        self.job.clear_away();
        self.name_leftovers(&held);
        let exit = match (over.failure, over.overran, over.signal, over.ended) {
            (Some(Failure::Setup(source)), ..) => Err(Error::io("let the job begin")(source)),
            (Some(Failure::Exec(source)), ..) => {
                let word = Argument::from(self.plan.command[0].as_os_str());
                Err(Error::Command { command: human::command_line(&[word]), source })
            }
            (None, _, Some(signal), _) => Ok(Exit::Signal(signal)),
            (None, Some(libc::SIGKILL), ..) => Ok(Exit::Code(KILLED)),
            (None, Some(_), ..) => Ok(Exit::Code(TIMED_OUT)),
            (None, None, None, Ended::Exited(code)) => {
                Ok(Exit::Code(u8::try_from(code).unwrap_or(u8::MAX)))
            }
            (None, None, None, Ended::Signaled(signal)) => Ok(Exit::Signal(signal)),
            (None, None, None, Ended::Unseen) => Err(self.unseen()),
        };
        self.job.show_output(!matches!(exit, Ok(Exit::Code(0))));
        exit
    }

    /// How a job ended, for the record; the token is to be filled in.
    fn last_run(&self, over: &Over, started_at: String, used: Used) -> LastRun {
        let (ended, code) = match (&over.failure, over.overran, over.ended) {
            (Some(Failure::Setup(error) | Failure::Exec(error)), ..) => {
                (Ending::ExecFailed, error.raw_os_error())
            }
            (None, Some(signal), _) => (Ending::TimedOut, Some(signal)),
            (None, None, Ended::Exited(code)) => (Ending::Exited, Some(code)),
            (None, None, Ended::Signaled(signal)) => (Ending::Signaled, Some(signal)),
            (None, None, Ended::Unseen) => (Ending::Unknown, None),
        };
        let (started_at, ended_at, unknown) = (Some(started_at), now().0, Unknown::new());
        LastRun { token: 0, ended, code, started_at, ended_at, used, unknown }
    }

    /// Gives the machines back, all at once: one whose lock somebody keeps must not keep the others. If
    /// that fails, a phantom stays, which the next run clears: the job's status is worth more than the
    /// reason.
    fn release(&mut self, held: &mut Held, last: LastRun) {
        let (observer, lock_timeout) = (self.observer, self.plan.settings.lock_timeout);
        let releases = self.targets.iter_mut().zip(&mut held.runs).map(|(target, run)| {
            let last = LastRun { token: run.token, ..last.clone() };
            move || target.release(run, Release::new(last), observer, lock_timeout)
        });
        let releases = Mutex::new(releases.collect::<Vec<_>>());
        let next = || releases.lock().ok().and_then(|mut left| left.pop());
        let work = || {
            while let Some(release) = next() {
                release();
            }
        };
        let helpers = self.plan.machines.len() - 1;
        thread::scope(|scope| {
            for _ in 0..helpers {
                let _ = thread::Builder::new().spawn_scoped(scope, work); // then we do it alone
            }
            work();
        });
    }

    /// The machines, for people.
    fn names(&self) -> String {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name().as_str()).collect();
        names.join(", ")
    }
}
