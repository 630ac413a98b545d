//! Who is a holder, on a real kernel: stopped and killed supervisors, other boots, and numbers
//! that name nobody, or the wrong one.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support;
use crate::support::held::{Held, STATUS, waits};
use crate::support::{Done, JOBGUARD, Running, Sandbox, require_root, run, state, until};

/// How long the absence of a release takes to be evidence.
const GRACE: Duration = Duration::from_secs(1);

/// The verdict and its reason in `status --json`, whose exit code must match.
#[track_caller]
fn verdict(done: &Done) -> (String, String) {
    let object = done.json();
    let text = |key: &str| object[key].as_str().unwrap_or("").to_owned();
    let code = match text("verdict").as_str() {
        "live" | "finishing" => 0,
        "phantom" => 1,
        "free" => 3,
        _ => 4,
    };
    assert_eq!(done.code(), code, "{done:?}");
    (text("verdict"), text("reason"))
}

fn status(sandbox: &Sandbox) -> (String, String) {
    verdict(&run(&mut sandbox.jobguard(["status", "m1", "--json"])))
}

fn is(verdict: &str, reason: &str) -> (String, String) {
    (verdict.to_owned(), reason.to_owned())
}

/// A run that does not wait.
fn try_run(sandbox: &Sandbox) -> Done {
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "--", "true"]))
}

/// The record of a job that was killed with its supervisor.
fn phantom(sandbox: &Sandbox) -> Value {
    Held::start(sandbox).kill();
    sandbox.record("m1")
}

#[test]
fn a_stalled_supervisor_is_overtaken_and_touches_nothing_when_it_comes_back() {
    let sandbox = Sandbox::new();
    let mut stalled = Held::start(&sandbox);
    stalled.stop_supervisor();
    stalled.let_go();
    until("its job is a zombie", || state(stalled.job.0) == Some('Z'));

    let before = Instant::now();
    assert_eq!(status(&sandbox), is("phantom", "supervisor_stalled"));
    assert!(before.elapsed() >= GRACE, "{:?}", before.elapsed());
    let mut next = Held::start(&sandbox);
    let seen = || (sandbox.record("m1"), files(&sandbox), sandbox.events("m1"));
    let (record, names, mut events) = seen();
    assert_eq!(record["counters"]["phantoms"]["supervisor_stalled"], 1);

    stalled.supervisor.signal(Signal::SIGCONT);
    assert_eq!(stalled.supervisor.wait().code(), Some(STATUS));
    let (after, names_after, events_after) = seen();
    assert_eq!((after, names_after), (record, names));
    assert_eq!(events_after.len(), events.len() + 1);
    events.push(events_after.last().unwrap().clone());
    assert_eq!(events_after, events);
    assert_eq!(events_after.last().unwrap()["event"], "ended_unrecorded");

    assert_eq!(status(&sandbox), is("live", ""));
    next.let_go();
    assert_eq!(next.supervisor.wait().code(), Some(STATUS));
    assert_eq!(status(&sandbox), is("free", ""));
}

/// The names in the machine's directory.
fn files(sandbox: &Sandbox) -> BTreeSet<String> {
    let entries = std::fs::read_dir(sandbox.machine("m1")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_job_whose_supervisor_was_killed_still_holds_the_machine() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    held.orphan();
    assert_eq!(status(&sandbox), is("live", ""));
    try_run(&sandbox).exits(75).says("m1");
    let mut waiter = Running::start(&mut sandbox.jobguard(["-m", "m1", "--", "echo", "mine"]));
    until("it waits", || waits(waiter.pid()));

    let before = Instant::now();
    held.let_go();
    assert_eq!(waiter.line(), "mine");
    assert!(before.elapsed() < GRACE, "not at once: {:?}", before.elapsed());
    assert!(waiter.wait().success());
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["process_gone"], 1);
}

#[rstest]
#[case::of_a_dead_run(true)]
#[case::of_a_live_run(false)]
fn a_record_from_another_boot(#[case] dead: bool) {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let mut record = sandbox.record("m1");
    let live = match dead {
        true => {
            held.kill();
            None
        }
        false => Some(held),
    };
    assert_eq!(record["holders"][0]["host"]["boot_id_genuine"], true);
    record["holders"][0]["host"]["boot_id"] = json!("00000000-0000-4000-8000-000000000000");
    sandbox.plant("m1", record.to_string());
    assert_eq!(status(&sandbox), is("phantom", "rebooted"));
    try_run(&sandbox).exits(0).says("rebooted");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["rebooted"], 1);
    drop(live);
}

/// A jobguard to which another file is the boot ID, as in a container of nspawn or LXD.
fn elsewhere(sandbox: &Sandbox, args: &[&str]) -> Command {
    require_root("bind mounts");
    let boot_id = sandbox.path("boot_id");
    std::fs::write(&boot_id, "11111111-1111-4111-8111-111111111111\n").unwrap();
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(boot_id).arg(JOBGUARD).args(args);
    sandbox.confine(&mut command);
    command
}

#[test]
fn a_boot_id_that_is_not_genuine_frees_nobody_here() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let unverifiable = || {
        let seen = verdict(&run(&mut elsewhere(&sandbox, &["status", "m1", "--json"])));
        assert_eq!(seen, is("unverifiable", "unclear"));
        run(&mut elsewhere(&sandbox, &["-n", "-m", "m1", "--", "true"])).exits(75);
        run(&mut elsewhere(&sandbox, &["clear", "m1"])).exits(75);
    };
    unverifiable();
    assert_eq!(status(&sandbox), is("live", ""));
    held.orphan();
    unverifiable();
    held.let_go();
}

