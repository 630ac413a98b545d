//! Leaving word of something: appending to the event log what the record does not show.

use super::{Act, Answer, Next, Protocol};
use crate::machine::events::What;

/// How leaving word ended, here and in [`super::withdraw`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is written down.
    Done,
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// A note under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    step: Step,
    events: Vec<(u64, What)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Logging,
    Unlocking,
    Over,
}

impl Note {
    /// A note of these events, each with the token of the run that it is about.
    pub fn new(events: Vec<(u64, What)>) -> Self {
        Self { step: Step::Start, events }
    }
}

impl Protocol for Note {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        let (step, act) = match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => (Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) => {
                (Step::Logging, Act::Log(std::mem::take(&mut self.events)))
            }
            (Step::Logging, Answer::Done) => (Step::Unlocking, Act::Unlock),
            (Step::Unlocking, Answer::Done) => return Next::Finish(Outcome::Done),
            _ => return Next::Finish(Outcome::Misled),
        };
        self.step = step;
        Next::Do(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fixtures::{act, end, logged};

    #[test]
    fn it_only_logs() {
        let what =
            What::ForceCleared { verdict: String::new(), uid: 0, holder: Default::default() };
        let mut note = Note::new(vec![(7, what)]);
        assert_eq!(act(&mut note, Answer::Begin), Act::Lock);
        assert_eq!(logged(act(&mut note, Answer::Done)), 1);
        assert_eq!(act(&mut note, Answer::Done), Act::Unlock);
        assert_eq!(end(&mut note, Answer::Done), Outcome::Done);
        assert_eq!(end(&mut note, Answer::Done), Outcome::Misled);
    }
}
