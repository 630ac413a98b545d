//! `jobguard status NAME`: who holds it, in one line and in the exit status.

use super::look_at;
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::machine::name::MachineName;
use crate::report::explain::explain;
use crate::report::human::status_line;
use crate::report::json::{MachineJson, line};
use crate::report::output;
use crate::summary::summarize;

/// Prints the line, or the object, and returns the LSB code.
pub(super) fn status(machine: &MachineName, explained: bool, ask: &Ask) -> Result<u8, Error> {
    let looked = look_at(machine, &ask.settings)?;
    let mut text = if ask.json {
        line(&MachineJson::new(machine, &looked.sight))?
    } else {
        status_line(machine, &looked.sight, &looked.state_dir, ask.settings.state_dir.as_deref())
    };
    if explained
        && !ask.json
        && let Some(observer) = &looked.observer
    {
        text.push_str(&explain(&looked.sight, observer));
    }
    output::answer(&text)?;
    Ok(summarize(&looked.sight).exit_code())
}
