//! `--on-busy replace`: ends who is in the way, then runs, ahead of all who wait; never beside one
//! that would not end.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;

use crate::strangers::{ALICE, BOB, Commons, TEAM};
use crate::support;
use crate::support::held::{Held, waits};
use crate::support::{Done, Running, Sandbox, run, until};

/// A job that does not mind TERM, and says so.
const STUBBORN: &str = "trap '' TERM; echo up; read _; echo over";

fn replace(sandbox: &Sandbox, options: &[&str]) -> Done {
    run(sandbox
        .jobguard(["--on-busy", "replace", "-m", "m1"])
        .args(options)
        .args(["--", "echo", "ran"]))
}

/// A run that has begun; its job says `up` first.
fn begun(sandbox: &Sandbox, options: &[&str], script: &str) -> Running {
    let mut command = sandbox.jobguard(options);
    if !options.contains(&"-m") {
        command.args(["-m", "m1"]);
    }
    command.args(["--", "sh", "-c", script]);
    let mut begun = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(begun.line(), "up");
    begun
}

/// A run that waits.
fn waiter(sandbox: &Sandbox, options: &[&str], word: &str) -> Running {
    let script = format!("echo {word} >> {}", sandbox.path("order").display());
    let mut command = sandbox.jobguard(options);
    command.args(["-m", "m1", "--", "sh", "-c", &script]);
    let waiter = Running::start(command.stderr(Stdio::piped()));
    until("it waits", || waits(waiter.pid()));
    waiter
}

fn order(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("order")).unwrap_or_default()
}

#[rstest]
fn who_holds_it_is_ended(#[values("replace", "cancel-in-progress")] word: &str) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let begun = Instant::now();
    let done = run(&mut sandbox.jobguard(["--on-busy", word, "-m", "m1", "--", "echo", "ran"]));
    let done = done
        .exits(0)
        .says(&format!("m1: stopped \"sh -c 'echo $$; read _; exit 7'\" (PID {}", held.job.0));
    assert_eq!(done.stdout(), "ran\n");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(held.supervisor.wait().signal(), Some(libc::SIGTERM));
    let record = sandbox.record("m1");
    assert_eq!((&record["holders"], &record["counters"]["runs"]), (&json!([]), &json!(2)));
    let events = sandbox.events("m1");
    let stopped = events.iter().find(|event| event["event"] == "stopped").unwrap();
    assert_eq!(stopped["signals"], json!(["TERM"]));
    assert_eq!(stopped["holder"]["job"]["pid"], json!(held.job.0));
}

#[test]
fn a_free_machine_is_taken_and_a_phantom_cleared() {
    let sandbox = Sandbox::new();
    assert_eq!(replace(&sandbox, &[]).exits(0).silent().stdout(), "ran\n");
    Held::start(&sandbox).kill();
    let done = replace(&sandbox, &[]).exits(0).says("STALE (process not running)");
    assert_eq!(done.stdout(), "ran\n");
    assert!(!done.stderr().contains("stopped"));
}

#[test]
fn who_does_not_end_of_term_is_killed_after_the_grace() {
    let sandbox = Sandbox::new();
    let mut holder = begun(&sandbox, &[], STUBBORN);
    let begun = Instant::now();
    let done = replace(&sandbox, &["-k", "0.3"]).exits(0).says("with KILL after 300ms");
    assert_eq!(done.stdout(), "ran\n");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(holder.wait().signal(), Some(libc::SIGKILL));
}

#[test]
fn it_goes_ahead_of_those_who_wait() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let mut first = waiter(&sandbox, &[], "first");
    let mut second = waiter(&sandbox, &[], "second");
    let mut newest = waiter_replacing(&sandbox, "newest", &[]);
    assert!(newest.wait().success() && first.wait().success() && second.wait().success());
    assert_eq!(order(&sandbox), "newest\nfirst\nsecond\n");
    drop(held);
}

/// A run that replaces, and writes this word.
fn waiter_replacing(sandbox: &Sandbox, word: &str, options: &[&str]) -> Running {
    let script = format!("echo {word} >> {}", sandbox.path("order").display());
    let mut command = sandbox.jobguard(["--on-busy", "replace"]);
    command.args(options).args(["-m", "m1", "--", "sh", "-c", &script]);
    Running::start(command.stderr(Stdio::piped()))
}

#[test]
fn a_newer_one_takes_the_place_of_an_older() {
    let sandbox = Sandbox::new();
    let mut holder = begun(&sandbox, &[], STUBBORN);
    let mut older = waiter_replacing(&sandbox, "older", &["-k", "1.5", "-E", "9"]);
    until("it waits", || waits(older.pid()));
    let mut newer = waiter_replacing(&sandbox, "newer", &["-k", "0.2"]);
    assert_eq!(older.wait().code(), Some(9));
    assert!(newer.wait().success());
    assert_eq!(holder.wait().signal(), Some(libc::SIGKILL));
    assert_eq!(order(&sandbox), "newer\n");
    let counters = &sandbox.record("m1")["counters"];
    assert_eq!((&counters["replaced"], &counters["runs"]), (&json!(1), &json!(2)), "{counters}");
}

