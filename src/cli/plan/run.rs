//! A run, resolved.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::time::Duration;

use super::{Plan, STOP_GRACE};
use crate::cli::args::output::OutputPlan;
use crate::cli::args::{
    JobGroup, Leftovers, LimitArgs, Notify, OnBusy, OnSupervisorDeath, Place, Top,
};
use crate::cli::settings::Settings;
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::record::{MAX_SLOTS, Mode};
use crate::protocol::want::Want;
use crate::supervise::limits::Limits;
use crate::supervise::retries::{Retries, RetryOn};

/// The default of `--retry-delay`.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The default of `-E` (sysexits.h).
pub(super) const EX_TEMPFAIL: u8 = 75;

/// A run, resolved.
#[derive(Debug)]
pub struct RunPlan {
    /// The machines, sorted, each once.
    pub machines: Vec<MachineName>,
    /// How it shares them.
    pub mode: Mode,
    /// How many holders it agrees to, itself included.
    pub slots: u32,
    /// The job, at least one word.
    pub command: Vec<OsString>,
    /// The process that is the job already; there is no command then.
    pub adopts: Option<i32>,
    /// What to do when it is busy.
    pub on_busy: OnBusy,
    /// How long to wait for the machine; `None`: for ever.
    pub wait: Option<Duration>,
    /// With how many others it waits; `None`: any number.
    pub max_pending: Option<NonZeroU16>,
    /// How long the job may take, and whoever is ended by it.
    pub limits: Limits,
    /// What to do about processes of the job that outlive it.
    pub leftovers: Leftovers,
    /// Whether it is tried again.
    pub retries: Retries,
    /// It is to be repeated if it is lost.
    pub rerun_if_lost: bool,
    /// What of the environment it has then, by name.
    pub rerun_env: Vec<OsString>,
    /// The lost run that it repeats.
    pub repeats: Option<u64>,
    /// What was typed, to type it again.
    pub words: Vec<OsString>,
    /// The exit status when it is busy.
    pub busy_exit: u8,
    /// Shown instead of the command line.
    pub name: Option<OsString>,
    /// What becomes of the job when we are killed; `None`: as the PID namespace suggests.
    pub on_supervisor_death: Option<OnSupervisorDeath>,
    /// Whose process group the job runs in; `None`: as the terminal suggests.
    pub group: Option<JobGroup>,
    /// What the service manager is told in the job's place.
    pub notify: Option<Notify>,
    /// Where the job's output goes.
    pub output: OutputPlan,
    /// Where the state is.
    pub settings: Settings,
}

impl RunPlan {
    /// Whether the machine may be held when the job is over.
    pub fn outlives_its_job(&self) -> bool {
        self.leftovers != Leftovers::Leave || self.retries.count > 0
    }

    /// How it wants one of its machines; `holds` is what the job holds that it is part of.
    pub fn want(&self, holds: &Holds, machine: &MachineName) -> Want {
        Want { mode: self.mode, slots: self.slots, holds: holds.of(machine).collect() }
    }
}

/// Of the options before a job.
pub(super) fn plan_run(top: Top, args: &[OsString]) -> Result<Plan, String> {
    let mut machines = top.run.machine;
    if top.command.is_empty() {
        let options: String = machines.iter().map(|name| format!("-m {name} ")).collect();
        return Err(format!("no command to run: say jobguard {options}-- COMMAND [ARG]..."));
    }
    machines.sort_unstable();
    machines.dedup();
    let on_busy = match (top.run.on_busy, top.run.nonblock) {
        (None, true) => OnBusy::Fail,
        (policy, _) => policy.unwrap_or(OnBusy::Wait),
    };
    if on_busy != OnBusy::Wait && top.run.wait.is_some() {
        return Err("-w (--wait) belongs to --on-busy wait: the others do not wait".to_owned());
    }
    let waits = on_busy == OnBusy::Wait;
    if !waits && top.run.max_pending.is_some() {
        return Err("--max-pending belongs to --on-busy wait: the others do not wait".to_owned());
    }
    let leftovers = top.end.leftovers.unwrap_or(Leftovers::Leave);
    let ends = on_busy == OnBusy::Replace
        || top.end.limits.timeout.is_some()
        || leftovers == Leftovers::Kill;
    if !ends && top.end.limits.kill_after.is_some() {
        return Err(
            "-k (--kill-after) belongs to --timeout, --leftovers kill or --on-busy replace"
                .to_owned(),
        );
    }
    let (mode, slots) = sharing(top.run.shared, top.run.slots);
    Ok(Plan::Run(Box::new(RunPlan {
        machines,
        mode,
        slots,
        command: top.command,
        adopts: None,
        on_busy,
        wait: top.run.wait,
        max_pending: top.run.max_pending,
        limits: limits(&top.end.limits),
        leftovers,
        retries: Retries {
            count: top.retry.retries.unwrap_or(0),
            delay: top.retry.retry_delay.unwrap_or(RETRY_DELAY),
            backoff: top.retry.retry_backoff,
            on: top.retry.retry_on.unwrap_or_else(RetryOn::any),
        },
        rerun_if_lost: top.rerun.rerun_if_lost,
        rerun_env: top.rerun.rerun_env,
        repeats: top.rerun.repeat_of,
        // `rerun` puts that word first.
        words: args.iter().skip(1 + usize::from(top.rerun.repeat_of.is_some())).cloned().collect(),
        busy_exit: top.run.conflict_exit_code.unwrap_or(EX_TEMPFAIL),
        name: top.run.name,
        on_supervisor_death: top.run.on_supervisor_death,
        group: top.run.group,
        notify: top.run.notify,
        output: top.output.plan(),
        settings: Settings::resolve(top.place, Place::default())?,
    })))
}

pub(super) fn sharing(shared: bool, slots: Option<u32>) -> (Mode, u32) {
    let (mode, most) = if shared { (Mode::Shared, MAX_SLOTS) } else { (Mode::Exclusive, 1) };
    (mode, slots.unwrap_or(most))
}

pub(super) fn limits(args: &LimitArgs) -> Limits {
    let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero()); // as timeout(1)
    Limits {
        warn_after: given(args.warn_after),
        timeout: given(args.timeout),
        signal: args.signal.unwrap_or(libc::SIGTERM),
        kill_after: args.kill_after.unwrap_or(STOP_GRACE),
    }
}
