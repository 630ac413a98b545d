//! Which signals reach the job: every one that somebody sends to jobguard, exactly once, and no
//! other. "Not forwarded" is proven by a later signal being the next line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/mod.rs"]
mod support;

mod early;
mod echo;
mod matrix;
mod storms;

use std::os::unix::process::ExitStatusExt;

use jobguard::identity::host::INITIAL_PID_NS;
use jobguard::sys::pidfd::PidFd;
use jobguard::sys::signal::{Arrival, SignalSet};
use libc::{SIGHUP, SIGKILL, SIGTERM, SIGUSR1};
use nix::sys::signal::Signal;
use support::held::sleeps_in;
use support::probe::{Watched, launch, send};
use support::{Sandbox, ends, run, state, until};

const GUARD: [&str; 2] = ["-m", "m"];

/// What can be caught: all of 1 to 64 but KILL and STOP.
fn catchable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![SIGKILL, libc::SIGSTOP].contains(signal))
}

/// Waits until a process has done everything about the signals that it was sent: it is woken before
/// the call that sends one returns, and sleeps again when it has taken the last.
fn settles(pid: i32) {
    let calls = [libc::SYS_read, libc::SYS_ppoll, libc::SYS_rt_sigtimedwait];
    let has = || {
        state(pid).is_none_or(|state| ['T', 'Z'].contains(&state))
            || calls.into_iter().any(|call| sleeps_in(pid, call))
    };
    // One that is just being woken on the other core still seems to sleep: so it is looked at twice.
    let still_has = || {
        has() && {
            std::thread::yield_now();
            has()
        }
    };
    // Thousands of them take a few microseconds each.
    for _ in 0..100 {
        if still_has() {
            return;
        }
        std::thread::yield_now();
    }
    until("it waits for more, is stopped, or over", still_has);
}

/// The signals that wait to be delivered to a process.
fn pending(pid: i32) -> SignalSet {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shared = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
    SignalSet(u64::from_str_radix(shared.trim(), 16).unwrap())
}

/// Sends a signal as sigqueue(3) does.
fn queue(to: &PidFd, signal: i32, value: u64) -> std::io::Result<()> {
    to.pass_on(Arrival { code: libc::SI_QUEUE, value, ..Arrival::plain(signal) })
}

#[test]
fn every_signal_reaches_the_job_exactly_once() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    assert_eq!(catchable().count(), 62);
    for signal in catchable() {
        job.send(signal);
        job.says(&format!("{signal} user")); // had the one before come twice, it would be this line
    }
    job.send(SIGUSR1);
    job.says(&format!("{SIGUSR1} user"));
    job.end();
}

#[test]
fn a_job_without_a_terminal_leads_a_group_that_gets_its_signals() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &["fork"]);
    assert_eq!(job.group, job.job);
    assert!(job.guard.line().starts_with("child ready "));
    for signal in [SIGTERM, SIGHUP, SIGUSR1, 34] {
        job.send(signal);
        let mut lines = [job.guard.line(), job.guard.line()];
        lines.sort();
        assert_eq!(lines, [format!("{signal} user"), format!("child {signal} user")]);
    }
    job.end();
}

#[test]
fn a_killed_supervisor_leaves_its_job_running_and_holding() {
    let initial = std::fs::metadata("/proc/self/ns/pid").unwrap();
    let initial = std::os::unix::fs::MetadataExt::ino(&initial) == INITIAL_PID_NS;
    let keep: [&str; 4] = ["-m", "m", "--on-supervisor-death", "keep"];
    let sandbox = Sandbox::new();
    for guard in [&keep[..], &GUARD[..]] {
        if guard == GUARD && !initial {
            println!("not asked: what is the default in the initial PID namespace");
            continue;
        }
        let mut job = Watched::start(&mut launch(&sandbox, &[], guard), &[]);
        send(job.parent, SIGKILL);
        assert_eq!(job.guard.wait().signal(), Some(SIGKILL));
        send(job.job, SIGUSR1);
        job.says(&format!("{SIGUSR1} user"));
        run(&mut sandbox.jobguard(["status", "m"])).exits(0);
        run(&mut sandbox.jobguard(["-n", "-m", "m", "true"])).exits(75);
        send(job.job, SIGKILL);
        assert!(ends(job.job, support::PATIENCE));
        run(&mut sandbox.jobguard(["-m", "m", "true"])).exits(0);
    }
}

#[test]
fn a_job_that_is_to_die_with_its_supervisor_does() {
    let sandbox = Sandbox::new();
    let guard = ["-m", "m", "--on-supervisor-death", "kill"];
    let mut job = Watched::start(&mut launch(&sandbox, &[], &guard), &[]);
    send(job.parent, SIGKILL);
    job.says(""); // nobody has its stdout open any more
    assert!(ends(job.job, support::PATIENCE));
}

#[test]
fn stopping_and_continuing_jobguard_loses_nothing() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    send(job.parent, libc::SIGSTOP);
    until("jobguard is stopped", || state(job.parent) == Some('T'));
    job.send(SIGUSR1);
    job.send(50);
    job.send(50);
    job.guard.signal(Signal::SIGCONT);
    // In the order in which jobguard may take them: lower numbers first.
    for signal in [SIGUSR1, libc::SIGCONT, 50, 50] {
        job.says(&format!("{signal} user"));
    }
    job.end();
}