#[test]
fn a_boot_id_that_is_not_genuine_frees_nobody_there() {
    let sandbox = Sandbox::new();
    let job = ["-m", "m1", "--", "sh", "-c", "echo held; exec sleep inf"];
    let mut holder = Running::start(&mut elsewhere(&sandbox, &job));
    assert_eq!(holder.line(), "held");
    let _job =
        support::Stray(sandbox.record("m1")["holders"][0]["job"]["pid"].as_i64().unwrap() as i32);
    assert_eq!(sandbox.record("m1")["holders"][0]["host"]["boot_id_genuine"], false);
    assert_eq!(status(&sandbox), is("unverifiable", "unclear"));
    try_run(&sandbox).exits(75);
}

/// A machine ID that is none identifies nothing, and keeps nobody from running.
#[rstest]
#[case::no_text("printf 'abc\\377' >\"$0\"/machine-id")]
#[case::a_directory("mkdir \"$0\"/machine-id")]
#[case::a_loop("ln -s machine-id \"$0\"/machine-id")]
fn a_machine_id_that_makes_no_sense(#[case] make: &str) {
    require_root("bind mounts");
    let sandbox = Sandbox::new();
    let etc = sandbox.path("etc");
    let script = format!(
        "cp -a /etc \"$0\" && rm -f \"$0\"/machine-id && {make} && mount --bind \"$0\" /etc && \
         exec \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(etc).arg(JOBGUARD);
    sandbox.confine(command.args(["-m", "m1", "--", "true"]));
    run(&mut command).exits(0).silent();
    assert_eq!(sandbox.record("m1")["counters"]["runs"], 1);
}

/// What a record tells of a process beside its PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The identity of a process that is over.
    Everything,
    /// Nothing.
    Nothing,
}

/// A number that is no process ID: a PID that no process can have.
const PLACEHOLDER: i32 = 1 << 22;

/// The record of a phantom whose job has this PID.
fn naming(sandbox: &Sandbox, pid: i32, told: Told) -> String {
    let mut record = phantom(sandbox);
    let job = &mut record["holders"][0]["job"];
    job["pid"] = json!(pid);
    if told == Told::Nothing {
        job["pidfd_inode"] = Value::Null;
        job["start_ticks"] = Value::Null;
    }
    record.to_string()
}

#[rstest]
#[case::zero(0, Told::Everything, Some("process_gone"))]
#[case::zero(0, Told::Nothing, Some("process_gone"))]
#[case::everybody(-1, Told::Everything, Some("process_gone"))]
#[case::everybody(-1, Told::Nothing, Some("process_gone"))]
#[case::beyond_all(PLACEHOLDER, Told::Nothing, Some("process_gone"))]
#[case::init(1, Told::Everything, Some("pid_reused"))]
#[case::init(1, Told::Nothing, None)]
fn a_record_that_names(#[case] pid: i32, #[case] told: Told, #[case] phantom: Option<&str>) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", naming(&sandbox, pid, told));
    settles(&sandbox, phantom);
}

/// A phantom goes, for this reason; whoever is none stays.
#[track_caller]
fn settles(sandbox: &Sandbox, phantom: Option<&str>) {
    match phantom {
        Some(reason) => {
            assert_eq!(status(sandbox), is("phantom", reason));
            try_run(sandbox).exits(0);
        }
        None => {
            assert_eq!(status(sandbox), is("live", ""));
            try_run(sandbox).exits(75);
        }
    }
}

/// `kill(tid, 0)` and `/proc/TID` take a thread for a process.
#[rstest]
fn a_record_that_names_a_thread(#[values(Told::Everything, Told::Nothing)] told: Told) {
    let sandbox = Sandbox::new();
    let (send, receive) = mpsc::channel();
    let (live, until_dropped) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(nix::unistd::gettid().as_raw()).unwrap();
        let _ = until_dropped.recv(); // the sender is dropped at the end
    });
    let tid = receive.recv().unwrap();
    assert_ne!(tid, std::process::id().cast_signed());
    sandbox.plant("m1", naming(&sandbox, tid, told));
    settles(&sandbox, Some("pid_reused"));
    drop(live);
    thread.join().unwrap();
}

/// The record is written by the process that then becomes the observer.
#[rstest]
#[case(Told::Everything, is("phantom", "pid_reused"), 0)]
#[case(Told::Nothing, is("live", ""), 75)]
fn a_record_that_names_the_observer(
    #[case] told: Told,
    #[case] expected: (String, String),
    #[case] runs: i32,
) {
    let sandbox = Sandbox::new();
    let template = sandbox.path("template");
    std::fs::write(&template, naming(&sandbox, PLACEHOLDER, told)).unwrap();
    let record = sandbox.machine("m1").join("record.json");
    let observe = |args: &[&str]| {
        let script = format!("sed s/{PLACEHOLDER}/$$/ \"$0\" >\"$1\"; shift; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&template).arg(&record).arg(JOBGUARD).args(args);
        sandbox.confine(&mut command);
        run(&mut command)
    };
    assert_eq!(verdict(&observe(&["status", "m1", "--json"])), expected);
    observe(&["-n", "-m", "m1", "--", "true"]).exits(runs);
}
