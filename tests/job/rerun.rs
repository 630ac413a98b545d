//! Runs that are lost, and repeated: once, as they were, and on nobody's word but their user's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::{Value, json};

use crate::strangers;
use crate::strangers::{ALICE, BOB, Commons, TEAM};
use crate::support;
use crate::support::{Done, PATIENCE, Running, Sandbox, Stray, ends, run};

/// Says where it is and what it has, and goes on until its input ends.
const JOB: &str = "echo $$ $PWD [$WANTED] [$SECRET] $JOBGUARD_TOKEN; read _; exit 3";

/// Starts a run with these options, and loses it: supervisor and job are killed.
#[track_caller]
fn lose(command: &mut Command) -> String {
    let mut lost = Running::start(command.stdin(Stdio::piped()));
    let line = lost.line();
    let (pid, said) = line.split_once(' ').unwrap();
    lost.signal(Signal::SIGKILL);
    lost.wait();
    let job = Stray(pid.parse().unwrap());
    drop(job);
    assert!(ends(pid.parse().unwrap(), PATIENCE));
    said.to_owned()
}

fn marked(sandbox: &Sandbox, options: &[&str]) -> Command {
    let mut command = sandbox.jobguard(["-m", "m1", "--rerun-if-lost"]);
    command.args(options).args(["--", "sh", "-c", JOB]);
    command.env("WANTED", "it is").env("SECRET", "hush").current_dir("/usr");
    command
}

#[track_caller]
fn rerun(sandbox: &Sandbox) -> Done {
    run(&mut sandbox.jobguard(["rerun", "m1"]))
}

fn memos(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.machine("m1")).unwrap().map(|entry| entry.unwrap().path());
    let is_memo =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("rerun.");
    entries.filter(is_memo).collect()
}

#[test]
fn a_lost_run_is_repeated_once_and_as_it_was() {
    let sandbox = Sandbox::new();
    let said = lose(&mut marked(&sandbox, &["--rerun-env", "WANTED,NONE", "--name", "n"]));
    assert!(said.starts_with("/usr [it is] [hush] "), "{said}");
    let memo = fs::read_to_string(&memos(&sandbox)[0]).unwrap();
    assert!(memo.contains("it is") && !memo.contains("hush"), "{memo}");
    let first = rerun(&sandbox).exits(3).says("m1: cleared \"n\" (PID ");
    let stdout = first.stdout();
    let (_, again) = stdout.trim_end().split_once(' ').unwrap();
    assert!(again.starts_with("/usr [it is] [] "), "{again}");
    assert_ne!(again.rsplit_once(' '), said.rsplit_once(' '), "another run has another token");
    rerun(&sandbox).exits(0).says("m1: no run was lost that is to be repeated");
    assert_eq!(memos(&sandbox), [""; 0].map(PathBuf::from));
    assert_eq!(sandbox.record("m1").get("lost"), None);
    assert_eq!(sandbox.record("m1")["counters"]["runs"], 2);
}

#[test]
fn a_run_that_came_to_its_end_is_not_repeated() {
    let sandbox = Sandbox::new();
    run(&mut marked(&sandbox, &[])).exits(3);
    assert_eq!(memos(&sandbox), [""; 0].map(PathBuf::from));
    rerun(&sandbox).exits(0).says("m1: no run was lost");
    // Nor one that was not asked to be.
    lose(sandbox.jobguard(["-m", "m1", "--", "sh", "-c", JOB]).current_dir("/usr"));
    rerun(&sandbox).exits(0).says("m1: no run was lost");
}

/// Whoever clears the phantom: the loss stays in the record until somebody makes it good, and others may
/// use the machine meanwhile.
#[test]
fn a_loss_is_remembered() {
    let sandbox = Sandbox::new();
    lose(&mut marked(&sandbox, &[]));
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).says("cleared");
    let lost = &sandbox.record("m1")["lost"];
    assert_eq!((&lost["command"][0], &lost["uid"]), (&json!("sh"), &json!(0)));
    run(&mut sandbox.jobguard(["clear", "m1"])).exits(0);
    rerun(&sandbox).exits(3);
}

#[test]
fn of_several_who_repeat_it_one_does() {
    for _ in 0..5 {
        let sandbox = Sandbox::new();
        lose(&mut marked(&sandbox, &[]));
        let all: Vec<Running> = (0..5)
            .map(|_| {
                let mut command = sandbox.jobguard(["rerun", "m1"]);
                Running::start(command.stderr(Stdio::null()))
            })
            .collect();
        let codes: Vec<_> = all.into_iter().map(|mut one| one.wait().code().unwrap()).collect();
        assert_eq!(codes.iter().filter(|code| **code == 3).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 4, "{codes:?}");
        assert_eq!(sandbox.record("m1")["counters"]["runs"], 2);
    }
}

