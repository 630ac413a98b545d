//! What a process is in the middle of: a protocol of the product.

use jobguard::machine::record::{Ending, LastRun};
use jobguard::machine::used::Used;
use jobguard::protocol::again::Again;
use jobguard::protocol::claim;
use jobguard::protocol::claims::{self, Claims};
use jobguard::protocol::clear::{self, Clear};
use jobguard::protocol::release::{self, Release};
use jobguard::protocol::withdraw::{self, Withdraw};
use jobguard::protocol::{Act, Answer, Next, Protocol};

use super::Violation;

/// A protocol under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "most worlds have a claim in them")]
pub enum Course {
    /// Of all its machines as one.
    Claim(Claims),
    /// Another attempt, on all its machines as one.
    Again(Claims<Again>),
    /// Of one machine, then of the next.
    Release(Release),
    Clear(Clear),
    Withdraw(Withdraw),
}

/// What comes next.
pub enum Then {
    /// This, on that one of its machines.
    Do(usize, Act),
    /// All its machines are had.
    Granted,
    /// None of its machines is had.
    Busy,
    /// This machine is done with.
    Finished,
}

impl Course {
    /// The release of a run that ended.
    pub fn release(token: u64) -> Self {
        Self::Release(Release::new(LastRun {
            token,
            ended: Ending::Exited,
            code: Some(0),
            started_at: None,
            ended_at: String::new(),
            used: Used::default(),
            unknown: serde_json::Map::new(),
        }))
    }

    /// Takes the answer to the last act, which was on that one of its machines, and says the next.
    pub fn next(&mut self, at: usize, answer: Answer) -> Result<Then, Violation> {
        match self {
            Self::Claim(claims) => jointly(claims.next(answer)),
            Self::Again(claims) => jointly(claims.next(answer)),
            Self::Release(release) => one(at, release.next(answer), &release::Outcome::Misled),
            Self::Clear(clear) => one(at, clear.next(answer), &clear::Outcome::Misled),
            Self::Withdraw(withdraw) => one(at, withdraw.next(answer), &withdraw::Outcome::Misled),
        }
    }
}

fn jointly(step: claims::Step) -> Result<Then, Violation> {
    match step {
        claims::Step::Do(at, act) => Ok(Then::Do(at, act)),
        claims::Step::Finish(outcomes) => claimed(&outcomes),
    }
}

fn claimed(outcomes: &[claim::Outcome]) -> Result<Then, Violation> {
    let is_had = |outcome: &claim::Outcome| match outcome {
        claim::Outcome::Granted { .. } => Some(true),
        claim::Outcome::Busy { .. } => Some(false),
        claim::Outcome::NotLost | claim::Outcome::Misled => None,
    };
    match outcomes.iter().map(is_had).collect::<Option<Vec<bool>>>() {
        Some(had) if had.iter().all(|had| *had) => Ok(Then::Granted),
        Some(had) if !had.contains(&true) => Ok(Then::Busy),
        Some(_) => Err("some of the machines are had, and some are not".to_owned()),
        None => Err("the claim was misled".to_owned()),
    }
}

fn one<O: PartialEq>(at: usize, next: Next<O>, misled: &O) -> Result<Then, Violation> {
    match next {
        Next::Do(act) => Ok(Then::Do(at, act)),
        Next::Finish(outcome) if outcome == *misled => Err("a protocol was misled".to_owned()),
        Next::Finish(_) => Ok(Then::Finished),
    }
}
