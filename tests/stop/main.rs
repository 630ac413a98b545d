//! `stop`: ends who holds a machine, with no more than it takes, and nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod refused;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::json;
use support::held::{Held, waits};
use support::probe::{Watched, launch, probe};
use support::{
    Done, JOBGUARD, PATIENCE, Running, Sandbox, Stray, ends, require_program, run, state, until,
};

/// A job that does not mind TERM.
const STUBBORN: &str = "trap '' TERM; echo $$; read _";

fn stop(sandbox: &Sandbox, options: &[&str]) -> Done {
    run(sandbox.jobguard(["stop", "m1"]).args(options))
}

/// The same on a kernel that refuses it to send signals by pidfd, with this error.
fn stop_refused(sandbox: &Sandbox, error: &str) -> Done {
    require_program("strace");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=pidfd_send_signal", "-e"]);
    command.arg(format!("inject=pidfd_send_signal:error={error}")).arg(JOBGUARD);
    sandbox.confine(command.args(["stop", "m1", "--grace", "0.1"]));
    run(&mut command)
}

/// How an answer names the one who holds the machine.
fn holder(sandbox: &Sandbox) -> String {
    let holder = &sandbox.record("m1")["holders"][0];
    let script = holder["command"][2].as_str().unwrap().replace('\'', r"'\''");
    let (pid, user) = (&holder["job"]["pid"], holder["user"].as_str().unwrap());
    let since = holder["started_at"].as_str().unwrap();
    format!("\"sh -c '{script}'\" (PID {pid}, user {user}, since {since})")
}

fn token(sandbox: &Sandbox) -> String {
    sandbox.record("m1")["holders"][0]["token"].to_string()
}

/// A run that shares its machine.
fn sharer(sandbox: &Sandbox) -> Running {
    let job = ["-s", "-m", "m1", "--", "sh", "-c", "echo up; read _"];
    let mut run = Running::start(sandbox.jobguard(job).stdin(Stdio::piped()));
    assert_eq!(run.line(), "up");
    run
}

fn is_alive(pid: i32) -> bool {
    !ends(pid, Duration::ZERO)
}

#[test]
fn a_free_machine_needs_nothing() {
    let sandbox = Sandbox::new();
    let done = stop(&sandbox, &[]).exits(0).silent();
    assert!(done.stdout().starts_with("m1: free (never used"), "{done:?}");
    let done = stop(&sandbox, &["--json"]).exits(0).silent().json();
    assert_eq!((&done["stopped"], &done["refused"]), (&json!([]), &json!([])));
    assert!(!sandbox.state().exists(), "looking makes nothing");
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    for options in [&[][..], &["--token", "5"]] {
        let done = stop(&sandbox, options).exits(0).silent();
        assert!(done.stdout().starts_with("m1: free (last run exited 0"), "{done:?}");
    }
}

#[test]
fn term_is_enough_for_most() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let who = holder(&sandbox);
    let done = stop(&sandbox, &[]).exits(0).silent();
    let first = format!("m1: stopped {who} with TERM\nm1: free (last run was killed by signal 15 ");
    assert!(done.stdout().starts_with(&first), "{done:?}");
    assert_eq!(done.stdout().lines().count(), 2, "{done:?}");
    assert_eq!(held.supervisor.wait().signal(), Some(libc::SIGTERM));
    assert_eq!(sandbox.record("m1")["holders"], json!([]));
    let event = sandbox.events("m1").pop().unwrap();
    assert_eq!((&event["event"], &event["signals"]), (&json!("stopped"), &json!(["TERM"])));
    assert_eq!(event["uid"], json!(nix::unistd::getuid().as_raw()));
}

/// One that acts on TERM is not killed, and sees TERM before CONT.
#[test]
fn a_job_may_take_its_time_to_end() {
    let sandbox = Sandbox::new();
    let mut guard = launch(&sandbox, &[], &["-m", "m1"]);
    let mut job = Watched::start(&mut guard, &["until=12"]);
    let mut stop = Running::start(&mut sandbox.jobguard(["stop", "m1", "--grace", "1h"]));
    for signal in [libc::SIGTERM, libc::SIGCONT] {
        job.says(&format!("{signal} user"));
    }
    until("it waits", || waits(stop.pid()));
    job.send(libc::SIGUSR2);
    job.says(&format!("{} user", libc::SIGUSR2));
    assert!(stop.line().ends_with(" with TERM"));
    assert!(stop.line().starts_with("m1: free (last run exited 0 "));
    assert!(stop.wait().success());
}

