//! Storms of 5,000: realtime signals all arrive, in order and with what they carry; of the others the
//! kernel merges those that wait together, and the last is never lost.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;

use jobguard::sys::pidfd::PidFd;
use libc::{SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGUSR1, SIGUSR2};
use rstest::rstest;

use super::support::held::waits;
use super::support::probe::{Watched, launch, probe, send};
use super::support::{
    PATIENCE, Running, Sandbox, ends, require_program, require_root, state, until,
};
use super::{GUARD, pending, queue, settles};

const COUNT: u64 = 5000;

/// Queues them, and tries again where the kernel says that there are too many.
fn storm(pid: i32, signal: i32) {
    let to = PidFd::open(pid).unwrap();
    for value in 0..COUNT {
        until("there is room for one more", || match queue(&to, signal, value) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => false,
            sent => sent.map(|()| true).unwrap(),
        });
    }
}

/// All of a storm, in order, and nothing after it.
#[track_caller]
fn has_all(job: &mut Watched, signal: i32) {
    (0..COUNT).for_each(|value| job.says(&format!("{signal} queued {value}")));
    job.send(64); // after all others, wherever they are queued: lower numbers are delivered first
    job.says("64 user");
}

#[rstest]
fn realtime_signals_all_arrive_in_order(#[values(32, 33, 34, 35, 63)] signal: i32) {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let parent = job.parent;
    let sender = thread::spawn(move || storm(parent, signal));
    has_all(&mut job, signal);
    sender.join().unwrap();
    job.end();
}

#[test]
fn a_job_that_is_stopped_has_them_when_it_goes_on() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    send(job.job, SIGSTOP);
    until("the job is stopped", || state(job.job) == Some('T'));
    storm(job.parent, 40);
    settles(job.parent);
    send(job.job, SIGCONT);
    job.says(&format!("{SIGCONT} user"));
    has_all(&mut job, 40);
    job.end();
}

#[test]
fn a_waiter_keeps_what_is_blocked_for_its_job() {
    let sandbox = Sandbox::new();
    let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let mut waiter = launch(&sandbox, &[&format!("mask={:x}", u64::MAX)], &GUARD);
    let waiter = Running::start(waiter.arg(probe()).arg("signals"));
    until("it waits", || waits(waiter.pid()));
    storm(waiter.pid(), 40);
    holder.end();
    let mut job = Watched::greet(waiter);
    has_all(&mut job, 40);
    job.end();
}

/// The sender of a signal was told that it is queued, so it is not lost when the job's queue is full.
#[test]
fn none_is_lost_that_finds_the_jobs_queue_full_as_root() {
    require_root("a user namespace");
    require_program("unshare");
    let sandbox = Sandbox::new();
    // The kernel counts them by user, and here root is one whom nobody else sends signals to.
    let launch = launch(&sandbox, &["pending=50"], &GUARD);
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--"]);
    unshare.arg(launch.get_program()).args(launch.get_args());
    sandbox.confine(&mut unshare);
    let mut job = Watched::start(&mut unshare, &[]);
    let parent = job.parent;
    send(job.job, SIGSTOP);
    until("the job is stopped", || state(job.job) == Some('T'));
    let sender = thread::spawn(move || storm(parent, 40));
    let is_full = || pending_of_user(parent) >= 50;
    until("its user may have no more", is_full);
    // What is never refused passes by them.
    send(parent, SIGUSR1);
    until("it has passed", || pending(job.job).contains(SIGUSR1));
    send(job.job, SIGCONT);
    job.says(&format!("{SIGUSR1} user"));
    job.says(&format!("{SIGCONT} user"));
    has_all(&mut job, 40);
    sender.join().unwrap();
    job.end();
}

/// How many signals are queued for the user of a process.
fn pending_of_user(pid: i32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let queued = status.lines().find_map(|line| line.strip_prefix("SigQ:")).unwrap();
    queued.split('/').next().unwrap().trim().parse().unwrap()
}

/// Each time that it is told, the job reads a number that is written before each signal. Were the last
/// signal lost, it would never have read the last number.
#[rstest]
fn the_last_of_merged_signals_is_never_lost(#[values(false, true)] to_group: bool) {
    let sandbox = Sandbox::new();
    let numbers = sandbox.path("numbers");
    let file = File::create_new(&numbers).unwrap();
    let write = |number: i32| file.write_all_at(&number.to_ne_bytes(), 0).unwrap();
    write(0);
    let count = format!("count={}", numbers.display());
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[&count]);
    let wrapper = PidFd::open(job.parent).unwrap();
    let mut arrived = 0;
    for storm in 1..=5 {
        for sent in 1..=1000 {
            write(storm * 1000 + sent);
            match to_group {
                true => wrapper.signal_group(job.parent, SIGUSR1).unwrap(),
                false => wrapper.signal(SIGUSR1).unwrap(),
            }
        }
        let last = format!("{SIGUSR1} at {}", storm * 1000 + 1000);
        while job.guard.line() != last {
            arrived += 1;
        }
        arrived += 1;
        // It may have read that number before the last signal came.
        settles(job.parent);
        settles(job.job);
        send(job.parent, SIGUSR2);
        let end = format!("{SIGUSR2} at {}", storm * 1000 + 1000);
        while job.guard.line() != end {
            arrived += 1;
        }
    }
    println!("5,000 sent, to the group: {to_group}: {arrived} arrived");
    assert!((5..=5000).contains(&arrived), "{arrived}");
    job.end();
}

#[test]
fn a_group_gets_them_once() {
    let sandbox = Sandbox::new();
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let wrapper = PidFd::open(job.parent).unwrap();
    (0..COUNT).for_each(|_| wrapper.signal_group(job.parent, 40).unwrap());
    (0..COUNT).for_each(|_| job.says("40 user"));
    job.send(64);
    job.says("64 user");
    job.end();
}

/// A job that stops, goes on and ends in a storm, of SIGCHLD among others: its own is merged with
/// somebody's, and must not be missed.
#[rstest]
#[case::by_itself("exit 7", Some(7))]
#[case::after_a_stop("kill -STOP $$; exit 7", Some(7))]
#[case::by_a_signal("kill -KILL $$", None)]
fn an_end_in_a_storm_is_not_missed(#[case] script: &str, #[case] code: Option<i32>) {
    const RUNS: usize = 40;
    let sandbox = Sandbox::new();
    let blocked = format!("mask={:x}", u64::MAX);
    for _ in 0..RUNS {
        let mut guard = launch(&sandbox, &[&blocked], &GUARD);
        let script = format!("echo $$; {script}");
        let mut guard =
            Running::start(guard.args(["/bin/sh", "-c", &script]).stderr(Stdio::null()));
        let job: i32 = guard.line().parse().unwrap();
        let (wrapper, job) = (PidFd::open(guard.pid()).unwrap(), PidFd::open(job).ok());
        while !wrapper.is_over().unwrap() {
            for signal in [SIGCHLD, SIGUSR1, 40] {
                let _ = wrapper.signal(signal); // it may be over by now
            }
            let _ = job.as_ref().map(|job| job.signal(SIGCONT)); // it, too
        }
        assert!(ends(guard.pid(), PATIENCE));
        let status = guard.wait();
        assert_eq!((status.code(), status.signal()), (code, code.is_none().then_some(SIGKILL)));
    }
}
