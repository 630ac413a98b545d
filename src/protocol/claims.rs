//! Claims of several machines as one: all or nothing.
//!
//! All locks are taken first, one after another and with nothing else in between, so that the executor
//! may give one back while it waits for the next. Then every claim goes as far as it can alone, in the
//! order of their machines: to its fork, or, where the machine is not to be had, to the end of its work
//! under the lock, with a ticket. So all tickets are taken under all locks, and of two that want the same machines one is before the other everywhere.
//! When all have come to the fork there is one fork for all; else those that have are refused. A
//! crash in between leaves records that name a child which never became the job: phantoms.

use std::collections::VecDeque;

use super::claim::{Claim, Outcome};
use super::{Act, Answer, Next, Protocol};

/// Claims under way, in the order of their machines; of one machine, just its claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claims<P = Claim> {
    claims: Vec<P>,
    stage: Stage,
    /// Whom to tell what, before anything else is done.
    mail: VecDeque<(usize, Answer)>,
    /// Who is at work.
    current: usize,
    /// What each wants to do next, and waits for the others with.
    parked: Vec<Option<Act>>,
    outcomes: Vec<Option<Outcome>>,
}

/// What [`Claims`] runs for several machines as one.
pub trait Joint: Protocol<Outcome = Outcome> {
    /// Whether the machine is ours but for the ticket and the lock, which are to be given back.
    fn is_granted(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// Each goes to its lock, its fork or, where the machine is not to be had, to its unlocking.
    Meeting,
    Locking,
    /// The fork for all is under way.
    Forking,
    /// One of several could not record its child, which is ended.
    Abandoning,
    Unlocking,
    Opening,
    Ending,
}

/// What to do next, on which of the machines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Execute this and come back with its answer.
    Do(usize, Act),
    /// They are finished.
    Finish(Vec<Outcome>),
}

impl<P: Joint> Claims<P> {
    /// Claims that have not begun, at least one.
    pub fn new(claims: Vec<P>) -> Self {
        let count = claims.len();
        let mail = (0..count).map(|index| (index, Answer::Begin)).collect();
        let (parked, outcomes) = (vec![None; count], vec![None; count]);
        Self { claims, stage: Stage::Meeting, mail, current: 0, parked, outcomes }
    }

    /// Takes the answer to the last act ([`Answer::Begin`] first), and says the next.
    pub fn next(&mut self, answer: Answer) -> Step {
        match (self.stage, answer) {
            (Stage::Meeting, Answer::Begin) => self.proceed(),
            (Stage::Locking, locked) => {
                self.mail.push_back((self.current, locked));
                self.lock()
            }
            (Stage::Forking, born) => self.tell_all(Stage::Meeting, &born),
            (Stage::Abandoning, _) => self.tell_all(Stage::Meeting, &Answer::Refused),
            (Stage::Opening, done) => self.tell_all(Stage::Ending, &done),
            (_, answer) => self.tell(self.current, answer),
        }
    }

    fn tell_all(&mut self, stage: Stage, answer: &Answer) -> Step {
        self.stage = stage;
        self.parked.fill(None);
        self.mail.clear();
        self.mail.extend((0..self.claims.len()).map(|index| (index, answer.clone())));
        self.proceed()
    }

    fn tell(&mut self, index: usize, answer: Answer) -> Step {
        self.current = index;
        match self.claims[index].next(answer) {
            Next::Finish(Outcome::Misled) => Step::Finish(vec![Outcome::Misled]),
            Next::Finish(outcome) => {
                self.outcomes[index] = Some(outcome);
                self.proceed()
            }
            Next::Do(act @ (Act::Lock | Act::Fork(_) | Act::Unlock))
                if self.stage == Stage::Meeting =>
            {
                self.parked[index] = Some(act);
                self.proceed()
            }
            // Its ticket is kept until all have what they want: else it would be in line for some
            // machines, and not for others.
            Next::Do(act @ Act::LeaveQueue)
                if self.stage == Stage::Meeting && self.claims[index].is_granted() =>
            {
                self.parked[index] = Some(act);
                self.proceed()
            }
            Next::Do(act @ Act::OpenGate) => {
                self.parked[index] = Some(act);
                self.proceed()
            }
            Next::Do(Act::Abandon) if self.claims.len() > 1 => {
                self.stage = Stage::Abandoning;
                Step::Do(index, Act::Abandon)
            }
            Next::Do(act) => Step::Do(index, act),
        }
    }

    /// Goes on when nobody is at work: with the mail, else with what all have waited for.
    fn proceed(&mut self) -> Step {
        if let Some((index, answer)) = self.mail.pop_front() {
            return self.tell(index, answer);
        }
        match self.stage {
            Stage::Meeting => self.meet(),
            Stage::Unlocking => self.unlock(),
            _ => Step::Finish(self.outcomes.iter_mut().filter_map(Option::take).collect()),
        }
    }

    fn meet(&mut self) -> Step {
        if self.parked.iter().all(|act| *act == Some(Act::Lock)) {
            return self.lock();
        }
        let token = |act: &Option<Act>| match act {
            Some(Act::Fork(tokens)) => tokens.first().copied(),
            _ => None,
        };
        let ready: Vec<Option<u64>> = self.parked.iter().map(token).collect();
        if let Some(tokens) = ready.iter().copied().collect::<Option<Vec<u64>>>() {
            self.stage = Stage::Forking;
            return Step::Do(0, Act::Fork(tokens));
        }
        for (index, token) in ready.iter().enumerate() {
            if token.is_some() {
                self.parked[index] = None;
                self.mail.push_back((index, Answer::Refused));
            }
        }
        if self.mail.is_empty() {
            self.stage = Stage::Unlocking;
        }
        self.proceed()
    }

    /// All, the first first; then each goes on.
    fn lock(&mut self) -> Step {
        self.stage = Stage::Locking;
        if let Some(index) = self.parked.iter().position(|act| *act == Some(Act::Lock)) {
            self.parked[index] = None;
            self.current = index;
            return Step::Do(index, Act::Lock);
        }
        self.stage = Stage::Meeting;
        self.proceed()
    }

    /// All at once, the last first; then the job begins, if there is one.
    fn unlock(&mut self) -> Step {
        let is_last = |act: &Option<Act>| matches!(act, Some(Act::LeaveQueue | Act::Unlock));
        if let Some(index) = self.parked.iter().rposition(is_last)
            && let Some(act) = self.parked[index].take()
        {
            self.current = index;
            return Step::Do(index, act);
        }
        self.stage =
            if self.parked.contains(&Some(Act::OpenGate)) { Stage::Opening } else { Stage::Ending };
        match self.stage {
            Stage::Opening => Step::Do(0, Act::OpenGate),
            _ => self.proceed(),
        }
    }
}

#[cfg(test)]
mod tests;
