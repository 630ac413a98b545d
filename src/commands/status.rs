//! `jobguard status NAME`: who holds it, in one line and in the exit status.

use super::look_at;
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::machine::name::MachineName;
use crate::report::explain::explain;
use crate::report::human::status_line;
use crate::report::json::{self, MachineJson, line};
use crate::report::output;
use crate::summary::summarize;

/// Prints the line, or the object, and returns the LSB code.
pub(super) fn status(machine: &MachineName, explained: bool, ask: &Ask) -> Result<u8, Error> {
    let looked = look_at(machine, &ask.settings)?;
    let (sight, observer) = (&looked.sight, looked.observer.as_ref());
    let text = match (ask.json, explained) {
        (true, false) => line(&MachineJson::new(machine, sight))?,
        (true, true) => json::explained(machine, sight, observer)?,
        (false, _) => {
            let chosen = ask.settings.state_dir.as_deref();
            let line = status_line(machine, sight, &looked.state_dir, chosen);
            let evidence = observer.filter(|_| explained).map(|o| explain(sight, o));
            line + &evidence.unwrap_or_default()
        }
    };
    output::answer(&text)?;
    Ok(summarize(&looked.sight).exit_code())
}
