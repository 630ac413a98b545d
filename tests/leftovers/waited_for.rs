//! `--leftovers wait`: the machine is held until they are over.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::scene::Scene;
use crate::support::{JOBGUARD, PATIENCE, ends, sleeps, until};

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(ends(pid, PATIENCE));
}

#[test]
fn they_are_listed_until_they_are_over() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers wait", "sit setsid twice clean n=3 exit=7", 3);
    let mut expected: Vec<i64> = left.pids.iter().copied().map(i64::from).collect();
    expected.sort_unstable();
    until("all are recorded", || scene.recorded() == expected);
    assert_eq!(scene.state(), "draining");

    let status = scene.asks("status m1 --json").exits(0).json();
    assert_eq!(status["holders"][0]["state"], "draining", "{status}");
    assert_eq!(status["holders"][0]["leftovers"][0]["name"], "exe", "{status}");
    let info = scene.asks("info m1").exits(0).stdout();
    assert!(expected.iter().all(|pid| info.contains(&pid.to_string())), "{info}");
    scene.asks("-m m1 -n -- true").exits(75);

    end(left.pids[0]);
    expected.retain(|pid| *pid != i64::from(left.pids[0]));
    until("it is not listed any more", || scene.recorded() == expected);
    end(left.pids[1]);
    end(left.pids[2]);
    assert_eq!(left.result(), (Some(7), String::new()));
    scene.asks("status m1").exits(3);
    assert_eq!(scene.sandbox.record("m1")["last"]["code"], 7);
}

/// Waiting for them costs nothing: one system call is under way, and stays so.
#[test]
fn it_sleeps_meanwhile() {
    let mut scene = Scene::new();
    let left = scene.start("--leftovers wait", "sit n=3 quiet", 0);
    until("it drains", || scene.state() == "draining" && sleeps(left.run.pid()));
    // The record is told at most once a second, and then there is no more to tell.
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", left.run.pid())).unwrap();
        status.lines().find(|l| l.starts_with("voluntary_ctxt")).unwrap().to_owned()
    };
    let before = switches();
    assert!(!ends(left.run.pid(), Duration::from_secs(2)));
    assert_eq!(switches(), before);
}

/// What is sent to jobguard reaches them, those included that were forked since it last looked.
#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGUSR1)]
fn a_signal_reaches_them(#[case] signal: Signal) {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers wait", "sit setsid twice clean n=3 exit=7", 3);
    until("it drains", || scene.state() == "draining" && sleeps(left.run.pid()));
    left.run.signal(signal);
    assert_eq!(left.result(), (Some(7), String::new()));
    assert!(scene.leash.is_let_go(Duration::ZERO));
}

/// Who does not mind a signal that is to end all is named, once, and how to get rid of them.
#[test]
fn those_who_stay_are_named() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers wait", "sit setsid deaf exit=7", 1);
    until("it drains", || scene.state() == "draining" && sleeps(left.run.pid()));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        left.run.signal(signal);
    }
    assert!(!ends(left.run.pid(), Duration::from_secs(2)));
    let pid = left.pids[0];
    end(pid);
    let said = format!(
        "jobguard: m1: the job left exe (PID {pid}) running, which did not end; `jobguard stop m1` ends that\n"
    );
    assert_eq!(left.result(), (Some(7), said));
}

/// As a machine that is held by nothing but them is stopped, or taken over.
#[rstest]
#[case("stop m1 --grace 0.2", "sit setsid twice clean deaf")]
#[case("stop m1 --grace 5", "sit")]
#[case("-m m1 --on-busy replace -k 0.2 -- true", "sit setsid twice clean deaf")]
fn they_are_stopped(#[case] how: &str, #[case] litter: &str) {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers wait", &format!("{litter} exit=7"), 1);
    until("it drains", || scene.state() == "draining");
    scene.asks(how).exits(0);
    assert!(scene.leash.is_let_go(Duration::ZERO));
    assert_eq!(left.run.wait().code(), Some(7));
}

/// A supervisor that is killed cannot wait for them: they hold nothing any more.
#[test]
fn their_supervisor_is_killed() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers wait", "sit setsid", 1);
    until("it drains", || scene.state() == "draining");
    left.run.signal(Signal::SIGKILL);
    left.run.wait();
    scene.asks("-m m1 -w 5 -- true").exits(0).says("process not running");
    assert!(!scene.leash.is_let_go(Duration::ZERO));
}

/// A thousand, with few descriptors to watch them by; what ends meanwhile is reaped.
#[test]
fn a_thousand() {
    let mut scene = Scene::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 20; exec \"$@\"", "sh", JOBGUARD]);
    command.args(["-m", "m1", "--leftovers", "wait", "--"]);
    command.args(scene.leash.job("sit setsid n=1000 quiet exit=7"));
    scene.sandbox.confine(&mut command);
    let mut left = scene.started(command, 0);
    until("it drains", || scene.state() == "draining");
    assert_eq!(scene.recorded().len(), 32);
    let children = || {
        let pid = left.run.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        std::fs::read_to_string(path)
            .unwrap()
            .split_whitespace()
            .map(|p| p.parse().unwrap())
            .collect::<Vec<i32>>()
    };
    let all = children();
    assert_eq!(all.len(), 1000);
    all[..400].iter().for_each(|pid| end_unreaped(*pid));
    until("they are reaped", || children().len() == 600);
    all[400..].iter().for_each(|pid| end_unreaped(*pid));
    assert_eq!(left.run.wait().code(), Some(7));
    assert!(scene.leash.is_let_go(Duration::ZERO));
}

fn end_unreaped(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}
