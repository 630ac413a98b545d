//! What the job and its processes send to jobguard is not sent back to the job.

use std::io::Write;
use std::process::Stdio;

use libc::{SIGCONT, SIGUSR2};
use nix::sys::signal::Signal;
use rstest::rstest;

use super::support::probe::{Watched, launch, probe};
use super::support::{Running, Sandbox, state, until};
use super::{GUARD, catchable, pending, settles};

#[rstest]
fn what_the_job_or_its_child_sends_is_not_sent_back(#[values("parent", "child")] sender: &str) {
    let sandbox = Sandbox::new();
    let all: Vec<String> = catchable().map(|signal| format!("{sender}={signal}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // Each child sends one and stays.
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &all);
    all.iter().for_each(|_| job.says("sent"));
    settles(job.parent);
    for signal in [SIGUSR2, 64] {
        job.send(signal);
        job.says(&format!("{signal} user"));
    }
    job.end();
}

/// A storm outlives its sender: that it was the job's is known from its first signal. Nothing is known of
/// somebody who sends one signal and is gone before anybody looks.
#[test]
fn a_storm_that_a_child_of_the_job_leaves_behind_is_not_sent_back() {
    let sandbox = Sandbox::new();
    let child = "kill -USR1 $1; echo begun; read _; exec \"$0\" storm $1 40 5000";
    let script = "sh -c \"$1\" \"$0\" $PPID; echo left; exec \"$0\" signals";
    // The child is in the job's group, and so has what is sent to the job.
    let mut guard = launch(&sandbox, &[], &GUARD);
    guard.args(["/bin/sh", "-c", script]).arg(probe()).arg(child).stdin(Stdio::piped());
    let mut guard = Running::start(&mut guard);
    assert_eq!(guard.line(), "begun");
    let wrapper = guard.pid();
    settles(wrapper);
    guard.signal(Signal::SIGSTOP);
    until("jobguard is stopped", || state(wrapper) == Some('T'));
    writeln!(guard.child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(guard.line(), "left");
    let mut job = Watched::greet(guard);
    assert!(pending(wrapper).contains(40));
    job.guard.signal(Signal::SIGCONT);
    for signal in [SIGCONT, 64] {
        job.says(&format!("{signal} user"));
        settles(wrapper);
        job.send(if signal == 64 { SIGUSR2 } else { 64 });
    }
    job.says(&format!("{SIGUSR2} user"));
    job.end();
}
