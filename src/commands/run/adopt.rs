//! What is different about a job that runs already: `jobguard adopt`.

use super::{Held, HeldRun, Run};
use crate::error::Error;
use crate::machine::record::Holder;
use crate::protocol::release::Release;
use crate::protocol::take_over::{Outcome, TakeOver};
use crate::report::{human, output};
use crate::transaction::joint::Nursery;
use crate::transaction::{Transaction, misled};

impl Run<'_> {
    /// Takes over the run whose job it is that we are to adopt, if its supervisor is over. It holds the
    /// machine already, and we do for it.
    pub(super) fn take_over(&mut self) -> Result<Option<Held>, Error> {
        let (Some(process), Some(target)) = (self.job.adopted(), self.targets.first_mut()) else {
            return Ok(None);
        };
        let job = Some(process.id().clone());
        let ours = Holder { job, ..self.job.draft().clone() };
        let lock_timeout = self.plan.settings.lock_timeout;
        let (dir, patience) = (&target.dir, &mut target.patience);
        let mut transaction = Transaction::new(dir, self.observer, patience, lock_timeout);
        let outcome = transaction.run(&mut TakeOver::new(ours))?;
        transaction.warnings.iter().for_each(output::message);
        let lifeline = transaction.lifeline;
        match outcome {
            Outcome::NotThere => Ok(None),
            Outcome::Done(run) => {
                target.place = None;
                let runs = vec![HeldRun { token: run.token, lifeline }];
                let started_at = run.started_at.clone();
                self.job.has_run(*run);
                self.job.open_gate();
                Ok(Some(Held { runs, started_at }))
            }
            Outcome::Supervised(judged) => {
                let held = human::held_by(dir.name(), &judged.subject, &judged.judgement);
                let pid = process.id().pid;
                Err(Error::Busy(format!(
                    "{held}; PID {pid} is of that run, whose supervisor is not provably over"
                )))
            }
            Outcome::Misled => Err(misled()),
        }
    }

    /// Makes sure that a process that we are to adopt runs.
    pub(super) fn must_be_there(&self) -> Result<(), Error> {
        self.job.adopted().map_or(Ok(()), |process| process.must_be_there())
    }

    /// Looks again, now that the record names the process: one that was over before is not to stand there
    /// as a run that we saw end. One whose run was taken over is: it held the machine.
    pub(super) fn confirm(&mut self, held: &mut Held) -> Result<(), Error> {
        let Err(error) = self.must_be_there() else { return Ok(()) };
        if self.job.was_taken_over() {
            return Ok(());
        }
        for (target, run) in self.targets.iter_mut().zip(&mut held.runs) {
            let release = Release::of_none(run.token);
            target.release(run, release, self.observer, self.plan.settings.lock_timeout);
        }
        Err(error)
    }

    /// Removes what the supervisor before us kept to repeat the run: that has come to its end.
    pub(super) fn forget_taken_over(&self, held: &Held) {
        if self.job.was_taken_over() {
            let runs = self.targets.iter().zip(&held.runs);
            runs.for_each(|(target, run)| target.dir.forget_memo(run.token));
        }
    }

    /// Why we have no status to end with.
    pub(super) fn unseen(&self) -> Error {
        let (machines, pid) = (self.names(), self.job.pid());
        Error::State(format!(
            "{machines}: PID {pid} is over, and the kernel did not tell us how it ended"
        ))
    }
}
