//! `jobguard info NAME`: everything that is known about a machine.

use super::look_at;
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::machine::name::MachineName;
use crate::report::info;
use crate::report::json::{MachineJson, line};
use crate::report::output;
use crate::summary::summarize;

/// Prints the page, or the object, and returns the codes of `status`.
pub(super) fn info(machine: &MachineName, ask: &Ask) -> Result<u8, Error> {
    let looked = look_at(machine, &ask.settings)?;
    output::answer(&if ask.json {
        line(&MachineJson::new(machine, &looked.sight))?
    } else {
        info::info(machine, &looked.sight, &looked.state_dir)
    })?;
    Ok(summarize(&looked.sight).exit_code())
}
