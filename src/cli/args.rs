//! What may be typed, as clap reads it. One definition feeds parsing, `--help` and the man page.
//!
//! `jobguard` has two grammars: with `-m` the first word that is no option starts the job, whatever
//! it is called; without, it must be a subcommand. So the words up to there are read first
//! ([`Top`]), and a subcommand only where there is no machine ([`Look`]).
#![allow(missing_docs, reason = "doc comments are help texts here; groups of options have none")]

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};

use super::duration;
use crate::machine::name::MachineName;
use crate::machine::record::MAX_SLOTS;
use crate::report::escape::escape_os;

mod adoption;
pub mod output;
mod supervision;

pub use adoption::AdoptArgs;
pub use output::OutputArgs;
pub use supervision::{EndArgs, Leftovers, LimitArgs, RerunArgs, RetryArgs};

/// Run a job under a machine's lock: never two at once, never stuck behind a dead one.
#[derive(Debug, Parser)]
#[command(
    name = "jobguard",
    version,
    disable_help_subcommand = true,
    disable_help_flag = true,
    args_override_self = true,
    override_usage = "jobguard [OPTIONS] -m NAME... [--] COMMAND [ARG]...\n       jobguard status|list|info|queue|wait|stop|adopt|rerun|clear [OPTIONS]...",
    after_help = "The job's exit status is jobguard's. Otherwise: 75 the machine is busy (-E changes it), \
                  64 usage, 125 jobguard itself failed, 126 and 127 the command cannot be run."
)]
pub struct Top {
    /// Print help.
    // One help, short: clap's own flag would speak of a longer one.
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    #[command(flatten)]
    pub run: RunArgs,

    #[command(flatten)]
    pub end: EndArgs,

    #[command(flatten)]
    pub retry: RetryArgs,

    #[command(flatten)]
    pub rerun: RerunArgs,

    #[command(flatten)]
    pub output: OutputArgs,

    #[command(flatten)]
    pub place: Place,

    /// The job: from the first word that is no option, everything is its own.
    #[arg(help_heading = "Arguments", value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Options of a run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run options")]
pub struct RunArgs {
    /// The machine that the job must have to itself; given several times, all of them at once.
    #[arg(short, long, value_name = "NAME", value_parser = machine_parser())]
    pub machine: Vec<MachineName>,

    /// Share it with others that share it (readers).
    #[arg(short, long)]
    pub shared: bool,

    /// Let so many jobs have it at once, which all must agree to that [default: 1, and no limit but
    /// 256 with -s].
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = slots)]
    pub slots: Option<u32>,

    /// Do not wait for a busy machine: exit at once.
    #[arg(short, long, conflicts_with = "wait")]
    pub nonblock: bool,

    /// Wait for a busy machine no longer than this: 90, 0.5, 5m, 1h30m.
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub wait: Option<Duration>,

    /// What to do when the machine is busy [default: wait].
    #[arg(long, value_name = "POLICY", value_enum, conflicts_with = "nonblock")]
    pub on_busy: Option<OnBusy>,

    /// Wait with no more than so many others, else exit with 75; 1: take the place of the one that
    /// waits, which exits with 75.
    #[arg(long, value_name = "N", conflicts_with = "nonblock", allow_hyphen_values = true, value_parser = max_pending)]
    pub max_pending: Option<NonZeroU16>,

    /// Exit with this status instead of 75 when the machine is busy.
    #[arg(short = 'E', long, value_name = "STATUS", allow_hyphen_values = true, value_parser = exit_status)]
    pub conflict_exit_code: Option<u8>,

    /// Show this instead of the command line.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<OsString>,

    /// What becomes of the job when jobguard is killed [default: keep, but kill outside the
    /// initial PID namespace, and where jobguard itself is to be killed with its parent].
    #[arg(long, value_name = "WHAT", value_enum)]
    pub on_supervisor_death: Option<OnSupervisorDeath>,

    /// Whose process group the job runs in [default: share with a controlling terminal, else own].
    #[arg(long, value_name = "WHOSE", value_enum)]
    pub group: Option<JobGroup>,

    /// Say this to the service manager when the job begins, in the job's place, which does not see
    /// $NOTIFY_SOCKET then (systemd: Type=notify).
    #[arg(long, value_name = "WHAT", value_enum)]
    pub notify: Option<Notify>,
}

/// What the service manager is told in the job's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Notify {
    /// That the service is up.
    Ready,
}

/// What to do when the machine is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnBusy {
    /// Wait for it, in the order of arrival; -w says how long.
    Wait,
    /// Exit with 75, as -n.
    Fail,
    /// Exit with 0: this run need not be.
    #[value(alias = "forbid")]
    Skip,
    /// End whoever holds it (TERM, then KILL, see -k), then run, ahead of all who wait.
    #[value(alias = "cancel-in-progress")]
    Replace,
    /// Exit with 0, and print who runs: that one will do.
    Reuse,
}

/// Whose process group the job runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobGroup {
    /// Ours: the keys of the terminal, and what is sent to the group, reach it without us.
    Share,
    /// Its own, which gets all signals; it owns the terminal whenever we would.
    Own,
}

/// What becomes of a job whose supervisor is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnSupervisorDeath {
    /// It goes on, and still holds the machine.
    Keep,
    /// The kernel kills it.
    Kill,
}

