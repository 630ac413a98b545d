//! Which signals reach the job: every one that somebody sends to jobguard, exactly once, and no
//! other. "Not forwarded" is proven by a later signal being the next line.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use jobguard::identity::host::INITIAL_PID_NS;
use libc::{SIGHUP, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2};
use nix::sys::signal::Signal;
use support::probe::{Watched, launch, probe, send};
use support::{Running, Sandbox, ends, run, sleeps, state, until};

const GUARD: [&str; 2] = ["-m", "m"];

/// The kernel's first and last realtime signals, and those that the C libraries keep for themselves.
const REALTIME: std::ops::RangeInclusive<i32> = 32..=64;

#[test]
fn every_signal_reaches_the_job_exactly_once() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let catchable = |signal: &i32| ![SIGKILL, libc::SIGSTOP].contains(signal);
    let all: Vec<i32> = (1..=31).chain(REALTIME).filter(catchable).collect();
    assert_eq!(all.len(), 62);
    for signal in all {
        job.send(signal);
        job.says(&format!("{signal} user")); // had the one before come twice, it would be this line
    }
    job.send(SIGUSR1);
    job.says(&format!("{SIGUSR1} user"));
    job.end();
}

#[test]
fn a_storm_of_realtime_signals_loses_none_and_doubles_none() {
    const COUNT: usize = 2000;
    const SIGNAL: i32 = 35;
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let mut storm = std::process::Command::new(probe());
    storm.args(["storm", &job.parent.to_string(), &SIGNAL.to_string(), &COUNT.to_string()]);
    let mut storm = Running::new(storm.spawn().unwrap());
    for _ in 0..COUNT {
        job.says(&format!("{SIGNAL} user"));
    }
    assert!(storm.wait().success());
    job.send(64); // after all others, wherever they are queued: lower numbers are delivered first
    job.says("64 user");
    job.end();
}

#[test]
fn what_the_job_or_its_child_sends_is_not_sent_back() {
    for sender in ["parent", "child"] {
        let sandbox = Sandbox::new();
        let mut job =
            Watched::start(&mut launch(&sandbox, &[], &GUARD), &[&format!("{sender}={SIGUSR1}")]);
        job.says("sent");
        job.send(SIGUSR2);
        job.says(&format!("{SIGUSR2} user"));
        job.end();
    }
}

/// 200 moments from the start of a jobguard to a while after its job began.
fn moments() -> impl Iterator<Item = Duration> {
    let sandbox = Sandbox::new();
    let begin = Instant::now();
    let job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let span = begin.elapsed() * 5 / 4;
    job.end();
    (0..200).map(move |part| span * part / 200)
}

/// Lets a moment pass that is too short to sleep through.
fn spin(moment: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < moment {
        std::hint::spin_loop();
    }
}

#[test]
fn an_early_term_ends_the_job_and_leaves_no_orphan() {
    let sandbox = Sandbox::new();
    let mut with_job = 0;
    for moment in moments() {
        let mut guard = Running::start(launch(&sandbox, &[], &GUARD).args(["sleep", "1000"]));
        spin(moment);
        send(guard.pid(), SIGTERM);
        assert_eq!(guard.wait().signal(), Some(SIGTERM), "{moment:?}");
        assert_eq!(guard.line(), "", "an orphan would keep its stdout open");
        if sandbox.machine("m").join("record.json").exists() {
            with_job += 1;
            assert_eq!(sandbox.record("m")["holders"].as_array().unwrap().len(), 0, "{moment:?}");
            std::fs::remove_dir_all(sandbox.state()).unwrap();
        }
    }
    println!("{with_job} of 200 signals found a job, or made one");
}

/// Blocked on entry, as some parents leave it, a signal must outlive everything until the job
/// takes it.
#[test]
fn an_early_signal_that_the_job_waits_for_is_never_lost() {
    let sandbox = Sandbox::new();
    for moment in moments() {
        let state = [format!("mask={:x}", u64::MAX), "say=launched".to_owned()];
        let mut guard = launch(&sandbox, &state.each_ref().map(String::as_str), &GUARD);
        guard.arg(probe()).args(["signals", "until=15"]);
        let mut guard = Running::start(&mut guard);
        assert_eq!(guard.line(), "launched");
        spin(moment);
        send(guard.pid(), SIGTERM);
        let mut job = Watched::greet(guard);
        job.says("15 user");
        assert!(job.guard.wait().success(), "{moment:?}");
        job.says(""); // once
    }
}

#[test]
fn term_ends_a_waiter_at_once() {
    let sandbox = Sandbox::new();
    let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    for signal in [SIGTERM, SIGHUP, libc::SIGINT, SIGUSR1, 40] {
        let mut waiter = Running::start(launch(&sandbox, &[], &GUARD).arg("true"));
        until("the waiter sleeps", || sleeps(waiter.pid()));
        send(waiter.pid(), signal);
        assert_eq!(waiter.wait().signal(), Some(signal));
    }
    assert_eq!(state(holder.job), Some('S'), "the holder is none of a waiter's business");
    holder.end();
}

#[test]
fn what_was_ignored_or_blocked_on_entry_leaves_a_waiter_waiting() {
    let sandbox = Sandbox::new();
    // nohup: HUP is signal 1, so bit 0. TERM, signal 15, is blocked, which the job will find out.
    let states: [&[&str]; 2] = [&["ignore=1"], &["mask=4000"]];
    for (state, signal) in states.into_iter().zip([SIGHUP, SIGTERM]) {
        let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
        let mut waiter = launch(&sandbox, state, &GUARD);
        let waiter = Running::start(waiter.arg(probe()).arg("signals"));
        until("the waiter sleeps", || sleeps(waiter.pid()));
        send(waiter.pid(), signal);
        holder.end();
        let mut job = Watched::greet(waiter);
        if signal == SIGTERM {
            job.says("15 user");
        } else {
            job.send(SIGHUP); // and the job ignores it as well
        }
        job.send(SIGUSR1);
        job.says(&format!("{SIGUSR1} user"));
        job.end();
    }
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
