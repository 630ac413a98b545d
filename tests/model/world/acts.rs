//! What an act of a protocol does to a world, and which promise it breaks.

use jobguard::identity::verdict::{PhantomReason, Subject, Verdict};
use jobguard::machine::record::{Holder, Mode, Record};
use jobguard::machine::ticket::{AHEAD, TicketId};
use jobguard::protocol::{Act, Answer, Felt, Queue};

use super::{Job, JobState, Life, Process, Role, Violation, World};
use crate::evidence;
use crate::mutant::{Broken, Mutant};

impl World {
    /// What one act may do to the world, and its answer; `None` when it is not finished yet.
    pub(super) fn act(
        &self,
        index: usize,
        act: &Act,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        let mut world = self.clone();
        let done = |world| vec![(world, Ok(Some(Answer::Done)))];
        match act {
            Act::Lock => world
                .take_lock(index, broken)
                .map_or_else(Vec::new, |got| vec![(world, Ok(got.then_some(Answer::Done)))]),
            Act::FeelQueue { within, before } => {
                let mut queue = Queue::default();
                for (ticket, waiter) in &world.queue {
                    let is_before = match (within, ticket.within) {
                        (None, Some(_)) => true,
                        (within, other) if *within != other => false,
                        _ => before.is_none_or(|own| ticket.number < own),
                    };
                    match waiter {
                        _ if !is_before => {}
                        None => queue.gone.push(*ticket),
                        Some(_) if broken.by(Mutant::JumpTheQueue) => {}
                        Some(_) => queue.waiting.push(*ticket),
                    }
                }
                queue.is_lost = before.is_some()
                    && world.processes[index].evicted
                    && !broken.by(Mutant::RunAllTheSame);
                vec![(world, Ok(Some(Answer::Queue(queue))))]
            }
            Act::SweepQueue(gone) => {
                world.queue.retain(|ticket, _| !gone.contains(ticket));
                done(world)
            }
            Act::Evict(waiting) => {
                for ticket in waiting {
                    if let Some(Some(waiter)) = world.queue.remove(ticket) {
                        world.processes[waiter].evicted = true;
                    }
                }
                done(world)
            }
            Act::Enqueue(spot) => {
                let last = world.queue.last_key_value().map_or(0, |(last, _)| last.number);
                let number = if spot.ahead { AHEAD } else { last + 1 };
                let ticket = TicketId { number, within: spot.within };
                world.queue.insert(ticket, Some(index));
                world.processes[index].ticket = Some(ticket);
                done(world)
            }
            Act::LeaveQueue => {
                world.leave_queue(index);
                done(world)
            }
            Act::Read => world.read(index, broken),
            Act::MakeLifeline(token) => {
                if world.lifelines.contains_key(token) {
                    return vec![(world, Ok(Some(Answer::Taken)))];
                }
                world.lifelines.insert(*token, Some(index));
                world.processes[index].made = Some(*token);
                world.processes[index].token = *token;
                vec![(world, Ok(Some(Answer::Made(token.to_string()))))]
            }
            Act::FeelOthers => {
                let felt = world.feel(index, broken);
                vec![(world, Ok(Some(Answer::Felt(felt))))]
            }
            Act::ReadAgain => {
                let same = world.processes[index].seen.as_ref() == Some(&world.record)
                    || broken.by(Mutant::IgnoreChanges);
                let answer = if same { Answer::Done } else { Answer::Changed };
                vec![(world, Ok(Some(answer)))]
            }
            Act::Sweep(tokens) | Act::Unlink(tokens) => {
                world.lifelines.retain(|token, _| !tokens.contains(token));
                done(world)
            }
            Act::Fork(_) => world.fork(index, broken),
            Act::Put(record) => world.put(index, record, broken),
            Act::Log(_) => done(world),
            Act::Unlock => {
                world.processes[index].locked = false;
                world.processes[index].opened = None;
                done(world)
            }
            Act::OpenGate => {
                let opened = world.open_gate(index);
                vec![(world, opened.map(|()| Some(Answer::Done)))]
            }
            Act::Abandon => {
                if let Some(job) = world.processes[index].job.take() {
                    world.jobs[job].state = JobState::Over;
                }
                done(world)
            }
            Act::DropLifeline => {
                if let Some(token) = world.processes[index].made.take() {
                    world.lifelines.remove(&token);
                }
                done(world)
            }
            Act::CloseLifeline => {
                let mine = |reader: &mut Option<usize>| *reader = reader.filter(|r| *r != index);
                world.lifelines.values_mut().for_each(mine);
                world.processes[index].made = None;
                done(world)
            }
        }
    }

