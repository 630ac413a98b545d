//! Whom `stop` leaves alone, and what it says then.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::ptrace;
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::{Value, json};

use crate::strangers::{ALICE, BOB, Commons, TEAM, User};
use crate::support::held::Held;
use crate::support::{JOBGUARD, Running, Sandbox, Stray, run};
use crate::{is_alive, sharer, stop, stop_refused};

#[test]
fn another_users_job_is_theirs_as_root() {
    let commons = Commons::new("stop by another user");
    let state = commons.dir("state", ALICE, TEAM, 0o2770);
    let job = ["-m", "m1", "--", "sh", "-c", "echo $$; read _"];
    let mut alice = commons.jobguard(ALICE, &[TEAM], &state, job);
    let mut alice = Running::start(alice.stdin(Stdio::piped()));
    let job = Stray(alice.line().parse().unwrap());
    let ask = |user, groups: &[u32]| {
        run(&mut commons.jobguard(user, groups, &state, ["stop", "m1", "--json"]))
    };
    let done = ask(BOB, &[TEAM]).exits(75);
    let refused = &done.json()["refused"][0];
    assert_eq!((&refused["uid"], &refused["signals"]), (&json!(ALICE.0), &json!([])));
    done.says("m1 is held by \"sh -c")
        .says("it was not stopped: it belongs to uid 51001: only that user and root may end it; ")
        .says("then: jobguard wait m1");
    assert!(is_alive(job.0));
    assert_eq!(ask(User(0), &[]).exits(0).silent().json()["stopped"][0]["uid"], ALICE.0);
    assert!(!is_alive(job.0));
    assert_eq!(alice.wait().signal(), Some(libc::SIGTERM));
}

/// As of a process whose environment we may read, and that we may not signal.
#[test]
fn a_signal_that_the_kernel_forbids() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let whose = format!("it belongs to uid {}: only that user", nix::unistd::getuid());
    stop_refused(&sandbox, "EPERM").exits(75).says(&whose).says("then: jobguard wait m1");
    assert!(is_alive(held.job.0));
}

/// The record alone does not give anybody away; nor one about whom nothing can be proven.
#[rstest]
#[case("/job/start_ticks", json!(1), "its PID belongs to another process", "jobguard wait m1")]
#[case("/host/boot_id", json!("x"), "another boot", "jobguard clear m1 --force --token")]
fn who_cannot_be_told_for_certain_is_refused(
    #[case] field: &str,
    #[case] value: Value,
    #[case] why: &str,
    #[case] next: &str,
) {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let mut record = sandbox.record("m1");
    *record["holders"][0].pointer_mut(field).unwrap() = value;
    record["holders"][0]["host"]["boot_id_genuine"] = json!(false);
    sandbox.plant("m1", record.to_string());
    let done = stop(&sandbox, &["--json", "--grace", "0"]).exits(75).says(why).says(next);
    assert_eq!(done.json()["stopped"], json!([]));
    assert!(done.json()["refused"][0]["why"].as_str().unwrap().contains(why), "{done:?}");
    assert!(is_alive(held.job.0));
}

#[test]
fn one_refusal_does_not_keep_the_others() {
    let sandbox = Sandbox::new();
    let (first, mut second) = (sharer(&sandbox), sharer(&sandbox));
    let mut record = sandbox.record("m1");
    record["holders"][0]["job"]["start_ticks"] = json!(1);
    sandbox.plant("m1", record.to_string());
    let done = stop(&sandbox, &[]).exits(75).says("its PID belongs to another process");
    assert_eq!(done.stdout().matches("m1: stopped ").count(), 1, "{done:?}");
    assert_eq!(second.wait().signal(), Some(libc::SIGTERM));
    assert!(is_alive(first.pid()));
}

/// A tracer holds it at its end, as the kernel may.
#[test]
fn who_does_not_end_of_kill_is_told() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let job = Pid::from_raw(held.job.0);
    ptrace::seize(job, ptrace::Options::PTRACE_O_TRACEEXIT).unwrap();
    let done = stop(&sandbox, &["--grace", "0", "--json"]).exits(75);
    let refused = &done.json()["refused"][0];
    assert_eq!(refused["signals"], json!(["TERM", "KILL"]));
    assert_eq!(done.json()["stopped"], json!([]));
    done.says("m1 is held by").says("it was not stopped: it is not over 5s after KILL; ");
}

#[test]
fn a_job_does_not_stop_itself() {
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.jobguard(["-m", "m1", "--", JOBGUARD, "stop", "m1"])).exits(75);
    done.says("m1 is held by").says("which this command is part of: it would end itself");
}
