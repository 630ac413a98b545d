//! `jobguard list`: all machines.

use super::{current_mask, observer, open_for_looking};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::look::look_settled;
use crate::machine::state_dir::Missing;
use crate::report::human::table;
use crate::report::json::{MachineJson, line};
use crate::report::output;

/// Prints a table, or an array of the objects of `status`.
pub(super) fn list(ask: &Ask) -> Result<u8, Error> {
    let mut rows = Vec::new();
    if let (Some(state), _) = open_for_looking(&ask.settings)? {
        let observer = observer(&ask.settings, &state);
        let mask = current_mask()?;
        for name in state.machines()? {
            if let Some(dir) = state.machine(&name, Missing::Accept)? {
                rows.push((name, look_settled(&dir, &observer, mask)?));
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
    Ok(0)
}
