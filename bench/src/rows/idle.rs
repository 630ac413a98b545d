//! What whoever only waits costs: nothing, if all is well.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc::{LOCKS, job, pause, sleeps_in, switches, until};
use crate::report::{Report, Row, Unit};
use crate::rig::Rig;

pub fn measure(rig: &Rig, report: &mut Report) {
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    let supervisor = rig.guarded(&state, "m", &["sleep", "1000"]).start();
    job(supervisor.pid, "sleep");
    let waiter = rig.guarded(&state, "m", &["true"]).start();
    until("it waits", || sleeps_in(waiter.pid, &LOCKS));

    let time = Duration::from_secs(if rig.quick { 2 } else { 10 });
    let before = [switches(supervisor.pid), switches(waiter.pid)];
    pause(time);
    let woken = [switches(supervisor.pid) - before[0], switches(waiter.pid) - before[1]];
    let called = [calls(supervisor.pid, time), calls(waiter.pid, time)];

    let seconds = time.as_secs();
    let mut row = |key, what: &str, count: u64| {
        let what = format!("{what} in {seconds} s");
        report.rows.push(Row::number(key, what, Unit::Count, count as f64).at_most(0.0));
    };
    row("idle_supervisor_wakeups", "wakeups of a supervisor", woken[0]);
    row("idle_supervisor_syscalls", "system calls of a supervisor", called[0]);
    row("idle_waiter_wakeups", "wakeups of a waiter", woken[1]);
    row("idle_waiter_syscalls", "system calls of a waiter", called[1]);
}

/// The system calls that a process begins in so much time, beside the one that it sleeps in: being
/// attached to interrupts that, and strace says so.
fn calls(pid: Pid, time: Duration) -> u64 {
    let trace = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace")
        .args(["-f", "-o"])
        .arg(trace.path())
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace cannot be started");
    let lines = || std::fs::read_to_string(trace.path()).unwrap_or_default().lines().count();
    until("strace is attached", || lines() > 0 || is_traced(pid));
    pause(time);
    let tracer = Pid::from_raw(strace.id().cast_signed());
    kill(tracer, Signal::SIGINT).expect("it traces");
    strace.wait().expect("it is our child");
    lines().saturating_sub(1) as u64
}

fn is_traced(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.contains("TracerPid:\t0\n")
}
