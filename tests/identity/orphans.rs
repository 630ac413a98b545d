//! Jobs whose supervisor was killed: whoever waits for one records how it ended, where the kernel
//! tells (Linux 6.15), and nothing else.

use std::process::{Command, Stdio};

use rstest::rstest;
use serde_json::{Value, json};

use crate::strangers::{ALICE, Commons, TEAM, User};
use crate::support;
use crate::support::held::{Held, waits};
use crate::support::keeper::{Kept, LAZY, REAPS, orphan, orphan_of};
use crate::support::probe::probe;
use crate::support::{
    JOBGUARD, PATIENCE, Running, Sandbox, ends, kernel_tells, require_program, run,
    state as process_state, until,
};

/// Somebody who waits for the machine.
fn waiter(sandbox: &Sandbox, words: &[&str]) -> Running {
    let mut command = sandbox.jobguard(words);
    let waiter = Running::start(command.stderr(Stdio::piped()));
    until("it waits", || waits(waiter.pid()));
    waiter
}

fn said(of: &mut Running) -> String {
    std::io::read_to_string(of.child.stderr.take().unwrap()).unwrap()
}

/// Asserts on what was recorded of an end: it is right, and nothing else than that where the kernel tells.
#[track_caller]
fn is_known(found: &Value, ended: &str, code: i32) {
    let is_unknown = *found == json!(["unknown", null]) && !kernel_tells();
    assert!(is_unknown || *found == json!([ended, code]), "{found}");
}

/// Stops somebody who waits, and lets the job end and be reaped: then only one who had a handle is told.
fn end_behind_the_back_of(waiter: i32, orphan: &mut Kept) {
    support::probe::send(waiter, libc::SIGSTOP);
    until("it is stopped", || matches!(process_state(waiter), Some('T' | 't')));
    orphan.let_go();
    until("it is reaped", || process_state(orphan.process.0).is_none());
    support::probe::send(waiter, libc::SIGCONT);
}

/// How the only phantom ended, by its event.
#[track_caller]
fn cleared(sandbox: &Sandbox) -> Value {
    let events = sandbox.events("m1");
    let cleared: Vec<&Value> =
        events.iter().filter(|event| event["event"] == "phantom_cleared").collect();
    assert_eq!(cleared.len(), 1, "{events:?}");
    json!([cleared[0]["ended"], cleared[0]["code"]])
}

fn last(sandbox: &Sandbox) -> Value {
    let last = &sandbox.record("m1")["last"];
    json!([last["ended"], last["code"]])
}

#[rstest]
#[case::success("exit 0", "exited", 0)]
#[case::failure("exit 3", "exited", 3)]
#[case::all_bits("exit 255", "exited", 255)]
#[case::killed("kill -KILL $$", "signaled", libc::SIGKILL)]
#[case::ended("kill -TERM $$", "signaled", libc::SIGTERM)]
#[case::realtime("kill -40 $$", "signaled", 40)]
#[case::core("ulimit -c unlimited; kill -SEGV $$", "signaled", libc::SIGSEGV)]
#[case::last_thread("exec PROBE lastthread 6", "exited", 6)]
fn the_next_run_records_how_an_orphan_ended(
    #[case] end: &str,
    #[case] ended: &str,
    #[case] code: i32,
    #[values(REAPS, LAZY)] keeper: &str,
) {
    let sandbox = Sandbox::new();
    // A core is written where the job is.
    let script = format!("cd {}; echo $$; read _; {end}", sandbox.path("").to_str().unwrap());
    let script = script.replace("PROBE", probe().to_str().unwrap());
    let mut held = orphan(&sandbox, keeper, &script);
    let mut next = waiter(&sandbox, &["-m", "m1", "false"]);
    match keeper {
        REAPS => end_behind_the_back_of(next.pid(), &mut held),
        _ => held.let_go(),
    }
    assert_eq!(next.wait().code(), Some(1));
    let cleared = cleared(&sandbox);
    is_known(&cleared, ended, code);
    let how = match cleared[0].as_str().unwrap() {
        "exited" => format!("; it exited {code}"),
        "signaled" => format!("; it was killed by signal {code}"),
        _ => String::new(),
    };
    let said = said(&mut next);
    assert!(said.ends_with(&format!("STALE (process not running){how}\n")), "{said}");
    assert_eq!(last(&sandbox), json!(["exited", 1]), "the next run has ended since");
}

#[test]
fn a_wait_records_it_and_prints_it() {
    let sandbox = Sandbox::new();
    let mut held = orphan(&sandbox, REAPS, "echo $$; read _; exit 3");
    let token = sandbox.record("m1")["holders"][0]["token"].clone();
    let mut waiter = waiter(&sandbox, &["wait", "m1"]);
    held.let_go();
    let line = waiter.line();
    assert!(waiter.wait().success());
    is_known(&last(&sandbox), "exited", 3);
    assert_eq!(last(&sandbox), cleared(&sandbox));
    let ended = if last(&sandbox)[0] == "exited" { "exited 3" } else { "ended unseen" };
    assert!(line.starts_with(&format!("m1: free (last run {ended} at ")), "{line}");
    assert_eq!(sandbox.record("m1")["last"]["token"], token);
}

