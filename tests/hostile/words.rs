//! Words for a terminal to obey, wherever somebody else may write them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::arena::{Arena, MALLORY, Names, VICTIM, give, holder, record};
use crate::strangers::TEAM;
use crate::support::{Done, Running};

/// Escape sequences, their 8-bit forms, line ends, overrides of direction, marks, tags.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{90}q\u{7f}\u{8}\r\n\t\u{0}\u{ad}\u{61c}\
    \u{200b}\u{200d}\u{200e}\u{202a}\u{202e}\u{2028}\u{2060}\u{2066}\u{2069}\u{feff}\u{fffa}\u{e0041}";

/// The same as a file's name or an argument can have it, and what is no UTF-8.
fn evil_bytes() -> Vec<u8> {
    let mut bytes = EVIL.replace('\0', "").into_bytes();
    bytes.extend([0x9b, 0xff, 0xc2]);
    bytes
}

/// A character that people can see, or the end of a line.
fn is_plain(char: char) -> bool {
    let hidden = EVIL.chars().any(|evil| evil == char && !evil.is_ascii_graphic());
    char == '\n' || !(hidden || char.is_control())
}

#[track_caller]
fn is_safe(done: &Done) -> usize {
    for bytes in [&done.0.stdout, &done.0.stderr] {
        let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("no UTF-8: {done:?}"));
        let bad: Vec<char> = text.chars().filter(|char| !is_plain(*char)).collect();
        assert!(bad.is_empty(), "{bad:?} in {done:?}");
    }
    done.0.stdout.len() + done.0.stderr.len()
}

const ASKS: [&[&str]; 12] = [
    &["-n", "-m", "m1", "true"],
    &["status", "m1"],
    &["status", "m1", "--explain"],
    &["status", "m1", "--json", "--explain"],
    &["info", "m1"],
    &["info", "m1", "--json"],
    &["list"],
    &["list", "--json"],
    &["stop", "m1"],
    &["stop", "m1", "--json"],
    &["clear", "m1", "--json"],
    &["clear", "m1", "--force", "--token", "5"],
];

/// Records whose every text is evil; `holds` says whether what they name holds the machine.
fn records() -> Vec<Vec<u8>> {
    let bytes = Value::from(evil_bytes());
    let evil = |pid: i64, boot: &str| {
        let mut holder =
            holder(MALLORY, &json!({ "pid": pid }), &json!({ "pid": pid }), Some(EVIL));
        for (key, value) in [
            ("command", json!([EVIL, bytes])),
            ("name", Value::Null),
            ("cwd", bytes.clone()),
            ("user", json!(EVIL)),
            ("started_at", json!(EVIL)),
            (
                "context",
                json!({ "systemd_unit": EVIL, "invocation_id": EVIL, "tty": EVIL, EVIL: EVIL }),
            ),
            (EVIL, json!(EVIL)),
        ] {
            holder[key] = value;
        }
        holder["host"]["name"] = json!(EVIL);
        holder["host"]["id"] = json!(EVIL);
        holder["host"]["boot_id"] =
            json!(format!("{boot}{}", holder["host"]["boot_id"].as_str().unwrap()));
        holder
    };
    let living = i64::from(std::process::id());
    let mut named = evil(living, "");
    named["name"] = json!(EVIL);
    let mut history: Value = serde_json::from_slice(&record(&[])).unwrap();
    history["last"] = json!({ "token": 1, "ended": "exited", "code": 0, "started_at": EVIL, "ended_at": EVIL, EVIL: EVIL });
    history["counters"] = json!({ "phantoms": { EVIL: 1 }, EVIL: EVIL });
    let values = [
        serde_json::from_slice(&record(&[evil(living, "")])).unwrap(),
        serde_json::from_slice(&record(&[named])).unwrap(),
        serde_json::from_slice(&record(&[evil(0, "")])).unwrap(),
        serde_json::from_slice(&record(&[evil(living, EVIL)])).unwrap(),
        history,
        json!({ "schema": 1, "machine": EVIL, "revision": 1, "token": 1, "holders": [] }),
        json!({ "schema": EVIL }),
        json!({ "schema": 1, "machine": "m1", "revision": EVIL }),
        json!({ "job": EVIL, "job_pid": living, "job_timestamp": 1 }),
        json!({ "job": "x", "job_pid": EVIL }),
        json!({ "job": "x", "job_timestamp": EVIL }),
    ];
    let mut records: Vec<Vec<u8>> = values.iter().map(|v| serde_json::to_vec(v).unwrap()).collect();
    records.push(evil_bytes());
    records
}

