//! Records that prove nothing: they hold their machine, are left alone, and yield to force.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;
use serde_json::Value;

use crate::still::still;
use crate::strangers::{ALICE, Commons, mode};
use crate::support::{Done, JOBGUARD, Sandbox, run};

/// Everything that can be asked of m1, whose holder is unverifiable: it holds the machine, and
/// nobody touches the record.
#[track_caller]
fn is_held_and_left_alone(record: &Path, ask: &dyn Fn(&[&str]) -> Command, says: &str) -> String {
    let before = still(record);
    let safe = |done: Done| {
        assert!(!done.0.stdout.contains(&0x1b) && !done.0.stderr.contains(&0x1b), "{done:?}");
        done
    };
    let answer = |args: &[&str], code: i32| safe(run(&mut ask(args)).exits(code).silent()).stdout();
    for line in [answer(&["status", "m1"], 4), answer(&["status", "--explain", "m1"], 4)] {
        assert!(line.starts_with("m1: held by "), "{line}");
        assert!(line.contains(says), "no {says:?} in {line}");
    }
    assert!(answer(&["info", "m1"], 4).contains(says));
    assert!(answer(&["list"], 0).contains("unverifiable"));
    let json =
        |args: &[&str], code| -> Value { serde_json::from_str(&answer(args, code)).unwrap() };
    for object in [
        json(&["status", "m1", "--json"], 4),
        json(&["info", "--json", "m1"], 4),
        json(&["list", "--json"], 0)[0].clone(),
    ] {
        assert_eq!(object["machine"], "m1");
        assert_eq!(object["verdict"], "unverifiable", "{object}");
        assert!(object["holders"][0]["reason_text"].as_str().unwrap().contains(says), "{object}");
    }
    let mut refusals = Vec::new();
    for args in [&["-n", "-m", "m1", "echo", "ran"][..], &["clear", "m1"], &["clear", "--all"]] {
        let done = safe(run(&mut ask(args)).exits(75).says("m1 is held by").says(says));
        assert_eq!(done.stdout(), "", "{args:?}");
        refusals.push(done.stderr().trim_end().rsplit_once("; ").unwrap().1.to_owned());
    }
    assert!(refusals.iter().all(|next| *next == refusals[0]), "{refusals:?}");
    assert_eq!(still(record), before, "somebody touched the record");
    refusals.remove(0)
}

/// What a refusal says to type frees the machine, and leaves a trace.
#[track_caller]
fn yields_to(next: &str, sandbox: &Sandbox) {
    let typed = next.strip_prefix("if you know it is over: jobguard ").expect(next);
    let done = run(&mut sandbox.jobguard(typed.split(' '))).exits(0);
    assert!(
        done.stderr().contains("m1: cleared ") && done.stderr().contains("by force"),
        "{done:?}"
    );
    let events = sandbox.events("m1");
    assert!(events.iter().any(|event| event["event"] == "force_cleared"), "{events:?}");
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3);
    let ran = run(&mut sandbox.jobguard(["-n", "-m", "m1", "echo", "ran"])).exits(0).silent();
    assert_eq!(ran.stdout(), "ran\n");
}

fn holder(token: &str, rest: &str) -> String {
    format!(
        r#"{{"token":{token},"mode":"exclusive","slots":1,"state":"running","held_by":"job",
            "host":{{"boot_id":"b"}},"command":["x"],"started_at":"t"{rest}}}"#
    )
}

