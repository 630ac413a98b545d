//! The judge: what the jobs said and what the attacker did, against what jobguard promises. It
//! knows nothing of jobguard's own records.
//!
//! A job began before its "start" and ended after its "end", so two that overlap by these times
//! did overlap. One that was killed ended after SIGKILL was sent, to it or to the supervisor that
//! it dies with. When exactly, the witness knows that every job has locked until it is over.

use std::collections::BTreeMap;

use crate::arena::{Ended, Outcome};
use crate::chaos::{Counts, Struck};
use crate::schedule::{Share, Weather};

/// All that is known of one phase, after everybody is over.
pub struct Evidence<'a> {
    /// What the jobs said, by machine.
    pub logs: &'a BTreeMap<String, String>,
    pub outcomes: &'a [Outcome],
    pub struck: &'a Struck,
    pub weather: Weather,
}

/// What a job said of itself.
#[derive(Debug, Clone, Copy)]
struct Ran {
    number: u64,
    /// Its first line, in the order of the log.
    line: usize,
    start: u64,
    /// Its second line and when it said so.
    end: Option<(usize, u64)>,
    alone: bool,
    /// With how many others it may be there, if they are of the same mind.
    others: usize,
}

impl Evidence<'_> {
    /// Every promise that was broken; what there was, into the counts.
    pub fn check(&self, counts: &mut Counts) -> Vec<String> {
        let mut broken = Vec::new();
        let (mut ran, mut shared) = (BTreeMap::new(), 0);
        for (machine, log) in self.logs {
            let jobs = read(log, &mut broken);
            let (overlaps, beside) = self.overlaps(machine, &jobs);
            broken.extend(overlaps);
            shared += beside;
            ran.extend(jobs.into_iter().map(|job| (job.number, job)));
        }
        let mut count = |what: &'static str, how_many: usize| {
            *counts.entry(what).or_default() += u64::try_from(how_many).unwrap();
        };
        count("contenders", self.outcomes.len());
        count("jobs begun", ran.len());
        count("jobs begun beside others, as agreed", shared);
        count("jobs ended by themselves", ran.values().filter(|job| job.end.is_some()).count());
        for outcome in self.outcomes {
            match self.account(outcome, ran.get(&outcome.contender.number)) {
                Ok(how) => count(how, 1),
                Err(why) => broken.push(format!("lost outcome: {why}: {outcome:?}")),
            }
        }
        let known = |number: &u64| self.outcomes.iter().any(|o| o.contender.number == *number);
        let unknown = ran.keys().filter(|number| !known(number));
        broken.extend(unknown.map(|number| format!("a job of nobody: {number}")));
        broken
    }

    /// When SIGKILL was on its way to the job, if it was.
    fn struck(&self, number: u64) -> Option<u64> {
        let keep = || {
            let outcome = self.outcomes.iter().find(|o| o.contender.number == number);
            outcome.is_some_and(|outcome| outcome.contender.keep)
        };
        let guard = self.struck.guards.get(&number).filter(|_| !keep());
        self.struck.jobs.get(&number).into_iter().chain(guard).min().copied()
    }

    /// Jobs that were there before another had ended that is to be alone, or with fewer; and how many
    /// began beside others rightly.
    fn overlaps(&self, machine: &str, jobs: &[Ran]) -> (Vec<String>, usize) {
        let (mut broken, mut shared) = (Vec::new(), 0);
        // Those that may not have ended yet, and when they had.
        let mut running: Vec<(Ran, u64)> = Vec::new();
        for (at, job) in jobs.iter().enumerate() {
            if !job.alone {
                let others = &jobs[at.saturating_sub(3)..at];
                broken
                    .push(format!("overlap on {machine}: {job:?} began beside one of {others:?}"));
            }
            // Without an end and unless it was killed it may run for ever.
            let end = job.end.map(|(_, at)| at).or(self.struck(job.number));
            if end.is_none() {
                broken.push(format!(
                    "lost job on {machine}: {job:?} did not end, and nobody killed it"
                ));
            }
            running.retain(|(other, until)| {
                let in_log = other.end.is_some_and(|(line, _)| line > job.line);
                in_log || job.start < *until
            });
            let fits = |other: &Ran| other.others == job.others && running.len() <= job.others;
            if let Some((other, _)) = running.iter().find(|(other, _)| !fits(other)) {
                broken.push(format!(
                    "overlap on {machine}: {job:?} began before {other:?} ended, with {} there",
                    running.len()
                ));
            } else {
                shared += usize::from(!running.is_empty());
            }
            running.push((*job, end.unwrap_or(job.start)));
        }
        (broken, shared)
    }

    /// Why a contender ended as it did.
    fn account(&self, outcome: &Outcome, job: Option<&Ran>) -> Result<&'static str, &'static str> {
        let Outcome { contender, ended, said, .. } = outcome;
        let number = contender.number;
        let has_end = job.is_some_and(|job| job.end.is_some());
        match *ended {
            Ended::Signaled(libc::SIGKILL) if self.struck.guards.contains_key(&number) => {
                Ok("outcome: killed")
            }
            Ended::Signaled(libc::SIGKILL) if self.struck.jobs.contains_key(&number) => {
                Ok("outcome: died as its job did")
            }
            Ended::Exited(code) if has_end => match code == contender.status {
                true => Ok("outcome: the job's status"),
                false => Err("not the status of the job"),
            },
            Ended::Exited(_) if job.is_some() => Err("no end of the job, but a status"),
            Ended::Exited(75) if contender.wait_ms.is_some() => Ok("outcome: busy, 75"),
            Ended::Exited(125) if said.contains("No space left") && self.was_full(outcome) => {
                Ok("outcome: disk full, 125")
            }
            Ended::Exited(125) if said.contains("cannot take the machine lock") => {
                // Whoever has it may be stopped.
                match contender.hasty || self.weather == Weather::Stops {
                    true => Ok("outcome: no lock, 125"),
                    false => Err("nobody can have had the lock for so long"),
                }
            }
            _ => Err("nothing explains it"),
        }
    }

    fn was_full(&self, outcome: &Outcome) -> bool {
        let full = &mut self.struck.full.iter();
        full.any(|(from, until)| *from < outcome.over && outcome.begun < *until)
    }
}

/// The jobs of a log, in the order of their first lines.
fn read(log: &str, broken: &mut Vec<String>) -> Vec<Ran> {
    let mut jobs: Vec<Ran> = Vec::new();
    let mut by_number = BTreeMap::new();
    for (line, text) in log.lines().enumerate() {
        let words: Vec<&str> = text.split(' ').collect();
        let (Some(Ok(number)), Some(Ok(time))) =
            (words.get(1).map(|w| w.parse()), words.get(3).map(|w| w.parse()))
        else {
            broken.push(format!("not a line of a job: {text:?}"));
            continue;
        };
        match (words[0], by_number.get(&number).copied()) {
            ("start", None) => {
                by_number.insert(number, jobs.len());
                let alone = words.get(4) == Some(&"alone");
                let others = Share::others(words.get(5).copied().unwrap_or("x"));
                jobs.push(Ran { number, line, start: time, end: None, alone, others });
            }
            ("end", Some(at)) if jobs[at].end.is_none() => jobs[at].end = Some((line, time)),
            _ => broken.push(format!("a job that ran twice: {text:?}")),
        }
    }
    jobs
}

#[cfg(test)]
mod tests;
