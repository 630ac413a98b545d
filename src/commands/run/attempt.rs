//! Attempts: the job, and the job again as long as it fails and that is wanted.

use std::time::{Duration, Instant};

use super::supervise::Over;
use super::{Held, Run};
use crate::error::Error;
use crate::identity::observe::Patience;
use crate::machine::events::What;
use crate::machine::record::{LastRun, State};
use crate::protocol::again::Again;
use crate::protocol::amend::{Amend, Change, Outcome};
use crate::protocol::claim;
use crate::protocol::claims::Claims;
use crate::report::{human, output};
use crate::supervise::watch::pause;
use crate::sys::fork::Failure;
use crate::sys::signal::SignalFd;
use crate::transaction::joint::claim_all;
use crate::transaction::{Transaction, misled};

impl Run<'_> {
    /// Watches over the job until it is over, and what it left behind, too, as asked; then again, as
    /// often as asked. The last job is not reaped, unless there was something to wait for.
    pub(super) fn attempt(&mut self, held: &mut Held, signals: &SignalFd) -> Result<Over, Error> {
        let mut last: Option<Over> = None;
        for attempt in 1.. {
            let mut over = self.supervise(held, signals)?;
            over = match (over.failure, last) {
                // It never began: the same as one that could not be forked, see below.
                (Some(Failure::Setup(error)), Some(last)) => {
                    output::message(Error::io("let the job begin again")(error));
                    return Ok(last);
                }
                (failure, _) => Over { failure, ..over },
            };
            self.drain(held, &mut over, signals);
            let delay = match self.plan.retries.after(attempt, over.ended, over.overran.is_some()) {
                Some(delay) if over.failure.is_none() && !over.is_to_end => delay,
                _ => return Ok(over),
            };
            self.end_the_rest(held, &mut over, signals);
            if over.is_to_end {
                return Ok(over);
            }
            // Its PID may become another's, which would not be taken for it: we hold the machine.
            let _ = self.job.reap();
            self.job.clear_away();
            if self.is_stopping(held, &over, attempt, delay) {
                return Ok(over);
            }
            let paused = pause(signals, Instant::now().checked_add(delay));
            let begun = paused.map_err(Error::io("wait to try again")).and_then(|signal| {
                over.signal = signal;
                if signal.is_some() { Ok(false) } else { self.begin_again(held) }
            });
            // What the last attempt came to is worth more than the reason for there being no other.
            if !begun.unwrap_or_else(|error| {
                output::message(error);
                false
            }) {
                return Ok(over);
            }
            last = Some(over);
        }
        Err(misled())
    }

    /// Says that the job is tried again; whether somebody wants this run to end, so that it is not.
    fn is_stopping(&self, held: &Held, over: &Over, attempt: u32, delay: Duration) -> bool {
        let run = self.last_run(over, self.job.started_at().to_owned(), self.job.used_by_attempt());
        let after_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let command = &self.job.draft().command;
        let outcomes = self.tell_all(held, |token| {
            let change = Change { state: State::Retrying, leftovers: Vec::new() };
            let (run, command) = (LastRun { token, ..run.clone() }, command.clone());
            let event = What::Retried { attempt, run, after_ms, command };
            Amend::new(token, change, vec![event])
        });
        let stops = outcomes.contains(&Outcome::Stopping);
        if !stops {
            let (machines, job) = (self.names(), human::title(self.job.draft()));
            let (how, all) = (human::how_it_ended(&run), self.plan.retries.count);
            let delay = humantime::format_duration(delay);
            output::message(format!(
                "{machines}: \"{job}\" {how}: trying again in {delay} ({attempt} of {all})"
            ));
        }
        stops
    }

    /// Lets the job begin once more, unless a machine is not ours any more, or somebody wants us to end.
    fn begin_again(&mut self, held: &mut Held) -> Result<bool, Error> {
        let lock_timeout = self.plan.settings.lock_timeout;
        let again = held.runs.iter().map(|run| Again::new(run.token)).collect();
        let mut patiences: Vec<Patience> =
            self.targets.iter().map(|_| Patience::default()).collect();
        let targets = self.targets.iter().zip(&mut patiences).zip(&mut held.runs);
        let mut transactions: Vec<Transaction<'_>> = targets
            .map(|((target, patience), run)| {
                let mut transaction =
                    Transaction::new(&target.dir, self.observer, patience, lock_timeout);
                transaction.lifeline = run.lifeline.take(); // the child must not have it
                transaction
            })
            .collect();
        let outcomes = claim_all(&mut transactions, &mut Claims::new(again), &mut self.job);
        for (transaction, run) in transactions.into_iter().zip(&mut held.runs) {
            transaction.warnings.iter().for_each(output::message);
            run.lifeline = transaction.lifeline;
        }
        let granted = |outcome| matches!(outcome, claim::Outcome::Granted { .. });
        let begun = outcomes?.into_iter().all(granted);
        if !begun {
            output::message(format!(
                "{}: not tried again: this run is to end, or one within it goes on",
                self.names()
            ));
        }
        Ok(begun)
    }
}
