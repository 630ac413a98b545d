//! Who is not adopted, and why.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;

use super::{adopt, adopted, sleeps};
use crate::strangers::{ALICE, BOB, Commons, TEAM, User};
use crate::support::held::Held;
use crate::support::keeper::{REAPS, daemon};
use crate::support::{PATIENCE, Running, Sandbox, ends, run, until};

/// Every sentence names the process, and nothing was touched.
#[test]
fn who_is_not_adopted() {
    let sandbox = Sandbox::new();
    let refused = |pid: i32, why: &str| {
        let done = run(&mut adopt(&sandbox, pid, &[]));
        let done = done.exits(125).says(&format!("jobguard: PID {pid} cannot be adopted: {why}"));
        assert_eq!(done.stdout(), "");
    };
    refused(1, "it is the first process");
    refused(std::process::id().cast_signed(), "this command descends from it");
    refused(i32::MAX, "there is no such process");
    let (tid, gone) = std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            assert!(stopped.recv().is_err());
        });
        let tid = told.recv().unwrap();
        refused(tid, "it is a thread");
        let mut zombie = Running::new(Command::new("true").spawn().unwrap());
        assert!(ends(zombie.pid(), PATIENCE));
        let done = run(&mut adopt(&sandbox, zombie.pid(), &[])).exits(125);
        done.says(&format!("PID {} is over: it was not adopted", zombie.pid()));
        zombie.wait();
        drop(stop);
        (tid, zombie.pid())
    });
    assert!(tid > 0 && gone > 0);
    for pid in ["0", "-5", "x", "99999999999"] {
        let done = run(&mut sandbox.jobguard(["adopt", "m1", "--pid", pid])).exits(64);
        done.says(&format!("'{pid}' is no PID"));
    }
    run(&mut sandbox.jobguard(["adopt", "m1"])).exits(64).says("--pid");
    run(&mut sandbox.jobguard(["adopt", "m1", "--pid", "1", "-k", "1"])).exits(64);
    assert!(!sandbox.state().exists());
}

/// Kernel threads are seen from the first PID namespace alone.
#[test]
fn a_thread_of_the_kernel() {
    let sandbox = Sandbox::new();
    let kernels = |pid: &i32| {
        let flags = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        flags.contains("(kthreadd) ")
    };
    let Some(pid) = (2..100).find(kernels) else { panic!("this rig needs the first namespace") };
    let done = run(&mut adopt(&sandbox, pid, &[])).exits(125);
    done.says(&format!("PID {pid} cannot be adopted: it is a thread of the kernel"));
}

#[test]
fn whoever_has_a_supervisor_gets_no_other() {
    let sandbox = Sandbox::new();
    let daemon = daemon(REAPS, "read _");
    let guard = adopted(&sandbox, daemon.pid(), &[]);
    let refused = |pid: i32| {
        let done = run(&mut adopt(&sandbox, pid, &["-w", "20"])).exits(75);
        done.says(&format!("PID {pid} is of that run, whose supervisor is not provably over"))
            .says("m1 is held by");
    };
    refused(daemon.pid());
    refused(guard.pid());
    run(&mut adopt(&sandbox, daemon.pid(), &["-E", "9"])).exits(9);
    let held = Held::running(&Sandbox::new(), "echo $$; read _");
    // A job of another machine may hold this one, too.
    run(&mut adopt(&sandbox, held.job.0, &["-n"])).exits(75).says("m1 is held by");
}

/// Root may adopt anybody's process, everybody his own, and nobody another's.
#[test]
fn whose_process_it_may_be_as_root() {
    let commons = Commons::new("processes of other users");
    let state = commons.dir("state", User(0), TEAM, 0o2775);
    let mut theirs = commons.as_user(ALICE, &[], "sleep");
    let mut theirs = Running::new(theirs.arg("1000").spawn().unwrap());
    let asleep = || {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", theirs.pid())).unwrap();
        comm == "sleep\n"
    };
    until("it sleeps", asleep);
    let pid = theirs.pid().to_string();
    let jobguard = |user, words: &[&str]| commons.jobguard(user, &[TEAM], &state, words);
    let ours = format!("uid {}: only that user and root may do so", ALICE.0);
    run(&mut jobguard(BOB, &["adopt", "m1", "--pid", &pid])).exits(125).says(&ours);
    for user in [ALICE, User(0)] {
        let mut guard = jobguard(user, &["adopt", "m1", "--pid", &pid, "--timeout", "1h"]);
        let mut guard = Running::new(guard.spawn().unwrap());
        let record = state.join("m1/record.json");
        let supervisor = || {
            let record: Value = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
            record["holders"][0]["supervisor"]["pid"].as_i64()
        };
        until("it is adopted", || supervisor() == Some(guard.pid().into()) && sleeps(guard.pid()));
        // Of the three only root, and whose process and supervisor it is, may end it.
        run(&mut jobguard(BOB, &["stop", "m1"])).exits(75);
        if user == ALICE {
            guard.signal(Signal::SIGKILL);
        } else {
            run(&mut jobguard(ALICE, &["stop", "m1"])).exits(75);
            assert!(!ends(theirs.pid(), Duration::ZERO));
            run(&mut jobguard(User(0), &["stop", "m1"])).exits(0);
            theirs.wait();
        }
        guard.wait();
    }
}

/// Its owner may end what he adopted, and so may root.
#[rstest]
fn a_user_adopts_his_own_as_root(#[values(ALICE, User(0))] who: User) {
    let commons = Commons::new("processes of a user");
    let state = commons.dir("state", User(0), TEAM, 0o2775);
    let mut theirs = commons.as_user(ALICE, &[], "sleep");
    let mut theirs = Running::new(theirs.arg("1000").spawn().unwrap());
    let pid = theirs.pid().to_string();
    let comm = format!("/proc/{pid}/comm");
    until("it sleeps", || std::fs::read_to_string(&comm).unwrap() == "sleep\n");
    let jobguard = |user, words: &[&str]| commons.jobguard(user, &[TEAM], &state, words);
    let mut guard = Running::new(jobguard(ALICE, &["adopt", "m1", "--pid", &pid]).spawn().unwrap());
    until("it is adopted", || sleeps(guard.pid()) && state.join("m1/record.json").exists());
    run(&mut jobguard(who, &["stop", "m1"])).exits(0);
    theirs.wait();
    guard.wait();
}
