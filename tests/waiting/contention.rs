//! Many at once: every job runs exactly once, no two overlap, and whoever waits costs nothing.

use std::io::ErrorKind;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::support;
use crate::support::held::{Held, waits};
use crate::support::job_log::JobLog;
use crate::support::strace::traced;
use crate::support::{Running, Sandbox, ends, require_program, require_root, run, until};

/// A job that takes long enough to overlap.
const WORK: &str = "sleep 0.005";

/// Starts `count` jobguards, on the machine that each is given, whose jobs log to the log of it.
fn start(sandbox: &Sandbox, count: usize, machine: impl Fn(usize) -> String) -> Vec<Running> {
    let one = |number| {
        let machine = machine(number);
        let job = JobLog::new(sandbox, &machine).job(WORK);
        let mut command = sandbox.jobguard(["-m", machine.as_str(), "--"]);
        let child: Child = command.args(job).stderr(Stdio::piped()).spawn().unwrap();
        Running::new(child)
    };
    (0..count).map(one).collect()
}

/// What may be said all the same: on a machine so loaded that a supervisor does not get to its
/// release within a second, the next one rightly calls it stalled. Its job is over, so never two.
const STARVED: [&str; 2] = ["job over, supervisor stalled", "was not in the record any more"];

/// Waits for all of them: each ends with 0, and has nothing to say.
#[track_caller]
fn all_succeed(contenders: &mut [Running]) {
    for contender in contenders {
        let status = contender.wait();
        let said = std::io::read_to_string(contender.child.stderr.take().unwrap()).unwrap();
        let unexpected =
            said.lines().find(|line| !STARVED.iter().any(|starved| line.contains(starved)));
        assert_eq!((status.code(), unexpected), (Some(0), None));
    }
}

/// Fails unless `count` jobs ran on the machine, one after the other, and its record says so.
#[track_caller]
fn one_after_the_other(sandbox: &Sandbox, machine: &str, count: usize) {
    assert_eq!(JobLog::new(sandbox, machine).never_two(), count);
    let record = sandbox.record(machine);
    assert_eq!(record["counters"]["runs"], count);
    assert_eq!(record["holders"].as_array().unwrap().len(), 0);
    let phantoms = record["counters"]["phantoms"].as_object().unwrap();
    assert!(phantoms.keys().all(|reason| reason == "supervisor_stalled"), "{record}");
}

/// The state directory does not exist: all make it, and their machines' directories, at once.
#[rstest]
#[case::on_one_machine(1)]
#[case::on_ten_machines(10)]
#[case::each_on_its_own(50)]
fn fifty_on_an_empty_state_directory(#[case] machines: usize) {
    let sandbox = Sandbox::new();
    let machine = |number: usize| format!("m{}", number % machines);
    all_succeed(&mut start(&sandbox, 50, machine));
    (0..machines).for_each(|m| one_after_the_other(&sandbox, &machine(m), 50 / machines));
}

#[test]
fn a_hundred_on_one_machine() {
    let sandbox = Sandbox::new();
    let before = Instant::now();
    all_succeed(&mut start(&sandbox, 100, |_| "m1".to_owned()));
    println!("a hundred contenders: {:?}", before.elapsed());
    one_after_the_other(&sandbox, "m1", 100);
}

/// Who holds a deleted lock file excludes nobody: the lifelines must.
#[test]
fn twenty_whose_lock_file_is_deleted_again_and_again() {
    let sandbox = Sandbox::new();
    let mut deleted = 0;
    for round in 1..=5 {
        let mut contenders = start(&sandbox, 20, |_| "m1".to_owned());
        let lock = sandbox.machine("m1").join("lock");
        while contenders.iter().any(|contender| !ends(contender.pid(), Duration::ZERO)) {
            match std::fs::remove_file(&lock) {
                Ok(()) => deleted += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
        }
        all_succeed(&mut contenders);
        assert_eq!(JobLog::new(&sandbox, "m1").never_two(), 20 * round);
    }
    println!("the lock file was deleted {deleted} times");
    assert!(deleted > 50, "only {deleted} times was there a lock file to delete");
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3);
}

/// How often a process has left a processor, and the time that it used on one.
fn costs(pid: i32) -> (Vec<String>, String) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let status = read("status");
    let switches = status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned);
    (switches.collect(), read("schedstat"))
}

/// Without a context switch it never came back from its one system call.
#[test]
fn waiting_costs_nothing() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut waiters: Vec<Running> = (0..3)
        .map(|_| Running::start(&mut sandbox.jobguard(["-m", "m1", "--", "echo", "mine"])))
        .collect();
    until("they wait", || waiters.iter().all(|waiter| waits(waiter.pid())));

    let all = || waiters.iter().map(|waiter| costs(waiter.pid())).collect::<Vec<_>>();
    let before = all();
    assert!(!ends(held.job.0, Duration::from_secs(2)));
    assert_eq!(all(), before);
    assert_eq!(before[0].0.len(), 2);

    held.let_go();
    for waiter in &mut waiters {
        assert_eq!(waiter.line(), "mine");
        assert!(waiter.wait().success());
    }
}

/// A contender that is stopped while it waits keeps nobody from the machine.
#[test]
fn a_stopped_waiter_is_passed_over() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let waiter = || Running::start(&mut sandbox.jobguard(["-m", "m1", "--", "echo", "mine"]));
    let mut first = waiter();
    until("it waits", || waits(first.pid()));
    first.signal(Signal::SIGSTOP);
    until("it is stopped", || support::state(first.pid()) == Some('T'));
    let mut second = waiter();
    until("the second waits", || waits(second.pid()));
    held.let_go();
    assert_eq!(second.line(), "mine");
    assert!(second.wait().success());
    first.signal(Signal::SIGCONT);
    assert_eq!(first.line(), "mine");
    assert!(first.wait().success());
}

/// The first run under a boot notes that on the disk: after it has let go of the machine lock, and
/// before the job begins.
#[test]
fn nobody_waits_for_a_disk_with_the_lock_in_hand() {
    require_root("tracing");
    require_program("strace");
    let sandbox = Sandbox::new();
    let line = ["-m", "m1", "--", "true"].map(str::to_owned);
    run(&mut traced(&sandbox, &line)).exits(0).silent();
    let trace = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    let at = |what: &str| trace.lines().position(|line| line.contains(what)).expect(what);
    assert!(at("LOCK_UN") < at("fdatasync("), "{trace}");
    assert!(at("fdatasync(") < at("sendto("), "{trace}");
    assert_eq!(trace.matches("fdatasync(").count(), 1);
    // Once is enough.
    run(&mut traced(&sandbox, &line)).exits(0).silent();
    let trace = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    assert!(!trace.contains("sync("), "{trace}");
}
