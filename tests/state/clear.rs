//! `clear`, the machine lock in a stranger's hands, and commands that only look.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::{Value, json};

use crate::still::still_tree;
use crate::support;
use crate::support::{Running, Sandbox, Stray, require_program, run, until};

/// A run whose job waits for its stdin to end.
fn hold(sandbox: &Sandbox, machine: &str) -> Running {
    let mut command = sandbox.jobguard(["-m", machine, "sh", "-c", "echo up; read x"]);
    let mut held = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::null()));
    assert_eq!(held.line(), "up");
    held
}

/// A machine whose job and supervisor were killed.
fn phantom(sandbox: &Sandbox, machine: &str) {
    let mut held = hold(sandbox, machine);
    let job = sandbox.record(machine)["holders"][0]["job"]["pid"].as_i64().unwrap();
    let job = Stray(job.try_into().unwrap());
    held.signal(Signal::SIGKILL);
    held.wait();
    let job_pid = job.0;
    drop(job);
    assert!(support::ends(job_pid, support::PATIENCE));
}

fn token(sandbox: &Sandbox, machine: &str) -> String {
    sandbox.record(machine)["holders"][0]["token"].to_string()
}

#[test]
fn a_phantom_goes_and_its_proof_is_kept() {
    let sandbox = Sandbox::new();
    phantom(&sandbox, "m1");
    let before = sandbox.record("m1")["holders"][0].clone();
    let line = run(&mut sandbox.jobguard(["status", "m1"])).exits(1).silent().stdout();
    assert!(line.starts_with("m1: STALE (process not running) \"sh -c"), "{line}");
    let (pid, since) = (&before["job"]["pid"], before["started_at"].as_str().unwrap());
    let user = before["user"].as_str().unwrap();
    let done = run(&mut sandbox.jobguard(["clear", "m1"])).exits(0);
    assert_eq!(done.stdout(), "");
    assert_eq!(
        done.stderr(),
        format!(
            "jobguard: m1: cleared \"sh -c 'echo up; read x'\" (PID {pid}, user {user}, since \
             {since}): STALE (process not running)\n"
        )
    );
    let record = sandbox.record("m1");
    assert_eq!(record["holders"], json!([]));
    assert_eq!(record["counters"]["phantoms"], json!({ "process_gone": 1 }));
    assert_eq!(record["last"]["ended"], "unknown");
    assert_eq!(record["last"]["code"], json!(null));
    let events = sandbox.events("m1");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "phantom_cleared");
    assert_eq!(events[0]["machine"], "m1");
    assert_eq!(events[0]["reason"], "process_gone");
    assert_eq!(events[0]["proof"], "its job and its supervisor are over");
    assert_eq!(events[0]["holder"], before);
    assert_eq!(events[0]["token"], before["token"]);
    // Once more there is nothing to do, and nothing to say.
    let still = still_tree(&sandbox.machine("m1"));
    run(&mut sandbox.jobguard(["clear", "m1"])).exits(0).silent();
    assert_eq!(still_tree(&sandbox.machine("m1")), still);
}

#[test]
fn the_living_are_refused_and_yield_to_force_and_their_token_alone() {
    let sandbox = Sandbox::new();
    let mut held = hold(&sandbox, "m1");
    let token = token(&sandbox, "m1");
    let next = "it was not cleared; it is alive: wait for it, or end it: jobguard stop m1 --token ";
    let next = &format!("{next}{token}");
    run(&mut sandbox.jobguard(["clear", "m1"])).exits(75).says("m1 is held by \"sh -c").says(next);
    for wrong in ["0", "1", "18446744073709551615"] {
        let force = ["clear", "m1", "--force", "--token", wrong];
        run(&mut sandbox.jobguard(force)).exits(75).says(next);
    }
    assert!(sandbox.events("m1").is_empty());
    run(&mut sandbox.jobguard(["clear", "m1", "--force", "--token", &token]))
        .exits(0)
        .says("m1: cleared \"sh -c 'echo up; read x'\" (PID ")
        .says("by force");
    let events = sandbox.events("m1");
    assert_eq!(
        (&events[0]["event"], &events[0]["verdict"]),
        (&json!("force_cleared"), &json!("live"))
    );
    assert_eq!(events[0]["uid"], nix::unistd::getuid().as_raw());
    assert_eq!(events[0]["holder"]["token"].to_string(), token);
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
    let after = sandbox.record("m1");
    // The job that was cleared goes on, and leaves the record alone when it ends.
    drop(held.child.stdin.take());
    assert_eq!(held.wait().code(), Some(1));
    assert_eq!(sandbox.record("m1"), after);
    let events = sandbox.events("m1");
    assert_eq!(events.last().unwrap()["event"], "ended_unrecorded");
}