#[test]
fn in_records_as_root() {
    let arena = Arena::new("words in records");
    let (mut asked, mut seen) = (0, 0);
    for record in records() {
        for args in ASKS {
            arena.furnish(&record);
            let done = arena.ask(VICTIM, args);
            assert!([0, 1, 3, 4, 75].contains(&done.code()), "{done:?}");
            seen += is_safe(&done);
            asked += 1;
        }
    }
    println!("{asked} commands on evil records said {seen} bytes");
    assert!(seen > 20_000, "they said only {seen} bytes");
}

#[test]
fn in_file_names_and_arguments_as_root() {
    let arena = Arena::new("words in names");
    arena.furnish(record(&[]));
    let evil = evil_bytes();
    let evil = OsStr::from_bytes(&evil);
    let machine = arena.state().join(evil);
    fs::create_dir(&machine).unwrap();
    give(&machine, MALLORY, TEAM, 0o2775);
    for prefix in ["life.", ".life.", ".record.", ""] {
        let mut name = OsStr::new(prefix).to_owned();
        name.push(evil);
        fs::write(arena.file("").join(name), "").unwrap();
    }
    let mut asked = 0;
    for args in ASKS {
        is_safe(&arena.ask(VICTIM, args));
        asked += 1;
    }
    let ask = |args: &[&OsStr]| {
        let mut command = arena.jobguard(VICTIM, &[]);
        let done = crate::arena::ends_soon(command.args(args));
        assert!(is_safe(&done) > 0 && done.code() != 0, "{args:?}: {done:?}");
    };
    let [m, m1, dir, status] = ["-m", "m1", "--state-dir", "status"].map(OsStr::new);
    let [clear, token, name] = ["clear", "--token", "--name"].map(OsStr::new);
    for args in [
        &[m, evil, OsStr::new("true")][..],
        &[m, m1, evil],
        &[m, m1, dir, evil, evil],
        &[status, evil],
        &[status, m1, evil],
        &[clear, m1, OsStr::new("--force"), token, evil],
        &[evil],
        &[OsStr::new("-w"), evil, m, m1, OsStr::new("true")],
        &[m, m1, name, evil, evil],
    ] {
        ask(args);
        asked += 1;
    }
    println!("{asked} commands with evil names");
}

/// A process may call itself anything, and so may a user.
#[test]
fn in_the_name_of_who_has_the_lock_as_root() {
    let arena = Arena::new("words of a thief");
    arena.furnish(record(&[]));
    let flock = Command::new("sh").args(["-c", "command -v flock"]).output().unwrap();
    let flock = String::from_utf8(flock.stdout).unwrap();
    let parts = ["\u{1b}[2J", "\u{9b}31m\u{7f}", "\u{202e}\u{200f}", "a\r\nb\t\u{8}"];
    for part in parts {
        let program = arena.commons.path("").join(part);
        symlink(flock.trim_end(), &program).unwrap();
        let mut command = arena.commons.as_user(MALLORY, &[TEAM], program);
        command.arg("--close").arg(arena.file("lock"));
        command.args(["sh", "-c", "echo locked; exec cat"]).stdin(Stdio::piped());
        let mut thief = Running::start(&mut command);
        assert_eq!(thief.line(), "locked");
        let done = arena.ask(VICTIM, &["--lock-timeout", "0.1", "clear", "m1"]).exits(125);
        is_safe(&done);
        done.says(&format!("PID {} (", thief.pid())).says("of user 51003 has held it");
    }
    println!("{} names of processes", parts.len());
}

#[test]
fn a_user_is_shown_by_name_as_root() {
    let arena = Arena::new("users' names");
    let names = Names::new(&arena);
    let job = ["-m", "m1", "sh", "-c", "\"$0\" status m1"];
    let mut command = arena.jobguard(MALLORY, &job);
    command.arg(arena.commons.path("jobguard"));
    let done = crate::arena::ends_soon(&mut names.among(&command)).exits(0);
    assert!(done.stdout().contains("user mallory, since"), "{done:?}");
}
