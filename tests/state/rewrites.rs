//! What survives a rewrite of the record, and what a damaged or hostile one makes of the next.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use jobguard::identity::host::Host;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{JOBGUARD, Running, Sandbox, run};

/// A holder on this host, now, whose job has this PID and no other mark.
fn holder(token: u64, pid: u32) -> Value {
    let mut host = serde_json::to_value(Host::here(None).unwrap()).unwrap();
    host["x"] = json!({ "host": [1, { "a": null }] });
    json!({
        "token": token, "mode": "exclusive", "slots": 1, "parent": null, "state": "running",
        "held_by": "job", "dies_with_supervisor": false, "lifeline": null,
        "job": { "pid": pid, "start_ticks": null, "pidfd_inode": null, "x": "job" },
        "supervisor": null,
        "host": host,
        "command": ["x", [255, 27]], "name": null, "cwd": [47, 255], "uid": 7, "user": null,
        "started_at": "some time",
        "context": { "systemd_unit": "u", "invocation_id": null, "tty": null, "x": "context" },
        "x": { "holder": 18_446_744_073_709_551_615_u64 },
    })
}

fn record(token: u64, holders: &[Value]) -> Value {
    json!({
        "schema": 1, "machine": "m1", "revision": 5, "token": token, "holders": holders,
        "last": { "token": 1, "ended": "exited", "code": 0, "started_at": null, "ended_at": "then",
                  "x": ["last"] },
        "counters": { "runs": 3, "contended": 2, "skipped": 1, "timed_out": 4,
                      "phantoms": { "rebooted": 6, "of_a_later_version": 7 }, "x": 0.5 },
        "x": { "top": "\u{1b}ä" },
    })
}

const NOBODY: u32 = i32::MAX.cast_unsigned();

#[rstest]
#[case::clear(&["clear", "m1"], 0)]
#[case::run(&["-n", "-m", "m1", "echo", "ran"], 1)]
fn beside_a_phantom_all_is_kept(#[case] args: &[&str], #[case] refused: usize) {
    let sandbox = Sandbox::new();
    let alive = holder(8, std::process::id());
    let before = record(9, &[holder(7, NOBODY), alive.clone()]);
    sandbox.plant("m1", before.to_string());
    let done = run(&mut sandbox.jobguard(args)).exits(75).says("process not running");
    assert_eq!(done.stdout(), "");
    let mut expected = before.clone();
    expected["revision"] = json!(6 + refused);
    expected["holders"] = json!([alive]);
    expected["counters"]["phantoms"]["process_gone"] = json!(1);
    if refused > 0 {
        expected["counters"]["refused"] = json!(refused);
    }
    let now = sandbox.record("m1");
    expected["last"] = json!({ "token": 7, "ended": "unknown", "code": null,
        "started_at": "some time", "ended_at": now["last"]["ended_at"] });
    assert_eq!(now, expected);
    let events = sandbox.events("m1");
    assert_eq!(events.len(), 1 + refused);
    assert_eq!(events[0]["holder"], before["holders"][0], "the log has the holder as recorded");
}

#[rstest]
#[case::zero(json!({ "pid": 0 }), "process_gone")]
#[case::minus_one(json!({ "pid": -1 }), "process_gone")]
#[case::lowest(json!({ "pid": i32::MIN }), "process_gone")]
#[case::nobody(json!({ "pid": NOBODY, "start_ticks": 1, "pidfd_inode": 1 }), "process_gone")]
#[case::another_init(json!({ "pid": 1, "start_ticks": u64::MAX, "pidfd_inode": 1 }), "pid_reused")]
#[case::another_start(json!({ "pid": 1, "start_ticks": u64::MAX }), "pid_reused")]
#[case::init(json!({ "pid": 1 }), "")]
#[case::this_process(json!({ "pid": std::process::id() }), "")]
fn pids_that_name_nobody_hold_nothing(#[case] job: Value, #[case] reason: &str) {
    let sandbox = Sandbox::new();
    let mut holder = holder(7, NOBODY);
    holder["job"] = job;
    sandbox.plant("m1", record(9, &[holder]).to_string());
    let held = reason.is_empty();
    let status = run(&mut sandbox.jobguard(["status", "m1", "--json"])).silent();
    assert_eq!(status.json()["reason"], if held { json!(null) } else { json!(reason) });
    status.exits(if held { 0 } else { 1 });
    let done = run(&mut sandbox.jobguard(["-n", "-m", "m1", "echo", "ran"]));
    assert_eq!(done.stdout(), if held { "" } else { "ran\n" });
    done.exits(if held { 75 } else { 0 });
}

