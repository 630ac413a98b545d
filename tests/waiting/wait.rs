//! `wait`: for the end of whoever holds a machine, without wanting it.

use std::time::{Duration, Instant};

use crate::support;
use crate::support::held::{Held, waits};
use crate::support::{Running, Sandbox, kernel_tells, run, until};

#[test]
fn a_free_machine_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.jobguard(["wait", "m1"])).exits(0).silent();
    assert!(done.stdout().starts_with("m1: free (never used"), "{done:?}");
    assert!(!sandbox.state().exists(), "looking makes nothing");
    run(&mut sandbox.jobguard(["-m", "m1", "false"])).exits(1);
    let done = run(&mut sandbox.jobguard(["wait", "m1", "--json"])).exits(0).silent();
    assert_eq!(
        (&done.json()["verdict"], &done.json()["last"]["code"]),
        (&"free".into(), &1.into())
    );
}

#[test]
fn it_returns_when_the_run_is_over_and_says_how_that_ended() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut waiter = Running::start(&mut sandbox.jobguard(["wait", "m1", "-w", "30"]));
    until("it waits", || waits(waiter.pid()));
    assert!(!sandbox.machine("m1").join("queue").exists(), "it is in nobody's way");
    held.let_go();
    assert!(waiter.line().starts_with("m1: free (last run exited 7 at "));
    assert!(waiter.wait().success());
}

#[test]
fn it_clears_a_phantom() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    held.orphan();
    let mut waiter = sandbox.jobguard(["wait", "m1"]);
    let mut waiter = Running::start(waiter.stderr(std::process::Stdio::piped()));
    until("it waits for the orphan", || waits(waiter.pid()));
    held.let_go();
    let line = waiter.line();
    let ended = ["exited 7", "ended unseen"].iter().position(|how| line.contains(how));
    assert!(ended == Some(0) || ended == Some(1) && !kernel_tells(), "{line}");
    let said = std::io::read_to_string(waiter.child.stderr.take().unwrap()).unwrap();
    assert!(said.contains("m1: cleared ") && said.contains("process not running"), "{said}");
    assert!(waiter.wait().success());
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["process_gone"], 1);
}

#[test]
fn it_gives_up_when_its_time_is_over() {
    let sandbox = Sandbox::new();
    let _held = Held::start(&sandbox);
    let before = Instant::now();
    let done = run(&mut sandbox.jobguard(["wait", "-w", "0.3", "m1"])).exits(75);
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(done.stdout(), "");
    done.says("m1 is held by \"sh -c")
        .says("it is alive: wait for it, or end it: jobguard stop m1 --token");
}

/// A part of a job that waits for the job's end would wait for ever.
#[test]
fn a_job_does_not_wait_for_itself() {
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.jobguard(["-m", "m1", "--", support::JOBGUARD, "wait", "m1"]));
    done.exits(75).says("it would wait for itself");
}