#[test]
fn what_is_repeated_may_be_lost_again() {
    let sandbox = Sandbox::new();
    lose(&mut marked(&sandbox, &[]));
    for _ in 0..2 {
        lose(&mut sandbox.jobguard(["rerun", "m1"]));
        assert!(memos(&sandbox).len() <= 2, "one may be left behind, when it is killed early");
    }
    rerun(&sandbox).exits(3);
}

#[test]
fn a_run_of_several_machines_is_repeated_by_its_first() {
    let sandbox = Sandbox::new();
    lose(&mut marked(&sandbox, &["-m", "m2"]));
    run(&mut sandbox.jobguard(["rerun", "m2"])).exits(0).says("m2: no run was lost");
    rerun(&sandbox).exits(3).says("m1: cleared");
    assert_eq!(sandbox.record("m2")["counters"]["runs"], 2);
}

#[test]
fn what_was_left_behind_does_not_pile_up() {
    let sandbox = Sandbox::new();
    for _ in 0..7 {
        lose(&mut marked(&sandbox, &[]));
        assert!(memos(&sandbox).len() <= 4, "{:?}", memos(&sandbox));
    }
    rerun(&sandbox).exits(3);
}

/// What cannot be written down is not begun: the promise could not be kept.
#[test]
fn a_memo_that_cannot_be_written_is_said_before_the_job_begins() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    let mut command = Command::new("prlimit");
    command.args([
        "--fsize=0",
        support::JOBGUARD,
        "-m",
        "m1",
        "--rerun-if-lost",
        "--",
        "echo",
        "x",
    ]);
    sandbox.confine(&mut command);
    let done = run(&mut command);
    assert_eq!((done.code(), done.stdout().as_str()), (125, ""), "{done:?}");
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0);
}

#[test]
fn nobody_else_repeats_it_as_root() {
    let commons = Commons::new("lost runs of several users");
    let state = commons.dir("state", ALICE, TEAM, 0o2770);
    let words = ["-m", "m1", "--rerun-if-lost", "--", "sh", "-c", JOB];
    lose(&mut commons.jobguard(ALICE, &[TEAM], &state, words));
    for user in [BOB, strangers::User(0)] {
        let done = run(&mut commons.jobguard(user, &[TEAM], &state, ["rerun", "m1"]));
        done.exits(125)
            .says("m1: the lost run is of user 51001, and to be repeated by nobody else");
    }
    run(&mut commons.jobguard(ALICE, &[TEAM], &state, ["rerun", "m1"])).exits(3);
}

/// Whoever may write here writes a loss of root's, and what is to be done about it.
#[rstest]
#[case::of_another_user(|memo: &Path| chown(memo, Some(BOB.0), None).unwrap())]
#[case::that_others_may_write(|memo: &Path| {
    fs::set_permissions(memo, PermissionsExt::from_mode(0o620)).unwrap();
})]
#[case::that_others_may_read(|memo: &Path| {
    fs::set_permissions(memo, PermissionsExt::from_mode(0o604)).unwrap();
})]
#[case::with_another_name(|memo: &Path| fs::hard_link(memo, memo.with_file_name("x")).unwrap())]
#[case::of_another_run(|memo: &Path| {
    let other = fs::read_to_string(memo).unwrap().replace("\"token\":", "\"token\":1");
    fs::write(memo, other).unwrap();
})]
#[case::that_is_none(|memo: &Path| fs::write(memo, "{}").unwrap())]
#[case::that_is_a_link(|memo: &Path| {
    fs::rename(memo, memo.with_file_name("x")).unwrap();
    std::os::unix::fs::symlink("x", memo).unwrap();
})]
#[case::that_is_a_fifo(|memo: &Path| {
    fs::remove_file(memo).unwrap();
    nix::unistd::mkfifo(memo, nix::sys::stat::Mode::S_IRUSR).unwrap();
})]
fn a_planted_memo_is_not_run_as_root(#[case] plant: fn(&Path)) {
    support::require_root("planted memos");
    let sandbox = Sandbox::new();
    lose(&mut marked(&sandbox, &[]));
    let memos = memos(&sandbox);
    plant(&memos[0]);
    let done = rerun(&sandbox).exits(125);
    assert_eq!(done.stdout(), "", "{done:?}");
    assert_eq!(sandbox.record("m1")["holders"], Value::Array(Vec::new()));
}
