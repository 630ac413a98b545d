//! What is sent to the wrapper, and what of it reaches the job.

use std::process::Command;
use std::time::{Duration, Instant};

use libc::{SIGCONT, SIGTERM, SIGUSR1};
use nix::poll::ppoll;
use nix::sys::time::TimeSpec;

use crate::support::probe::{Watched, probe, send};
use crate::support::{Running, Sandbox, until};
use crate::table::NONE;
use crate::wrapper::{MARK, Next, Wrapper, leads, next, over, signals_had};

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
        let words = wrapper.slow_words(&sandbox);
        let mut job = Watched::start(&mut leads(&sandbox, &[], &words), &[]);
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

/// The answer of those that says most; but a signal that came only sometimes is to be seen.
pub fn most(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let lost = all.iter().any(|answer| answer == NEVER) && all.iter().any(|answer| answer != NEVER);
    let most = all.into_iter().max_by_key(|answer| (answer.starts_with(MORE), answer.len()));
    if lost { "not each time".to_owned() } else { most.unwrap() }
}

/// It did not come.
const NEVER: &str = "no";

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
        0 => NEVER,
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
        told @ (NEVER | ORPHAN) => told.to_owned(),
        _ => "yes".to_owned(),
    }
}

pub fn storm(wrapper: Wrapper) -> String {
    const COUNT: usize = 2000;
    const SIGNAL: i32 = 35;
    let sandbox = Sandbox::new();
    let mut job = wrapper.watched(&sandbox, &[]);
    let guard = job.guard.pid();
    let mut storm = Command::new(probe());
    storm.args(["storm", &guard.to_string(), &SIGNAL.to_string(), &COUNT.to_string()]);
    let storm = Running::new(storm.spawn().unwrap());
    until("all are sent", || over(storm.pid()) || over(guard));
    if !over(guard) {
        send(guard, MARK);
    }
    let mut count = 0;
    loop {
        match next(&mut job, guard, wrapper.patience()) {
            Next::Line(line) if line == format!("{MARK} user") => break,
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

/// Sends TERM at a moment of the start, or, without one, as soon as the wrapper has a child.
fn early_term_once(wrapper: Wrapper, sandbox: &Sandbox, moment: Option<Duration>) -> Early {
    let mut command = wrapper.launch(sandbox, &[]);
    let mut guard = Running::start(command.arg(probe()).arg("signals"));
    match moment {
        Some(moment) => drop(ppoll(&mut [], Some(TimeSpec::from_duration(moment)), None).unwrap()),
        None => child_appears(guard.pid()),
    }
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

/// Waits for a child without sleeping, so as to be there at its birth.
fn child_appears(wrapper: i32) {
    let children = format!("/proc/{wrapper}/task/{wrapper}/children");
    while !over(wrapper) && std::fs::read(&children).unwrap().is_empty() {
        std::hint::spin_loop();
    }
}

pub fn early_term(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let begin = Instant::now();
    wrapper.watched(&sandbox, &[]).end();
    let span = begin.elapsed() * 5 / 4;
    let spread = (0..EARLY).map(|part| Some(span * part / EARLY));
    // Alone, the job has no birth but the start.
    let at_birth = if wrapper == Wrapper::Bare { 0 } else { EARLY };
    let moments = spread.chain(std::iter::repeat_n(None, at_birth as usize));
    let came: Vec<Early> =
        moments.map(|moment| early_term_once(wrapper, &sandbox, moment)).collect();
    let sum = |early: Early| came.iter().filter(|one| **one == early).count();
    let (all, swallowed, orphaned) = (came.len(), sum(Early::Swallowed), sum(Early::Orphaned));
    println!("{wrapper:?}: of {all} early TERM {swallowed} swallowed, {orphaned} left an orphan");
    match (swallowed, orphaned) {
        (0, 0) => "never lost",
        (_, 0) => "sometimes swallowed",
        (0, _) => "orphans the job",
        _ => "sometimes swallowed, orphans the job",
    }
    .to_owned()
}
