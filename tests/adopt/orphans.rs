//! Runs whose supervisor was killed get another.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{adopt, adopted, holder, last, mirrored, supervisor};
use crate::support::held::waits;
use crate::support::keeper::{REAPS, daemon, orphan};
use crate::support::{PATIENCE, Running, Sandbox, ends, kernel_tells, run, until};

/// A supervisor that was killed leaves an orphan, which is adopted anew.
#[test]
fn an_adopted_process_may_become_an_orphan() {
    let sandbox = Sandbox::new();
    let mut daemon = daemon(REAPS, "read _; exit 3");
    let token = || holder(&sandbox)["token"].clone();
    let mut first = adopted(&sandbox, daemon.pid(), &[]);
    let number = token();
    first.signal(Signal::SIGKILL);
    first.wait();
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(75);
    // Nobody proves any more that it is of the run.
    let done = run(&mut sandbox.jobguard(["stop", "m1"])).exits(75);
    let done = done.says("nothing but its record says that it is of this run");
    assert!(done.stderr().contains("m1 is held by"));
    let mut second = adopted(&sandbox, daemon.pid(), &[]);
    assert_eq!(token(), number);
    daemon.let_go();
    second.wait();
    assert!(last(&sandbox) == json!(["exited", 3]) || !kernel_tells());
}

/// A job of ours whose supervisor was killed gets another, which holds the machine for the same run.
#[test]
fn an_orphan_is_taken_over() {
    let sandbox = Sandbox::new();
    let mut orphan = orphan(&sandbox, REAPS, "echo $$; read _; exit 3");
    let before = holder(&sandbox);
    let mut waiter = Running::new(sandbox.jobguard(["-m", "m1", "true"]).spawn().unwrap());
    let mut onlooker = Running::new(
        sandbox.jobguard(["wait", "m1", "-w", "25"]).stdout(Stdio::null()).spawn().unwrap(),
    );
    for waiting in [&waiter, &onlooker] {
        until("it waits", || waits(waiting.pid()));
    }
    let mut guard = adopted(&sandbox, orphan.pid(), &["--name", "kept"]);
    let after = holder(&sandbox);
    for same in ["token", "command", "cwd", "started_at", "job", "mode", "slots"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!((&after["adopted"], &after["name"]), (&json!(true), &json!("kept")));
    let lifeline = sandbox.machine("m1").join(format!("life.{}", before["token"]));
    let found = std::fs::symlink_metadata(&lifeline).unwrap();
    assert_eq!(after["lifeline"], format!("{}:{}", found.dev(), found.ino()));
    assert_ne!(after["lifeline"], before["lifeline"]);
    run(&mut sandbox.jobguard(["status", "m1"])).exits(0);
    orphan.let_go();
    let status = mirrored(guard.wait());
    assert!(status == json!(["exited", 3]) || !kernel_tells(), "{status}");
    assert!(waiter.wait().success() && onlooker.wait().success());
    let events: Vec<Value> = sandbox.events("m1").iter().map(|e| e["event"].clone()).collect();
    assert_eq!(events, ["taken_over", "ended", "ended"]);
    assert!(!lifeline.exists());
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"], json!({}));
}

/// Whoever waits already, behind others, need not wait for an orphan of his own.
#[test]
fn an_orphan_that_is_to_end_ends_with_its_new_supervisor() {
    let sandbox = Sandbox::new();
    let orphan = orphan(&sandbox, REAPS, "echo $$; trap '' TERM; read _");
    let mut guard = adopted(&sandbox, orphan.pid(), &["--timeout", "0.2", "-k", "0.1"]);
    assert_eq!(guard.wait().code(), Some(137));
    assert!(ends(orphan.pid(), PATIENCE));
    assert_eq!(last(&sandbox), json!(["timed_out", 9]));
}

/// One of many is the new supervisor.
#[test]
fn an_orphan_is_taken_over_once() {
    let sandbox = Sandbox::new();
    let mut orphan = orphan(&sandbox, REAPS, "echo $$; read _; exit 3");
    let mut guards: Vec<Running> =
        (0..8).map(|_| Running::start(&mut adopt(&sandbox, orphan.pid(), &[]))).collect();
    until("all but one are refused", || {
        guards.iter().filter(|guard| ends(guard.pid(), Duration::ZERO)).count() == 7
    });
    let is_left = |guard: &&mut Running| !ends(guard.pid(), Duration::ZERO);
    let winner = guards.iter_mut().find(is_left).unwrap();
    assert_eq!(supervisor(&sandbox), winner.pid());
    orphan.let_go();
    winner.wait();
    for guard in &mut guards {
        let code = guard.wait().code();
        assert!(code == Some(75) || code == Some(3) || !kernel_tells(), "{code:?}");
    }
    let events: Vec<Value> = sandbox.events("m1").iter().map(|e| e["event"].clone()).collect();
    assert_eq!(events, ["taken_over", "ended"]);
}
