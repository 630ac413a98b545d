//! What was typed, resolved and checked: flag before environment before default. No I/O.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::num::NonZeroU16;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::args::output::OutputPlan;
use super::args::{
    Common, JobGroup, Leftovers, LimitArgs, Look, Notify, OnBusy, OnSupervisorDeath, Place,
    Subcommands, Top, full_command,
};
use super::settings::Settings;
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::record::{MAX_SLOTS, Mode};
use crate::protocol::want::Want;
use crate::report::escape::escape_os;
use crate::supervise::limits::Limits;
use crate::supervise::retries::{Retries, RetryOn};

mod adoption;
mod complaint;

use complaint::{help_or_complaint, option_of_a_run};

/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// Run a job.
    Run(Box<RunPlan>),
    /// Say who holds a machine.
    Status {
        /// Which.
        machine: MachineName,
        /// With the evidence.
        explain: bool,
        /// How to answer.
        ask: Ask,
    },
    /// List all machines.
    List(Ask),
    /// Tell everything about a machine.
    Info {
        /// Which.
        machine: MachineName,
        /// How to answer.
        ask: Ask,
    },
    /// Tell who waits for a machine.
    Queue {
        /// Which.
        machine: MachineName,
        /// How to answer.
        ask: Ask,
    },
    /// Wait until nobody holds a machine.
    Wait {
        /// Which.
        machine: MachineName,
        /// How long; `None`: for ever.
        limit: Option<Duration>,
        /// How to answer.
        ask: Ask,
    },
    /// End who holds a machine.
    Stop {
        /// Which.
        machine: MachineName,
        /// Only this run; its token.
        token: Option<u64>,
        /// How long a job may take to end after TERM.
        grace: Duration,
        /// How to answer.
        ask: Ask,
    },
    /// Repeat a lost run.
    Rerun {
        /// Of which machine.
        machine: MachineName,
        /// Where the state is.
        settings: Settings,
    },
    /// Remove phantoms.
    Clear {
        /// From which machines; `None`: all.
        machines: Option<Vec<MachineName>>,
        /// And this run, whatever it is; its token.
        force: Option<u64>,
        /// How to answer.
        ask: Ask,
    },
    /// Print this on stdout, and nothing else.
    Print(String),
}

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

/// A question, and how to answer it.
#[derive(Debug)]
pub struct Ask {
    /// In JSON.
    pub json: bool,
    /// Where the state is.
    pub settings: Settings,
}

const STOP_GRACE: Duration = Duration::from_secs(10);
const RETRY_DELAY: Duration = Duration::from_secs(1);
const EX_TEMPFAIL: u8 = 75;

/// Reads a command line; the error is a message for the user, exit 64.
pub fn plan(mut args: Vec<OsString>) -> Result<Plan, String> {
    if args.len() <= 1 {
        let usage = full_command().render_usage();
        return Err(format!("nothing to do\n{usage}\nSee jobguard --help."));
    }
    let first = args[1].to_str().filter(|word| Subcommands::has_subcommand(word));
    if first.is_some() {
        return plan_look(args.split_off(1), Place::default());
    }
    // Not taken to pieces: that takes as long as the parsing.
    let mut command = ManuallyDrop::new(Top::command());
    let parsed = command.try_get_matches_from_mut(&args);
    let (top, matches) = match parsed.and_then(|m| Ok((Top::from_arg_matches(&m)?, m))) {
        Ok(parsed) => parsed,
        // This half knows no subcommands, so its own help would not show them.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Plan::Print(full_command().render_help().to_string()));
        }
        Err(error) => return help_or_complaint(&error),
    };
    if top.run.machine.is_empty() {
        plan_look(subcommand(top.command, &matches)?, top.place)
    } else {
        plan_run(top, &args)
    }
}

fn plan_run(top: Top, args: &[OsString]) -> Result<Plan, String> {
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

fn sharing(shared: bool, slots: Option<u32>) -> (Mode, u32) {
    let (mode, most) = if shared { (Mode::Shared, MAX_SLOTS) } else { (Mode::Exclusive, 1) };
    (mode, slots.unwrap_or(most))
}

fn limits(args: &LimitArgs) -> Limits {
    let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero()); // as timeout(1)
    Limits {
        warn_after: given(args.warn_after),
        timeout: given(args.timeout),
        signal: args.signal.unwrap_or(libc::SIGTERM),
        kill_after: args.kill_after.unwrap_or(STOP_GRACE),
    }
}

/// The words from the subcommand on, behind options that do not belong to a run.
fn subcommand(words: Vec<OsString>, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    let Some(word) = words.first() else {
        return Err("no machine named: say jobguard -m NAME -- COMMAND [ARG]...".to_owned());
    };
    if !word.to_str().is_some_and(Subcommands::has_subcommand) {
        let full = full_command();
        let known: Vec<&str> = full.get_subcommands().map(clap::Command::get_name).collect();
        let word = escape_os(word);
        return Err(format!(
            "'{word}' is no subcommand ({}): to run it as a job, name its machine: \
             jobguard -m NAME -- {word}",
            known.join(", ")
        ));
    }
    if let Some(option) = option_of_a_run(matches) {
        return Err(format!(
            "{option} before '{}' belongs to a run: name its machine with -m, or leave it out",
            word.to_string_lossy()
        ));
    }
    Ok(words)
}

/// Of the words from the subcommand on, and the options before it.
fn plan_look(words: Vec<OsString>, place: Place) -> Result<Plan, String> {
    let words = [OsString::from("jobguard")].into_iter().chain(words);
    let ask = |common: Common| -> Result<Ask, String> {
        let settings = Settings::resolve(common.place, place.clone())?;
        Ok(Ask { json: common.json, settings })
    };
    let look = match Look::try_parse_from(words) {
        Ok(look) => look,
        Err(error) => return help_or_complaint(&error),
    };
    Ok(match look.what {
        Subcommands::Status { machine, explain } => {
            Plan::Status { machine: machine.name, explain, ask: ask(machine.common)? }
        }
        Subcommands::List { common } => Plan::List(ask(common)?),
        Subcommands::Info { machine } => {
            Plan::Info { machine: machine.name, ask: ask(machine.common)? }
        }
        Subcommands::Queue { machine } => {
            Plan::Queue { machine: machine.name, ask: ask(machine.common)? }
        }
        Subcommands::Wait { machine, wait } => {
            Plan::Wait { machine: machine.name, limit: wait, ask: ask(machine.common)? }
        }
        Subcommands::Stop { machine, token, grace } => Plan::Stop {
            machine: machine.name,
            token,
            grace: grace.unwrap_or(STOP_GRACE),
            ask: ask(machine.common)?,
        },
        Subcommands::Rerun { name, place: own } => {
            let settings = Settings::resolve(own, place)?;
            Plan::Rerun { machine: name, settings }
        }
        Subcommands::Adopt { machine, adopt, place: own } => {
            adoption::plan(machine, adopt, Settings::resolve(own, place)?)?
        }
        Subcommands::Clear { machines, all, force: _, token, common } => {
            Plan::Clear { machines: (!all).then_some(machines), force: token, ask: ask(common)? }
        }
    })
}
