//! `--on-busy replace`: ends who is in the way, from a place ahead of the queue.

use super::outlook::Outlook;
use super::{Run, Target};
use crate::commands::stop::{complaint, note, what_was_done};
use crate::ending::Ending;
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::look::Sight;
use crate::protocol::Judged;
use crate::report::output;
use crate::transaction::Transaction;

/// How a replacement came out.
pub(super) enum Replaced {
    /// There was nobody to end.
    Nobody,
    /// They are gone; whatever took a machine since is for the next look.
    Gone,
    /// One is still there; why.
    Not(String),
}

impl Run<'_> {
    /// Ends whoever is in our way, and says so.
    pub(super) fn replace(&mut self, outlooks: &[Outlook]) -> Result<Replaced, Error> {
        let (grace, mask) = (self.plan.limits.kill_after, self.job.inherited_mask());
        let lock_timeout = self.plan.settings.lock_timeout;
        let chosen = self.plan.settings.state_dir.as_deref();
        let victims = |(target, outlook): (&Target, &Outlook)| {
            if outlook.is_ready() { Vec::new() } else { target.victims(&outlook.sight) }
        };
        let victims: Vec<_> = self.targets.iter().zip(outlooks).map(victims).collect();
        // Nobody is ended in vain: all must be ours to end.
        for (target, victims) in self.targets.iter().zip(&victims) {
            let ending =
                Ending { dir: &target.dir, observer: self.observer, grace, lock_timeout, mask };
            let refused = ending.refusal(victims.clone());
            if let Some(why) = refused.and_then(|run| complaint(target.name(), &run, chosen)) {
                return Ok(Replaced::Not(why));
            }
        }
        let (mut outcome, mut complaints) = (Replaced::Nobody, Vec::new());
        for (target, victims) in self.targets.iter_mut().zip(victims) {
            if victims.is_empty() {
                continue;
            }
            outcome = Replaced::Gone;
            let ending =
                Ending { dir: &target.dir, observer: self.observer, grace, lock_timeout, mask };
            let runs = ending.end(victims, &mut target.patience)?;
            let (dir, patience) = (&target.dir, &mut target.patience);
            note(Transaction::new(dir, self.observer, patience, lock_timeout), &runs);
            for run in runs {
                let machine = target.dir.name();
                if let Some(line) = what_was_done(machine, &run, grace) {
                    output::message(line.trim_end());
                }
                complaints.extend(complaint(machine, &run, chosen));
            }
        }
        Ok(if complaints.is_empty() { outcome } else { Replaced::Not(complaints.join("; ")) })
    }
}

impl Target {
    /// Those who must go for us to fit: the oldest, and not one more than that takes.
    fn victims(&self, sight: &Sight) -> Vec<Judged> {
        let (own, mut others): (Vec<&Observed>, Vec<&Observed>) =
            sight.holding().partition(|held| self.want.is_part_of(held.standing()));
        others.sort_by_key(|held| held.subject.token());
        let fits = |left: &[&Observed]| {
            let standing: Vec<_> = own.iter().chain(left).map(|held| held.standing()).collect();
            self.want.fits(&standing)
        };
        let count = (0..others.len()).find(|count| fits(&others[*count..])).unwrap_or(others.len());
        let judged = |held: &&Observed| Judged::new(held.subject.clone(), held.judgement.clone());
        others[..count].iter().map(judged).collect()
    }
}