#[rstest]
#[case("0.3", 300, "300ms")]
#[case("0", 0, "0s")]
fn who_does_not_end_of_term_is_killed(
    #[case] grace: &str,
    #[case] at_least: u64,
    #[case] says: &str,
) {
    let sandbox = Sandbox::new();
    let mut held = Held::running(&sandbox, STUBBORN);
    let who = holder(&sandbox);
    let before = Instant::now();
    let done = stop(&sandbox, &["--grace", grace]).exits(0).silent();
    assert!(before.elapsed() >= Duration::from_millis(at_least), "{:?}", before.elapsed());
    let first = format!("m1: stopped {who} with KILL after {says}\nm1: free (last run was killed ");
    assert!(done.stdout().starts_with(&first), "{done:?}");
    assert_eq!(held.supervisor.wait().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_job_that_is_stopped_acts_on_term() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    kill(Pid::from_raw(held.job.0), Signal::SIGSTOP).unwrap();
    until("it is stopped", || state(held.job.0) == Some('T'));
    let done = stop(&sandbox, &["--grace", "1h"]).exits(0).silent();
    assert!(done.stdout().contains(" with TERM\nm1: free "), "{done:?}");
}

/// What its supervisor cannot take out of the record any more is cleared.
#[rstest]
#[case::killed(Held::orphan, "process not running")]
#[case::stopped(|held: &mut Held| held.stop_supervisor(), "job over, supervisor stalled")]
fn a_job_whose_supervisor_does_not_see_its_end(
    #[case] hinder: fn(&mut Held),
    #[case] reason: &str,
) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    hinder(&mut held);
    let who = holder(&sandbox);
    let over = format!("m1: cleared {}, stopping): STALE ({reason})", who.trim_end_matches(')'));
    let done = stop(&sandbox, &[]).exits(0).says(&over);
    let first = format!("m1: stopped {who} with TERM\nm1: free (last run ");
    assert!(done.stdout().starts_with(&first), "{done:?}");
    // Whoever waited for it was told how it ended, where the kernel tells that.
    assert!(
        ["ended unseen", "was killed by signal 15"].iter().any(|how| done.stdout().contains(how))
    );
    assert_eq!(sandbox.record("m1")["holders"], json!([]));
}

/// Nobody is said to have been stopped who was over before.
#[test]
fn a_phantom_is_cleared() {
    let sandbox = Sandbox::new();
    Held::start(&sandbox).kill();
    let done = stop(&sandbox, &["--json"]).exits(0).says("m1: cleared \"sh -c").json();
    assert_eq!((&done["stopped"], &done["verdict"]), (&json!([]), &json!("free")));
}

#[rstest]
fn what_is_in_the_jobs_own_group_ends_with_it(
    #[values(("", "TERM"), ("trap '' TERM; ", "KILL"))] (trap, signal): (&str, &str),
    #[values(false, true)] before_6_9: bool,
) {
    let sandbox = Sandbox::new();
    let mut command = Command::new("setsid");
    let script = format!("{trap}sleep 1000 & echo $!; wait");
    command.args([JOBGUARD, "-m", "m1", "--", "sh", "-c", &script]);
    sandbox.confine(&mut command);
    let mut guard = Running::start(&mut command);
    let grandchild = Stray(guard.line().parse().unwrap());
    let done = match before_6_9 {
        true => stop_refused(&sandbox, "EINVAL"),
        false => stop(&sandbox, &["--grace", "0.1"]),
    };
    let done = done.exits(0).silent();
    assert!(done.stdout().contains(&format!(" with {signal}")), "{done:?}");
    assert!(ends(grandchild.0, PATIENCE));
    guard.wait();
}

/// A job on a terminal shares the group of the shell that started jobguard.
#[test]
fn a_group_that_is_not_the_jobs_own_is_spared() {
    let sandbox = Sandbox::new();
    let mut pty = Command::new(probe());
    let script = "exec 2>&-; sleep 1000 & echo $!; \"$@\"; echo $?; read _";
    pty.args(["pty", "sh", "-c", script, "sh", JOBGUARD, "-m", "m1", "--"]);
    pty.args(["sh", "-c", "echo up; read _"]);
    sandbox.confine(&mut pty);
    let mut terminal = Running::start(pty.stdin(Stdio::piped()));
    let neighbour: i32 = terminal.line().parse().unwrap();
    assert_eq!(terminal.line(), "up");
    stop(&sandbox, &[]).exits(0).silent();
    assert_eq!(terminal.line(), "143");
    assert!(is_alive(neighbour));
}

