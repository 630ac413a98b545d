//! What a run has used so far: its attempts, and what they left behind for us to reap.

use std::time::{Duration, Instant};

use crate::machine::used::Used;
use crate::sys::usage::{Usage, of_reaped};

/// The account of one run.
#[derive(Debug, Default)]
pub struct Spent {
    run: Option<Begun>,
    attempt: Option<Instant>,
    /// How long the last attempt took, and what it used.
    last: (Option<Duration>, Option<Usage>),
    /// The most memory of all attempts.
    max_rss_kib: u64,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    /// What whoever was this process before us, or a claim, had reaped by then.
    reaped: Option<Usage>,
}

impl Spent {
    /// A job is let through its gate.
    pub fn begin(&mut self) {
        let at = Instant::now();
        self.attempt = Some(at);
        self.run.get_or_insert_with(|| Begun { at, reaped: of_reaped().ok() });
    }

    /// A job is over, and not reaped; it used this.
    pub fn end(&mut self, usage: Option<Usage>) {
        self.last = (self.attempt.map(|began| began.elapsed()), usage);
        self.max_rss_kib = self.max_rss_kib.max(usage.map_or(0, |usage| usage.max_rss_kib));
    }

    /// What the last attempt used.
    pub fn by_attempt(&self) -> Used {
        let (wall, usage) = self.last;
        Used::new(wall, usage)
    }

    /// What all has used so far; `reaped`: the last job, too.
    pub fn in_all(&self, reaped: bool) -> Used {
        let Some(begun) = &self.run else { return Used::default() };
        let all = || {
            let others = of_reaped().ok()?.since(begun.reaped?);
            let last = if reaped { Usage::default() } else { self.last.1? };
            let most = Usage { max_rss_kib: self.max_rss_kib, ..Usage::default() };
            Some(others.and(last).and(most))
        };
        Used::new(Some(begun.at.elapsed()), all())
    }
}
