//! What an act of a protocol does to a world.

use jobguard::protocol::{Act, Answer, Felt};

use super::{Job, JobState, Violation, World};
use crate::evidence;
use crate::mutant::{Broken, Mutant};

/// Every world that an act may lead to, with its answer; `None` when it is not finished yet.
pub(super) type Acted = Vec<(World, Result<Option<Answer>, Violation>)>;

impl World {
    /// What one act of a process, on one of its machines, may do to the world.
    pub(super) fn act(&self, index: usize, machine: usize, act: &Act, broken: Broken) -> Acted {
        let mut world = self.clone();
        let answer = match act {
            Act::Lock => match world.take_locks(index, machine, broken) {
                Some(got) => return vec![(world, Ok(got.then_some(Answer::Done)))],
                None => return Vec::new(),
            },
            Act::FeelQueue { within, before } => {
                return world.feel_queue(index, machine, (*within, *before), broken);
            }
            Act::Read => return world.read(index, machine, broken),
            Act::Put(record) => return world.put(index, machine, record, broken),
            Act::ReadAgain => world.read_again(index, machine, broken),
            Act::Fork(_) => world.fork(index, broken),
            Act::OpenGate => world.open_gate(index).map(|()| Answer::Done),
            Act::MakeLifeline(token) => Ok(world.make_lifeline(index, machine, *token)),
            Act::FeelOthers => Ok(Answer::Felt(world.feel(index, machine, broken))),
            _ => {
                world.simply(index, machine, act, broken);
                Ok(Answer::Done)
            }
        };
        vec![(world, answer.map(Some))]
    }

    /// What an act does to which there is but one answer.
    fn simply(&mut self, index: usize, machine: usize, act: &Act, broken: Broken) {
        let at = &mut self.processes[index].at[machine];
        let lifelines = &mut self.machines[machine].lifelines;
        match act {
            Act::SweepQueue(gone) => {
                self.machines[machine].queue.retain(|ticket, _| !gone.contains(ticket));
            }
            Act::Evict(waiting) => self.evict(machine, waiting),
            Act::Enqueue(spot) => self.enqueue(index, machine, *spot, broken),
            Act::LeaveQueue => self.leave_queue(index, machine),
            Act::Sweep(tokens) | Act::Unlink(tokens) => {
                lifelines.retain(|token, _| !tokens.contains(token));
            }
            Act::Unlock => (at.locked, at.opened) = (false, None),
            Act::Abandon => {
                if let Some(job) = self.processes[index].job.take() {
                    self.jobs[job].state = JobState::Over;
                }
            }
            Act::DropLifeline => {
                if let Some(token) = at.made.take() {
                    lifelines.remove(&token);
                }
            }
            Act::CloseLifeline => {
                let mine = |reader: &mut Option<usize>| *reader = reader.filter(|r| *r != index);
                lifelines.values_mut().for_each(mine);
                at.made = None;
            }
            _ => {} // nobody looks at the log
        }
    }

    fn make_lifeline(&mut self, index: usize, machine: usize, token: u64) -> Answer {
        let lifelines = &mut self.machines[machine].lifelines;
        if lifelines.contains_key(&token) {
            return Answer::Taken;
        }
        lifelines.insert(token, Some(index));
        let at = &mut self.processes[index].at[machine];
        (at.made, at.token) = (Some(token), token);
        Answer::Made(token.to_string())
    }

    fn feel(&self, index: usize, machine: usize, broken: Broken) -> Felt {
        let mut felt = Felt::default();
        for (token, reader) in &self.machines[machine].lifelines {
            match reader {
                _ if self.processes[index].at[machine].made == Some(*token) => {}
                Some(_) if broken.by(Mutant::IgnoreLifelines) => {}
                Some(_) => felt.taut.push(*token),
                None => felt.slack.push(*token),
            }
        }
        felt
    }

    fn fork(&mut self, index: usize, broken: Broken) -> Result<Answer, Violation> {
        let again = self.processes[index].tried_again;
        if !again {
            self.check_turn(index)?;
        }
        let job = self.jobs.len();
        self.jobs.push(Job { parent: index, state: JobState::Gated, reused: false });
        self.processes[index].job = Some(job);
        let holder = evidence::holder(job, index, self, broken);
        let opens = again && broken.by(Mutant::OpenTheSecondGateFirst);
        if opens || broken.by(Mutant::OpenTheGateFirst) {
            self.open_gate(index)?;
        }
        Ok(Answer::Born(Box::new(holder)))
    }

    pub(super) fn open_gate(&mut self, index: usize) -> Result<(), Violation> {
        let Some(job) = self.processes[index].job else { return Err("no child".to_owned()) };
        self.check_recorded(job)?;
        if self.jobs[job].state == JobState::Gated {
            self.jobs[job].state = JobState::Running;
        }
        self.collision().map_or(Ok(()), Err)
    }
}
