//! `jobguard list`: all machines.

use super::{current_mask, observer, open_for_looking};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::identity::verdict::Observer;
use crate::look::{Sight, look, settle, settled_by};
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir};
use crate::report::json::{MachineJson, line};
use crate::report::output;
use crate::report::table::table;

/// Prints a table, or an array of the objects of `status`.
pub(super) fn list(ask: &Ask) -> Result<u8, Error> {
    let mut rows = Vec::new();
    let mut failed = None;
    if let (Some(state), _) = open_for_looking(&ask.settings)? {
        let observer = observer(&ask.settings, &state)?;
        for (name, sight) in look_at_all(&state, &observer)? {
            match sight {
                Ok(sight) => rows.push((name, sight)),
                Err(error) => {
                    output::message(&error);
                    failed = failed.or(Some(error.exit_code()));
                }
            }
        }
    }
    output::answer(&if ask.json {
        let objects: Vec<_> =
            rows.iter().map(|(name, sight)| MachineJson::new(name, sight)).collect();
        line(&objects)?
    } else {
        table(&rows)?
    })?;
    Ok(failed.unwrap_or(0))
}

/// A machine, and what was seen of it; one that cannot be looked at does not hide the others.
type Row = (MachineName, Result<Sight, Error>);

/// Looks at all machines, those whose verdict depends on the next second once more: they all wait
/// for the same second.
fn look_at_all(state: &StateDir, observer: &Observer) -> Result<Vec<Row>, Error> {
    let mask = current_mask()?;
    let until = settled_by();
    let mut rows = Vec::new();
    let mut unsettled = Vec::new();
    for name in state.machines()? {
        let dir = match state.machine(&name, Missing::Accept) {
            Ok(Some(dir)) => dir,
            Ok(None) => continue,
            Err(error) => {
                rows.push((name, Err(error)));
                continue;
            }
        };
        let mut patience = Patience::default();
        let sight = look(&dir, observer, &mut patience).map(Sight::without_handles);
        if sight.as_ref().is_ok_and(|sight| !sight.is_settled()) {
            unsettled.push((rows.len(), dir, patience.without_handles()));
            rows.push((name, sight));
        } else {
            rows.push((name, sight.and_then(|sight| sight.with_queue(&dir))));
        }
    }
    for (row, dir, mut patience) in unsettled {
        let settled = settle(&dir, observer, &mut patience, mask, until);
        rows[row].1 = settled.and_then(|sight| sight.without_handles().with_queue(&dir));
    }
    Ok(rows)
}
