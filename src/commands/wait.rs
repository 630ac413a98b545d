//! `jobguard wait NAME`: returns when nobody holds it, and says how the last run ended.

use std::time::{Duration, Instant};

use super::{At, at_machine, clear, refuse_own};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::look::{Sight, Wakers, look, settled_by};
use crate::machine::name::MachineName;
use crate::report::json::{MachineJson, line};
use crate::report::{human, output};
use crate::summary::{Summary, summarize};

/// Waits, `limit` at most, and prints the line or the object of `status`.
pub(super) fn wait(machine: &MachineName, limit: Option<Duration>, ask: &Ask) -> Result<u8, Error> {
    let (sight, path) = at_machine(machine, &ask.settings, |at| {
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        until_free(at, until, ask)
    })?;
    let sight = sight.unwrap_or_else(|| Sight::never_used(machine));
    output::answer(&if ask.json {
        line(&MachineJson::new(machine, &sight))?
    } else {
        human::status_line(machine, &sight, &path, ask.settings.state_dir.as_deref())
    })?;
    Ok(0)
}

fn until_free(at: &At<'_>, until: Option<Instant>, ask: &Ask) -> Result<Sight, Error> {
    let At { dir, observer, mask, .. } = *at;
    let mut patience = Patience::default();
    let settled = settled_by();
    loop {
        let sight = look(dir, observer, &mut patience)?;
        let Summary::Held(holder) = summarize(&sight) else { return Ok(sight) };
        if sight.holding().next().is_none() {
            if clear::sweep(dir, observer, &mut patience, ask) {
                continue;
            }
            return Ok(sight);
        }
        refuse_own(at, sight.holding(), "it would wait for itself")?;
        let until = sight.until(until, settled);
        if until.is_some_and(|until| Instant::now() >= until) {
            let (machine, chosen) = (dir.name(), ask.settings.state_dir.as_deref());
            return Err(Error::Busy(format!(
                "{}; {}",
                human::held_by(machine, &holder.subject, &holder.judgement),
                human::next_step(machine, &holder.subject, &holder.judgement, chosen)
            )));
        }
        let mut wakers = Wakers::default();
        wakers.holders(&sight);
        wakers.sleep(until, mask)?;
    }
}
