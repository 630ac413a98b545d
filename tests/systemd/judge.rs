//! The judge: believes what the jobs say themselves, and the lock that each of them holds from its
//! first instruction to its last; nothing that jobguard wrote.

use std::path::PathBuf;

use crate::machine::Machine;
use crate::support::until;

/// The jobs of one machine.
pub struct Judge {
    log: PathBuf,
    name: String,
}

/// A line of the log.
#[derive(Debug, Clone)]
struct Line {
    what: String,
    /// As they are numbered inside.
    pid: i32,
    alone: bool,
}

/// What a judge has seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub begun: usize,
    /// Of their own, not by KILL.
    pub ended: usize,
    /// How many TERMs they got in all.
    pub terms: usize,
    /// How many began while another had not ended, or said something after the next began.
    pub overlaps: usize,
}

impl Judge {
    pub fn new(machine: &Machine, name: &str) -> Self {
        Self { log: machine.path(&format!("{name}.log")), name: name.to_owned() }
    }

    /// The command line of a job, inside: `how` is `slow`, `deaf` or `quick`.
    pub fn job(&self, how: &str, milliseconds: u32) -> String {
        let name = &self.name;
        format!("/rig/bin/job /rig/{name}.log /rig/{name}.witness {how} {milliseconds}")
    }

    fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let parse = |line: &str| {
            let mut words = line.split(' ');
            let (what, pid) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            Some(Line { what, pid, alone: words.nth(1)? == "alone" })
        };
        text.lines().map(|line| parse(line).expect("a line of job.c")).collect()
    }

    /// The job that began last.
    pub fn last(&self) -> Option<i32> {
        self.lines().iter().rev().find(|line| line.what == "start").map(|line| line.pid)
    }

    /// What was seen so far.
    pub fn tally(&self) -> Tally {
        let lines = self.lines();
        let count = |what: &str| lines.iter().filter(|line| line.what == what).count();
        let mut current = 0;
        let mut overlaps = 0;
        for line in &lines {
            if line.what == "start" {
                current = line.pid;
            }
            overlaps += usize::from(!line.alone || line.pid != current);
        }
        Tally { begun: count("start"), ended: count("end"), terms: count("term"), overlaps }
    }

    /// Waits until so many jobs have begun.
    #[track_caller]
    pub fn until_begun(&self, jobs: usize) {
        until(&format!("{jobs} jobs have begun"), || self.tally().begun >= jobs);
    }

    /// Asserts that there were jobs, and never two.
    #[track_caller]
    pub fn never_two(&self) -> Tally {
        let tally = self.tally();
        assert!(tally.begun > 0, "nothing ran");
        assert_eq!(tally.overlaps, 0, "two at once: {:?}", self.lines());
        tally
    }
}
