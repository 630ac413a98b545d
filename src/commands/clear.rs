//! `jobguard clear NAME…|--all`: removes phantoms, and by force and token anybody.

use serde::Serialize;
use serde_json::Value;

use super::{observer, open_for_looking, say_cleared};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::identity::verdict::Observer;
use crate::look::{Sight, look, settle, settled_by};
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir};
use crate::machine::store::MachineDir;
use crate::protocol::Judged;
use crate::protocol::clear::{Clear, Force, Outcome};
use crate::report::human;
use crate::report::json::{MachineJson, line, subject_json};
use crate::report::output;
use crate::sys::signal::SignalSet;
use crate::transaction::Transaction;

/// The exit status when anything was refused.
const REFUSED: u8 = 75;

/// Clears these machines, or all; one that is refused does not keep the others from it.
pub(super) fn clear(
    machines: Option<&[MachineName]>,
    force: Option<u64>,
    ask: &Ask,
) -> Result<u8, Error> {
    let (state, _) = open_for_looking(&ask.settings)?;
    let Some(state) = state else {
        let done: Vec<_> = machines.unwrap_or_default().iter().map(Cleared::never_used).collect();
        return report(&done, ask);
    };
    let observer = observer(&ask.settings, &state)?;
    let all;
    let machines = match machines {
        Some(machines) => machines,
        None => {
            all = state.machines()?;
            &all
        }
    };
    let force = force.map(|token| Force { token, uid: nix::unistd::getuid().as_raw() });
    // Job control, too, must not stop us with a machine lock in hand.
    let inherited = SignalSet::ALL.set_mask().map_err(Error::io("block signals"))?;
    let mut done = Vec::new();
    let mut failed = None;
    for machine in machines {
        match clear_one(&state, machine, force, &observer, ask, inherited) {
            Ok(outcome) => done.push(outcome),
            Err(error) => {
                output::message(&error);
                failed = failed.or(Some(error.exit_code()));
            }
        }
    }
    inherited.set_mask().map_err(Error::io("unblock signals"))?;
    let code = report(&done, ask)?;
    Ok(failed.unwrap_or(code))
}

/// What became of one machine.
struct Cleared {
    machine: MachineName,
    cleared: Vec<Judged>,
    refused: Vec<Judged>,
    after: Sight,
}

impl Cleared {
    fn never_used(machine: &MachineName) -> Self {
        let (cleared, refused) = (Vec::new(), Vec::new());
        Self { machine: machine.clone(), cleared, refused, after: Sight::never_used(machine) }
    }
}

fn clear_one(
    state: &StateDir,
    machine: &MachineName,
    force: Option<Force>,
    observer: &Observer,
    ask: &Ask,
    inherited: SignalSet,
) -> Result<Cleared, Error> {
    let Some(dir) = state.machine(machine, Missing::Accept)? else {
        return Ok(Cleared::never_used(machine));
    };
    let mut patience = Patience::default();
    // Then the clear knows what the next second would have brought.
    settle(&dir, observer, &mut patience, inherited, settled_by())?;
    let (cleared, refused) = remove(&dir, force, observer, &mut patience, ask)?;
    let after = look(&dir, observer, &mut patience)?.without_handles().with_queue(&dir)?;
    Ok(Cleared { machine: machine.clone(), cleared, refused, after })
}

/// Removes phantoms, and says so; false where that cannot be. Who may not write here can see all
/// the same that they hold nothing. Signals must be blocked.
pub(super) fn sweep(
    dir: &MachineDir,
    observer: &Observer,
    patience: &mut Patience,
    ask: &Ask,
) -> bool {
    match remove(dir, None, observer, patience, ask) {
        Ok((cleared, _)) => {
            say_cleared(dir.name(), &cleared);
            true
        }
        Err(error) => {
            output::message(error);
            false
        }
    }
}

/// Removes phantoms, and by force somebody else: whom it removed, and whom it left alone. Signals
/// must be blocked.
fn remove(
    dir: &MachineDir,
    force: Option<Force>,
    observer: &Observer,
    patience: &mut Patience,
    ask: &Ask,
) -> Result<(Vec<Judged>, Vec<Judged>), Error> {
    let mut transaction = Transaction::new(dir, observer, patience, ask.settings.lock_timeout);
    let outcome = transaction.run(&mut Clear::new(force))?;
    transaction.warnings.iter().for_each(output::message);
    match outcome {
        Outcome::Done { cleared, refused } => Ok((cleared, refused)),
        Outcome::Misled => Err(crate::transaction::misled()),
    }
}

fn report(done: &[Cleared], ask: &Ask) -> Result<u8, Error> {
    if ask.json {
        let objects: Vec<ClearJson<'_>> = done.iter().map(ClearJson::new).collect();
        output::answer(&line(&objects)?)?;
    }
    for Cleared { machine, cleared, refused, .. } in done {
        say_cleared(machine, cleared);
        for Judged { subject, judgement, .. } in refused {
            output::message(format!(
                "{}; it was not cleared; {}",
                human::held_by(machine, subject, judgement),
                human::next_step(machine, subject, judgement, ask.settings.state_dir.as_deref())
            ));
        }
    }
    let refused = done.iter().any(|one| !one.refused.is_empty());
    Ok(if refused { REFUSED } else { 0 })
}

/// The machine as it is now, and what was done to it.
#[derive(Serialize)]
struct ClearJson<'a> {
    #[serde(flatten)]
    machine: MachineJson<'a>,
    cleared: Vec<Value>,
    refused: Vec<Value>,
}

impl<'a> ClearJson<'a> {
    fn new(one: &'a Cleared) -> Self {
        let all = |judged: &[Judged]| -> Vec<Value> {
            judged.iter().map(|j| subject_json(&j.subject, &j.judgement)).collect()
        };
        Self {
            machine: MachineJson::new(&one.machine, &one.after),
            cleared: all(&one.cleared),
            refused: all(&one.refused),
        }
    }
}
