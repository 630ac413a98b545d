//! What was measured.

use crate::stats::Spread;

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// How many times as much as something else in the same run.
    Ratio,
    KiB,
    /// How often.
    Count,
}

/// One number with its target.
pub struct Row {
    /// Its name in the history.
    pub key: &'static str,
    pub what: String,
    pub unit: Unit,
    pub value: f64,
    /// What half of the rounds lie between.
    pub spread: Option<(f64, f64)>,
    /// What it may be at most.
    pub target: Option<f64>,
}

impl Row {
    pub fn ratio(key: &'static str, what: impl Into<String>, ratio: Spread) -> Self {
        let (what, spread) = (what.into(), Some((ratio.p25, ratio.p75)));
        Self { key, what, unit: Unit::Ratio, value: ratio.p50, spread, target: None }
    }

    pub fn number(key: &'static str, what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { key, what: what.into(), unit, value, spread: None, target: None }
    }

    pub fn at_most(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    pub fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| self.value > target)
    }

    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Ratio => format!("{value:.2}"),
            Unit::KiB => format!("{value:.0} KiB"),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// How a wrapper did beside the others.
pub struct Peer {
    pub name: String,
    /// Against flock(1).
    pub ratio: Spread,
    pub microseconds: f64,
}

/// All wrappers in one place.
pub struct Field {
    /// Where the state and the lock files were.
    pub place: &'static str,
    pub peers: Vec<Peer>,
}

/// How something grows: each value as a multiple of the first one.
pub struct Curve {
    /// Its file's name.
    pub key: &'static str,
    pub title: &'static str,
    pub along: &'static str,
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

/// Everything.
#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub fields: Vec<Field>,
    pub curves: Vec<Curve>,
    /// Resident memory of wrappers that supervise `sleep`.
    pub memory: Vec<(String, u64)>,
    /// What is not here.
    pub skipped: Vec<String>,
}
