//! Signals that come before there is a job: to a waiter, and to a run that is about to begin.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use jobguard::sys::pidfd::PidFd;
use libc::{SIGCONT, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2};

use super::support::held::{sleeps_in, waits};
use super::support::probe::{Watched, launch, probe, send};
use super::support::strace::{Point, points, strike_all, tracee};
use super::support::{Running, Sandbox, Stray, require_program, sleeps, state, until};
use super::{GUARD, catchable, settles};

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

/// What can be sent to a process that is stopped, in the order of what it does to the others: CONT last,
/// which takes the signals that stop from whoever has them pending.
fn all_at_once() -> impl Iterator<Item = i32> {
    let stopping = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let others = move |signal: &i32| *signal != SIGCONT && !stopping.contains(signal);
    catchable().filter(others).chain([SIGCONT])
}

/// A jobguard that is held, by a stop, after each of the calls that it makes from before the fork until
/// it watches its job.
#[test]
fn every_signal_that_comes_around_the_birth_reaches_the_job_once() {
    require_program("strace");
    let sandbox = Sandbox::new();
    assert!(Running::new(held(&sandbox, &[], &["true"]).spawn().unwrap()).wait().success());
    let mut points = points(&sandbox, "socketpair(");
    let watches = points.iter().position(|point| point.name == "waitid");
    points.truncate(watches.expect("it looks at the job"));
    let cases: Vec<Case> = points
        .into_iter()
        .flat_map(|point| [false, true].map(|to_group| Case { point: point.clone(), to_group }))
        .collect();
    assert!(cases.len() > 20, "{}", cases.len());
    let hits = strike_all(&cases, Case::is_survived);
    assert!(hits * 5 > cases.len() * 4, "{hits} of {}", cases.len());
    println!("59 signals at once, at each of {hits} moments around the birth of a job");
}

/// jobguard under strace, with everything blocked; its job ends with it.
fn held(sandbox: &Sandbox, options: &[&str], job: &[&str]) -> Command {
    let guard = [&GUARD[..], &["--on-supervisor-death", "kill"]].concat();
    let launch = launch(sandbox, &[&format!("mask={:x}", u64::MAX)], &guard);
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(sandbox.path("trace")).args(options);
    strace.arg(launch.get_program()).args(launch.get_args()).args(job);
    sandbox.confine(&mut strace);
    strace
}

struct Case {
    point: Point,
    to_group: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, to the group: {}", self.point, self.to_group)
    }
}

impl Case {
    fn is_survived(&self) -> bool {
        let sandbox = Sandbox::new();
        let Point { name, occurrence } = &self.point;
        let trace = format!("trace={name}");
        let inject = format!("inject={name}:signal=STOP:when={occurrence}");
        let job = [probe().to_str().unwrap(), "signals"];
        let strace = Running::start(&mut held(&sandbox, &["-e", &trace, "-e", &inject], &job));
        let trace = sandbox.path("trace");
        let stopped = || {
            std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("stopped by SIGSTOP"))
        };
        let watches = || {
            let tracee = tracee(&strace);
            tracee.is_some_and(|pid| sleeps_in(pid, libc::SYS_read) || waits(pid))
        };
        until("it is stopped, or is past that", || stopped() || watches());
        let wrapper = tracee(&strace).expect("a process that is traced");
        let _end = Stray(wrapper); // and with it of its job
        if !stopped() {
            return false; // a call that it makes when its job is over
        }
        let handle = PidFd::open(wrapper).unwrap();
        for signal in all_at_once() {
            // The group may hold a child that is a job by now, and none of its processes is lost on us.
            match self.to_group && signal != SIGCONT {
                true => handle.signal_group(wrapper, signal).unwrap(),
                false => handle.signal(signal).unwrap(),
            }
        }
        let mut job = Watched::greet(strace);
        let mut lines: Vec<String> = all_at_once().map(|_| job.guard.line()).collect();
        lines.sort();
        let mut expected: Vec<String> = all_at_once().map(|n| format!("{n} user")).collect();
        expected.sort();
        assert_eq!(lines, expected);
        settles(wrapper);
        for signal in [64, SIGUSR2] {
            handle.signal(signal).unwrap();
            job.says(&format!("{signal} user"));
        }
        true
    }
}

/// A process may have signals pending when it becomes jobguard, and sent by itself at that.
#[test]
fn what_was_pending_on_entry_is_the_jobs() {
    let sandbox = Sandbox::new();
    let all: Vec<i32> =
        all_at_once().filter(|n| ![libc::SIGPIPE, libc::SIGXFSZ].contains(n)).collect();
    let mut state = vec![format!("mask={:x}", u64::MAX)];
    state.extend(all.iter().map(|signal| format!("raise={signal}")));
    let state: Vec<&str> = state.iter().map(String::as_str).collect();
    let mut job = Watched::start(&mut launch(&sandbox, &state, &GUARD), &[]);
    let mut lines: Vec<String> = all.iter().map(|_| job.guard.line()).collect();
    lines.sort();
    let mut expected: Vec<String> = all.iter().map(|signal| format!("{signal} user")).collect();
    expected.sort();
    assert_eq!(lines, expected);
    job.send(SIGUSR2);
    job.says(&format!("{SIGUSR2} user"));
    job.end();
}