#[rstest]
#[case::term("echo $$; read _", "10", libc::SIGTERM)]
#[case::kill("trap '' TERM; echo $$; read _", "0.1", libc::SIGKILL)]
fn a_stop_records_what_it_did(#[case] script: &str, #[case] grace: &str, #[case] signal: i32) {
    let sandbox = Sandbox::new();
    let _held = orphan(&sandbox, REAPS, script);
    let done = run(sandbox.jobguard(["stop", "m1", "--grace"]).arg(grace)).exits(0);
    is_known(&last(&sandbox), "signaled", signal);
    let how = match last(&sandbox)[0].as_str().unwrap() {
        "signaled" => format!("m1: free (last run was killed by signal {signal} at "),
        _ => "m1: free (last run ended unseen at ".to_owned(),
    };
    assert!(done.stdout().lines().last().unwrap().starts_with(&how), "{done:?}");
}

/// One records it, and the others find it recorded.
#[test]
fn of_many_who_wait_one_records_it() {
    let sandbox = Sandbox::new();
    let mut held = orphan(&sandbox, REAPS, "echo $$; read _; exit 3");
    let mut waiters: Vec<Running> =
        (0..10).map(|_| waiter(&sandbox, &["-m", "m1", "true"])).collect();
    let mut onlookers: Vec<Running> =
        (0..5).map(|_| waiter(&sandbox, &["wait", "m1", "-w", "20"])).collect();
    held.let_go();
    for waiter in waiters.iter_mut().chain(&mut onlookers) {
        assert_eq!(waiter.wait().code(), Some(0));
    }
    is_known(&cleared(&sandbox), "exited", 3);
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"], json!({ "process_gone": 1 }));
}

/// The supervisor dies while somebody waits already, and the job at once after it.
#[test]
fn both_may_end_while_somebody_waits() {
    let sandbox = Sandbox::new();
    let held = Held::running(&sandbox, "echo $$; read _; exit 3");
    let mut waiter = waiter(&sandbox, &["wait", "m1"]);
    held.kill();
    assert!(waiter.wait().success());
    is_known(&last(&sandbox), "signaled", libc::SIGKILL);
}

/// Who comes after the end has nothing to ask the kernel by.
#[test]
fn what_nobody_saw_is_unknown() {
    let sandbox = Sandbox::new();
    Held::running(&sandbox, "echo $$; read _").kill();
    run(&mut sandbox.jobguard(["wait", "m1"])).exits(0);
    assert_eq!(last(&sandbox), json!(["unknown", null]));
    assert_eq!(cleared(&sandbox), json!(["unknown", null]));
}

/// A kernel that does not tell: before 6.13 it knows no such request, before 6.15 it does not find the
/// process any more.
#[rstest]
#[case::no_request("ENOTTY")]
#[case::no_answer("ESRCH")]
fn what_the_kernel_does_not_tell_is_unknown(#[case] error: &str) {
    require_program("strace");
    let sandbox = Sandbox::new();
    let mut held = orphan(&sandbox, REAPS, "echo $$; read _; exit 3");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e"]);
    command.arg(format!("inject=ioctl:error={error}")).args([JOBGUARD, "wait", "m1"]);
    sandbox.confine(&mut command);
    let mut strace = Running::start(command.stderr(Stdio::piped()));
    let tracee = || support::strace::tracee(&strace).filter(|pid| waits(*pid));
    until("it waits", || tracee().is_some());
    end_behind_the_back_of(tracee().unwrap(), &mut held);
    assert!(strace.wait().success());
    assert_eq!(last(&sandbox), json!(["unknown", null]));
}

/// Until it is reaped the status stands where only those may read it who may trace the process; to others
/// it reads as 0, which would be an invention.
#[test]
fn who_may_not_know_does_not_guess_as_root() {
    let commons = Commons::new("an orphan of another user");
    let state = commons.dir("state", User(0), TEAM, 0o2775);
    let mut keeper = Command::new(probe());
    keeper.args([
        "keeper",
        LAZY,
        JOBGUARD,
        "-m",
        "m1",
        "--",
        "sh",
        "-c",
        "echo $$; read _; exit 3",
    ]);
    let mut orphan = orphan_of(keeper.env("JOBGUARD_STATE_DIR", &state));
    let mut waiter = commons.jobguard(ALICE, &[TEAM], &state, ["wait", "m1"]);
    let mut waiter = Running::start(&mut waiter);
    until("it waits", || waits(waiter.pid()));
    orphan.let_go();
    assert!(ends(orphan.process.0, PATIENCE));
    let line = waiter.line();
    assert!(line.starts_with("m1: free (last run ended unseen at "), "{line}");
    assert!(waiter.wait().success());
    assert_eq!(process_state(orphan.process.0), Some('Z'), "it was reaped");
    assert!(orphan.keeper.child.try_wait().unwrap().is_none());
}

/// A run that was seen to exit need not be repeated; one that was killed may not have come to its end.
#[rstest]
#[case::exited("exit 3", !kernel_tells())]
#[case::killed("kill -KILL $$", true)]
fn whether_it_is_lost(#[case] end: &str, #[case] is_lost: bool) {
    let sandbox = Sandbox::new();
    let mut keeper = Command::new(probe());
    keeper.args(["keeper", REAPS, JOBGUARD, "--rerun-if-lost", "-m", "m1", "--", "sh", "-c"]);
    sandbox.confine(keeper.arg(format!("echo $$; read _; {end}")));
    let mut orphan = orphan_of(&mut keeper);
    let mut waiter = waiter(&sandbox, &["wait", "m1"]);
    end_behind_the_back_of(waiter.pid(), &mut orphan);
    assert!(waiter.wait().success());
    assert_eq!(!sandbox.record("m1")["lost"].is_null(), is_lost);
}