    /// What a broken protocol would make of an answer.
    pub(super) fn mutate(&self, index: usize, answer: &mut Answer, broken: Broken) {
        let Answer::Seen(seen) = answer else { return };
        let process = &self.processes[index];
        let releasing = matches!(process.life, Life::Releasing(..));
        let claimed = match process.role {
            role if role.runs() && releasing && broken.by(Mutant::ReleaseAnybody) => {
                Some(process.token)
            }
            Role::Force(token) if broken.by(Mutant::IgnoreTheToken) => Some(token),
            _ => None,
        };
        if let Some(token) = claimed {
            seen.record.holders.iter_mut().for_each(|holder| holder.token = token);
            for judged in &mut seen.judged {
                if let Subject::Holder(holder) = &mut judged.subject {
                    holder.token = token;
                }
            }
        }
        if broken.by(Mutant::TakeWritersForReaders) {
            for judged in &mut seen.judged {
                if let Subject::Holder(holder) = &mut judged.subject {
                    (holder.mode, holder.slots) = (Mode::Shared, 256);
                }
            }
        }
        if broken.by(Mutant::CallTheLivingDead) {
            let dead = Verdict::Phantom(PhantomReason::ProcessGone);
            seen.judged.iter_mut().for_each(|j| j.judgement.verdict = dead.clone());
        }
    }

    /// Opens the lock file, then locks it, then compares it with the path; `None`: it is held, so
    /// there is no step; false: not locked yet.
    fn take_lock(&mut self, index: usize, broken: Broken) -> Option<bool> {
        let Some(inode) = self.processes[index].opened else {
            let next_inode = &mut self.next_inode;
            let inode = *self.lock.get_or_insert_with(|| {
                *next_inode += 1;
                *next_inode
            });
            self.processes[index].opened = Some(inode);
            return Some(false);
        };
        let held = |other: &Process| other.locked && other.opened == Some(inode);
        if self.processes.iter().any(held) {
            return None;
        }
        if self.lock != Some(inode) && !broken.by(Mutant::IgnoreTheInode) {
            self.processes[index].opened = None;
            return Some(false);
        }
        self.processes[index].locked = true;
        Some(true)
    }

    /// Its place is another's by now, if it was taken.
    pub(super) fn leave_queue(&mut self, index: usize) {
        let process = &mut self.processes[index];
        let evicted = std::mem::take(&mut process.evicted);
        if let Some(ticket) = process.ticket.take().filter(|_| !evicted) {
            self.queue.remove(&ticket);
        }
    }

    fn read(
        mut self,
        index: usize,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        if !self.processes[index].locked {
            // Taking the lock anew, because its file was replaced.
            return match self.take_lock(index, broken) {
                Some(_) => vec![(self, Ok(None))],
                None => Vec::new(),
            };
        }
        let current = self.lock == self.processes[index].opened;
        if self.processes[index].reads > 0 && !current && !broken.by(Mutant::IgnoreTheInode) {
            self.processes[index].locked = false;
            self.processes[index].opened = None;
            return vec![(self, Ok(None))];
        }
        self.processes[index].reads = 1;
        self.processes[index].seen = Some(self.record.clone());
        evidence::judged(&self, broken)
            .into_iter()
            .map(|(seen, stalls)| {
                let mut world = self.clone();
                world.faults.stalls = stalls;
                (world, Ok(Some(Answer::Seen(Box::new(seen)))))
            })
            .collect()
    }

    fn feel(&self, index: usize, broken: Broken) -> Felt {
        let mut felt = Felt::default();
        for (token, reader) in &self.lifelines {
            match reader {
                _ if self.processes[index].made == Some(*token) => {}
                Some(_) if broken.by(Mutant::IgnoreLifelines) => {}
                Some(_) => felt.taut.push(*token),
                None => felt.slack.push(*token),
            }
        }
        felt
    }

