//! Another attempt of a run that holds its machine: a new job, in the same holder.

use super::claim::Outcome;
use super::claims::Joint;
use super::rewrite::next_revision;
use super::{Act, Answer, Next, Protocol, Seen};
use crate::machine::record::{Holder, Record, State};

/// Another attempt under way. It ends as a claim does: granted when the job runs, else busy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Again {
    step: Step,
    token: u64,
    /// As it was read, and the place of our holder in it.
    seen: Option<(Box<Record>, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Locking,
    Reading,
    Forking,
    Putting,
    Abandoning,
    Unlocking { granted: bool },
    Opening,
    Over,
}

impl Again {
    /// Another attempt of the run `token`.
    pub fn new(token: u64) -> Self {
        Self { step: Step::Start, token, seen: None }
    }
}

impl Joint for Again {}

impl Protocol for Again {
    type Outcome = Outcome;

    fn next(&mut self, answer: Answer) -> Next<Outcome> {
        match (std::mem::replace(&mut self.step, Step::Over), answer) {
            (Step::Start, Answer::Begin) => self.go(Step::Locking, Act::Lock),
            (Step::Locking | Step::Abandoning, Answer::Done) => self.go(Step::Reading, Act::Read),
            (Step::Reading, Answer::Seen(seen)) => self.decide(*seen),
            (Step::Forking, Answer::Born(holder)) => self.record(*holder),
            // A record that names a child which never became the job: its supervisor lives.
            (Step::Forking | Step::Abandoning | Step::Unlocking { .. }, Answer::Refused) => {
                self.unlock(false)
            }
            (Step::Putting, Answer::Changed) => self.go(Step::Abandoning, Act::Abandon),
            (Step::Putting, Answer::Done) => self.unlock(true),
            (Step::Unlocking { granted: true }, Answer::Done) => {
                self.go(Step::Opening, Act::OpenGate)
            }
            (Step::Unlocking { granted: false }, Answer::Done) => {
                Next::Finish(Outcome::Busy { cleared: Vec::new(), is_full: false })
            }
            (Step::Opening, Answer::Done) => {
                Next::Finish(Outcome::Granted { token: self.token, cleared: Vec::new() })
            }
            _ => Next::Finish(Outcome::Misled),
        }
    }
}

impl Again {
    fn go(&mut self, step: Step, act: Act) -> Next<Outcome> {
        self.step = step;
        Next::Do(act)
    }

    fn unlock(&mut self, granted: bool) -> Next<Outcome> {
        self.go(Step::Unlocking { granted }, Act::Unlock)
    }

    /// Only as long as the machine is ours alone, and nobody wants us to end.
    fn decide(&mut self, seen: Seen) -> Next<Outcome> {
        let ours = |holder: &Holder| holder.token == self.token && holder.state != State::Stopping;
        // It was the earlier attempt's, beside which this one would not be either.
        let inner = |holder: &Holder| holder.parent == Some(self.token);
        if seen.record.holders.iter().any(inner) {
            return self.unlock(false);
        }
        match seen.record.holders.iter().position(ours) {
            Some(place) => {
                self.seen = Some((Box::new(seen.record), place));
                self.go(Step::Forking, Act::Fork(vec![self.token]))
            }
            None => self.unlock(false),
        }
    }

    fn record(&mut self, born: Holder) -> Next<Outcome> {
        let Some((mut record, place)) = self.seen.take() else {
            return Next::Finish(Outcome::Misled);
        };
        let ours = &mut record.holders[place];
        ours.job = born.job;
        ours.state = State::Running;
        ours.leftovers = Vec::new();
        self.go(Step::Putting, Act::Put(next_revision(*record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::verdict::Verdict;
    use crate::protocol::fixtures::{act, end, holder, put, seen};

    fn forking() -> Again {
        let mut again = Again::new(7);
        assert_eq!(act(&mut again, Answer::Begin), Act::Lock);
        assert_eq!(act(&mut again, Answer::Done), Act::Read);
        let both = seen(&[(8, Verdict::Live), (7, Verdict::Live)]);
        assert_eq!(act(&mut again, both), Act::Fork(vec![7]));
        again
    }

    fn born() -> Answer {
        let mut born = holder(0);
        born.job.as_mut().unwrap().pid = 43;
        Answer::Born(Box::new(born))
    }

    fn busy() -> Outcome {
        Outcome::Busy { cleared: Vec::new(), is_full: false }
    }

    #[test]
    fn the_record_names_the_new_job_before_it_begins() {
        let mut again = forking();
        let record = put(act(&mut again, born()));
        let jobs = record.holders.iter().map(|holder| holder.job.as_ref().unwrap().pid);
        assert_eq!((record.revision, jobs.collect::<Vec<_>>()), (6, vec![42, 43]));
        assert_eq!(act(&mut again, Answer::Done), Act::Unlock);
        assert_eq!(act(&mut again, Answer::Done), Act::OpenGate);
        let granted = Outcome::Granted { token: 7, cleared: Vec::new() };
        assert_eq!(end(&mut again, Answer::Done), granted);
    }

    #[test]
    fn a_record_that_changed_meanwhile_is_read_again() {
        let mut again = forking();
        put(act(&mut again, born()));
        assert_eq!(act(&mut again, Answer::Changed), Act::Abandon);
        assert_eq!(act(&mut again, Answer::Done), Act::Read);
    }

    #[test]
    fn not_when_the_machine_is_not_ours_any_more_or_we_are_to_end() {
        let stopping = match seen(&[(7, Verdict::Live)]) {
            Answer::Seen(mut seen) => {
                seen.record.holders[0].state = State::Stopping;
                Answer::Seen(seen)
            }
            other => panic!("{other:?}"),
        };
        let nested = match seen(&[(7, Verdict::Live), (8, Verdict::Live)]) {
            Answer::Seen(mut seen) => {
                seen.record.holders[1].parent = Some(7);
                Answer::Seen(seen)
            }
            other => panic!("{other:?}"),
        };
        for record in [stopping, nested, seen(&[(8, Verdict::Live)]), seen(&[])] {
            let mut again = Again::new(7);
            act(&mut again, Answer::Begin);
            act(&mut again, Answer::Done);
            assert_eq!(act(&mut again, record), Act::Unlock);
            assert_eq!(end(&mut again, Answer::Done), busy());
        }
    }

    #[test]
    fn not_when_another_machine_is_not_ours_any_more() {
        let mut again = forking();
        assert_eq!(act(&mut again, Answer::Refused), Act::Unlock);
        assert_eq!(end(&mut again, Answer::Done), busy());
    }
}
