//! Changing something in a record: the steps that a release, a withdrawal and an amendment have in
//! common. What was decided on one reading is forgotten with it.

use std::collections::VecDeque;

use super::rewrite::next_revision;
use super::{Act, Answer, Next, Protocol, Seen};
use crate::machine::events::What;
use crate::machine::record::Record;

/// What is changed, and what is left of it to do.
pub trait Edit {
    /// How it can end.
    type Outcome: Copy;

    /// The executor answered what was not asked: a defect.
    const MISLED: Self::Outcome;

    /// Decides on the record as it was read: what takes its place, if anything does.
    fn decide(&mut self, seen: Seen) -> Option<Record>;

    /// The events that tell of it, each with the token of the run that it is about.
    fn events(&mut self) -> Vec<(u64, What)>;

    /// What is done after that, the unlocking included.
    fn afterwards(&self) -> Vec<Act> {
        vec![Act::Unlock]
    }

    /// How it ended.
    fn outcome(&self) -> Self::Outcome;
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Editing<E> {
    edit: E,
    step: Step,
    left: VecDeque<Act>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Putting,
    /// From the log on.
    Ending,
    Over,
}

impl<E: Edit> Editing<E> {
    /// A change that has not begun.
    pub(super) fn of(edit: E) -> Self {
        Self { edit, step: Step::Start, left: VecDeque::new() }
    }

    fn go(&mut self, step: Step, act: Act) -> Next<E::Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn log(&mut self) -> Next<E::Outcome> {
        self.left = self.edit.afterwards().into();
        let events = self.edit.events();
        self.go(Step::Ending, Act::Log(events))
    }
}

impl<E: Edit> Protocol for Editing<E> {
    type Outcome = E::Outcome;

    fn next(&mut self, answer: Answer) -> Next<E::Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => match self.edit.decide(*seen) {
                Some(record) => self.go(Step::Putting, Act::Put(next_revision(record))),
                None => self.log(),
            },
            (Step::Putting, Answer::Done) => self.log(),
            (Step::Ending, Answer::Done) => match self.left.pop_front() {
                Some(act) => self.go(Step::Ending, act),
                None => Next::Finish(self.edit.outcome()),
            },
            _ => Next::Finish(E::MISLED),
        }
    }
}
