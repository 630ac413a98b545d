//! The probes of a process on this kernel, and on the older ones that it can play: the same code
//! with pidfd inodes, or pidfds, taken away.

use std::process::Command;
use std::sync::mpsc;

use jobguard::identity::process::{Kernel, ProcessId, Sighting};
use jobguard::identity::stat::Stat;
use jobguard::sys::pidfd::PidFd;
use nix::sys::signal::Signal;
use rstest::rstest;

use crate::support;
use crate::support::{PATIENCE, Running, ends};

/// Linux 6.9 and later.
const NOW: Kernel = Kernel { pidfd: true, pidfd_inode: true, proc: true };
/// Linux 5.3 and later.
const NO_INODES: Kernel = Kernel { pidfd: true, pidfd_inode: false, proc: true };
/// Earlier, or where a seccomp filter forbids pidfds.
const NO_PIDFDS: Kernel = Kernel { pidfd: false, pidfd_inode: false, proc: true };

fn sleeper() -> Running {
    Running::new(Command::new("sleep").arg("1000").spawn().unwrap())
}

fn identify(kernel: Kernel, pid: i32) -> ProcessId {
    let pidfd = PidFd::open(pid).unwrap();
    kernel.identify(pid, Some(&pidfd)).unwrap()
}

fn sight(kernel: Kernel, recorded: &ProcessId) -> Sighting {
    kernel.look_for(recorded, true).sighting
}

#[rstest]
fn the_life_and_death_of_a_process(#[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let mut process = sleeper();
    let recorded = identify(kernel, process.pid());
    assert_eq!(recorded.pidfd_inode.is_some(), kernel.pidfd_inode);
    assert_eq!(sight(kernel, &recorded), Sighting::Alive);
    process.signal(Signal::SIGSTOP);
    assert_eq!(sight(kernel, &recorded), Sighting::Alive, "a stopped process is not over");
    process.signal(Signal::SIGKILL);
    assert!(ends(process.pid(), PATIENCE));
    assert_eq!(sight(kernel, &recorded), Sighting::Gone, "a zombie is over");
    process.wait();
    assert_eq!(sight(kernel, &recorded), Sighting::Gone);
}

#[rstest]
fn another_process_with_the_same_pid(#[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let process = sleeper();
    let now = identify(kernel, process.pid());
    let earlier = ProcessId {
        start_ticks: now.start_ticks.map(|ticks| ticks - 1),
        pidfd_inode: now.pidfd_inode.map(|inode| inode - 1),
        ..now.clone()
    };
    assert_eq!(sight(kernel, &earlier), Sighting::Reused);
    // Within one tick only the inode tells them apart; where there is one it decides alone.
    let same_tick = ProcessId { start_ticks: now.start_ticks, ..earlier };
    let expected = if kernel.pidfd_inode { Sighting::Reused } else { Sighting::Alive };
    assert_eq!(sight(kernel, &same_tick), expected);
    let shifted = ProcessId { start_ticks: Some(1), ..now };
    let expected = if kernel.pidfd_inode { Sighting::Alive } else { Sighting::Reused };
    assert_eq!(sight(kernel, &shifted), expected);
}

#[rstest]
fn start_ticks_of_another_time_namespace_prove_nothing(
    #[values(NO_INODES, NO_PIDFDS)] kernel: Kernel,
) {
    support::require_root("a time namespace");
    let words = ["--time", "--boottime", "1000000", "--fork", "--kill-child", "sh", "-c"];
    let mut unshare = Command::new("unshare");
    unshare.args(words).arg("read -r stat </proc/$$/stat; echo \"$stat\"; exec sleep inf");
    let mut process = Running::start(&mut unshare);
    let line = process.line();
    let pid = line.split(' ').next().unwrap().parse().unwrap();
    let here = identify(kernel, pid);
    let there = Stat::parse(line.as_bytes()).unwrap().start_ticks;
    assert_ne!(here.start_ticks, Some(there));
    let recorded = ProcessId { start_ticks: Some(there), ..here };
    let sighting = kernel.look_for(&recorded, false).sighting;
    assert!(matches!(sighting, Sighting::Unclear(_)), "{sighting:?}");
    // Comparing them all the same would have called the living over.
    assert_eq!(kernel.look_for(&recorded, true).sighting, Sighting::Reused);
    // Where there is an inode they are not needed.
    let recorded = ProcessId { start_ticks: Some(there), ..identify(NOW, pid) };
    assert_eq!(NOW.look_for(&recorded, false).sighting, Sighting::Alive);
}

/// In the `/proc` of another PID namespace the same number is somebody else.
#[rstest]
fn a_foreign_proc_proves_nothing(#[values(NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let mut process = sleeper();
    let recorded = identify(kernel, process.pid());
    let blind = Kernel { proc: false, ..kernel };
    let sighting = sight(blind, &recorded);
    assert!(matches!(sighting, Sighting::Unclear(_)), "{sighting:?}");
    let pidfd = PidFd::open(process.pid()).unwrap();
    assert!(blind.identify(process.pid(), Some(&pidfd)).is_err(), "no identity is recorded");
    process.signal(Signal::SIGKILL);
    process.wait();
    assert_eq!(sight(blind, &recorded), Sighting::Gone, "absence needs no /proc");
}

/// A thread passes `kill(tid, 0)` and has `/proc/<tid>`, but is no process.
#[rstest]
fn a_thread_is_not_the_process(#[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let (say, hear) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        say.send(nix::unistd::gettid().as_raw()).unwrap();
        ended.recv().ok();
    });
    let tid = hear.recv().unwrap();
    let start_ticks = Some(Stat::read(tid).unwrap().start_ticks);
    let recorded =
        ProcessId { pid: tid, start_ticks, pidfd_inode: None, unknown: serde_json::Map::new() };
    assert_eq!(sight(kernel, &recorded), Sighting::Reused);
    drop(end);
    thread.join().unwrap();
}

/// The first thread may end before the others: the process is a `Z` in /proc, and alive.
#[rstest]
fn a_process_outlives_its_first_thread(#[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let script = "import ctypes, threading, time\n\
                  t = threading.Thread(target=lambda: (print('ready', flush=True), time.sleep(1000)))\n\
                  t.start()\n\
                  ctypes.CDLL(None).pthread_exit(None)";
    let mut process = Running::start(Command::new("python3").args(["-c", script]));
    assert_eq!(process.line(), "ready");
    support::until("its first thread is a zombie", || support::state(process.pid()) == Some('Z'));
    let recorded = identify(kernel, process.pid());
    assert_eq!(sight(kernel, &recorded), Sighting::Alive);
    process.signal(Signal::SIGKILL);
    assert!(ends(process.pid(), PATIENCE));
    assert_eq!(sight(kernel, &recorded), Sighting::Gone);
}

#[rstest]
#[case(0)]
#[case(-1)]
#[case(i32::MIN)]
fn a_number_that_no_process_has(
    #[case] pid: i32,
    #[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel,
) {
    let recorded =
        ProcessId { pid, start_ticks: None, pidfd_inode: None, unknown: serde_json::Map::new() };
    assert_eq!(sight(kernel, &recorded), Sighting::Gone);
}

#[rstest]
fn the_observer_itself_is_alive(#[values(NOW, NO_INODES, NO_PIDFDS)] kernel: Kernel) {
    let recorded = identify(kernel, std::process::id().cast_signed());
    assert_eq!(sight(kernel, &recorded), Sighting::Alive);
}
