//! `adopt`: a process that jobguard did not start gets a supervisor, and with it a record, a time limit
//! and its `stop`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod late;
mod orphans;
mod refused;

use std::process::{Command, ExitStatus, Stdio};

use rstest::rstest;
use serde_json::{Value, json};
use support::held::{Held, sleeps_in, waits};
use support::keeper::{Kept, LAZY, REAPS, daemon};
use support::probe::{probe, send};
use support::strace::tracee;
use support::{
    JOBGUARD, PATIENCE, Running, Sandbox, Stray, ends, kernel_tells, require_program, run, state,
    until,
};

/// `adopt m1` of this process.
fn adopt(sandbox: &Sandbox, pid: i32, options: &[&str]) -> Command {
    let mut command = sandbox.jobguard(["adopt", "m1", "--pid", &pid.to_string()]);
    command.args(options).stderr(Stdio::piped());
    command
}

/// The same once it supervises the process.
fn adopted(sandbox: &Sandbox, pid: i32, options: &[&str]) -> Running {
    let guard = Running::start(&mut adopt(sandbox, pid, options));
    until("it is adopted", || supervisor(sandbox) == guard.pid() && sleeps(guard.pid()));
    guard
}

/// Whether a supervisor has nothing to do: it waits for signals, and for the end of a process.
fn sleeps(pid: i32) -> bool {
    sleeps_in(pid, libc::SYS_ppoll)
}

fn holder(sandbox: &Sandbox) -> Value {
    let path = sandbox.machine("m1").join("record.json");
    let record = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    record.map_or(Value::Null, |record: Value| record["holders"][0].clone())
}

fn supervisor(sandbox: &Sandbox) -> i32 {
    holder(sandbox)["supervisor"]["pid"].as_i64().map_or(0, |pid| i32::try_from(pid).unwrap())
}

fn last(sandbox: &Sandbox) -> Value {
    let last = &sandbox.record("m1")["last"];
    json!([last["ended"], last["code"]])
}

fn said(of: &mut Running) -> String {
    std::io::read_to_string(of.child.stderr.take().unwrap()).unwrap()
}

/// How a supervisor ended, as a run does that had this job.
fn mirrored(status: ExitStatus) -> Value {
    use std::os::unix::process::ExitStatusExt;
    match status.code() {
        Some(code) => json!(["exited", code]),
        None => json!(["signaled", status.signal().unwrap()]),
    }
}

#[rstest]
#[case::success("exit 0", json!(["exited", 0]))]
#[case::failure("exit 3", json!(["exited", 3]))]
#[case::killed("kill -KILL $$", json!(["signaled", 9]))]
#[case::ended("kill -TERM $$", json!(["signaled", 15]))]
#[case::core("ulimit -c unlimited; cd /nowhere; kill -SEGV $$", json!(["signaled", 11]))]
fn a_daemon_holds_the_machine_until_it_is_over(
    #[case] end: &str,
    #[case] ended: Value,
    #[values(REAPS, LAZY)] keeper: &str,
) {
    let sandbox = Sandbox::new();
    let end = end.replace("/nowhere", sandbox.path("").to_str().unwrap());
    let mut daemon = daemon(keeper, &format!("read _; {end}"));
    let mut guard = adopted(&sandbox, daemon.pid(), &[]);
    let holder = holder(&sandbox);
    assert_eq!((&holder["adopted"], &holder["job"]["pid"]), (&json!(true), &json!(daemon.pid())));
    assert_eq!(holder["dies_with_supervisor"], false);
    let busy = run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(75);
    busy.says(&format!("(PID {}, ", daemon.pid())).says(", adopted)");
    let next = Running::new(sandbox.jobguard(["-m", "m1", "true"]).spawn().unwrap());
    until("it waits", || waits(next.pid()));
    daemon.let_go();
    let status = mirrored(guard.wait());
    let mut next = next;
    assert!(next.wait().success());
    let events = sandbox.events("m1");
    let event = events.iter().find(|event| event["event"] == "ended").unwrap();
    let recorded = json!([event["run"]["ended"], event["run"]["code"]]);
    let unseen = (json!(["unknown", null]), json!(["exited", 125]));
    let is_unseen = !kernel_tells() && (recorded.clone(), status.clone()) == unseen;
    assert!(is_unseen || (&recorded, &status) == (&ended, &ended), "{recorded}, {status}");
    assert!(is_unseen || said(&mut guard).is_empty());
}

/// A shell that executes us leaves us its children, whom nobody but us can reap.
#[test]
fn our_own_child_is_reaped() {
    let sandbox = Sandbox::new();
    let script = "exec 3<&0; sh -c 'read _; exit 6' <&3 & echo $!; exec \"$0\" adopt m1 --pid $!";
    let mut command = Command::new("sh");
    sandbox.confine(command.args(["-c", script, JOBGUARD]));
    let mut guard = Running::start(command.stdin(Stdio::piped()));
    let job = Stray(guard.line().parse().unwrap());
    until("it is adopted", || supervisor(&sandbox) == guard.pid() && sleeps(guard.pid()));
    drop(guard.child.stdin.take());
    assert_eq!(guard.wait().code(), Some(6));
    assert_eq!(state(job.0), None, "it is reaped");
    assert_eq!(last(&sandbox), json!(["exited", 6]));
}

#[test]
fn it_waits_for_its_turn() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut daemon = daemon(REAPS, "read _");
    run(&mut adopt(&sandbox, daemon.pid(), &["-n"])).exits(75);
    run(&mut adopt(&sandbox, daemon.pid(), &["-w", "0.1"])).exits(75).says("(waited 100ms)");
    let mut guard = Running::start(&mut adopt(&sandbox, daemon.pid(), &[]));
    until("it waits", || waits(guard.pid()));
    let queue = run(&mut sandbox.jobguard(["queue", "m1", "--json"])).exits(0).json();
    assert_eq!(queue["queue"][0]["command"][0], "sh", "{queue}");
    held.let_go();
    until("it is adopted", || supervisor(&sandbox) == guard.pid() && sleeps(guard.pid()));
    daemon.let_go();
    guard.wait();
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3);
}

