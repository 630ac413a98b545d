//! `--leftovers kill`, and the trees that `--timeout`, `stop` and `replace` end.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::scene::Scene;
use crate::support::{ends, require_program, until};

const SOON: Duration = Duration::from_secs(1);

/// However they went away; TERM does for those who do not ignore it.
#[rstest]
fn all_are_ended(
    #[values(
        "",
        "setsid",
        "twice",
        "setsid twice",
        "setsid twice clean",
        "setsid twice clean deaf"
    )]
    how: &str,
    #[values("", "n=20")] count: &str,
) {
    let mut scene = Scene::new();
    let begun = Instant::now();
    let mut left = scene.start(
        "--leftovers kill -k 0.5",
        &format!("sit {how} {count} exit=7"),
        if count.is_empty() { 1 } else { 20 },
    );
    assert_eq!(left.result(), (Some(7), String::new()));
    assert!(scene.leash.is_let_go(Duration::ZERO));
    assert!(!how.contains("deaf") || begun.elapsed() >= Duration::from_millis(500));
    scene.asks("status m1").exits(3);
}

/// The machine is not free before they are over.
#[test]
fn the_machine_is_held_until_they_are_over() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers kill -k 1", "sit setsid twice deaf", 1);
    let next = scene.asks("-m m1 -- true");
    assert!(scene.leash.is_let_go(Duration::ZERO));
    next.exits(0);
    assert_eq!(left.result(), (Some(0), String::new()));
}

/// Without anybody who adopts them only those are found who have something of the job's left.
#[rstest]
#[case("sit stay", true)]
#[case("sit stay setsid", true)]
#[case("sit stay setsid twice", true)] // the environment
#[case("sit stay twice clean", true)] // the group
#[case("sit stay setsid clean", true)] // the parent
#[case("sit stay setsid twice clean", false)]
fn a_run_that_leaves_them(
    #[case] litter: &str,
    #[case] is_found: bool,
    #[values("--timeout 1 -k 5", "")] limit: &str,
) {
    let mut scene = Scene::new();
    let mut left = scene.start(limit, litter, 1);
    if limit.is_empty() {
        scene.asks("stop m1 --grace 5").exits(0);
    }
    let status = left.run.wait();
    assert_eq!(status.code(), (!limit.is_empty()).then_some(124));
    assert_eq!(scene.leash.is_let_go(Duration::ZERO), is_found);
}

/// One that ignores TERM is killed after the grace, although the job ended at once.
#[rstest]
#[case("--timeout 1 -k 0.5")]
#[case("")]
fn a_grandchild_that_ignores_term(#[case] limit: &str) {
    let mut scene = Scene::new();
    let mut left = scene.start(limit, "sit stay setsid twice deaf", 1);
    if limit.is_empty() {
        let done = scene.asks("stop m1 --grace 0.5");
        assert!(done.stdout().contains("with KILL after 500ms"), "{}", done.stdout());
        done.exits(0);
    }
    left.run.wait();
    assert!(scene.leash.is_let_go(Duration::ZERO));
}

/// A run within the job, and its own job, end with it; and the machine that it held is free.
#[rstest]
#[case("stop m1 --grace 5")]
#[case("-m m1 --on-busy replace -- true")]
fn a_nested_run(#[case] how: &str) {
    let mut scene = Scene::new();
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--leftovers", "wait", "--"]);
    command.args([crate::support::JOBGUARD, "-m", "m2", "--leftovers", "wait", "--"]);
    command.args(scene.leash.job("sit setsid twice"));
    let left = scene.started(command, 1);
    until("both drain", || {
        let inner = scene.sandbox.record("m2");
        inner["holders"][0]["state"] == "draining" && scene.state() == "running"
    });
    scene.asks(how).exits(0);
    assert!(scene.leash.is_let_go(SOON) && ends(left.run.pid(), SOON));
    scene.asks("status m1").exits(3);
    let inner = scene.asks("status m2");
    assert!([1, 3].contains(&inner.code()), "{inner:?}");
    scene.asks("-m m2 -n -- true").exits(0);
}

/// Who is stopped could not act on TERM.
#[test]
fn one_that_is_stopped() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers kill -k 20", "sit stay setsid twice", 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(left.pids[0]), Signal::SIGSTOP).unwrap();
    let begun = Instant::now();
    left.run.signal(Signal::SIGTERM); // ends the job
    left.run.wait();
    assert!(begun.elapsed() < Duration::from_secs(10) && scene.leash.is_let_go(Duration::ZERO));
}

/// The control group of a run, if there is one; those below ours are looked through.
fn control_group(token: &serde_json::Value) -> Option<PathBuf> {
    let mut find = Command::new("find");
    find.args(["/sys/fs/cgroup", "-type", "d", "-name", &format!("jobguard.m1.{token}")]);
    let found = String::from_utf8(find.output().unwrap().stdout).unwrap();
    found.lines().next().map(PathBuf::from)
}

/// With what the job made there, when its run is over; of one whose supervisor was killed, at the next.
#[rstest]
fn no_control_group_is_left_behind_as_root(#[values(true, false)] is_killed: bool) {
    require_program("find");
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers kill", "sit stay", 1);
    let token = scene.sandbox.record("m1")["holders"][0]["token"].clone();
    let group = control_group(&token).expect("this rig needs to write to cgroups of version 2");
    std::fs::create_dir(group.join("below")).unwrap();
    if is_killed {
        left.run.signal(Signal::SIGKILL);
        left.run.wait();
        scene.asks("-m m1 -n --leftovers kill -- true").exits(75);
    }
    scene.asks("stop m1").exits(0);
    left.run.wait();
    assert_eq!(group.exists(), is_killed);
    scene.asks("-m m1 --leftovers kill -- true").exits(0);
    assert_eq!(control_group(&token), None);
}
