//! Taking the machines: all or nothing, first come, first served.

use std::time::{Duration, Instant};

use super::wait::Turn;
use super::{Held, HeldRun, Run};
use crate::cli::args::OnBusy;
use crate::commands::say_cleared;
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::machine::events::Why;
use crate::protocol::claim::{Claim, Outcome, Queueing, Request};
use crate::protocol::claims::Claims;
use crate::report::output;
use crate::transaction::joint::claim_all;
use crate::transaction::{Transaction, misled};

/// How a claim came out.
pub(super) enum Claimed {
    /// The machines are ours, and the job runs.
    Held(Held),
    /// The job need not run.
    NotNeeded,
}

/// How one try came out.
enum Tried {
    Held(Held),
    /// Not now; `is_full`: we do not wait either, more do than we would wait with.
    Busy {
        is_full: bool,
    },
    /// What was to be repeated is not there any more.
    NotLost,
}

impl Run<'_> {
    /// Takes the machines, waiting as long as asked. When this returns the job runs; or it need not.
    pub(super) fn claim(&mut self) -> Result<Claimed, Error> {
        let wait = match self.plan.on_busy {
            OnBusy::Wait => self.plan.wait,
            OnBusy::Replace => None,
            OnBusy::Fail | OnBusy::Skip | OnBusy::Reuse => Some(Duration::ZERO),
        };
        // A time that no clock reaches is none.
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let queueing = match self.plan.max_pending.map(|most| usize::from(most.get())) {
            _ if wait == Some(Duration::ZERO) => Queueing::Never,
            _ if self.plan.on_busy == OnBusy::Replace => Queueing::Ahead,
            Some(1) => Queueing::Newest,
            most => Queueing::Last(most),
        };
        loop {
            if let Some(held) = self.take_over()? {
                return Ok(Claimed::Held(held));
            }
            let is_full = match self.try_claim(queueing)? {
                Tried::Held(held) => return Ok(Claimed::Held(held)),
                Tried::Busy { is_full } => is_full,
                Tried::NotLost => {
                    let machine = &self.plan.machines[0];
                    output::message(format!("{machine}: the lost run was repeated meanwhile"));
                    return Ok(Claimed::NotNeeded);
                }
            };
            self.contended = true;
            match self.wait(if is_full { Some(Instant::now()) } else { until })? {
                Turn::Ours | Turn::Elsewhere => {}
                // At the end of all queues again: of two that wait for the same machines one is to
                // be before the other everywhere.
                Turn::PlaceLost => self.targets.iter_mut().for_each(|target| target.place = None),
                Turn::Hopeless(why, outlooks) => {
                    self.withdraw(Why::Refused, &outlooks);
                    return Err(Error::Busy(why));
                }
                Turn::Replaced(outlooks) => return self.give_up(Why::Replaced, &outlooks),
                Turn::NotToday(outlooks) => {
                    let why = match self.plan.on_busy {
                        OnBusy::Wait if queueing != Queueing::Never && !is_full => Why::TimedOut,
                        OnBusy::Wait | OnBusy::Fail | OnBusy::Replace => Why::Refused,
                        OnBusy::Skip => Why::Skipped,
                        OnBusy::Reuse => Why::Reused,
                    };
                    return self.give_up(why, &outlooks);
                }
            }
        }
    }

    fn try_claim(&mut self, queueing: Queueing) -> Result<Tried, Error> {
        let (lock_timeout, contended) = (self.plan.settings.lock_timeout, self.contended);
        let mut claims = Vec::new();
        let mut transactions = Vec::new();
        for (index, target) in self.targets.iter_mut().enumerate() {
            let ticket = target.place.as_ref().map(|place| place.id);
            let (want, passes) = (target.want.clone(), std::mem::take(&mut target.passes));
            // One run is repeated once: its first machine knows.
            let repeats = self.plan.repeats.filter(|_| index == 0);
            let rerun_if_lost = self.plan.rerun_if_lost && index == 0;
            let request =
                Request { want, contended, queueing, ticket, passes, rerun_if_lost, repeats };
            claims.push(Claim::new(target.dir.name().as_str(), request));
            let mut transaction =
                Transaction::new(&target.dir, self.observer, &mut target.patience, lock_timeout);
            transaction.machines = &self.plan.machines;
            transaction.place = target.place.take();
            transactions.push(transaction);
        }
        let outcomes = claim_all(&mut transactions, &mut Claims::new(claims), &mut self.job)?;
        let done: Vec<_> = transactions
            .into_iter()
            .map(|transaction| {
                transaction.warnings.iter().for_each(output::message);
                (transaction.lifeline, transaction.place)
            })
            .collect();
        let (mut runs, mut full, mut not_lost) = (Vec::new(), false, false);
        for ((target, (lifeline, place)), outcome) in
            self.targets.iter_mut().zip(done).zip(outcomes)
        {
            target.place = place;
            let cleared = match outcome {
                Outcome::Granted { token, cleared } => {
                    runs.push(HeldRun { token, lifeline });
                    target.patience = Patience::default(); // no handles on others any more
                    cleared
                }
                Outcome::Busy { cleared, is_full } => {
                    full |= is_full;
                    cleared
                }
                Outcome::NotLost => {
                    not_lost = true;
                    Vec::new()
                }
                Outcome::Misled => return Err(misled()),
            };
            say_cleared(target.dir.name(), &cleared);
        }
        if not_lost {
            return Ok(Tried::NotLost);
        }
        if runs.len() < self.targets.len() {
            return Ok(Tried::Busy { is_full: full });
        }
        if let (Some(lost), Some(target)) = (self.plan.repeats, self.targets.first()) {
            target.dir.forget_memo(lost); // that is ours now
        }
        let started_at = self.job.started_at().to_owned();
        Ok(Tried::Held(Held { runs, started_at }))
    }
}
