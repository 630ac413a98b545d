//! The machine lock, and what is done with a record under it.

use jobguard::machine::record::Record;
use jobguard::protocol::{Act, Answer};

use super::acts::Acted;
use super::{At, Course, JobState, Life, Process, Violation, World};
use crate::evidence;
use crate::mutant::{Broken, Mutant};

impl World {
    /// Takes the lock of a machine, and a claim those before it, too. None is held while another is
    /// waited for.
    pub(super) fn take_locks(
        &mut self,
        index: usize,
        machine: usize,
        broken: Broken,
    ) -> Option<bool> {
        let order = self.order(index, broken);
        let last = order.iter().position(|other| *other == machine)?;
        let claims = matches!(self.processes[index].life, Life::Acting(Course::Claim(_), ..));
        let wanted = if claims { &order[..=last] } else { &order[last..=last] };
        let missing = |world: &Self| {
            let at = &world.processes[index].at;
            let lacks = |m: &usize| !at[*m].locked;
            let begun = wanted.iter().copied().find(|m| lacks(m) && at[*m].opened.is_some());
            begun.or(wanted.iter().copied().find(lacks))
        };
        let next = missing(self)?;
        if self.take_lock(index, next, broken).is_some() {
            return Some(missing(self).is_none());
        }
        let held: Vec<usize> =
            wanted.iter().copied().filter(|m| self.processes[index].at[*m].locked).collect();
        if held.is_empty() || broken.by(Mutant::WaitWithLocks) {
            return None;
        }
        for machine in held {
            let at = &mut *self.processes[index].at[machine];
            (at.locked, at.opened) = (false, None);
        }
        Some(false)
    }

    /// Opens the lock file, then locks it, then compares it with the path; `None`: it is held, so
    /// there is no step; false: not locked yet.
    pub(super) fn take_lock(
        &mut self,
        index: usize,
        machine: usize,
        broken: Broken,
    ) -> Option<bool> {
        let Some(inode) = self.processes[index].at[machine].opened else {
            if self.machines[machine].lock.is_none() {
                let there = &mut self.machines[machine];
                there.locks += 1;
                there.lock = Some(there.locks);
            }
            self.processes[index].at[machine].opened = self.machines[machine].lock;
            return Some(false);
        };
        let mut others = self.processes.iter().map(|process| &process.at[machine]);
        if others.any(|other| other.locked && other.opened == Some(inode)) {
            return None;
        }
        let at = &mut self.processes[index].at[machine];
        if self.machines[machine].lock != Some(inode) && !broken.by(Mutant::IgnoreTheInode) {
            at.opened = None;
            return Some(false);
        }
        at.locked = true;
        Some(true)
    }

    pub(super) fn read(mut self, index: usize, machine: usize, broken: Broken) -> Acted {
        if !self.processes[index].at[machine].locked {
            // Taking the lock anew, because its file was replaced.
            return match self.take_lock(index, machine, broken) {
                Some(_) => vec![(self, Ok(None))],
                None => Vec::new(),
            };
        }
        let at = &mut self.processes[index].at[machine];
        let current = self.machines[machine].lock == at.opened;
        if at.reads > 0 && !current && !broken.by(Mutant::IgnoreTheInode) {
            (at.locked, at.opened) = (false, None);
            return vec![(self, Ok(None))];
        }
        at.reads = 1;
        at.seen = Some(self.machines[machine].record.clone());
        evidence::judged(&self, machine, broken)
            .into_iter()
            .map(|(seen, stalls)| {
                let mut world = self.clone();
                world.faults.stalls = stalls;
                (world, Ok(Some(Answer::Seen(Box::new(seen)))))
            })
            .collect()
    }

    pub(super) fn read_again(
        &self,
        index: usize,
        machine: usize,
        broken: Broken,
    ) -> Result<Answer, Violation> {
        let same = self.is_as_seen(index, machine) || broken.by(Mutant::IgnoreChanges);
        Ok(if same { Answer::Done } else { Answer::Changed })
    }

    fn is_as_seen(&self, index: usize, machine: usize) -> bool {
        self.processes[index].at[machine].seen.as_ref() == Some(&self.machines[machine].record)
    }

    pub(super) fn put(
        mut self,
        index: usize,
        machine: usize,
        record: &Record,
        broken: Broken,
    ) -> Acted {
        let same = self.is_as_seen(index, machine) || broken.by(Mutant::IgnoreChanges);
        if broken.by(Mutant::KeepTheFirstRecord) && self.takes_back(index, machine, record) {
            return vec![(self, Ok(Some(Answer::Done)))];
        }
        let there = &mut self.machines[machine];
        let at: &mut At = &mut self.processes[index].at[machine];
        if let Some(displaced) = at.displaced.take() {
            there.record = Some(*displaced);
            return vec![(self, Ok(Some(Answer::Changed)))];
        }
        if !at.looked {
            let current = there.lock == at.opened || broken.by(Mutant::IgnoreTheInode);
            at.looked = current && same;
            let answer = if at.looked { None } else { Some(Answer::Changed) };
            return vec![(self, Ok(answer))];
        }
        at.looked = false;
        // The record is exchanged, and what comes back is compared. It is put back if it was another;
        // only where there was none it is a single step to see that.
        if !same {
            if at.seen != Some(None) {
                at.displaced = there.record.replace(record.clone()).map(Box::new);
                return vec![(self, Ok(None))];
            }
            return vec![(self, Ok(Some(Answer::Changed)))];
        }
        at.made = None;
        let mut kept = self.check_removed(index, machine, record);
        self.machines[machine].record = Some(record.clone());
        if broken.by(Mutant::OpenAfterOneRecord) && self.is_gated(index) {
            kept = kept.and_then(|()| self.open_gate(index));
        }
        vec![(self, kept.map(|()| Some(Answer::Done)))]
    }

    fn is_gated(&self, index: usize) -> bool {
        self.processes[index].job.is_some_and(|job| self.jobs[job].state == JobState::Gated)
    }

    /// Whether this record is that of a claim that takes back its own.
    fn takes_back(&self, index: usize, machine: usize, record: &Record) -> bool {
        let Process { life, at, .. } = &*self.processes[index];
        let names =
            |record: &Record| record.holders.iter().any(|holder| holder.token == at[machine].token);
        matches!(life, Life::Acting(Course::Claim(_), _, Act::Put(_)))
            && self.machines[machine].record.as_ref().is_some_and(names)
            && !names(record)
    }
}