#[test]
fn a_run_keeps_what_it_does_not_know() {
    let sandbox = Sandbox::new();
    let before = record(9, &[]);
    sandbox.plant("m1", before.to_string());
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
    let now = sandbox.record("m1");
    assert_eq!(now["x"], before["x"]);
    let mut counters = before["counters"].clone();
    counters["runs"] = json!(4);
    assert_eq!(now["counters"], counters);
    assert_eq!(now["revision"], 7);
}

#[rstest]
#[case::runs("runs")]
#[case::phantoms("phantoms")]
fn counters_end_where_they_end(#[case] which: &str) {
    let sandbox = Sandbox::new();
    let mut full = record(9, &[holder(7, NOBODY)]);
    full["counters"]["runs"] = json!(u64::MAX);
    full["counters"]["phantoms"]["process_gone"] = json!(u64::MAX);
    full["revision"] = json!(u64::MAX - 1);
    sandbox.plant("m1", full.to_string());
    let args: &[&str] = if which == "runs" { &["-m", "m1", "true"] } else { &["clear", "m1"] };
    run(&mut sandbox.jobguard(args)).exits(0).says("m1: cleared");
    let counters = &sandbox.record("m1")["counters"];
    assert_eq!(counters["phantoms"]["process_gone"], json!(u64::MAX));
    assert_eq!(counters["runs"], json!(u64::MAX));
}

#[test]
fn a_token_never_goes_back() {
    let sandbox = Sandbox::new();
    let high = 8_000_000_000_000_000_u64;
    let token = |sandbox: &Sandbox| -> u64 {
        let job = ["-m", "m1", "sh", "-c", "echo $JOBGUARD_TOKEN"];
        run(&mut sandbox.jobguard(job)).exits(0).stdout().trim_end().parse().unwrap()
    };
    sandbox.plant("m1", record(high, &[]).to_string());
    assert_eq!(token(&sandbox), high + 1);
    assert_eq!(token(&sandbox), high + 2);
    // Not behind a phantom's that its record does not count, nor a slack lifeline's.
    sandbox.plant("m1", record(9, &[holder(high + 10, NOBODY)]).to_string());
    assert_eq!(token(&sandbox), high + 11);
    mkfifo(&sandbox.machine("m1").join(format!("life.{}", high + 20)), Mode::S_IRWXU).unwrap();
    std::fs::remove_file(sandbox.machine("m1").join("record.json")).unwrap();
    assert_eq!(token(&sandbox), high + 21);
}

#[test]
fn when_tokens_are_used_up_nothing_runs_and_nothing_breaks() {
    let sandbox = Sandbox::new();
    let last = jobguard::machine::record::MAX_TOKEN;
    sandbox.plant("m1", record(last - 1, &[]).to_string());
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
    for _ in 0..2 {
        let done = run(&mut sandbox.jobguard(["-m", "m1", "echo", "ran"])).exits(125);
        assert_eq!(done.stdout(), "");
        done.says("m1 has used up its tokens").says(sandbox.machine("m1").to_str().unwrap());
        run(&mut sandbox.jobguard(["status", "m1"])).exits(3).silent();
    }
}

/// As many as a record may name.
#[test]
fn a_record_full_of_phantoms_is_cleared() {
    let sandbox = Sandbox::new();
    let host = serde_json::to_value(Host::here(None).unwrap()).unwrap();
    let small = |token: u64| {
        json!({
            "token": token, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
            "job": { "pid": NOBODY }, "command": [], "started_at": "",
            "host": { "boot_id": host["boot_id"], "pid_ns": host["pid_ns"] },
        })
    };
    let holders: Vec<Value> = (1..=256).map(small).collect();
    sandbox.plant("m1", record(256, &holders).to_string());
    run(&mut sandbox.jobguard(["status", "m1"])).exits(1).silent();
    let done = run(&mut sandbox.jobguard(["clear", "m1"])).exits(0);
    assert_eq!(done.stderr().lines().count(), holders.len());
    assert_eq!(sandbox.events("m1").len(), holders.len());
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["process_gone"], holders.len());
}

/// Makes a file older than any boot.
fn before_this_boot(path: &Path) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(978_307_200); // 2001
    File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[rstest]
fn a_record_torn_before_this_boot_frees_its_machine(
    #[values("", "\u{0}\u{0}", "{\"schema\":1,\"mach", "{\"schema\":1}")] bytes: &str,
    #[values(false, true)] slack: bool,
    #[values("run", "clear")] by: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", bytes);
    let dir = sandbox.machine("m1");
    if slack {
        mkfifo(&dir.join("life.5"), Mode::S_IRWXU).unwrap();
    }
    let status = |code| run(&mut sandbox.jobguard(["status", "m1"])).exits(code).silent().stdout();
    assert!(status(4).contains("cannot be verified"), "younger than this boot");
    before_this_boot(&dir.join("record.json"));
    assert!(status(1).contains("STALE (record damaged before this boot)"));
    let args: &[&str] = if by == "run" { &["-m", "m1", "true"] } else { &["clear", "m1"] };
    run(&mut sandbox.jobguard(args))
        .exits(0)
        .says("m1: cleared unknown job: STALE (record damaged before this boot)");
    let events = sandbox.events("m1");
    assert_eq!(events[0]["event"], "phantom_cleared");
    assert_eq!(events[0]["reason"], "torn_by_power_loss");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["torn_by_power_loss"], 1);
    assert_eq!(std::fs::read_to_string(dir.join("record.damaged")).unwrap(), bytes);
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
    assert!(!dir.join("life.5").exists());
}