#[test]
fn one_refusal_does_not_keep_the_others() {
    let sandbox = Sandbox::new();
    phantom(&sandbox, "a-phantom");
    let _held = hold(&sandbox, "b-live");
    phantom(&sandbox, "c-phantom");
    sandbox.plant("d-torn", "torn");
    run(&mut sandbox.jobguard(["-m", "e-free", "true"])).exits(0);
    std::fs::create_dir_all(sandbox.machine("f-empty")).unwrap();
    std::fs::create_dir_all(sandbox.machine(".hidden")).unwrap();
    symlink(sandbox.machine("a-phantom"), sandbox.machine("g-link")).unwrap();
    let done = run(&mut sandbox.jobguard(["clear", "--all", "--json"])).exits(75);
    let objects = done.json();
    let of = |key: &str| -> Vec<(String, usize)> {
        let objects = objects.as_array().unwrap().iter();
        let count = |o: &serde_json::Value| o[key].as_array().unwrap().len();
        objects
            .map(|o| (o["machine"].as_str().unwrap().to_owned(), count(o)))
            .filter(|(_, count)| *count > 0)
            .collect()
    };
    assert_eq!(of("cleared"), [("a-phantom".to_owned(), 1), ("c-phantom".to_owned(), 1)]);
    assert_eq!(of("refused"), [("b-live".to_owned(), 1), ("d-torn".to_owned(), 1)]);
    assert_eq!(objects.as_array().unwrap().len(), 6, "{objects}");
    let refused = &objects[1]["refused"][0];
    assert_eq!((&refused["verdict"], &refused["reason"]), (&json!("live"), &json!(null)));
    let cleared = &objects[0]["cleared"][0];
    assert_eq!(cleared["verdict"], "phantom");
    assert_eq!(cleared["reason_text"], "process not running");
    done.says("a-phantom: cleared").says("b-live is held by").says("d-torn is held by");
    for (machine, code) in [("a-phantom", 3), ("b-live", 0), ("c-phantom", 3), ("d-torn", 4)] {
        run(&mut sandbox.jobguard(["status", machine])).exits(code);
    }
    run(&mut sandbox.jobguard(["clear", "a-phantom", "e-free", "never-used"])).exits(0).silent();
    assert!(!sandbox.machine("never-used").exists());
}

#[test]
fn there_is_an_object_for_every_machine_that_was_named() {
    let sandbox = Sandbox::new();
    let ask = |arguments: &[&str]| {
        let all = run(&mut sandbox.jobguard(arguments)).exits(0).silent().json();
        let told = |one: &Value| {
            assert_eq!((&one["schema"], &one["verdict"]), (&json!(1), &json!("free")), "{one}");
            assert_eq!((&one["cleared"], &one["refused"]), (&json!([]), &json!([])), "{one}");
            one["machine"].clone()
        };
        Value::from(all.as_array().unwrap().iter().map(told).collect::<Vec<_>>())
    };
    assert_eq!(ask(&["clear", "m1", "m2", "--json"]), json!(["m1", "m2"]), "no state directory");
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    assert_eq!(ask(&["clear", "m1", "m2", "--json"]), json!(["m1", "m2"]));
    assert_eq!(ask(&["clear", "--all", "--json"]), json!(["m1"]));
}

/// A stranger, called like this, who holds the lock of this machine.
fn lock_stolen(sandbox: &Sandbox, machine: &str, called: &str) -> Running {
    require_program("flock");
    let program = sandbox.path("").join(called);
    let flock = Command::new("sh").args(["-c", "command -v flock"]).output().unwrap();
    symlink(String::from_utf8(flock.stdout).unwrap().trim_end(), &program).unwrap();
    let mut command = Command::new(program);
    command.arg("--close").arg(sandbox.machine(machine).join("lock"));
    command.args(["sh", "-c", "echo locked; exec cat"]).stdin(Stdio::piped());
    let mut thief = Running::start(&mut command);
    assert_eq!(thief.line(), "locked");
    thief
}

