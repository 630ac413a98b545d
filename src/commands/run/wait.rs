//! Waiting for the machines: asleep until one of them may be had.

use std::io::IsTerminal;
use std::time::Instant;

use super::outlook::Outlook;
use super::replace::Replaced;
use super::{Run, Target};
use crate::cli::args::OnBusy;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::GRACE;
use crate::look::{Wakers, is_blind, settled_by};
use crate::machine::store::queue::place::{Fate, Place};
use crate::report::{human, output};

/// How a wait came out.
pub(super) enum Turn {
    /// The machines can be had.
    Ours,
    /// The run in whose job we waited is over: the next claim moves us to the queue that is ours now.
    Elsewhere,
    /// Somebody removed a ticket of ours.
    PlaceLost,
    /// A newer run took our place.
    Replaced(Vec<Outlook>),
    /// It must not be waited for; why.
    Hopeless(String, Vec<Outlook>),
    /// It is time to go away.
    NotToday(Vec<Outlook>),
}

impl Run<'_> {
    /// Sleeps until the machines look as if they could be had, or the time is over.
    pub(super) fn wait(&mut self, until: Option<Instant>) -> Result<Turn, Error> {
        let settled = settled_by();
        self.targets.iter_mut().for_each(|target| target.free_since = None);
        loop {
            let suspected = self.closed.take(); // of a look that comes to that again
            self.must_be_there()?;
            let fates: Vec<Fate> =
                self.targets.iter().filter_map(|t| t.place.as_ref().map(Place::fate)).collect();
            if fates.contains(&Fate::Lost) {
                return Ok(Turn::PlaceLost);
            }
            let to_be_told = !self.told && std::io::stderr().is_terminal();
            let counts = to_be_told || self.plan.max_pending.is_some();
            let look =
                |target: &mut Target| target.look(self.observer, &self.plan.machines, counts);
            let outlooks = self.targets.iter_mut().map(look).collect::<Result<Vec<_>, Error>>()?;
            if fates.contains(&Fate::Taken) {
                return Ok(Turn::Replaced(outlooks));
            }
            if outlooks.iter().all(Outlook::is_ready) {
                for (target, outlook) in self.targets.iter_mut().zip(&outlooks) {
                    target.passes = outlook.before();
                    target.set_away(false);
                }
                return Ok(Turn::Ours);
            }
            if outlooks.iter().any(|outlook| outlook.is_elsewhere) {
                return Ok(Turn::Elsewhere);
            }
            let until = outlooks.iter().fold(until, |until, o| o.sight.until(until, settled));
            let due = outlooks.iter().map(|outlook| outlook.due).collect::<Option<Vec<_>>>();
            let passable = due.and_then(|due| Instant::now().checked_add(due.into_iter().max()?));
            // Worth it even for those who do not wait: mostly those before us are there at once.
            let passable = passable.filter(|passable| *passable <= settled);
            let until = until.map(|until| passable.map_or(until, |passable| until.max(passable)));
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Turn::NotToday(outlooks));
            }
            if self.plan.on_busy == OnBusy::Replace && !outlooks.iter().all(Outlook::is_due) {
                match self.replace(&outlooks)? {
                    Replaced::Nobody => {}
                    Replaced::Gone => continue,
                    Replaced::Not(why) => return Ok(Turn::Hopeless(why, outlooks)),
                }
            }
            if let Some(why) = self.own(&outlooks) {
                return Ok(Turn::Hopeless(why, outlooks));
            }
            if let Some(why) = self.proven_cycle(&outlooks, suspected)? {
                return Ok(Turn::Hopeless(why, outlooks));
            }
            self.tell(&outlooks);
            self.sleep(&outlooks, until)?;
        }
    }

    /// Why we must not wait for what may be our own job: its record is not to be read.
    fn own(&self, outlooks: &[Outlook]) -> Option<String> {
        self.targets.iter().zip(outlooks).find_map(|(target, outlook)| {
            let may_be_own = |held: &&Observed| target.want.may_be_part_of(held.standing());
            let Observed { subject, judgement, .. } = outlook.sight.holding().find(may_be_own)?;
            let chosen = self.plan.settings.state_dir.as_deref();
            Some(format!(
                "{}; this command may be part of it, and would wait for itself; {}",
                human::held_by(target.name(), subject, judgement),
                human::next_step(target.name(), subject, judgement, chosen)
            ))
        })
    }

    /// Sleeps on the first machine that is held against us, if one is. On the others we are away: whoever is behind
    /// us there need not wait for us to have this one.
    fn sleep(&mut self, outlooks: &[Outlook], until: Option<Instant>) -> Result<(), Error> {
        let mut wakers = Wakers::default();
        self.job.adopted().iter().for_each(|process| wakers.processes(process.handles()));
        self.closed.iter().for_each(|proven| wakers.at_the_latest(*proven));
        let first = outlooks.iter().position(|outlook| !outlook.is_due());
        let first = first.or(outlooks.iter().position(|outlook| !outlook.is_ready()));
        for (index, target) in self.targets.iter_mut().enumerate() {
            target.set_away(Some(index) != first).iter().for_each(|again| wakers.at_most(*again));
            if Some(index) != first {
                target.free_since = None; // it may be taken, and given back, without our seeing it
            }
        }
        for (index, (target, outlook)) in self.targets.iter().zip(outlooks).enumerate() {
            target.place.iter().for_each(|place| wakers.told(place));
            if Some(index) != first {
                continue;
            }
            outlook.due.iter().for_each(|due| wakers.at_most(*due));
            if outlook.is_new {
                wakers.at_most(GRACE);
            }
            outlook.waiters.nearest.iter().for_each(|lifeline| wakers.lifeline(lifeline));
            if outlook.is_near() {
                wakers.holders(&outlook.sight);
            }
        }
        wakers.sleep(until, self.job.inherited_mask())
    }

    /// Says once for whom we wait: on a terminal, and where that one gives no sign of its end.
    fn tell(&mut self, outlooks: &[Outlook]) {
        let mut waits = None;
        let mut blind = None;
        for (target, outlook) in self.targets.iter().zip(outlooks) {
            let (machine, sight) = (target.name(), &outlook.sight);
            if outlook.is_ready() || !sight.is_settled() {
                continue;
            }
            if outlook.is_near() {
                blind = blind.or(sight.holding().find(|o| is_blind(o)).map(|o| (machine, o)));
            }
            let held = target.in_the_way(sight).map(|holder| {
                (human::held_by(machine, &holder.subject, &holder.judgement), outlook.before())
            });
            waits = waits.or(held);
        }
        let next = || format!("{} is about to be taken", self.names());
        let what_for = waits.as_ref().map_or_else(next, |(held, _)| held.clone());
        self.job.tell_that_it_waits(&what_for);
        if self.told {
            return;
        }
        if let Some((machine, blind)) = blind {
            self.told = true;
            let chosen = self.plan.settings.state_dir.as_deref();
            output::message(format!(
                "{}; waiting, and looking again every few seconds; {}",
                human::held_by(machine, &blind.subject, &blind.judgement),
                human::next_step(machine, &blind.subject, &blind.judgement, chosen)
            ));
        } else if let Some((held, before)) = waits
            && std::io::stderr().is_terminal()
        {
            self.told = true;
            output::message(format!("{held}; waiting{}", human::queue_before(before)));
        }
    }
}
