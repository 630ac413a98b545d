//! `jobguard list`: all machines.

use super::{current_mask, observer, open_for_looking};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::identity::verdict::Observer;
use crate::look::{Sight, look, settle, settled_by};
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir};
use crate::machine::store::MachineDir;
use crate::report::human::table;
use crate::report::json::{MachineJson, line};
use crate::report::output;

/// Prints a table, or an array of the objects of `status`.
pub(super) fn list(ask: &Ask) -> Result<u8, Error> {
    let (rows, code) = match open_for_looking(&ask.settings)? {
        (Some(state), _) => look_at_all(&state, &observer(&ask.settings, &state))?,
        (None, _) => (Vec::new(), 0),
    };
    output::answer(&if ask.json {
        let objects: Vec<_> =
            rows.iter().map(|(name, sight)| MachineJson::new(name, sight)).collect();
        line(&objects)?
    } else {
        table(&rows)?
    })?;
    Ok(code)
}

/// Looks at all machines, those whose verdict depends on the next second once more: they all wait
/// for the same second.
fn look_at_all(
    state: &StateDir,
    observer: &Observer,
) -> Result<(Vec<(MachineName, Sight)>, u8), Error> {
    let mask = current_mask()?;
    let until = settled_by();
    let mut rows = Vec::new();
    let mut unsettled = Vec::new();
    let mut code = 0;
    for name in state.machines()? {
        let mut patience = Patience::default();
        let look = |dir: MachineDir| Ok((look(&dir, observer, &mut patience)?, dir));
        match state.machine(&name, Missing::Accept).and_then(|dir| dir.map(look).transpose()) {
            Ok(None) => {}
            Ok(Some((sight, dir))) => {
                if !sight.is_settled() {
                    unsettled.push((rows.len(), dir, patience));
                }
                rows.push((name, sight.without_handles()));
            }
            // One that cannot be looked at does not hide the others.
            Err(error) => {
                output::message(&error);
                code = error.exit_code();
            }
        }
    }
    for (row, dir, mut patience) in unsettled {
        rows[row].1 = settle(&dir, observer, &mut patience, mask, until)?.without_handles();
    }
    Ok((rows, code))
}