#[test]
fn no_more_are_ended_than_it_takes() {
    let sandbox = Sandbox::new();
    let script = "echo up; read _";
    let mut oldest = begun(&sandbox, &["--slots", "2"], script);
    let younger = begun(&sandbox, &["--slots", "2"], script);
    let done = replace(&sandbox, &["--slots", "2"]).exits(0);
    assert_eq!(done.stdout(), "ran\n");
    assert_eq!(oldest.wait().signal(), Some(libc::SIGTERM));
    let record = sandbox.record("m1");
    let holders = record["holders"].as_array().unwrap();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0]["supervisor"]["pid"], json!(younger.pid()));
}

/// Readers beside a reader need nobody ended.
#[test]
fn who_is_not_in_the_way_is_left_alone() {
    let sandbox = Sandbox::new();
    let reader = begun(&sandbox, &["-s"], "echo up; read _");
    assert_eq!(replace(&sandbox, &["-s"]).exits(0).silent().stdout(), "ran\n");
    assert_eq!(sandbox.record("m1")["holders"][0]["supervisor"]["pid"], json!(reader.pid()));
}

/// What it is part of is not in its way; what runs beside it there is.
#[test]
fn within_a_job_only_a_sibling_is_ended() {
    let sandbox = Sandbox::new();
    let inner = format!("{} -m m1 --", support::JOBGUARD);
    let script = format!(
        "{inner} sleep 30 & for _ in $(seq 200); do [ \"$({} info m1 | grep -c '^Part of run')\" = 1 ] && break; sleep 0.05; done; \
         {} --on-busy replace -m m1 -- echo ran; wait $!; echo sibling $?",
        support::JOBGUARD,
        support::JOBGUARD
    );
    let done = run(&mut sandbox.jobguard(["-m", "m1", "--", "sh", "-c", &script])).exits(0);
    assert_eq!(done.stdout(), "ran\nsibling 143\n", "{}", done.stderr());
}

#[test]
fn who_cannot_be_verified_is_not_ended_and_nothing_runs_beside_it() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut record = sandbox.record("m1");
    record["holders"][0]["host"] = json!({ "id": "another", "name": "lab2", "boot_id": "x" });
    sandbox.plant("m1", record.to_string());
    let done = replace(&sandbox, &[]).exits(75);
    assert_eq!(done.stdout(), "");
    let done = done.says("it was not stopped: ");
    assert!(done.stderr().contains("clear m1 --force --token"), "{}", done.stderr());
    assert_eq!(sandbox.events("m1").pop().unwrap()["why"], json!("refused"));
    held.let_go();
    assert_eq!(held.supervisor.wait().code(), Some(support::held::STATUS));
}

/// Of several machines all can be had, or nobody is ended.
#[test]
fn nobody_is_ended_in_vain() {
    let sandbox = Sandbox::new();
    let mut first = begun(&sandbox, &["-m", "a"], "echo up; read _");
    let held = Held::start(&sandbox);
    let mut record = sandbox.record("m1");
    record["holders"][0]["host"] = json!({ "id": "another", "name": "lab2", "boot_id": "x" });
    sandbox.plant("m1", record.to_string());
    replace(&sandbox, &["-m", "a"]).exits(75).says("m1 is held by").says("it was not stopped: ");
    drop(first.child.stdin.take());
    assert_eq!(first.wait().code(), Some(1), "its job has read the end of its input");
    drop(held);
}

#[test]
fn another_users_job_is_theirs() {
    let commons = Commons::new("replacing another user's job");
    let state = commons.dir("state", ALICE, TEAM, 0o2770);
    let job = ["-m", "m1", "--", "sh", "-c", "echo $$; read _"];
    let mut alice = commons.jobguard(ALICE, &[TEAM], &state, job);
    let mut alice = Running::start(alice.stdin(Stdio::piped()));
    alice.line();
    let replacing = ["--on-busy", "replace", "-m", "m1", "--", "echo", "ran"];
    let done = run(&mut commons.jobguard(BOB, &[TEAM], &state, replacing)).exits(75);
    assert_eq!(done.stdout(), "");
    done.says("it was not stopped: it belongs to uid 51001: only that user and root may end it");
    drop(alice.child.stdin.take());
    assert!(alice.wait().code().is_some(), "it ended by itself");
}

#[test]
fn a_replacement_that_is_killed_holds_nobody_up() {
    let sandbox = Sandbox::new();
    let mut holder = begun(&sandbox, &[], STUBBORN);
    let mut behind = waiter(&sandbox, &[], "behind");
    let mut newest = waiter_replacing(&sandbox, "newest", &["-k", "1h"]);
    until("it waits", || waits(newest.pid()));
    newest.signal(Signal::SIGKILL);
    newest.wait();
    drop(holder.child.stdin.take());
    assert_eq!((holder.wait().code(), behind.wait().code()), (Some(0), Some(0)));
    assert_eq!(order(&sandbox), "behind\n");
}
