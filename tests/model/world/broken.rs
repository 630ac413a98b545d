//! What a broken protocol would make of an answer.

use jobguard::identity::verdict::{PhantomReason, Subject, Verdict};
use jobguard::machine::record::{Holder, Mode};
use jobguard::protocol::{Answer, Judged};

use super::{Course, Life, Role, World};
use crate::mutant::{Broken, Mutant};

impl World {
    /// Spoils an answer, if the protocol is broken in such a way.
    pub(super) fn mutate(&self, index: usize, machine: usize, answer: &mut Answer, broken: Broken) {
        let Answer::Seen(seen) = answer else { return };
        let process = &self.processes[index];
        let releasing = matches!(process.life, Life::Acting(Course::Release(_), ..));
        let claimed = match process.role {
            role if role.runs() && releasing && broken.by(Mutant::ReleaseAnybody) => {
                Some(process.at[machine].token)
            }
            Role::Force(token) if broken.by(Mutant::IgnoreTheToken) => Some(token),
            _ => None,
        };
        if let Some(token) = claimed {
            seen.record.holders.iter_mut().for_each(|holder| holder.token = token);
            holders(&mut seen.judged).for_each(|holder| holder.token = token);
        }
        if broken.by(Mutant::TakeWritersForReaders) {
            holders(&mut seen.judged)
                .for_each(|holder| (holder.mode, holder.slots) = (Mode::Shared, 256));
        }
        if broken.by(Mutant::CallTheLivingDead) {
            let dead = Verdict::Phantom(PhantomReason::ProcessGone);
            seen.judged.iter_mut().for_each(|j| j.judgement.verdict = dead.clone());
        }
    }
}

fn holders(judged: &mut [Judged]) -> impl Iterator<Item = &mut Holder> {
    judged.iter_mut().filter_map(|judged| match &mut judged.subject {
        Subject::Holder(holder) => Some(&mut **holder),
        _ => None,
    })
}
