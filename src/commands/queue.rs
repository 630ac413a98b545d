//! `jobguard queue NAME`: who waits for a machine, in order, and for whom.

use super::look_at;
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::machine::name::MachineName;
use crate::report::human::status_line;
use crate::report::json::{MachineJson, line};
use crate::report::{output, table};

/// Prints the machine's line and a table of its waiters, or the object of `status`.
pub(super) fn queue(machine: &MachineName, ask: &Ask) -> Result<u8, Error> {
    let looked = look_at(machine, &ask.settings)?;
    output::answer(&if ask.json {
        line(&MachineJson::new(machine, &looked.sight))?
    } else {
        let chosen = ask.settings.state_dir.as_deref();
        let line = status_line(machine, &looked.sight, &looked.state_dir, chosen);
        line + &table::queue(&looked.sight.queue)?
    })?;
    Ok(0)
}
