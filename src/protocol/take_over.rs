//! Taking over a run whose supervisor is over: its job goes on, with another supervisor.
//!
//! The run stays the same, and so does its token, which the job has in its environment. Its lifeline is
//! made anew in the place of the old one, which is slack: whoever waits for the run sleeps on its job by
//! then, or looks now and then.

use super::rewrite::{as_recorded, next_revision};
use super::{Act, Answer, Judged, Next, Protocol, Seen};
use crate::identity::process::ProcessId;
use crate::identity::verdict::{Subject, Verdict};
use crate::machine::events::What;
use crate::machine::record::{HeldBy, Holder, State};

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The run is ours. As it is recorded now.
    Done(Box<Holder>),
    /// The process is no run's of this machine.
    NotThere,
    /// It is of a run that has a supervisor, or is one.
    Supervised(Judged),
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// A run being taken over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TakeOver {
    step: Step,
    /// Who takes over which job.
    ours: Holder,
    seen: Option<Seen>,
    /// The lifeline that we made: its token and its identity.
    lifeline: Option<(u64, String)>,
    outcome: Outcome,
    event: Option<(u64, What)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    MakingLifeline(u64),
    Putting,
    Dropping,
    Logging,
    Unlocking,
    Over,
}

impl TakeOver {
    /// `ours` has the job, and us as its supervisor.
    pub fn new(ours: Holder) -> Self {
        let (seen, lifeline, outcome, event) = (None, None, Outcome::NotThere, None);
        Self { step: Step::Start, ours, seen, lifeline, outcome, event }
    }
}

impl Protocol for TakeOver {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),
            (Step::MakingLifeline(token), Answer::Made(id)) => {
                self.lifeline = Some((token, id));
                self.put(token)
            }
            // Swept, by a claim under another lock file, before it had its name.
            (Step::MakingLifeline(_), Answer::Taken) => self.go(Step::Reading, Act::Read),
            (Step::Putting, Answer::Done) => {
                let events = self.event.take().into_iter().collect();
                self.go(Step::Logging, Act::Log(events))
            }
            (Step::Dropping | Step::Logging, Answer::Done) => self.go(Step::Unlocking, Act::Unlock),
            (Step::Unlocking, Answer::Done) => Next::Finish(self.outcome.clone()),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl TakeOver {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        let found = seen.judged.iter().find_map(|judged| match &judged.subject {
            Subject::Holder(holder) if !judged.is_phantom() => {
                let is_job = is_same(holder, holder.job.as_ref(), &self.ours);
                let is_supervisor = is_same(holder, holder.supervisor.as_ref(), &self.ours);
                (is_job || is_supervisor).then(|| (judged.clone(), is_job))
            }
            _ => None,
        });
        let orphan = match found {
            None => return self.leave(Outcome::NotThere),
            Some((judged, true))
                if judged.is_orphan && judged.judgement.verdict == Verdict::Live =>
            {
                judged.subject.token()
            }
            Some((judged, _)) => return self.leave(Outcome::Supervised(judged)),
        };
        self.seen = Some(seen);
        match &self.lifeline {
            Some((token, _)) if *token == orphan => self.put(orphan),
            _ => self.go(Step::MakingLifeline(orphan), Act::RemakeLifeline(orphan)),
        }
    }

    /// Goes away as we came. A lifeline that we made in the place of a run's that is not an orphan any more
    /// is no word against it.
    fn leave(&mut self, outcome: Outcome) -> Next<Outcome> {
        self.outcome = outcome;
        match self.lifeline.take() {
            Some(_) => self.go(Step::Dropping, Act::DropLifeline),
            None => self.go(Step::Unlocking, Act::Unlock),
        }
    }

    fn put(&mut self, token: u64) -> Next<Outcome> {
        let Some(Seen { mut record, .. }) = self.seen.take() else {
            return Next::Finish(Outcome::Misled);
        };
        let Some(run) = record.holders.iter_mut().find(|run| run.token == token) else {
            return Next::Finish(Outcome::Misled);
        };
        let holder = as_recorded(&Subject::Holder(Box::new(run.clone())));
        self.event = Some((token, What::TakenOver { uid: self.ours.uid, holder }));
        let ours = self.ours.clone();
        *run = Holder {
            state: if run.state == State::Stopping { State::Stopping } else { State::Running },
            held_by: HeldBy::Job,
            dies_with_supervisor: false,
            adopted: true,
            lifeline: self.lifeline.clone().map(|(_, id)| id),
            job: ours.job,
            supervisor: ours.supervisor,
            host: ours.host,
            name: ours.name.or(run.name.take()),
            uid: ours.uid,
            user: ours.user,
            leftovers: Vec::new(),
            context: ours.context,
            ..run.clone()
        };
        self.outcome = Outcome::Done(Box::new(run.clone()));
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }
}

/// Whether a process that this holder names is the job of `ours`. Inodes of pidfds decide on one kernel;
/// without them all that was recorded must agree.
fn is_same(holder: &Holder, recorded: Option<&ProcessId>, ours: &Holder) -> bool {
    let (Some(recorded), Some(job)) = (recorded, &ours.job) else { return false };
    if !holder.host.same_kernel(&ours.host) {
        return false;
    }
    match (recorded.pidfd_inode, job.pidfd_inode) {
        (Some(then), Some(now)) => then == now,
        _ => {
            let spaces = |holder: &Holder| (holder.host.pid_ns, holder.host.time_ns);
            spaces(holder) == spaces(ours)
                && (recorded.pid, recorded.start_ticks) == (job.pid, job.start_ticks)
        }
    }
}

#[cfg(test)]
mod tests;