/// Options about where the state is, and who we are.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "General options")]
pub struct Place {
    /// Where the records are [default: $JOBGUARD_STATE_DIR, else /var/lib/jobguard where you may
    /// write there, else $XDG_STATE_HOME/jobguard or ~/.local/state/jobguard].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Use a state directory on a network or unknown file system all the same.
    #[arg(long)]
    pub allow_network_fs: bool,

    /// Take this for the machine ID [default: $JOBGUARD_HOST_ID, else /etc/machine-id].
    #[arg(long, value_name = "ID", value_parser = host_id_parser())]
    pub host_id: Option<String>,

    /// How long to wait for the machine lock, which is held for microseconds [default: 5].
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub lock_timeout: Option<Duration>,

    /// From which age a record of schema 0 without a PID counts as over [default: 5m].
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub legacy_grace: Option<Duration>,
}

/// The subcommands.
#[derive(Debug, Parser)]
#[command(name = "jobguard", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Look {
    #[command(subcommand)]
    pub what: Subcommands,
}

/// What can be asked or mended without running a job.
#[derive(Debug, Subcommand)]
pub enum Subcommands {
    /// Say in one line who holds a machine. Exit: 0 held, 1 phantom, 3 free, 4 unverifiable.
    Status {
        #[command(flatten)]
        machine: OneMachine,
        /// Print the evidence row by row, and the rule that decided.
        #[arg(long)]
        explain: bool,
    },
    /// List all machines.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Print everything that is known about a machine.
    Info {
        #[command(flatten)]
        machine: OneMachine,
    },
    /// Print who waits for a machine, in order.
    Queue {
        #[command(flatten)]
        machine: OneMachine,
    },
    /// Wait until nobody holds a machine, and say how the last run ended. Exit: 0, else 75.
    Wait {
        #[command(flatten)]
        machine: OneMachine,
        /// Wait no longer than this: 90, 0.5, 5m, 1h30m.
        #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
        wait: Option<Duration>,
    },
    /// End who holds a machine: TERM, and KILL after a grace. Exit: 0 when they are gone, else 75.
    Stop {
        #[command(flatten)]
        machine: OneMachine,
        /// End this run only, from `status --json` or the refusal; it may have ended already.
        #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, value_parser = token)]
        token: Option<u64>,
        /// How long a job may take to end after TERM: 90, 0.5, 5m, 1h30m [default: 10].
        #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
        grace: Option<Duration>,
    },
    /// Supervise a process that runs already: it holds the machine, and jobguard ends as it ends. An orphan
    /// that holds it gets another supervisor.
    Adopt {
        /// The machine.
        #[arg(value_name = "NAME", value_parser = machine_parser())]
        machine: MachineName,
        #[command(flatten)]
        adopt: AdoptArgs,
        #[command(flatten)]
        place: Place,
    },
    /// Repeat the last run of a machine that was lost and had --rerun-if-lost: the same command line, in
    /// the same directory, as the same user. Exit: the job's; 0 when there is none.
    Rerun {
        /// The machine; of a run of several, the first by name.
        #[arg(value_name = "NAME", value_parser = machine_parser())]
        name: MachineName,
        #[command(flatten)]
        place: Place,
    },
    /// Remove phantoms from records; whoever may be alive is refused.
    #[command(override_usage = "jobguard clear NAME...|--all [OPTIONS]\n       \
                                jobguard clear NAME --force --token TOKEN [OPTIONS]")]
    Clear {
        /// The machines.
        #[arg(value_name = "NAME", value_parser = machine_parser(), required_unless_present = "all")]
        machines: Vec<MachineName>,
        /// All machines that there are.
        #[arg(long, conflicts_with = "machines")]
        all: bool,
        /// Remove the run that --token names, whatever it is.
        #[arg(long, requires = "token", conflicts_with = "all")]
        force: bool,
        /// The run to remove, from `status --json` or the refusal.
        #[arg(long, value_name = "TOKEN", requires = "force", allow_hyphen_values = true, value_parser = token)]
        token: Option<u64>,
        #[command(flatten)]
        common: Common,
    },
}

/// A machine to be looked at.
#[derive(Debug, Args)]
pub struct OneMachine {
    /// The machine.
    #[arg(value_name = "NAME", value_parser = machine_parser())]
    pub name: MachineName,
    #[command(flatten)]
    pub common: Common,
}

/// Options that every subcommand takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub place: Place,
}

fn machine_parser() -> impl clap::builder::TypedValueParser<Value = MachineName> {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    OsStringValueParser::new().try_map(|name| MachineName::parse(&name))
}

fn host_id_parser() -> impl clap::builder::TypedValueParser<Value = String> {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    OsStringValueParser::new().try_map(host_id)
}

/// Checks a host ID: it is compared, so nothing may be replaced in it.
pub fn host_id(id: OsString) -> Result<String, String> {
    id.into_string().map_err(|id| format!("host ID '{}' is not UTF-8", escape_os(&id)))
}

fn exit_status(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| format!("'{text}' is no exit status: say a number from 0 to 255"))
}

fn slots(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|slots| (1..=MAX_SLOTS).contains(slots));
    number.ok_or_else(|| format!("'{text}' is no number of slots: say one from 1 to {MAX_SLOTS}"))
}

fn max_pending(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("'{text}' is no number of waiters: say one from 1 to 65535"))
}

fn token(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!("'{text}' is no token: say the number that the refusal or status --json shows")
    })
}

/// The whole command, as help and man page show it.
pub fn full_command() -> Command {
    Top::command().subcommands(Look::command().get_subcommands().cloned())
}