#[test]
fn a_taut_lifeline_holds_the_machine_whatever_the_record_has_become() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "sh", "-c", "echo $JOBGUARD_TOKEN; read x"]);
    let mut held = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    let token = held.line();
    let record = sandbox.machine("m1").join("record.json");
    let bytes = "torn";
    std::fs::write(&record, bytes).unwrap();
    before_this_boot(&record);
    let line = run(&mut sandbox.jobguard(["status", "m1"])).exits(0).silent().stdout();
    assert!(line.contains(&format!("a run that no record names (token {token}")), "{line}");
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "echo", "ran"])).exits(75).says(&token);
    run(&mut sandbox.jobguard(["clear", "m1"]))
        .exits(75)
        .says(&format!("jobguard clear m1 --force --token {token}"));
    assert_eq!(std::fs::read_to_string(&record).unwrap(), bytes);
    drop(held.child.stdin.take());
    assert_eq!(held.wait().code(), Some(1));
    // It was damaged under this boot, whatever its file says: no power loss did that.
    run(&mut sandbox.jobguard(["status", "m1"])).exits(4);
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(75);
}

/// A clock that is set while a job runs makes its record older than the boot; the note of the boot
/// in the lock file does not depend on clocks.
#[test]
fn a_record_damaged_under_this_boot_is_no_power_loss() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
    let (record, lock) =
        (sandbox.machine("m1").join("record.json"), sandbox.machine("m1").join("lock"));
    let here = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), here.trim());
    std::fs::write(&record, "torn").unwrap();
    before_this_boot(&record);
    run(&mut sandbox.jobguard(["status", "m1"])).exits(4);
    // Whatever a power loss makes of the note, or an earlier boot wrote there.
    for noted in ["", "\0\0", "01234567-0123-0123-0123-0123456789ab"] {
        std::fs::write(&lock, noted).unwrap();
        run(&mut sandbox.jobguard(["status", "m1"])).exits(1);
    }
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).says("record damaged");
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), here.trim());
}

#[test]
fn arguments_are_kept_exactly_and_shown_safely() {
    let sandbox = Sandbox::new();
    let words: [&[u8]; 6] =
        [b"\x1b[31m", b"a\xff\nb", b"it's", b"", "\u{202e}".as_bytes(), b"\xc2\x9b"];
    let mut command = sandbox.jobguard(["-m", "m1", "sh", "-c", "echo up; read x", "sh"]);
    command.args(words.map(std::ffi::OsStr::from_bytes));
    let mut held = Running::start(command.stdin(Stdio::piped()));
    assert_eq!(held.line(), "up");
    let recorded = json!([
        "sh",
        "-c",
        "echo up; read x",
        "sh",
        "\u{1b}[31m",
        [97, 255, 10, 98],
        "it's",
        "",
        "\u{202e}",
        "\u{9b}"
    ]);
    assert_eq!(sandbox.record("m1")["holders"][0]["command"], recorded);
    let shown =
        r"sh -c 'echo up; read x' sh '\u{1b}[31m' 'a\xff\nb' 'it'\''s' '' '\u{202e}' '\u{9b}'";
    for args in [&["status", "m1"][..], &["status", "--explain", "m1"], &["info", "m1"], &["list"]]
    {
        let text = run(&mut sandbox.jobguard(args)).exits(0).silent().stdout();
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{fffd}']), "{text:?}");
    }
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(75).says(shown);
    drop(held.child.stdin.take());
    held.wait();
    assert_eq!(sandbox.events("m1").last().unwrap()["command"], recorded);
}

/// What is shown for a run is kept as it was given, too.
#[test]
fn a_name_that_is_no_text_is_kept_exactly_and_escaped_when_shown() {
    let sandbox = Sandbox::new();
    let name = OsStr::from_bytes(b"a\xff\x1b[31m");
    let words = [OsStr::new("-m"), OsStr::new("m1"), OsStr::new("--name"), name];
    let job = ["sh", "-c", "\"$0\" status m1", JOBGUARD].map(OsStr::new);
    let done = run(&mut sandbox.jobguard(words.into_iter().chain(job))).exits(0);
    assert!(done.stdout().starts_with("m1: running \"a\\xff\\u{1b}[31m\" ("), "{}", done.stdout());
}
