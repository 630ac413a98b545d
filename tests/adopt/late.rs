//! Processes that end before they are adopted: nobody is to be found in the record who was not there.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{adopt, holder, said};
use crate::support::held::{Held, waits};
use crate::support::keeper::{REAPS, daemon};
use crate::support::probe::send;
use crate::support::strace::{Point, struck, tracee};
use crate::support::{PATIENCE, Running, Sandbox, ends, require_program, run, state, until};

/// Nothing is left of an adoption that did not come about.
#[track_caller]
fn is_untouched(sandbox: &Sandbox) {
    let record = sandbox.machine("m1").join("record.json");
    if record.exists() {
        let record = sandbox.record("m1");
        assert_eq!((&record["holders"], &record["last"]), (&json!([]), &Value::Null), "{record}");
        assert_eq!(record["counters"]["runs"], 0);
    }
    assert_eq!(sandbox.events("m1"), Vec::<Value>::new());
    let entries = std::fs::read_dir(sandbox.machine("m1")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name != "lock" && name != "record.json").collect();
    assert!(left.is_empty(), "{left:?}");
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
}

#[test]
fn who_is_over_before_its_turn_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let mut daemon = daemon(REAPS, "read _");
    let mut guard = Running::start(&mut adopt(&sandbox, daemon.pid(), &[]));
    until("it waits", || waits(guard.pid()));
    daemon.let_go();
    assert_eq!(guard.wait().code(), Some(125));
    let said = said(&mut guard);
    assert_eq!(said, format!("jobguard: PID {} is over: it was not adopted\n", daemon.pid()));
    assert_eq!(holder(&sandbox)["job"]["pid"], held.job.0);
    let queue = std::fs::read_dir(sandbox.machine("m1").join("queue")).unwrap();
    assert_eq!(queue.count(), 0, "its ticket is there still");
}

/// Between the first look and the lock.
#[test]
fn who_is_over_before_the_record_is_not_recorded() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3);
    std::fs::create_dir_all(sandbox.machine("m1")).unwrap();
    let lock = File::create(sandbox.machine("m1").join("lock")).unwrap();
    lock.lock().unwrap();
    let mut daemon = daemon(REAPS, "read _");
    let mut guard = Running::start(&mut adopt(&sandbox, daemon.pid(), &["--lock-timeout", "30"]));
    let fds = || std::fs::read_dir(format!("/proc/{}/task", guard.pid())).unwrap().count();
    until("it waits for the lock", || fds() == 2);
    daemon.let_go();
    assert!(ends(daemon.pid(), PATIENCE));
    lock.unlock().unwrap();
    assert_eq!(guard.wait().code(), Some(125));
    assert!(said(&mut guard).ends_with("is over: it was not adopted\n"));
    is_untouched(&sandbox);
}

/// Between the record and the second look: the record is taken back.
#[test]
fn who_is_over_behind_the_record_is_taken_back() {
    require_program("strace");
    let sandbox = Sandbox::new();
    let mut daemon = daemon(REAPS, "read _");
    // The first puts the lifeline in place, the second the record.
    let point = Point { name: "renameat2".to_owned(), occurrence: 2 };
    let words = ["adopt", "m1", "--pid", &daemon.pid().to_string()].map(str::to_owned);
    let mut strace = struck(&sandbox, &point, "signal=STOP", &words);
    let mut strace = Running::start(strace.stderr(Stdio::piped()));
    let stopped = || tracee(&strace).filter(|pid| matches!(state(*pid), Some('T' | 't')));
    until("the record is there", || holder(&sandbox)["adopted"] == true && stopped().is_some());
    daemon.let_go();
    assert!(ends(daemon.pid(), PATIENCE));
    send(stopped().unwrap(), libc::SIGCONT);
    assert_eq!(strace.wait().code(), Some(125));
    let said = said(&mut strace);
    assert!(said.contains(&format!("PID {} is over: it was not adopted", daemon.pid())), "{said}");
    is_untouched(&sandbox);
}