    fn fork(
        mut self,
        index: usize,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        if let Err(why) = self.check_turn(index) {
            return vec![(self, Err(why))];
        }
        let job = self.jobs.len();
        self.jobs.push(Job { parent: index, state: JobState::Gated, reused: false });
        self.processes[index].job = Some(job);
        let holder = evidence::holder(job, index, &self);
        let opened =
            if broken.by(Mutant::OpenTheGateFirst) { self.open_gate(index) } else { Ok(()) };
        vec![(self, opened.map(|()| Some(Answer::Born(Box::new(holder)))))]
    }

    fn put(
        mut self,
        index: usize,
        record: &Record,
        broken: Broken,
    ) -> Vec<(World, Result<Option<Answer>, Violation>)> {
        let process = &mut self.processes[index];
        if let Some(displaced) = process.displaced.take() {
            self.record = Some(*displaced);
            return vec![(self, Ok(Some(Answer::Changed)))];
        }
        if !process.looked {
            let current = self.lock == process.opened || broken.by(Mutant::IgnoreTheInode);
            let same =
                process.seen.as_ref() == Some(&self.record) || broken.by(Mutant::IgnoreChanges);
            if !current || !same {
                return vec![(self, Ok(Some(Answer::Changed)))];
            }
            process.looked = true;
            return vec![(self, Ok(None))];
        }
        process.looked = false;
        // The record is exchanged, and what comes back is compared. It is put back if it was another;
        // only where there was none it is a single step to see that.
        if process.seen.as_ref() != Some(&self.record) && !broken.by(Mutant::IgnoreChanges) {
            if process.seen != Some(None) {
                process.displaced = self.record.replace(record.clone()).map(Box::new);
                return vec![(self, Ok(None))];
            }
            return vec![(self, Ok(Some(Answer::Changed)))];
        }
        process.made = None;
        let kept = self.check_removed(index, record);
        self.record = Some(record.clone());
        vec![(self, kept.map(|()| Some(Answer::Done)))]
    }

    /// Nobody jumps the queue, as long as there was but one lock file.
    fn check_turn(&self, index: usize) -> Result<(), Violation> {
        let process = &self.processes[index];
        let within = match process.role {
            Role::Inner(outer) => Some(self.processes[outer].token),
            _ => None,
        };
        let last = TicketId { number: u64::MAX, within };
        let mut waiters = self.before(process.ticket.unwrap_or(last));
        if process.evicted && self.next_inode == 1 {
            return Err(format!("process {index} runs though its place was taken"));
        }
        match waiters.find(|waiter| !self.processes[*waiter].stopped) {
            Some(waiter) if self.next_inode == 1 => {
                Err(format!("process {index} jumps the queue before {waiter}"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody who may still run is removed from the record.
    fn check_removed(&self, index: usize, new: &Record) -> Result<(), Violation> {
        let old = self.record.iter().flat_map(|record| &record.holders);
        for holder in old.filter(|old| !new.holders.iter().any(|new| new.token == old.token)) {
            let job = evidence::job_of(holder);
            if self.jobs[job].state.is_at_work() || self.jobs[job].state == JobState::Gated {
                return Err(format!("process {index} cleared the live holder {}", holder.token));
            }
        }
        Ok(())
    }

    fn open_gate(&mut self, index: usize) -> Result<(), Violation> {
        let Some(job) = self.processes[index].job else { return Err("no child".to_owned()) };
        let named = |record: &Record| {
            record.holders.iter().any(|holder: &Holder| evidence::job_of(holder) == job)
        };
        // One that is about to be put back is there all but for a moment, in which the lifelines count.
        let displaced = self.processes.iter().filter_map(|process| process.displaced.as_deref());
        if !self.record.iter().chain(displaced).any(named) {
            return Err(format!("job {job} begins without a record"));
        }
        if self.jobs[job].state == JobState::Gated {
            self.jobs[job].state = JobState::Running;
        }
        self.collision().map_or(Ok(()), Err)
    }
}