#[rstest]
#[case::term("read _", &[], 124, "sent TERM")]
#[case::kill("trap '' TERM; read _", &["-k", "0.1"], 137, "sent KILL")]
#[case::signal("trap '' TERM; read _", &["--signal", "USR1"], 124, "sent USR1")]
fn a_time_limit(
    #[case] script: &str,
    #[case] options: &[&str],
    #[case] code: i32,
    #[case] says: &str,
) {
    let sandbox = Sandbox::new();
    let daemon = daemon(REAPS, &format!("sleep 1000 & {script}"));
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    until("it has a child", || !std::fs::read_to_string(&children).unwrap().is_empty());
    let child = Stray(std::fs::read_to_string(&children).unwrap().trim().parse().unwrap());
    let options = [&["--timeout", "0.2", "--warn-after", "0.1"], options].concat();
    let done = run(&mut adopt(&sandbox, daemon.pid(), &options)).exits(code).says(says);
    done.says("still runs after 100ms");
    assert!(ends(daemon.pid(), PATIENCE) && ends(child.0, PATIENCE));
    assert_eq!(last(&sandbox)[0], "timed_out");
}

#[rstest]
#[case::term("read _", "10", 15)]
#[case::kill("trap '' TERM; read _", "0.1", 9)]
fn a_stop(#[case] script: &str, #[case] grace: &str, #[case] signal: i32) {
    let sandbox = Sandbox::new();
    let daemon = daemon(REAPS, script);
    let mut guard = adopted(&sandbox, daemon.pid(), &[]);
    let done = run(sandbox.jobguard(["stop", "m1", "--grace"]).arg(grace)).exits(0).silent();
    assert!(done.stdout().starts_with("m1: stopped \"sh -c"), "{done:?}");
    assert!(ends(daemon.pid(), PATIENCE));
    let status = mirrored(guard.wait());
    assert!(status == json!(["signaled", signal]) || !kernel_tells(), "{status}");
}

#[test]
fn a_run_may_take_its_place() {
    let sandbox = Sandbox::new();
    let daemon = daemon(REAPS, "read _");
    let mut guard = adopted(&sandbox, daemon.pid(), &[]);
    run(&mut sandbox.jobguard(["--on-busy", "replace", "-m", "m1", "true"])).exits(0);
    guard.wait();
    assert!(ends(daemon.pid(), PATIENCE));
}

/// Signals go on to the process, as those that a run gets.
#[test]
fn signals_are_forwarded() {
    let sandbox = Sandbox::new();
    let mut job = Running::start(
        Command::new(probe())
            .args(["launch", "setsid", "ignore=0", "mask=0", "--"])
            .arg(probe())
            .args(["signals", "until=15"]),
    );
    let greeting = job.line();
    assert!(greeting.starts_with("ready "), "{greeting}");
    let mut guard = adopted(&sandbox, job.pid(), &[]);
    for signal in [libc::SIGUSR1, libc::SIGINT, libc::SIGHUP, 40, libc::SIGTERM] {
        send(guard.pid(), signal);
        assert_eq!(job.line(), format!("{signal} user"));
    }
    job.wait();
    guard.wait();
}

/// The kernel says nothing to one who had a handle, and it was reaped behind our back.
#[test]
fn an_end_that_nobody_saw_is_no_success() {
    require_program("strace");
    let sandbox = Sandbox::new();
    let mut daemon = daemon(REAPS, "read _; exit 0");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:error=ESRCH"]);
    command.args([JOBGUARD, "adopt", "m1", "--pid", &daemon.pid().to_string()]);
    sandbox.confine(&mut command);
    let mut strace = Running::start(command.stderr(Stdio::piped()));
    let guard = || tracee(&strace).filter(|pid| *pid == supervisor(&sandbox) && sleeps(*pid));
    until("it is adopted", || guard().is_some());
    let guard = guard().unwrap();
    end_behind_the_back_of(guard, &mut daemon);
    assert_eq!(strace.wait().code(), Some(125));
    let said = said(&mut strace);
    assert!(said.contains("is over, and the kernel did not tell us how it ended"), "{said}");
    assert_eq!(last(&sandbox), json!(["unknown", null]));
}

fn end_behind_the_back_of(guard: i32, daemon: &mut Kept) {
    send(guard, libc::SIGSTOP);
    until("it is stopped", || matches!(state(guard), Some('T' | 't')));
    daemon.let_go();
    until("it is reaped", || state(daemon.pid()).is_none());
    send(guard, libc::SIGCONT);
}

/// Readers have it beside each other, whoever started them.
#[test]
fn it_shares_its_machine() {
    let sandbox = Sandbox::new();
    let (mut one, mut other) = (daemon(REAPS, "read _"), daemon(REAPS, "read _"));
    let mut guards =
        [&one, &other].map(|kept| Running::start(&mut adopt(&sandbox, kept.pid(), &["-s"])));
    let holders = || {
        sandbox.machine("m1").join("record.json").exists()
            && sandbox.record("m1")["holders"].as_array().unwrap().len() == 2
    };
    until("both have it", holders);
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(75);
    run(&mut sandbox.jobguard(["-n", "-s", "-m", "m1", "true"])).exits(0);
    one.let_go();
    other.let_go();
    for guard in &mut guards {
        guard.wait();
    }
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3);
}
