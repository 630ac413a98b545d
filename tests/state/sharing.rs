//! A state directory that the members of a group share.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use rstest::rstest;

use crate::strangers;
use crate::strangers::{ALICE, BOB, Commons, TEAM, User, bits};
use crate::support::{Running, run};

/// Runs one job as this user under this umask; it tells the mode of its lifeline.
fn turn(commons: &Commons, user: User, umask: &str) {
    let job = "stat -c %a \"$JOBGUARD_STATE_DIR\"/m1/life.$JOBGUARD_TOKEN; umask";
    let mut command = commons.as_user(user, &[TEAM], "sh");
    command.args(["-c", "umask $2; exec \"$0\" -m m1 -- sh -c \"$1\""]);
    command.arg(commons.path("jobguard")).args([job, umask]);
    let done = run(command.env("JOBGUARD_STATE_DIR", commons.path("state"))).exits(0).silent();
    assert_eq!(done.stdout(), format!("222\n0{umask}\n"));
}

#[rstest]
fn two_users_of_one_group_take_turns_as_root(
    #[values("000", "022", "077")] umask: &str,
    #[values(User(0), ALICE)] owner: User,
    #[values(0o2775, 0o2770)] mode: u32,
) {
    let commons = Commons::new("shared directory");
    commons.dir("state", owner, TEAM, mode);
    for user in [ALICE, BOB, ALICE, BOB, User(0), BOB] {
        turn(&commons, user, umask);
        let machine = commons.path("state/m1");
        let files =
            [("", 0o2775), ("lock", 0o660), ("record.json", 0o644), ("events.jsonl", 0o664)];
        for (name, expected) in files {
            let path = machine.join(name);
            assert_eq!(bits(&path), expected, "{}: {:o}", path.display(), bits(&path));
            assert_eq!(path.metadata().unwrap().gid(), TEAM, "{}", path.display());
        }
    }
    let state = commons.path("state");
    let done = run(&mut commons.jobguard(BOB, &[TEAM], &state, ["info", "m1", "--json"]));
    assert_eq!(done.exits(3).json()["counters"]["runs"], 6);
}

#[test]
fn one_user_waits_for_another_and_cannot_clear_them_as_root() {
    let commons = Commons::new("shared directory");
    let state = commons.dir("state", ALICE, TEAM, 0o2770);
    let mut alice = Running::start(
        commons
            .jobguard(ALICE, &[TEAM], &state, ["-m", "m1", "--", "sh", "-c", "echo up; read x"])
            .stdin(Stdio::piped()),
    );
    assert_eq!(alice.line(), "up");
    let bob = |args: &[&str]| run(&mut commons.jobguard(BOB, &[TEAM], &state, args));
    bob(&["-n", "-m", "m1", "true"]).exits(75).says("m1 is held by \"sh -c").says("user 51001");
    assert!(bob(&["status", "m1"]).exits(0).stdout().starts_with("m1: running"));
    bob(&["clear", "m1"])
        .exits(75)
        .says("it is alive: wait for it, or end it: jobguard stop m1 --token");
    let mut waiter = Running::start(&mut commons.jobguard(
        BOB,
        &[TEAM],
        &state,
        ["-w", "20", "-m", "m1", "echo", "mine"],
    ));
    drop(alice.child.stdin.take());
    assert_eq!(waiter.line(), "mine");
    assert!(waiter.wait().success());
    assert!(!alice.wait().success());
}

#[test]
fn what_is_not_shared_can_be_looked_at_and_not_locked_as_root() {
    let commons = Commons::new("unshared directory");
    let state = commons.dir("state", User(0), 0, 0o755);
    let root = run(&mut commons.jobguard(User(0), &[], &state, ["-m", "m1", "true"]));
    root.exits(0).silent();
    let alice = |args: &[&str]| run(&mut commons.jobguard(ALICE, &[], &state, args));
    assert!(alice(&["status", "m1"]).exits(3).stdout().contains("last run exited 0"));
    assert!(alice(&["list"]).exits(0).stdout().contains("m1"));
    alice(&["info", "m1"]).exits(3).silent();
    alice(&["-m", "m1", "true"]).exits(125).says("lock").says("Permission denied");
    alice(&["clear", "m1"]).exits(125).says("lock").says("Permission denied");
}

/// The lock file of a directory that is shared later is still its owner's alone.
#[test]
fn what_was_private_is_shared_by_its_owner_as_root() {
    let commons = Commons::new("shared directory");
    let state = commons.dir("state", ALICE, TEAM, 0o755);
    let run_as = |user| run(&mut commons.jobguard(user, &[TEAM], &state, ["-m", "m1", "true"]));
    run_as(ALICE).exits(0).silent();
    for path in [state.clone(), state.join("m1")] {
        std::os::unix::fs::chown(&path, None, Some(TEAM)).unwrap();
        strangers::mode(&path, 0o2775);
    }
    let lock = state.join("m1/lock");
    std::os::unix::fs::chown(&lock, None, Some(TEAM)).unwrap();
    let refused = run_as(BOB).exits(125).says("made before the directory was shared");
    refused.says("chmod 660").says(lock.to_str().unwrap());
    strangers::mode(&lock, 0o660);
    run_as(BOB).exits(0);
    run_as(ALICE).exits(0).silent();
}
