//! Changing what the record says of a run that goes on: that it is to end, tries again, drains.

use super::Seen;
use super::edit::{Edit, Editing};
use crate::machine::events::What;
use crate::machine::record::{Leftover, Record, State};

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

/// A change of a run that goes on.
pub type Amend = Editing<Amendment>;

/// What is changed of which run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Amendment {
    token: u64,
    change: Change,
    events: Vec<What>,
    outcome: Outcome,
}

impl Amend {
    /// A change of the run `token`, and the events that tell of it if it is made.
    pub fn new(token: u64, change: Change, events: Vec<What>) -> Self {
        Self::of(Amendment { token, change, events, outcome: Outcome::Done })
    }
}

impl Edit for Amendment {
    type Outcome = Outcome;

    const MISLED: Outcome = Outcome::Misled;

    fn decide(&mut self, seen: Seen) -> Option<Record> {
        let mut record = seen.record;
        let Some(run) = record.holders.iter_mut().find(|run| run.token == self.token) else {
            self.outcome = Outcome::TakenOver;
            return None;
        };
        // Whoever said that it is to end means every attempt of it.
        if run.state == State::Stopping {
            self.outcome = Outcome::Stopping;
        } else {
            run.state = self.change.state;
        }
        run.leftovers.clone_from(&self.change.leftovers);
        Some(record)
    }

    fn events(&mut self) -> Vec<(u64, What)> {
        match self.outcome {
            Outcome::Done => self.events.drain(..).map(|what| (self.token, what)).collect(),
            Outcome::Stopping | Outcome::TakenOver | Outcome::Misled => Vec::new(),
        }
    }

    fn outcome(&self) -> Outcome {
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verdict::Verdict;
    use crate::protocol::fixtures::{act, end, logged, put, seen};
    use crate::protocol::{Act, Answer};

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
