//! What was typed, resolved and checked: flag before environment before default. No I/O.

use std::borrow::Cow;
use std::error::Error as _;
use std::ffi::OsString;
use std::num::NonZeroU16;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};

use super::args::{
    Common, Look, Notify, OnBusy, OnSupervisorDeath, Place, RunArgs, Subcommands, Top, full_command,
};
use super::settings::Settings;
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::record::{MAX_SLOTS, Mode};
use crate::protocol::want::Want;
use crate::report::escape::{escape, escape_os};

/// What to do.
#[derive(Debug)]
pub enum Plan {
    /// Run a job.
    Run(RunPlan),
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
    /// What to do when it is busy.
    pub on_busy: OnBusy,
    /// How long to wait for the machine; `None`: for ever.
    pub wait: Option<Duration>,
    /// With how many others it waits; `None`: any number.
    pub max_pending: Option<NonZeroU16>,
    /// How long whoever is replaced may take to end after TERM.
    pub kill_after: Duration,
    /// The exit status when it is busy.
    pub busy_exit: u8,
    /// Shown instead of the command line.
    pub name: Option<OsString>,
    /// What becomes of the job when we are killed; `None`: as the PID namespace suggests.
    pub on_supervisor_death: Option<OnSupervisorDeath>,
    /// What the service manager is told in the job's place.
    pub notify: Option<Notify>,
    /// Where the state is.
    pub settings: Settings,
}

impl RunPlan {
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
const EX_TEMPFAIL: u8 = 75;

/// Reads a command line; the error is a message for the user, exit 64.
pub fn plan(args: Vec<OsString>) -> Result<Plan, String> {
    if args.len() <= 1 {
        let usage = full_command().render_usage();
        return Err(format!("nothing to do\n{usage}\nSee jobguard --help."));
    }
    let top = match Top::try_parse_from(&args) {
        Ok(top) => top,
        // This half knows no subcommands, so its own help would not show them.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Plan::Print(full_command().render_help().to_string()));
        }
        Err(error) => return help_or_complaint(&error),
    };
    if top.run.machine.is_empty() { plan_look(top) } else { plan_run(top) }
}

fn plan_run(top: Top) -> Result<Plan, String> {
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
    if on_busy != OnBusy::Replace && top.run.kill_after.is_some() {
        return Err("-k (--kill-after) belongs to --on-busy replace".to_owned());
    }
    let mode = if top.run.shared { Mode::Shared } else { Mode::Exclusive };
    Ok(Plan::Run(RunPlan {
        machines,
        mode,
        slots: top.run.slots.unwrap_or(if top.run.shared { MAX_SLOTS } else { 1 }),
        command: top.command,
        on_busy,
        wait: top.run.wait,
        max_pending: top.run.max_pending,
        kill_after: top.run.kill_after.unwrap_or(STOP_GRACE),
        busy_exit: top.run.conflict_exit_code.unwrap_or(EX_TEMPFAIL),
        name: top.run.name,
        on_supervisor_death: top.run.on_supervisor_death,
        notify: top.run.notify,
        settings: Settings::resolve(top.place, Place::default())?,
    }))
}

fn plan_look(top: Top) -> Result<Plan, String> {
    let Some(word) = top.command.first() else {
        return Err("no machine named: say jobguard -m NAME -- COMMAND [ARG]...".to_owned());
    };
    let full = full_command();
    let known: Vec<&str> = full.get_subcommands().map(clap::Command::get_name).collect();
    if !known.iter().any(|name| word == name) {
        let word = escape_os(word);
        return Err(format!(
            "'{word}' is no subcommand ({}): to run it as a job, name its machine: \
             jobguard -m NAME -- {word}",
            known.join(", ")
        ));
    }
    if let Some(option) = option_of_a_run(&top.run) {
        return Err(format!(
            "{option} before '{}' belongs to a run: name its machine with -m, or leave it out",
            word.to_string_lossy()
        ));
    }
    let words = [OsString::from("jobguard")].into_iter().chain(top.command);
    let ask = |common: Common| -> Result<Ask, String> {
        let settings = Settings::resolve(common.place, top.place.clone())?;
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
        Subcommands::Clear { machines, all, force: _, token, common } => {
            Plan::Clear { machines: (!all).then_some(machines), force: token, ask: ask(common)? }
        }
    })
}

/// An option that only a run takes, as one types it; not the machine.
fn option_of_a_run(run: &RunArgs) -> Option<&'static str> {
    let RunArgs {
        machine: _,
        shared,
        slots,
        nonblock,
        wait,
        on_busy,
        max_pending,
        kill_after,
        conflict_exit_code,
        name,
        on_supervisor_death,
        notify,
    } = run;
    let given = [
        (*shared, "-s (--shared)"),
        (slots.is_some(), "--slots"),
        (max_pending.is_some(), "--max-pending"),
        (kill_after.is_some(), "-k (--kill-after)"),
        (*nonblock, "-n (--nonblock)"),
        (wait.is_some(), "-w (--wait)"),
        (on_busy.is_some(), "--on-busy"),
        (conflict_exit_code.is_some(), "-E (--conflict-exit-code)"),
        (name.is_some(), "--name"),
        (on_supervisor_death.is_some(), "--on-supervisor-death"),
        (notify.is_some(), "--notify"),
    ];
    given.into_iter().find_map(|(given, option)| given.then_some(option))
}

/// `--help` and `--version` come as errors, too.
fn help_or_complaint(error: &clap::Error) -> Result<Plan, String> {
    let text = error.render().to_string();
    // Our own sentence shows the value as it is; clap's would show it with its bytes replaced.
    if error.kind() == ErrorKind::ValueValidation
        && let Some(why) = error.source()
    {
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
        return Err(escape(&format!("{}: {why}", argument.unwrap_or_default())).into_owned());
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Plan::Print(text)),
        // What was typed may hold anything, and is in there.
        _ => {
            let text = text.trim_start_matches("error: ").lines().map(escape);
            let told = |line: &Cow<'_, str>| !line.is_empty() && !line.starts_with("For more");
            Err(text.filter(told).collect::<Vec<_>>().join("\n"))
        }
    }
}
