//! `jobguard wait NAME`: returns when nobody holds it, and says how the last run ended.

use std::time::{Duration, Instant};

use super::{clear, observer, open_for_looking, say_cleared};
use crate::cli::plan::Ask;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::identity::verdict::Observer;
use crate::look::{Sight, Wakers, look, settled_by};
use crate::machine::holds::Holds;
use crate::machine::name::MachineName;
use crate::machine::state_dir::Missing;
use crate::machine::store::MachineDir;
use crate::report::json::{MachineJson, line};
use crate::report::{human, output};
use crate::summary::{Summary, summarize};
use crate::sys::signal::SignalSet;

/// Waits, `limit` at most, and prints the line or the object of `status`.
pub(super) fn wait(machine: &MachineName, limit: Option<Duration>, ask: &Ask) -> Result<u8, Error> {
    let (state, path) = open_for_looking(&ask.settings)?;
    let dir = match &state {
        Some(state) => state.machine(machine, Missing::Accept)?.map(|dir| (state, dir)),
        None => None,
    };
    let sight = match dir {
        Some((state, dir)) => {
            let until = limit.and_then(|limit| Instant::now().checked_add(limit));
            let observer = observer(&ask.settings, state)?;
            // Job control, too, must not stop us with the machine lock in hand; a wait is under
            // the mask that we inherited.
            let mask = SignalSet::ALL.set_mask().map_err(Error::io("block signals"))?;
            let sight = until_free(&dir, until, ask, &observer, mask);
            mask.set_mask().map_err(Error::io("unblock signals"))?;
            sight?
        }
        None => Sight::never_used(machine),
    };
    output::answer(&if ask.json {
        line(&MachineJson::new(machine, &sight))?
    } else {
        human::status_line(machine, &sight, &path, ask.settings.state_dir.as_deref())
    })?;
    Ok(0)
}

fn until_free(
    dir: &MachineDir,
    until: Option<Instant>,
    ask: &Ask,
    observer: &Observer,
    mask: SignalSet,
) -> Result<Sight, Error> {
    let mut patience = Patience::default();
    let settled = settled_by();
    let outer = Holds::inherited();
    loop {
        let sight = look(dir, observer, &mut patience)?;
        let Summary::Held(holder) = summarize(&sight) else { return Ok(sight) };
        if sight.holding().next().is_none() {
            match clear::remove(dir, None, observer, &mut patience, ask) {
                Ok((cleared, _)) => {
                    say_cleared(dir.name(), &cleared);
                    continue;
                }
                // Who may not write here can see all the same that nobody holds it.
                Err(error) => output::message(error),
            }
            return Ok(sight);
        }
        if let Some(own) = sight.holding().find(|o| outer.contains(dir.name(), o.subject.token())) {
            return Err(Error::Busy(format!(
                "{}, which this command is part of: it would wait for itself",
                human::held_by(dir.name(), &own.subject, &own.judgement)
            )));
        }
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