fn record(token: &str, holders: &[String]) -> String {
    let holders = holders.join(",");
    format!(r#"{{"schema":1,"machine":"m1","revision":1,"token":{token},"holders":[{holders}]}}"#)
}

#[rstest]
#[case::empty("", "its record is empty")]
#[case::blank(" \n", "cannot be parsed: EOF")]
#[case::binary("\u{0}\u{1b}[31m\u{7f}", "cannot be parsed")]
#[case::array("[1]", "no JSON object")]
#[case::string("\"m1\"", "no JSON object")]
#[case::null("null", "no JSON object")]
#[case::empty_object("{}", "it has no schema")]
#[case::trailing("{\"schema\":1}{}", "trailing characters")]
#[case::missing_fields(r#"{"schema":1}"#, "missing field")]
#[case::schema_text(r#"{"schema":"1"}"#, "schema")]
#[case::schema_negative(r#"{"schema":-1}"#, "schema -1")]
#[case::schema_fraction(r#"{"schema":1.5}"#, "schema 1.5")]
#[case::wrong_type(record("\"9\"", &[]), "invalid type")]
#[case::negative_token(record("-9", &[]), "invalid value")]
#[case::holders_object(record("9", &[]).replace("[]", "{}"), "invalid type")]
#[case::holders_null(record("9", &[]).replace("[]", "null"), "invalid type")]
#[case::holder_incomplete(record("9", &["{}".into()]), "missing field")]
#[case::unknown_mode(record("9", &[holder("9", "").replace("exclusive", "\\u001b[31m")]), "unknown variant")]
#[case::huge_pid(record("9", &[holder("9", r#","job":{"pid":2147483648}"#)]), "invalid value")]
#[case::deep(format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)), "recursion limit")]
#[case::deep_unknown(
    record("9", &[]).replace("{", &format!("{{\"x\":{}{},", "[".repeat(200), "]".repeat(200))),
    "recursion limit"
)]
#[case::other_machine(record("9", &[]).replace("m1", "m\\u001b2"), "that of another machine, m")]
#[case::token_too_big(record("9007199254740992", &[]), "has a token beyond")]
#[case::token_u64(record("18446744073709551615", &[]), "has a token beyond")]
#[case::last_token(record("9007199254740991", &[]), "has a token beyond")]
#[case::holder_token_u64(record("9", &[holder("18446744073709551615", "")]), "has a token beyond")]
#[case::token_twice(record("9", &[holder("9", ""), holder("9", "")]), "names a token twice")]
#[case::duplicate_schema(record("9", &[]).replace("{", r#"{"schema":0,"#), "duplicate field")]
#[case::duplicate_holders(record("9", &[]).replace("{", r#"{"holders":[],"#), "duplicate field")]
#[case::duplicate_deep(record("9", &[holder("9", r#","job":{"pid":1,"pid":0}"#)]), "duplicate field")]
#[case::legacy_pid_text(r#"{"job_pid":"many"}"#, "job_pid")]
#[case::legacy_pid_huge(r#"{"job_pid":4294967297}"#, "is no process ID")]
#[case::legacy_pid_fraction(r#"{"job_pid":2147483647.5}"#, "job_pid")]
#[case::legacy_pid_list(r#"{"job":"x","job_pid":[1]}"#, "job_pid")]
#[case::legacy_time_text(r#"{"job":"x","job_timestamp":"noon"}"#, "job_timestamp")]
#[case::legacy_no_time(r#"{"job":"x"}"#, "neither a PID nor a time")]
#[case::foreign(
    record("9", &[holder("9", "")]).replace(r#""boot_id":"b""#, r#""boot_id":"b","id":"other""#),
    "it runs on another host"
)]
fn what_proves_nothing_is_held(#[case] bytes: impl AsRef<[u8]>, #[case] says: &str) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", bytes);
    let record = sandbox.machine("m1").join("record.json");
    let next = is_held_and_left_alone(&record, &|args| sandbox.jobguard(args), says);
    yields_to(&next, &sandbox);
}

#[test]
fn a_record_cut_anywhere_is_held() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    let path = sandbox.machine("m1").join("record.json");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        run(&mut sandbox.jobguard(["status", "m1"])).exits(4).silent();
        run(&mut sandbox.jobguard(["-nmm1", "echo", "ran"])).exits(75).says("m1 is held by");
        assert_eq!(std::fs::read(&path).unwrap(), whole[..length]);
    }
}

#[rstest]
#[case::huge(
    |path: &Path| std::fs::File::create(path).unwrap().set_len(100 << 20).unwrap(),
    "has 104857600 bytes, more than any record"
)]
#[case::link(|path: &Path| symlink("/etc/passwd", path).unwrap(), "is a symbolic link")]
#[case::dangling(|path: &Path| symlink("nowhere", path).unwrap(), "is a symbolic link")]
#[case::fifo(|path: &Path| mkfifo(path, Mode::S_IRWXU).unwrap(), "is not a regular file")]
#[case::directory(|path: &Path| std::fs::create_dir(path).unwrap(), "is not a regular file")]
#[case::full_directory(|path: &Path| std::fs::create_dir_all(path.join("x")).unwrap(), "is not a regular file")]
#[case::socket(|path: &Path| drop(UnixListener::bind(path).unwrap()), "cannot be opened")]
#[case::device(|path: &Path| symlink("/dev/zero", path).unwrap(), "is a symbolic link")]
fn what_is_no_file_is_held(#[case] make: fn(&Path), #[case] says: &str) {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.machine("m1")).unwrap();
    let path = sandbox.machine("m1").join("record.json");
    make(&path);
    let next = is_held_and_left_alone(&path, &|args| sandbox.jobguard(args), says);
    yields_to(&next, &sandbox);
    // Whatever it was is set aside.
    assert!(sandbox.machine("m1").join("record.damaged").symlink_metadata().is_ok());
    let left = std::fs::read_dir(sandbox.machine("m1")).unwrap().map(|e| e.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with('.')));
}

