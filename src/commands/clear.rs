//! `jobguard clear NAME…|--all`: removes phantoms, and by force and token anybody.

use serde_json::Value;

use super::{observer, open_for_looking};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::identity::verdict::Observer;
use crate::look::{settle, settled_by};
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir};
use crate::protocol::Judged;
use crate::protocol::clear::{Clear, Force, Outcome};
use crate::report::human;
use crate::report::json::{line, subject_json};
use crate::report::output;
use crate::sys::signal::SignalSet;
use crate::transaction::{Childless, Transaction};

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
        let nobody = |machine: &MachineName| (machine.clone(), Cleared::default());
        let done: Vec<_> = machines.unwrap_or_default().iter().map(nobody).collect();
        return report(&done, ask);
    };
    let observer = observer(&ask.settings, &state);
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
            Ok(outcome) => done.push((machine.clone(), outcome)),
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

/// Who was cleared, and who was refused.
type Cleared = (Vec<Judged>, Vec<Judged>);

fn clear_one(
    state: &StateDir,
    machine: &MachineName,
    force: Option<Force>,
    observer: &Observer,
    ask: &Ask,
    inherited: SignalSet,
) -> Result<Cleared, Error> {
    let Some(dir) = state.machine(machine, Missing::Accept)? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let mut patience = Patience::default();
    // Then the clear knows what the next second would have brought.
    settle(&dir, observer, &mut patience, inherited, settled_by())?;
    let mut transaction =
        Transaction::new(&dir, observer, &mut patience, ask.settings.lock_timeout);
    let outcome = transaction.run(&mut Clear::new(force), &mut Childless)?;
    transaction.warnings.iter().for_each(output::message);
    match outcome {
        Outcome::Done { cleared, refused } => Ok((cleared, refused)),
        Outcome::Misled => Err(crate::transaction::misled()),
    }
}

fn report(done: &[(MachineName, Cleared)], ask: &Ask) -> Result<u8, Error> {
    let refused = done.iter().any(|(_, (_, refused))| !refused.is_empty());
    if ask.json {
        let objects: Vec<Value> = done
            .iter()
            .map(|(machine, (cleared, refused))| {
                let all = |judged: &[Judged]| -> Vec<Value> {
                    judged.iter().map(|j| subject_json(&j.subject, &j.judgement)).collect()
                };
                serde_json::json!({
                    "schema": crate::report::json::SCHEMA,
                    "machine": machine.as_str(),
                    "cleared": all(cleared),
                    "refused": all(refused),
                })
            })
            .collect();
        output::answer(&line(&objects)?)?;
    }
    for (machine, (cleared, refused)) in done {
        for judged in cleared {
            output::message(human::cleared(machine, judged));
        }
        for Judged { subject, judgement } in refused {
            output::message(format!(
                "{}; it was not cleared; {}",
                human::held_by(machine, subject, judgement),
                human::force_hint(machine, subject, ask.settings.state_dir.as_deref())
            ));
        }
    }
    Ok(if refused { REFUSED } else { 0 })
}
