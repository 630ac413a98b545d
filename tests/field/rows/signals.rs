//! What is sent to the wrapper, and what of it reaches the job.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libc::{SIGCONT, SIGTERM, SIGUSR1};
use nix::poll::ppoll;
use nix::sys::time::TimeSpec;

use crate::support::probe::{Watched, bare, probe, send};
use crate::support::{Running, Sandbox, until};
use crate::table::NONE;
use crate::wrapper::{Next, Wrapper, next, over, signals_had};

/// How often a thing is tried of which two may come, and look like one: of signals that are pending
/// twice one is left, however slowly they were sent.
pub const TRIES: usize = 3;

/// A realtime signal that no C library keeps for itself.
const REALTIME: i32 = 37;

pub fn term(wrapper: Wrapper) -> String {
    sent(wrapper, SIGTERM)
}

pub fn usr1(wrapper: Wrapper) -> String {
    sent(wrapper, SIGUSR1)
}

pub fn realtime(wrapper: Wrapper) -> String {
    sent(wrapper, REALTIME)
}

fn sent(wrapper: Wrapper, signal: i32) -> String {
    let all = (0..TRIES).map(|_| {
        let sandbox = Sandbox::new();
        let mut command = bare(&sandbox, &[]);
        command.args(wrapper.slow_words(&sandbox)).stderr(Stdio::null());
        let mut job = Watched::start(&mut command, &[]);
        let guard = job.guard.pid();
        send(guard, signal);
        what_came(&mut job, guard, &[], signal)
    });
    most(all)
}

/// What came of a signal, in words, when the job has said these lines already.
pub fn what_came(job: &mut Watched, guard: i32, said: &[String], signal: i32) -> String {
    let had = [said, &signals_had(job, guard)].concat();
    match (had.is_empty() && over(guard), over(job.job)) {
        (true, true) => "both die".to_owned(),
        (true, false) => ORPHAN.to_owned(),
        (false, _) => times(&had, signal),
    }
}

/// The wrapper did not survive, and the job does not know.
const ORPHAN: &str = "wrapper dies, job goes on";

/// The answer of those that says most.
pub fn most(all: impl Iterator<Item = String>) -> String {
    all.max_by_key(|answer| (answer.starts_with(MORE), answer.len())).unwrap()
}

/// Two or more: how many depends on how fast the job takes them.
const MORE: &str = "more than once";

/// How often a signal came, whoever sent it, and whether CONT came with it, as timeout does for
/// stopped jobs.
fn times(had: &[String], signal: i32) -> String {
    let count = |signal: i32| {
        let number = format!("{signal} ");
        had.iter().filter(|line| line.starts_with(&number)).count()
    };
    let times = match count(signal) {
        0 => "no",
        1 => "once",
        _ => MORE,
    };
    format!("{times}{}", if count(SIGCONT) > 0 { ", and CONT" } else { "" })
}

/// The job sends TERM to its parent.
pub fn echo(wrapper: Wrapper) -> String {
    if wrapper == Wrapper::Bare {
        return NONE.to_owned();
    }
    let sandbox = Sandbox::new();
    let mut job = wrapper.watched(&sandbox, &[&format!("parent={SIGTERM}")]);
    let guard = job.guard.pid();
    job.says("sent");
    match what_came(&mut job, guard, &[], SIGTERM).as_str() {
        told @ ("no" | ORPHAN) => told.to_owned(),
        _ => "yes".to_owned(),
    }
}

pub fn storm(wrapper: Wrapper) -> String {
    const COUNT: usize = 2000;
    const SIGNAL: i32 = 35;
    const LAST: i32 = 64;
    let sandbox = Sandbox::new();
    let mut job = wrapper.watched(&sandbox, &[]);
    let guard = job.guard.pid();
    let mut storm = Command::new(probe());
    storm.args(["storm", &guard.to_string(), &SIGNAL.to_string(), &COUNT.to_string()]);
    let storm = Running::new(storm.spawn().unwrap());
    until("all are sent", || over(storm.pid()) || over(guard));
    if !over(guard) {
        send(guard, LAST); // after all others: lower numbers are delivered first
    }
    let mut count = 0;
    loop {
        match next(&mut job, guard, wrapper.patience()) {
            Next::Line(line) if line == format!("{LAST} user") => break,
            Next::Line(_) => count += 1,
            Next::Over => return ORPHAN.to_owned(),
            Next::Nothing => return "the last is lost".to_owned(),
        }
    }
    match count {
        COUNT => "all",
        0..COUNT => "some are lost",
        _ => "more than were sent",
    }
    .to_owned()
}

/// How often TERM is sent while wrapper and job are starting.
const EARLY: u32 = 300;

/// What became of one early TERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Early {
    /// It ended the wrapper before there was a job, or reached the job.
    Told,
    /// Both go on as if there had been nothing.
    Swallowed,
    /// The job goes on without its wrapper.
    Orphaned,
}

fn early_term_once(wrapper: Wrapper, sandbox: &Sandbox, moment: Duration) -> Early {
    let mut command = wrapper.launch(sandbox, &[]);
    let mut guard = Running::start(command.arg(probe()).arg("signals"));
    let moment = TimeSpec::from_duration(moment);
    ppoll(&mut [], Some(moment), None).unwrap();
    send(guard.pid(), SIGTERM);
    let line = match guard.line_within(wrapper.patience()) {
        None => return Early::Swallowed,
        // An orphan would keep it open.
        Some(line) if line.is_empty() => return Early::Told,
        Some(line) => line,
    };
    let mut job = Watched::greeted(guard, &line);
    let guard = job.guard.pid();
    match signals_had(&mut job, guard).as_slice() {
        [] if !over(guard) => Early::Swallowed,
        [] if !over(job.job) => Early::Orphaned,
        _ => Early::Told,
    }
}

/// A peer that loses one in a hundred is to be caught each time.
pub fn early_term(wrapper: Wrapper) -> String {
    let rounds = if wrapper.is_peer() { 3 } else { 1 };
    let mut answers = (0..rounds).map(|round| early_terms(wrapper, round > 0));
    answers.find(|answer| answer != NEVER).unwrap_or_else(|| NEVER.to_owned())
}

const NEVER: &str = "never lost";

/// At moments that are spread over all of the start, or over its second half, where the fork is.
fn early_terms(wrapper: Wrapper, late: bool) -> String {
    let sandbox = Sandbox::new();
    let begin = Instant::now();
    wrapper.watched(&sandbox, &[]).end();
    let span = begin.elapsed() * 5 / 4;
    let first = if late { span / 2 } else { Duration::ZERO };
    let moments = (0..EARLY).map(|part| first + (span - first) * part / EARLY);
    let came: Vec<Early> =
        moments.map(|moment| early_term_once(wrapper, &sandbox, moment)).collect();
    let count = |early: Early| came.iter().filter(|one| **one == early).count();
    let (swallowed, orphaned) = (count(Early::Swallowed), count(Early::Orphaned));
    println!("{wrapper:?}: of {EARLY} early TERM {swallowed} swallowed, {orphaned} left an orphan");
    match (swallowed, orphaned) {
        (0, 0) => NEVER,
        (_, 0) => "sometimes swallowed",
        (0, _) => "orphans the job",
        _ => "sometimes swallowed, orphans the job",
    }
    .to_owned()
}
