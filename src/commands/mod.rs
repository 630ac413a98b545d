//! One file per command.

mod clear;
mod info;
mod list;
mod queue;
mod rerun;
mod run;
mod status;
mod stop;
mod wait;

use std::path::PathBuf;

use crate::Exit;
use crate::cli::plan::Plan;
use crate::cli::settings::Settings;
use crate::error::Error;
use crate::identity::host::Host;
use crate::identity::observe::{Observed, Patience};
use crate::identity::process::Kernel;
use crate::identity::verdict::Observer;
use crate::look::{Sight, settle, settled_by};
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir, locate};
use crate::machine::store::MachineDir;
use crate::protocol::{Judged, Protocol, note};
use crate::report::{human, output};
use crate::sys::signal::{SignalSet, block_all, inherited_mask};
use crate::transaction::{Transaction, misled};

/// The exit status of `status` and `info` when they fail themselves (LSB: "status is unknown").
const STATUS_UNKNOWN: u8 = 4;

/// Executes a plan.
pub fn execute(plan: Plan) -> Exit {
    match plan {
        Plan::Run(plan) => run::run(&plan),
        Plan::Status { machine, explain, ask } => {
            answer(status::status(&machine, explain, &ask), Some(STATUS_UNKNOWN))
        }
        Plan::List(ask) => answer(list::list(&ask), None),
        Plan::Info { machine, ask } => answer(info::info(&machine, &ask), Some(STATUS_UNKNOWN)),
        Plan::Queue { machine, ask } => answer(queue::queue(&machine, &ask), None),
        Plan::Wait { machine, limit, ask } => answer(wait::wait(&machine, limit, &ask), None),
        Plan::Stop { machine, token, grace, ask } => {
            answer(stop::stop(&machine, token, grace, &ask), None)
        }
        Plan::Rerun { machine, settings } => answer(rerun::rerun(&machine, settings), None),
        Plan::Clear { machines, force, ask } => {
            answer(clear::clear(machines.as_deref(), force, &ask), None)
        }
        Plan::Print(text) => answer(output::answer(&text).map(|()| 0), None),
    }
}

/// The exit of a command: its code, or that of its error after the message.
fn answer(result: Result<u8, Error>, on_error: Option<u8>) -> Exit {
    result.map_or_else(|error| fail(&error, on_error.unwrap_or(error.exit_code())), Exit::Code)
}

/// The exit of what failed, with this code, after the message. A signal is not reported by whom it ends.
fn fail(error: &Error, code: u8) -> Exit {
    if let Error::Signaled(signal) = error {
        return Exit::Signal(*signal);
    }
    output::message(error);
    Exit::Code(code)
}

/// Who judges, with these settings, about this state directory.
fn observer(settings: &Settings, state: &StateDir) -> Result<Observer, Error> {
    let host = Host::here(settings.host_id.as_deref());
    Ok(Observer {
        host: host.map_err(Error::io("find out which host and which boot this is"))?,
        kernel: Kernel::here(),
        locality: state.locality(),
        legacy_grace: settings.legacy_grace,
    })
}

/// A machine as a looking command sees it, with what it was looked at through.
struct Looked {
    sight: Sight,
    state_dir: PathBuf,
    observer: Option<Observer>,
}

/// Opens the state directory for looking: nothing is made.
fn open_for_looking(settings: &Settings) -> Result<(Option<StateDir>, PathBuf), Error> {
    let path = locate(settings.state_dir.as_deref())?;
    let state = StateDir::open(&path, Missing::Accept, settings.allow_network_fs)?;
    Ok((state, path))
}

/// Looks at one machine, without its lock.
fn look_at(machine: &MachineName, settings: &Settings) -> Result<Looked, Error> {
    let (state, state_dir) = open_for_looking(settings)?;
    let never_used = || Sight::never_used(machine);
    let Some(state) = state else {
        return Ok(Looked { sight: never_used(), state_dir, observer: None });
    };
    let observer = observer(settings, &state)?;
    let sight = match state.machine(machine, Missing::Accept)? {
        Some(dir) => {
            let mut patience = Patience::default();
            settle(&dir, &observer, &mut patience, current_mask()?, settled_by())?
                .with_queue(&dir)?
        }
        None => never_used(),
    };
    Ok(Looked { sight, state_dir, observer: Some(observer) })
}

/// Where something is done about a machine.
struct At<'a> {
    dir: &'a MachineDir,
    observer: &'a Observer,
    /// What the job holds that we are part of.
    holds: Holds,
    /// The signal mask that we inherited, and wait under.
    mask: SignalSet,
}

/// Does something about one machine with all signals blocked: job control, too, must not stop us
/// with the machine lock in hand. `None` for a machine that was never used.
fn at_machine<T>(
    machine: &MachineName,
    settings: &Settings,
    act: impl FnOnce(&At<'_>) -> Result<T, Error>,
) -> Result<(Option<T>, PathBuf), Error> {
    let (state, path) = open_for_looking(settings)?;
    let Some(state) = state else { return Ok((None, path)) };
    let Some(dir) = state.machine(machine, Missing::Accept)? else { return Ok((None, path)) };
    let observer = observer(settings, &state)?;
    let inherited = block_all().map_err(Error::io("block signals"))?;
    let holds = state.inherited_holds();
    let done = act(&At { dir: &dir, observer: &observer, holds, mask: inherited });
    inherited.set_mask().map_err(Error::io("unblock signals"))?;
    Ok((Some(done?), path))
}

/// Refuses to do to a run what would be done to this very command, a part of its job; `why` not.
fn refuse_own<'a>(
    at: &At<'_>,
    mut runs: impl Iterator<Item = &'a Observed>,
    why: &str,
) -> Result<(), Error> {
    let machine = at.dir.name();
    match runs.find(|run| at.holds.contains(machine, run.subject.token())) {
        None => Ok(()),
        Some(own) => Err(Error::Busy(format!(
            "{}, which this command is part of: {why}",
            human::held_by(machine, &own.subject, &own.judgement)
        ))),
    }
}

/// Says whom we removed from the record of a machine.
fn say_cleared(machine: &MachineName, cleared: &[Judged]) {
    cleared.iter().for_each(|judged| output::message(human::cleared(machine, judged)));
}

/// Leaves word of what was done, or not. What cannot be written down is so all the same.
fn leave_word(
    mut transaction: Transaction<'_>,
    protocol: &mut impl Protocol<Outcome = note::Outcome>,
) {
    match transaction.run(protocol) {
        Ok(note::Outcome::Done) => transaction.warnings.iter().for_each(output::message),
        Ok(note::Outcome::Misled) => output::message(misled()),
        Err(error) => output::message(error),
    }
}

/// The signal mask that we inherited.
fn current_mask() -> Result<SignalSet, Error> {
    inherited_mask().map_err(Error::io("read the signal mask"))
}
