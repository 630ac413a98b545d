//! Taking the machine, and waiting for it: first come, first served.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::{Held, Run};
use crate::cli::args::OnBusy;
use crate::commands::say_cleared;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::{GRACE, Subject, Verdict};
use crate::look::{Sight, Wakers, is_blind, look, settled_by};
use crate::machine::argument::Argument;
use crate::machine::events::Why;
use crate::machine::store::queue::{NEAR, Place};
use crate::protocol::claim::{Claim, Outcome, Request};
use crate::protocol::withdraw::{self, Withdraw};
use crate::report::{human, output};
use crate::summary::in_the_way;
use crate::transaction::{Childless, Transaction, misled};

/// How a claim came out.
pub(super) enum Claimed {
    /// The machine is ours, and the job runs.
    Held(Held),
    /// The job need not run.
    NotNeeded,
}

/// How a wait came out.
enum Turn {
    /// The machine is free; so many before us have let it go by.
    Ours(usize),
    /// Somebody removed our ticket.
    PlaceLost,
    /// It is time to go away.
    NotToday { sight: Box<Sight>, before: usize },
}

impl Run<'_> {
    /// Takes the machine, waiting as long as asked. When this returns the job runs; or it need not.
    pub(super) fn claim(&mut self) -> Result<Claimed, Error> {
        let wait = match self.plan.on_busy {
            OnBusy::Wait => self.plan.wait,
            OnBusy::Fail | OnBusy::Skip | OnBusy::Reuse => Some(Duration::ZERO),
        };
        // A time that no clock reaches is none.
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let queues = wait != Some(Duration::ZERO);
        let mut request = Request { queues, ..Request::default() };
        let mut place: Option<Place> = None;
        loop {
            let lock_timeout = self.plan.settings.lock_timeout;
            let mut transaction =
                Transaction::new(self.dir, self.observer, &mut self.patience, lock_timeout);
            transaction.place = place.take();
            let mut claim = Claim::new(self.plan.machine.as_str(), request);
            let outcome = transaction.run(&mut claim, &mut self.job)?;
            transaction.warnings.iter().for_each(output::message);
            let lifeline = transaction.lifeline.take();
            place = transaction.place.take();
            let (Outcome::Granted { cleared, .. } | Outcome::Busy { cleared, .. }) = &outcome
            else {
                return Err(misled());
            };
            say_cleared(&self.plan.machine, cleared);
            if let Outcome::Granted { token, .. } = outcome {
                let started_at = self.job.started_at().to_owned();
                return Ok(Claimed::Held(Held { token, lifeline, started_at }));
            }
            request = Request { contended: true, ticket: None, passes: 0, ..request };
            match self.wait(until, place.as_ref())? {
                Turn::Ours(passes) => {
                    let ticket = place.as_ref().map(|place| place.number);
                    request = Request { ticket, passes, ..request };
                }
                // At the end of the queue again.
                Turn::PlaceLost => place = None,
                Turn::NotToday { sight, before } => {
                    drop(place);
                    return self.give_up(&sight, before);
                }
            }
        }
    }

    /// Sleeps until the machine looks free and it is our turn, or the time is over.
    fn wait(&mut self, until: Option<Instant>, place: Option<&Place>) -> Result<Turn, Error> {
        let settled = settled_by();
        let mut free_since = None;
        loop {
            if place.is_some_and(|place| !place.is_there()) {
                return Ok(Turn::PlaceLost);
            }
            let mut until = until;
            let sight = look(self.dir, self.observer, &mut self.patience)?;
            let waiters = self.dir.waiters(place.map(|place| place.number))?;
            let before = waiters.waiting.len();
            let mut wakers = Wakers::default();
            if sight.holding().next().is_none() {
                let free_for = free_since.get_or_insert_with(Instant::now).elapsed();
                // Who is stopped, or frozen, is not waited for longer than it takes to wake up.
                let their_time = GRACE * u32::try_from(before).unwrap_or(u32::MAX);
                if free_for >= their_time {
                    return Ok(Turn::Ours(before));
                }
                wakers.at_most(their_time - free_for);
                // Worth it even for those who do not wait: mostly they are there at once.
                let passable = Instant::now().checked_add(their_time - free_for);
                until = until.map(|until| passable.map_or(until, |passable| until.max(passable)));
            } else {
                free_since = None;
            }
            self.refuse_own_ancestor(&sight)?;
            let until = sight.until(until, settled);
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Turn::NotToday { sight: Box::new(sight), before });
            }
            self.tell(&sight, before);
            if let Some(holder) = in_the_way(&sight) {
                let held = human::held_by(&self.plan.machine, &holder.subject, &holder.judgement);
                self.job.tell_that_it_waits(&held);
            }
            waiters.nearest.iter().for_each(|lifeline| wakers.lifeline(lifeline));
            if before < NEAR {
                wakers.holders(&sight);
            }
            wakers.sleep(until, self.job.inherited_mask())?;
        }
    }

    /// Says once for whom we wait: on a terminal, and where that one gives no sign of its end.
    fn tell(&mut self, sight: &Sight, before: usize) {
        if self.told || !sight.is_settled() {
            return;
        }
        let machine = &self.plan.machine;
        let chosen = self.plan.settings.state_dir.as_deref();
        if before < NEAR
            && let Some(blind) = sight.holding().find(|o| is_blind(o))
        {
            self.told = true;
            output::message(format!(
                "{}; waiting, and looking again every few seconds; {}",
                human::held_by(machine, &blind.subject, &blind.judgement),
                human::next_step(machine, &blind.subject, &blind.judgement, chosen)
            ));
        } else if let Some(holder) = in_the_way(sight)
            && std::io::stderr().is_terminal()
        {
            self.told = true;
            let held = human::held_by(machine, &holder.subject, &holder.judgement);
            output::message(format!("{held}; waiting{}", human::queue_before(before)));
        }
    }

    /// A job that waits for the machine that it runs on waits for ever.
    fn refuse_own_ancestor(&self, sight: &Sight) -> Result<(), Error> {
        let machine = &self.plan.machine;
        let outer = self.job.outer_holds();
        match sight.holding().find(|o| outer.contains(machine, o.subject.token())) {
            None => Ok(()),
            Some(own) => Err(Error::Busy(format!(
                "{}, which this command is part of: it would wait for itself; run the inner command \
                 without -m {machine}",
                human::held_by(machine, &own.subject, &own.judgement)
            ))),
        }
    }

    /// Goes away as the policy says, and leaves word of it.
    fn give_up(&mut self, sight: &Sight, before: usize) -> Result<Claimed, Error> {
        let (why, held) = match self.plan.on_busy {
            OnBusy::Wait if self.plan.wait != Some(Duration::ZERO) => (Why::TimedOut, true),
            OnBusy::Wait | OnBusy::Fail => (Why::Refused, true),
            OnBusy::Skip => (Why::Skipped, false),
            OnBusy::Reuse => (Why::Reused, !in_the_way(sight).is_some_and(is_running)),
        };
        let command = self.plan.command.iter().map(|word| Argument(word.clone())).collect();
        let lock_timeout = self.plan.settings.lock_timeout;
        let mut transaction =
            Transaction::new(self.dir, self.observer, &mut self.patience, lock_timeout);
        // What cannot be written down is said all the same.
        match transaction.run(&mut Withdraw::new(why, command), &mut Childless) {
            Ok(withdraw::Outcome::Done) => transaction.warnings.iter().for_each(output::message),
            Ok(withdraw::Outcome::Misled) => output::message(misled()),
            Err(error) => output::message(error),
        }
        if held {
            return Err(self.busy(sight, before));
        }
        match in_the_way(sight) {
            Some(holder) if why == Why::Reused => {
                let running = human::describe(&holder.subject);
                output::answer(&format!("{}: already running {running}\n", self.plan.machine))?;
            }
            _ => output::message(format!("{}; skipped", self.busy(sight, before))),
        }
        Ok(Claimed::NotNeeded)
    }

    fn busy(&self, sight: &Sight, before: usize) -> Error {
        let machine = &self.plan.machine;
        let waited = match self.plan.wait {
            Some(wait) if !wait.is_zero() => {
                format!(" (waited {})", humantime::format_duration(wait))
            }
            _ => String::new(),
        };
        let chosen = self.plan.settings.state_dir.as_deref();
        let Some(holder) = in_the_way(sight) else {
            let see = human::command(&format!("queue {machine}"), chosen);
            let before = human::queue_before(before);
            return Error::Busy(format!(
                "{machine} is about to be taken{before}{waited}; see {see}"
            ));
        };
        let next = match holder.judgement.verdict {
            Verdict::Unverifiable(_) => {
                human::next_step(machine, &holder.subject, &holder.judgement, chosen)
            }
            _ => format!("see {}", human::command(&format!("info {machine}"), chosen)),
        };
        let held = human::held_by(machine, &holder.subject, &holder.judgement);
        Error::Busy(format!("{held}{waited}; {next}"))
    }
}

/// Whether it is proven to be alive: nobody else will do instead of another run.
fn is_running(observed: &Observed) -> bool {
    matches!(observed.judgement.verdict, Verdict::Live | Verdict::Finishing)
        && matches!(observed.subject, Subject::Holder(_))
}
