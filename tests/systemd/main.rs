//! Under a real systemd as PID 1: services that are restarted, killed and raced, timers, reboots.
//! Whatever systemd does, there are never two jobs, and what was asked to run runs in the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

mod activation;
mod boots;
mod judge;
mod machine;
mod orphans;
mod readiness;
#[path = "../support/mod.rs"]
mod support;
mod variants;

use std::time::Instant;

use judge::Judge;
use machine::Machine;
use rstest::rstest;
use support::until;

/// How often each service is restarted.
const RESTARTS: usize = 50;

/// A service of this command, with more lines in its section.
fn service(command: &str, more: &[&str]) -> String {
    let more = more.join("\n");
    format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart={command}\n{more}\n")
}

/// How a service takes it that it is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It ends 300 ms after the TERM.
    Slow,
    /// Never: systemd kills it.
    Deaf,
    /// It is killed, and begins again by itself.
    Killed,
}

#[rstest]
#[case(Stop::Slow, &[])]
#[case(Stop::Deaf, &["TimeoutStopSec=200ms"])]
#[case(Stop::Killed, &["Restart=always", "RestartSec=0"])]
fn restarts_in_a_row(#[case] stop: Stop, #[case] more: &[&str]) {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let job = judge.job(if stop == Stop::Deaf { "deaf" } else { "slow" }, 300);
    let command = format!("/rig/bin/jobguard -m sched -w 10s -- {job}");
    machine.install("sched.service", &service(&command, more));
    machine.systemctl(&["start", "sched"]);
    judge.until_begun(1);
    let began = Instant::now();
    for round in 0..RESTARTS {
        let begun = judge.tally().begun;
        match stop {
            Stop::Killed => machine.systemctl(&["kill", "--signal", "KILL", "sched"]),
            Stop::Slow | Stop::Deaf => machine.systemctl(&["restart", "sched"]),
        };
        // Every other restart strikes wherever jobguard has come to by then.
        if stop == Stop::Killed || round % 2 == 0 || round == RESTARTS - 1 {
            judge.until_begun(begun + 1);
            assert_eq!(machine.show("sched").state(), "active (running)", "round {round}");
        }
    }
    let tally = judge.never_two();
    let unit = machine.show("sched");
    println!("{stop:?}: {RESTARTS} restarts in {:?}: {tally:?}", began.elapsed());
    assert!(tally.begun > RESTARTS / 2);
    let journal = machine.journal("sched");
    let cleared = journal.lines().filter(|line| line.contains("STALE")).count();
    match stop {
        Stop::Slow => assert_eq!((tally.ended + 1, cleared), (tally.begun, 0), "{journal}"),
        Stop::Deaf => assert_eq!(tally.ended, 0),
        Stop::Killed => {
            assert_eq!(unit.get("NRestarts"), RESTARTS.to_string());
            assert_eq!((tally.begun, cleared), (RESTARTS + 1, RESTARTS), "{journal}");
        }
    }
    machine.systemctl(&["stop", "sched"]);
    until("the machine is free", || {
        machine.run("/rig/bin/jobguard", &["status", "sched"]).code() != 0
    });
}

/// The judge catches what it is there for.
#[test]
fn without_jobguard_two_units_overlap() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "bare");
    for unit in ["one.service", "two.service"] {
        machine.install(unit, &service(&judge.job("slow", 0), &[]));
        machine.systemctl(&["start", unit]);
    }
    judge.until_begun(2);
    assert_eq!(judge.tally().overlaps, 1, "the job of the second unit began beside the first");
}