#[test]
fn a_stolen_machine_lock_hinders_writers_for_their_deadline_and_lookers_not_at_all() {
    let sandbox = Sandbox::new();
    phantom(&sandbox, "m1");
    let mut thief = lock_stolen(&sandbox, "m1", "thief");
    let before = still_tree(&sandbox.state());
    let owner = format!("m1: cannot take the machine lock: PID {} (thief)", thief.pid());
    for args in [&["clear", "m1"][..], &["clear", "--all"], &["-m", "m1", "echo", "ran"]] {
        let begun = Instant::now();
        let mut command = sandbox.jobguard(["--lock-timeout", "0.3"]);
        let done = run(command.args(args)).exits(125).says(&owner).says("for more than 300ms");
        assert_eq!(done.stdout(), "");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(4), "{took:?}");
    }
    for (args, code) in [
        (&["status", "m1"][..], 1),
        (&["status", "m1", "--explain"], 1),
        (&["status", "m1", "--json"], 1),
        (&["info", "m1"], 1),
        (&["list"], 0),
        (&["list", "--json"], 0),
    ] {
        run(&mut sandbox.jobguard(args)).exits(code).silent();
    }
    assert_eq!(still_tree(&sandbox.state()), before, "somebody touched something");
    // Whoever waits longer gets it.
    let mut command = sandbox.jobguard(["--lock-timeout", "20", "-m", "m1", "echo", "ran"]);
    let mut patient = Running::start(command.stderr(Stdio::null()));
    let wchan = format!("/proc/{}/task", patient.pid());
    until("the run waits for the lock", || std::fs::read_dir(&wchan).is_ok_and(|t| t.count() == 2));
    drop(thief.child.stdin.take());
    assert_eq!(patient.line(), "ran");
    assert!(patient.wait().success());
}

#[rstest]
#[case("th\x1b[31mief", "(th\\u{1b}[31mief)")]
#[case("a\nb", "(a\\nb)")]
#[case("x) (y", "(x) (y)")]
#[case("ä", "(ä)")]
fn a_thief_cannot_write_on_the_terminal(#[case] called: &str, #[case] shown: &str) {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    let _thief = lock_stolen(&sandbox, "m1", called);
    let done = run(&mut sandbox.jobguard(["--lock-timeout", "0.1", "clear", "m1"])).exits(125);
    assert!(!done.0.stderr.contains(&0x1b), "{}", done.stderr());
    assert_eq!(done.stderr().lines().count(), 1, "{}", done.stderr());
    done.says(shown);
}

#[test]
fn a_lock_that_was_inherited_is_not_put_on_the_dead() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    let mut command = Command::new("sh");
    // flock(2) is called by a child that is over when its parent holds the lock.
    command.args(["-c", "exec 9< \"$0\"; flock 9; echo locked; read x"]);
    command.arg(sandbox.machine("m1").join("lock")).stdin(Stdio::piped());
    let mut heir = Running::start(&mut command);
    assert_eq!(heir.line(), "locked");
    run(&mut sandbox.jobguard(["--lock-timeout", "0.1", "clear", "m1"]))
        .exits(125)
        .says("a process that got it from PID ")
        .says("which is over, has held it");
}

#[test]
fn looking_makes_nothing() {
    let sandbox = Sandbox::new();
    let lookers: [&[&str]; 8] = [
        &["status", "m1"],
        &["status", "m1", "--explain"],
        &["status", "m1", "--json"],
        &["info", "m1"],
        &["info", "m1", "--json"],
        &["list"],
        &["list", "--json"],
        &["clear", "m1"],
    ];
    let look = || {
        for args in lookers {
            let done = run(&mut sandbox.jobguard(args)).silent();
            let expected = if ["list", "clear"].contains(&args[0]) { 0 } else { 3 };
            done.exits(expected);
        }
    };
    look();
    assert!(!sandbox.state().exists());
    std::fs::create_dir(sandbox.state()).unwrap();
    let before = still_tree(&sandbox.state());
    look();
    assert_eq!(still_tree(&sandbox.state()), before);
    std::fs::create_dir(sandbox.machine("m1")).unwrap();
    let before = still_tree(&sandbox.state());
    for args in &lookers[..7] {
        run(&mut sandbox.jobguard(*args)).silent();
    }
    assert_eq!(still_tree(&sandbox.state()), before);
    // Nor while a job runs, or has run.
    let _held = hold(&sandbox, "m1");
    let before = still_tree(&sandbox.state());
    for args in &lookers[..7] {
        run(&mut sandbox.jobguard(*args)).exits(0).silent();
    }
    assert_eq!(still_tree(&sandbox.state()), before);
}
