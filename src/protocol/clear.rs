//! Clearing a machine by hand: phantoms always, anybody else by force and by name.

use super::claim::unrecorded_holder;
use super::rewrite::{as_recorded, next_revision, phantom_event, without};
use super::{Act, Answer, Felt, Judged, Next, Protocol, Seen};
use crate::identity::verdict::{Subject, Verdict};
use crate::machine::events::What;

/// How a clear ended: nothing in either list means that the machine was free.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It went through.
    Done {
        /// Whom it removed.
        cleared: Vec<Judged>,
        /// Whom it left alone.
        refused: Vec<Judged>,
    },
    /// The executor answered what was not asked: a defect.
    Misled,
}

/// A clear under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clear {
    step: Step,
    force: Option<Force>,
    seen: Option<Seen>,
    cleared: Vec<Judged>,
    refused: Vec<Judged>,
}

/// The word of somebody who knows better, about one run and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Force {
    /// The run to remove; 0 for a record that has no tokens.
    pub token: u64,
    /// Who says so.
    pub uid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Feeling,
    Putting,
    Logging,
    Unlinking,
    Unlocking,
    Over,
}

impl Clear {
    /// A clear that has not begun.
    pub fn new(force: Option<Force>) -> Self {
        let (cleared, refused) = (Vec::new(), Vec::new());
        Self { step: Step::Start, force, seen: None, cleared, refused }
    }
}

impl Protocol for Clear {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking, Answer::Done) | (Step::Putting, Answer::Changed) => {
                self.go(Step::Reading, Act::Read)
            }
            (Step::Reading, Answer::Seen(seen)) => {
                self.seen = Some(*seen);
                self.go(Step::Feeling, Act::FeelOthers)
            }
            (Step::Feeling, Answer::Felt(felt)) => self.decide(&felt),
            (Step::Putting, Answer::Done) => {
                let events = self.cleared.iter().map(|judged| self.event(judged)).collect();
                self.go(Step::Logging, Act::Log(events))
            }
            (Step::Logging, Answer::Done) => {
                let tokens = self.cleared.iter().map(|judged| judged.subject.token()).collect();
                self.go(Step::Unlinking, Act::Unlink(tokens))
            }
            (Step::Unlinking, Answer::Done) => self.go(Step::Unlocking, Act::Unlock),
            (Step::Unlocking, Answer::Done) => Next::Finish(Outcome::Done {
                cleared: std::mem::take(&mut self.cleared),
                refused: std::mem::take(&mut self.refused),
            }),
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Clear {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn decide(&mut self, felt: &Felt) -> Next<Outcome> {
        let Some(seen) = self.seen.take() else { return Next::Finish(Outcome::Misled) };
        let named = |token: &u64| seen.judged.iter().any(|j| j.subject.token() == *token);
        let unrecorded: Vec<Judged> =
            felt.taut.iter().copied().filter(|t| !named(t)).map(unrecorded_holder).collect();
        let (cleared, refused) =
            seen.judged.into_iter().chain(unrecorded).partition(|judged| self.may_clear(judged));
        self.cleared = cleared;
        self.refused = refused;
        if self.cleared.is_empty() {
            return self.go(Step::Unlocking, Act::Unlock);
        }
        let record = without(seen.record, &self.cleared, &seen.now);
        self.go(Step::Putting, Act::Put(next_revision(record)))
    }

    fn may_clear(&self, judged: &Judged) -> bool {
        let forced = || {
            self.force.is_some_and(|force| force.token == judged.subject.token())
                && !matches!(judged.subject, Subject::Newer(_))
        };
        judged.is_phantom() || forced()
    }

    fn event(&self, judged: &Judged) -> (u64, What) {
        phantom_event(judged).unwrap_or_else(|| {
            let what = What::ForceCleared {
                verdict: match &judged.judgement.verdict {
                    Verdict::Unverifiable(reason) => reason.code().to_owned(),
                    Verdict::Live | Verdict::Finishing | Verdict::Phantom(_) => "live".to_owned(),
                },
                uid: self.force.map_or(u32::MAX, |force| force.uid),
                holder: as_recorded(&judged.subject),
            };
            (judged.subject.token(), what)
        })
    }
}

#[cfg(test)]
mod tests;