#[test]
fn only_the_run_that_the_token_names() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let (who, token) = (holder(&sandbox), token(&sandbox));
    let done = stop(&sandbox, &["--token", "5"]).exits(75);
    assert!(done.stdout().starts_with("m1: running \"sh -c"), "{done:?}");
    done.says(&format!("m1 is held by {who}, and not by the run 5; nothing was stopped; "))
        .says(&format!("jobguard stop m1 --token {token}"));
    assert!(is_alive(held.job.0));
    stop(&sandbox, &["--token", &token]).exits(0).silent();
    assert!(!is_alive(held.job.0));
}

/// Everybody is meant who holds it, unless one is named.
#[test]
fn those_who_share_a_machine() {
    let sandbox = Sandbox::new();
    let [mut first, mut second] = [(); 2].map(|()| sharer(&sandbox));
    let token = token(&sandbox);
    let done = stop(&sandbox, &["--token", &token]).exits(0).silent();
    assert!(done.stdout().contains(" with TERM\nm1: running \"sh -c"), "{done:?}");
    assert_eq!(first.wait().signal(), Some(libc::SIGTERM));
    let mut third = sharer(&sandbox);
    let done = stop(&sandbox, &[]).exits(0).silent();
    assert_eq!(done.stdout().matches("m1: stopped ").count(), 2, "{done:?}");
    for one in [&mut second, &mut third] {
        assert_eq!(one.wait().signal(), Some(libc::SIGTERM));
    }
}

/// It sees the machine again only when somebody else has it: that one is not meant.
#[test]
fn the_next_in_the_queue_is_left_alone() {
    let sandbox = Sandbox::new();
    let mut held = Held::running(&sandbox, STUBBORN);
    let mut next = sandbox.jobguard(["-m", "m1", "--", "sh", "-c", "echo mine; read _"]);
    let mut next = Running::start(next.stdin(Stdio::piped()));
    until("it waits", || waits(next.pid()));
    let mut stop = Running::start(&mut sandbox.jobguard(["stop", "m1", "--grace", "1h"]));
    until("it has sent TERM, and waits", || waits(stop.pid()));
    stop.signal(Signal::SIGSTOP);
    until("it is stopped", || state(stop.pid()) == Some('T'));
    held.let_go();
    assert_eq!(next.line(), "mine");
    stop.signal(Signal::SIGCONT);
    assert!(stop.line().ends_with(" with TERM"));
    assert!(stop.line().starts_with("m1: running \"sh -c 'echo mine; read _'\""));
    assert!(stop.wait().success());
    drop(next.child.stdin.take());
    assert_eq!(next.wait().code(), Some(1), "it was signalled");
}

#[test]
fn the_answer_in_json() {
    let sandbox = Sandbox::new();
    let _held = Held::running(&sandbox, STUBBORN);
    let mut stopped = sandbox.record("m1")["holders"][0].clone();
    let done = stop(&sandbox, &["--json", "--grace", "0.1"]).exits(0).silent().json();
    assert_eq!((&done["schema"], &done["machine"]), (&json!(1), &json!("m1")));
    assert_eq!((&done["verdict"], &done["holders"]), (&json!("free"), &json!([])));
    assert_eq!((&done["last"]["code"], &done["refused"]), (&json!(9), &json!([])));
    let as_found = done["stopped"][0].as_object().unwrap();
    for added in ["verdict", "reason", "reason_text", "rule", "signals"] {
        stopped[added] = as_found[added].clone();
    }
    assert_eq!(done["stopped"], json!([stopped]));
    assert_eq!(
        (&stopped["verdict"], &stopped["signals"]),
        (&json!("live"), &json!(["TERM", "KILL"]))
    );
}

/// Whoever waits for the end of a job can have enough of it.
#[test]
fn a_signal_ends_the_wait() {
    let sandbox = Sandbox::new();
    let held = Held::running(&sandbox, STUBBORN);
    let mut stop = Running::start(&mut sandbox.jobguard(["stop", "m1", "--grace", "1h"]));
    until("it waits", || waits(stop.pid()));
    stop.signal(Signal::SIGINT);
    assert_eq!(stop.wait().signal(), Some(libc::SIGINT));
    assert!(is_alive(held.job.0));
}
