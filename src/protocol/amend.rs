//! Changing what the record says of a run that goes on: that it is to end, tries again, drains.

use super::rewrite::next_revision;
use super::{Act, Answer, Next, Protocol, Seen};
use crate::machine::events::What;
use crate::machine::record::{Leftover, State};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The record says so.
    Done,
    /// It is to end, and that is what the record goes on to say.
    Stopping,
    /// The record does not name the run any more.
    TakenOver,
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// What a run does by now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// Where it is in its life.
    pub state: State,
    /// What its job left running.
    pub leftovers: Vec<Leftover>,
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Amend {
    step: Step,
    token: u64,
    change: Change,
    events: Vec<(u64, What)>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Putting,
    Logging,
    Unlocking,
    Over,
}

impl Amend {
    /// A change of the run `token`, and the events that tell of it if it is made.
    pub fn new(token: u64, change: Change, events: Vec<What>) -> Self {
        let events = events.into_iter().map(|what| (token, what)).collect();
        Self { step: Step::Start, token, change, events, outcome: Outcome::Done }
    }
}

impl Protocol for Amend {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),
            (Step::Putting, Answer::Done) => self.log(),
            (Step::Logging, Answer::Done) => self.go(Step::Unlocking, Act::Unlock),
            (Step::Unlocking, Answer::Done) => Next::Finish(self.outcome),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Amend {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn log(&mut self) -> Next<Outcome> {
        let events = std::mem::take(&mut self.events);
        self.go(Step::Logging, Act::Log(events))
    }

    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        let mut record = seen.record;
        let Some(run) = record.holders.iter_mut().find(|run| run.token == self.token) else {
            self.outcome = Outcome::TakenOver;
            self.events.clear();
            return self.log();
        };
        // Whoever said that it is to end means every attempt of it.
        if run.state == State::Stopping {
            self.outcome = Outcome::Stopping;
            self.events.clear();
        } else {
            run.state = self.change.state;
        }
        run.leftovers.clone_from(&self.change.leftovers);
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verdict::Verdict;
    use crate::protocol::fixtures::{act, end, logged, put, seen};

    fn reading(state: State) -> Amend {
        let mut amend = Amend::new(7, Change { state, leftovers: Vec::new() }, Vec::new());
        assert_eq!(act(&mut amend, Answer::Begin), Act::Lock);
        assert_eq!(act(&mut amend, Answer::Done), Act::Read);
        amend
    }

    fn ends(mut amend: Amend) -> Outcome {
        assert_eq!(act(&mut amend, Answer::Done), Act::Unlock);
        end(&mut amend, Answer::Done)
    }

    #[test]
    fn it_changes_its_own_run_and_no_other() {
        let mut amend = reading(State::Retrying);
        let both = seen(&[(7, Verdict::Live), (8, Verdict::Live)]);
        let record = put(act(&mut amend, both));
        let states: Vec<State> = record.holders.iter().map(|holder| holder.state).collect();
        assert_eq!((record.revision, states), (6, vec![State::Retrying, State::Running]));
        assert_eq!(act(&mut amend, Answer::Changed), Act::Read);
        put(act(&mut amend, seen(&[(7, Verdict::Live)])));
        assert_eq!(logged(act(&mut amend, Answer::Done)), 0);
        assert_eq!(ends(amend), Outcome::Done);
    }

    #[test]
    fn whoever_took_over_is_not_touched() {
        let mut amend = reading(State::Retrying);
        assert_eq!(logged(act(&mut amend, seen(&[(8, Verdict::Live)]))), 0);
        assert_eq!(ends(amend), Outcome::TakenOver);
    }

    #[test]
    fn a_run_that_is_to_end_does_not_try_again() {
        let stopping = || match seen(&[(7, Verdict::Live)]) {
            Answer::Seen(mut seen) => {
                seen.record.holders[0].state = State::Stopping;
                Answer::Seen(seen)
            }
            other => panic!("{other:?}"),
        };
        let mut amend = reading(State::Retrying);
        assert_eq!(put(act(&mut amend, stopping())).holders[0].state, State::Stopping);
        assert_eq!(logged(act(&mut amend, Answer::Done)), 0);
        assert_eq!(ends(amend), Outcome::Stopping);
    }
}