#[test]
fn a_record_that_may_not_be_read_is_held_as_root() {
    let commons = Commons::new("unreadable record");
    let state = commons.dir("state", ALICE, ALICE.0, 0o755);
    let ask = |args: &[&str]| commons.jobguard(ALICE, &[], &state, args);
    run(&mut ask(&["-m", "m1", "true"])).exits(0);
    let record = state.join("m1/record.json");
    mode(&record, 0o000);
    let next = is_held_and_left_alone(&record, &ask, "cannot be opened: Permission denied");
    let typed = next.strip_prefix("if you know it is over: jobguard ").unwrap();
    run(&mut ask(&typed.split(' ').collect::<Vec<_>>())).exits(0).says("by force");
    run(&mut ask(&["-m", "m1", "true"])).exits(0).silent();
}

#[rstest]
fn a_later_schema_is_left_alone_even_by_force(
    #[values("2", "18446744073709551615")] schema: &str,
    #[values(r#"{"schema":N,"x":{}}"#, r#"{"schema":N,"machine":"m2","job_pid":0}"#)] record: &str,
) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", record.replace('N', schema));
    let path = sandbox.machine("m1").join("record.json");
    let says = format!("newer jobguard (schema {schema}");
    let next = is_held_and_left_alone(&path, &|args| sandbox.jobguard(args), &says);
    assert_eq!(next, "use the version that wrote it");
    let before = still(&path);
    run(&mut sandbox.jobguard(["clear", "m1", "--force", "--token", "0"])).exits(75).says(&next);
    assert_eq!(still(&path), before);
}

#[test]
fn one_that_waits_for_a_bad_record_says_so_once_and_sees_it_mended() {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", "torn");
    let mut command = sandbox.jobguard(["-w", "0.2", "-m", "m1", "echo", "ran"]);
    let done = run(&mut command).exits(75).says("waiting, and looking again every few seconds");
    assert_eq!(done.stderr().matches("waiting, and looking").count(), 1);
    assert_eq!(done.stdout(), "");
    done.says("(waited 200ms)").says("jobguard clear m1 --force --token 0");
}

#[test]
fn a_bad_machine_does_not_hide_the_others_as_root() {
    let commons = Commons::new("unreadable machine");
    let state = commons.dir("state", ALICE, ALICE.0, 0o755);
    let ask = |args: &[&str]| run(&mut commons.jobguard(ALICE, &[], &state, args));
    for machine in ["m1", "m2", "m3"] {
        ask(&["-m", machine, "true"]).exits(0);
    }
    mode(&state.join("m2"), 0o000);
    let done = ask(&["list"]).exits(125).says("m2").says("Permission denied");
    assert!(done.stdout().contains("m1") && done.stdout().contains("m3"), "{done:?}");
    let done = ask(&["list", "--json"]).exits(125).says("Permission denied");
    assert_eq!(done.json().as_array().unwrap().len(), 2);
    ask(&["clear", "--all"]).exits(125).says("m2").says("Permission denied");
    ask(&["status", "m2"]).exits(4).says("Permission denied");
}

#[test]
fn a_hint_names_the_state_directory_that_was_typed() {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", "torn");
    let typed = sandbox.state();
    let ask = |args: &[&str]| {
        let mut command = Command::new(JOBGUARD);
        sandbox.confine(&mut command);
        command.env("JOBGUARD_STATE_DIR", "/nowhere").arg("--state-dir").arg(&typed).args(args);
        run(&mut command)
    };
    let hint = format!("jobguard clear m1 --force --token 0 --state-dir {}", typed.display());
    assert!(ask(&["status", "m1"]).exits(4).stdout().contains(&hint));
    ask(&["clear", "m1"]).exits(75).says(&hint);
    ask(&["-n", "-m", "m1", "true"]).exits(75).says(&hint);
    ask(&["-w", "0.1", "-m", "m1", "true"]).exits(75).says(&hint);
    let mut command = Command::new("sh");
    command.args(["-c", &hint.replace("jobguard ", "\"$0\" "), JOBGUARD]);
    sandbox.confine(&mut command);
    run(command.env("JOBGUARD_STATE_DIR", "/nowhere")).exits(0).says("by force");
    sandbox.plant("m1", format!("{{\"job_pid\":{}}}", std::process::id()));
    let hint = format!("see jobguard info m1 --state-dir {}", typed.display());
    ask(&["-n", "-m", "m1", "true"]).exits(75).says(&hint);
}
