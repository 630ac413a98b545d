//! What was typed, resolved and checked: flag before environment before default. No I/O.

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::args::{Common, Look, Place, Subcommands, Top, full_command};
use super::settings::Settings;
use crate::machine::name::MachineName;
use crate::report::escape::escape_os;

mod adoption;
mod complaint;
mod run;

use complaint::{help_or_complaint, option_of_a_run};
pub use run::RunPlan;
use run::plan_run;

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

/// A question, and how to answer it.
#[derive(Debug)]
pub struct Ask {
    /// In JSON.
    pub json: bool,
    /// Where the state is.
    pub settings: Settings,
}

const STOP_GRACE: Duration = Duration::from_secs(10);

/// Reads a command line; the error is a message for the user, exit 64.
pub fn plan(mut args: Vec<OsString>) -> Result<Plan, String> {
    if args.len() <= 1 {
        let usage = full_command().render_usage();
        return Err(format!("nothing to do\n{usage}\nSee jobguard --help."));
    }
    if is_subcommand(&args[1]) {
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

fn is_subcommand(word: &OsStr) -> bool {
    word.to_str().is_some_and(Subcommands::has_subcommand)
}

/// The words from the subcommand on, behind options that do not belong to a run.
fn subcommand(words: Vec<OsString>, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    let Some(word) = words.first() else {
        return Err("no machine named: say jobguard -m NAME -- COMMAND [ARG]...".to_owned());
    };
    if !is_subcommand(word) {
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
