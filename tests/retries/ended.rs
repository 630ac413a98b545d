//! Runs that are to end while their jobs are tried again, or between two attempts.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::scene::Scene;
use crate::support::litter::Leash;
use crate::support::{self, PATIENCE, Running, ends, run, sleeps, until};

/// What says that all is to end ends the run, between two attempts as within one.
#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGINT)]
#[case(Signal::SIGHUP)]
fn a_signal_ends_the_run(#[case] signal: Signal) {
    let scene = Scene::new();
    let mut guard = scene.between_attempts("");
    guard.signal(signal);
    assert_eq!(guard.wait().signal(), Some(signal as i32));
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(3);

    let scene = Scene::new();
    let job = "trap 'exit 5' TERM INT HUP; echo up; while :; do sleep 0.05; done";
    let mut guard = Running::start(&mut scene.command("--retries 3 --retry-delay 0", job, 9));
    assert_eq!(guard.line(), "up");
    guard.signal(signal);
    assert_eq!(guard.wait().code(), Some(5));
    assert_eq!(scene.attempts().len(), 1);
}

/// One that is ignored, as by nohup(1), ends nothing.
#[test]
fn an_ignored_signal_ends_nothing() {
    let scene = Scene::new();
    let inner = scene.command("--retries 1 --retry-delay 2", "exit 7", 2);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    scene.sandbox.confine(&mut command);
    let mut guard = Running::new(command.stderr(Stdio::null()).spawn().unwrap());
    until("it waits to try again", || scene.state() == "retrying" && sleeps(guard.pid()));
    guard.signal(Signal::SIGHUP);
    assert_eq!(guard.wait().code(), Some(0));
    assert_eq!(scene.attempts().len(), 2);
}

/// `stop` and a replacement mean the run, whatever it does just now.
#[rstest]
fn stopped(
    #[values(&["stop", "m1"], &["-m", "m1", "--on-busy", "replace", "--", "true"])] how: &[&str],
    #[values(true, false)] between: bool,
) {
    let scene = Scene::new();
    let mut guard = if between {
        scene.between_attempts("")
    } else {
        let mut command = scene.command("--retries 9 --retry-delay 0", "exec sleep 60", 99);
        Running::new(command.spawn().unwrap())
    };
    until("it has begun", || scene.attempts().len() == 1);
    run(&mut scene.sandbox.jobguard(how)).exits(0);
    assert_eq!(guard.wait().signal(), Some(Signal::SIGTERM as i32));
    assert_eq!(scene.attempts().len(), 1);
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(3);
}

/// Between two attempts there is nobody but the supervisor: without it the machine is free at once.
#[test]
fn its_supervisor_is_killed_between_attempts() {
    let scene = Scene::new();
    let mut guard = scene.between_attempts("");
    guard.signal(Signal::SIGKILL);
    guard.wait();
    let begun = Instant::now();
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(1);
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(0).says("STALE");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Within the second attempt it is as in the first: the job goes on, and holds the machine.
#[test]
fn its_supervisor_is_killed_in_the_second_attempt() {
    let scene = Scene::new();
    let script = r#"echo $$; [ -e "$0" ] && exec sleep 60; : >"$0"; exit 7"#;
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--retries", "1", "--retry-delay", "0"]);
    command.args(["--", "sh", "-c", script]).arg(scene.sandbox.path("second"));
    let mut guard = Running::start(command.stderr(Stdio::null()));
    let first: i32 = guard.line().parse().unwrap();
    let second = support::Stray(guard.line().parse().unwrap());
    assert_ne!(first, second.0);
    guard.signal(Signal::SIGKILL);
    guard.wait();
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(75);
    let pid = second.0;
    drop(second);
    assert!(ends(pid, PATIENCE));
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(0);
}

/// A machine that was cleared by force is not used again, and the run says so.
#[test]
fn a_machine_that_was_taken_away() {
    let scene = Scene::new();
    let mut command = scene.command("--retries 1 --retry-delay 2", "exit 7", 2);
    let mut guard = Running::new(command.spawn().unwrap());
    until("it waits to try again", || scene.state() == "retrying" && sleeps(guard.pid()));
    let token = scene.sandbox.record("m1")["holders"][0]["token"].to_string();
    run(&mut scene.sandbox.jobguard(["clear", "m1", "--force", "--token", &token])).exits(0);
    assert_eq!(guard.wait().code(), Some(7));
    assert_eq!(scene.attempts().len(), 1);
    let said = std::io::read_to_string(guard.child.stderr.take().unwrap()).unwrap();
    assert!(said.contains("cleared by force"), "{said}");
}

/// With `wait` the next attempt waits for them; what says that all is to end, meanwhile, ends all.
#[test]
fn a_signal_while_leftovers_are_waited_for() {
    let scene = Scene::new();
    let mut leash = Leash::new(&scene.sandbox);
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--retries", "3", "--retry-delay", "0"]);
    command.args(["--leftovers", "wait", "--"]).args(leash.job("sit setsid exit=7"));
    let mut guard = Running::start(command.stderr(Stdio::null()));
    guard.line();
    leash.is_taken();
    until("it drains", || scene.state() == "draining" && sleeps(guard.pid()));
    guard.signal(Signal::SIGTERM);
    assert_eq!(guard.wait().code(), Some(7));
    assert_eq!(scene.events("retried").len(), 0);
    assert!(leash.is_let_go(Duration::ZERO));
}
