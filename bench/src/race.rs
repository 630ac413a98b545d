//! Several commands side by side: a round is each of them once, and every round begins with another
//! one. What the machine does meanwhile hits all of them alike, so ratios within a round mean
//! something where times do not.

use crate::launch::Launch;
use crate::stats::Spread;

/// What takes part.
pub struct Candidate<'a> {
    pub name: String,
    pub launch: Launch,
    /// The only exit status that counts as having worked.
    pub code: i32,
    /// What is done before each start, and not measured.
    pub before: Box<dyn FnMut() + 'a>,
}

impl Candidate<'_> {
    pub fn new(name: impl Into<String>, launch: Launch) -> Self {
        Self { name: name.into(), launch, code: 0, before: Box::new(|| {}) }
    }
}

/// What each took in each round, in microseconds.
pub struct Times {
    names: Vec<String>,
    /// By candidate, then by round.
    times: Vec<Vec<f64>>,
}

/// Rounds that are run and not counted: caches, first uses of a machine.
const WARM_UP: usize = 5;

pub fn race(mut candidates: Vec<Candidate>, rounds: usize) -> Times {
    let mut times = vec![Vec::with_capacity(rounds); candidates.len()];
    for round in 0..rounds + WARM_UP {
        for step in 0..candidates.len() {
            let at = (round + step) % candidates.len();
            let candidate = &mut candidates[at];
            (candidate.before)();
            let (time, code) = candidate.launch.timed();
            assert_eq!(code, candidate.code, "{} went wrong", candidate.name);
            if round >= WARM_UP {
                times[at].push(time.as_secs_f64() * 1e6);
            }
        }
    }
    Times { names: candidates.into_iter().map(|candidate| candidate.name).collect(), times }
}

impl Times {
    fn of(&self, name: &str) -> &[f64] {
        let at = self.names.iter().position(|known| known == name);
        &self.times[at.unwrap_or_else(|| panic!("{name} did not take part"))]
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub fn p50(&self, name: &str) -> f64 {
        Spread::of(self.of(name).iter().copied()).p50
    }

    /// One against another: the ratio of each round, and what half of the rounds lie between.
    pub fn ratio(&self, name: &str, to: &str) -> Spread {
        Spread::of(self.of(name).iter().zip(self.of(to)).map(|(a, b)| a / b))
    }
}
