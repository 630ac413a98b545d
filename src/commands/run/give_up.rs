//! Going away without having had the machines: as the policy says, and never without a word.

use super::claim::Claimed;
use super::outlook::Outlook;
use super::{Run, Target};
use crate::commands::leave_word;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::{Subject, Verdict};
use crate::machine::events::Why;
use crate::protocol::withdraw::Withdraw;
use crate::report::{human, output};
use crate::transaction::{Transaction, misled};

impl Run<'_> {
    /// Leaves the queues, and word of it with each machine that was not to be had.
    pub(super) fn withdraw(&mut self, why: Why, outlooks: &[Outlook]) {
        for (target, outlook) in self.targets.iter_mut().zip(outlooks) {
            target.place = None;
            if !outlook.is_ready() || why == Why::Replaced {
                let command = self.job.draft().command.clone();
                let (dir, patience) = (&target.dir, &mut target.patience);
                let lock_timeout = self.plan.settings.lock_timeout;
                let transaction = Transaction::new(dir, self.observer, patience, lock_timeout);
                leave_word(transaction, &mut Withdraw::new(why, command));
            }
        }
    }

    /// Goes away, and says so.
    pub(super) fn give_up(&mut self, why: Why, outlooks: &[Outlook]) -> Result<Claimed, Error> {
        self.withdraw(why, outlooks);
        let busy = || self.targets.iter().zip(outlooks);
        let Some((target, outlook)) = busy().find(|(_, o)| !o.is_ready()).or(busy().next()) else {
            return Err(misled());
        };
        let refusal = self.busy(why, target, outlook);
        match (why, target.in_the_way(&outlook.sight)) {
            (Why::Reused, Some(holder)) if is_running(holder) => {
                let running = human::describe(&holder.subject);
                output::answer(&format!("{}: already running {running}\n", target.name()))?;
            }
            (Why::Skipped, _) => output::message(format!("{refusal}; skipped")),
            _ => return Err(refusal),
        }
        Ok(Claimed::NotNeeded)
    }

    fn busy(&self, why: Why, target: &Target, outlook: &Outlook) -> Error {
        let (machine, before) = (target.name(), outlook.before());
        let waited = match (why, self.plan.wait, self.plan.max_pending) {
            (Why::TimedOut, Some(wait), _) => {
                format!(" (waited {})", humantime::format_duration(wait))
            }
            (Why::Replaced, ..) => ", and a newer run took our place in its queue".to_owned(),
            (Why::Refused, _, Some(most)) if outlook.pending() >= most.get().into() => {
                format!(", and {} wait for it already (--max-pending {most})", outlook.pending())
            }
            _ => String::new(),
        };
        let chosen = self.plan.settings.state_dir.as_deref();
        let Some(holder) = target.in_the_way(&outlook.sight) else {
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
