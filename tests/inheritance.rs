//! Transparency: the job finds what it would have found without jobguard, but for its process
//! group and the `JOBGUARD_*` variables. A report made alone and one made under jobguard are
//! compared line by line.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use jobguard::identity::host::INITIAL_PID_NS;
use nix::poll::{PollTimeout, poll};
use rstest::rstest;
use support::probe::{Watched, bare, launch, probe, send};
use support::{Running, Sandbox, run, sleeps, until};

const GUARD: [&str; 2] = ["-m", "m"];

/// What a process that is started in this state says it inherited: alone, and as a job.
fn reports(sandbox: &Sandbox, state: &[&str], guard: &[&str]) -> [Vec<String>; 2] {
    [bare(sandbox, state), launch(sandbox, state, guard)].map(|mut command| {
        let file = sandbox.path("report");
        command.arg(probe()).arg("report").arg(&file).args(["two  words", "", "-x", "--"]);
        // Pipes have other names each time.
        command.current_dir(sandbox.path("")).stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(Running::new(command.spawn().unwrap()).wait().code(), Some(0), "{state:?}");
        let report = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        String::from_utf8_lossy(&report).lines().map(str::to_owned).collect()
    })
}

/// Asserts that the two reports are the same, and returns what only a job has, in order.
#[track_caller]
fn transparent(state: &[&str]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let [alone, job] = reports(&sandbox, state, &GUARD);
    let same = |report: &[String]| -> Vec<String> {
        report.iter().filter(|line| line.starts_with("same ")).cloned().collect()
    };
    assert!(same(&alone).len() > 40, "{alone:?}");
    assert_eq!(same(&alone), same(&job), "{state:?}");
    job.into_iter().filter_map(|line| Some(line.strip_prefix("own ")?.to_owned())).collect()
}

#[rstest]
#[case::nothing(&[])]
#[case::descriptors(&["open=5", "open=9", "open=63"])]
#[case::no_stdin(&["close=0"])]
#[case::no_stdout(&["close=1"])]
#[case::no_stderr(&["close=2"])]
#[case::no_stdio(&["close=0", "close=1", "close=2"])]
#[case::no_stdio_but_more(&["close=0", "close=1", "close=2", "open=3", "open=4"])]
#[case::umask(&["umask=077"])]
#[case::no_umask(&["umask=0"])]
#[case::nice(&["nice=7"])]
#[case::limits(&["nofile=40", "core=12345", "pending=77"])]
#[case::odd_environment(&["env=no-equals-sign", "env=A=1", "env=A=2", "env=", "env==x", "env=B="])]
#[case::bytes_in_the_environment(&["env=C=\u{7f}\n\u{fffd}\t"])]
fn a_job_finds_what_it_would_have_found_alone(#[case] state: &[&str]) {
    transparent(state);
}

#[rstest]
#[case::all_ignored("ffffffffffffffff", "0")]
#[case::all_blocked("0", "ffffffffffffffff")]
#[case::both("ffffffffffffffff", "ffffffffffffffff")]
#[case::sigpipe_ignored("1000", "0")]
#[case::sigpipe_blocked("0", "1000")]
#[case::sigchld_ignored("10000", "0")]
#[case::sigchld_blocked("0", "10000")]
#[case::sigchld_both("10000", "10000")]
#[case::those_of_the_c_library("380000000", "380000000")]
fn signals_are_ignored_and_blocked_as_before(#[case] ignore: &str, #[case] mask: &str) {
    transparent(&[&format!("ignore={ignore}"), &format!("mask={mask}")]);
}

#[test]
fn any_set_of_ignored_and_blocked_signals_comes_through() {
    // Knuth's MMIX generator: other sets each time would make a failure one that cannot be repeated.
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.rotate_left(23)
    };
    for _ in 0..24 {
        transparent(&[&format!("ignore={:x}", random()), &format!("mask={:x}", random())]);
    }
}

#[test]
fn with_sigchld_ignored_the_status_is_still_the_jobs() {
    let sandbox = Sandbox::new();
    for state in [["ignore=10000", "mask=0"], ["ignore=10000", "mask=10000"]] {
        let mut guard = launch(&sandbox, &state, &GUARD);
        run(guard.args(["/bin/sh", "-c", "exit 7"])).exits(7).silent();
        let mut guard = launch(&sandbox, &state, &GUARD);
        let done = run(guard.arg(probe()).args(["die", "15"])).silent();
        assert_eq!(done.signal(), Some(15));
    }
}

#[test]
fn the_first_word_is_the_one_that_was_typed() {
    let sandbox = Sandbox::new();
    let mut guard = sandbox.jobguard(["-m", "m", "probe", "report", "/dev/stdout"]);
    let done = run(guard.env("PATH", probe().parent().unwrap())).exits(0);
    let argv = done.stdout();
    let argv: Vec<&str> = argv.lines().filter(|line| line.starts_with("same argv")).collect();
    assert_eq!(argv, ["same argv: probe", "same argv: report", "same argv: /dev/stdout"]);
}

#[test]
fn without_a_terminal_the_job_leads_a_group_in_our_session() {
    let own = transparent(&[]);
    for line in ["leads group: 1", "group is parent's: 0", "session is parent's: 1"] {
        assert!(own.iter().any(|own| own == line), "{line}: {own:?}");
    }
}

#[rstest]
#[case::default(&[], true)]
#[case::keep(&["--on-supervisor-death", "keep"], true)]
#[case::kill(&["--on-supervisor-death", "kill"], false)]
fn the_parent_death_signal_is_cleared_unless_asked_for(#[case] more: &[&str], #[case] keep: bool) {
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    let keep = keep && (!more.is_empty() || namespace == INITIAL_PID_NS);
    let sandbox = Sandbox::new();
    let [_, job] = reports(&sandbox, &[], &[&GUARD[..], more].concat());
    let expected = format!("own pdeathsig: {}", if keep { 0 } else { libc::SIGKILL });
    assert!(job.contains(&expected), "{expected}: {job:?}");
}

#[test]
fn the_job_is_told_what_it_holds() {
    const SCRIPT: &str = "echo $JOBGUARD_MACHINE $JOBGUARD_TOKEN; echo $JOBGUARD_HOLDS; \
                          echo $JOBGUARD_STATE_DIR; read -r end";
    let sandbox = Sandbox::new();
    let mut guard = sandbox.jobguard(["-m", "outer"]);
    guard.arg(support::jobguard()).args(["-m", "inner", "sh", "-c", SCRIPT]);
    let mut job = Running::start(guard.stdin(Stdio::piped()));
    let lines = [job.line(), job.line(), job.line()];
    let [outer, inner] = ["outer", "inner"].map(|machine| {
        let record = sandbox.record(machine);
        assert_eq!(record["holders"][0]["token"], record["token"]);
        record["token"].as_u64().unwrap()
    });
    assert_eq!(lines[0], format!("inner {inner}"));
    let dir = sandbox.dir_id();
    assert_eq!(lines[1], format!("outer={outer}@{dir},inner={inner}@{dir}"));
    assert_eq!(lines[2], sandbox.state().display().to_string());
    drop(job.child.stdin.take());
    job.wait();
}

#[test]
fn nothing_is_said_when_all_is_well() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let done = run(&mut sandbox.jobguard(["-m", "m", "true"])).exits(0).silent();
        assert_eq!(done.stdout(), "");
    }
    // Nor by one who has waited.
    let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let mut waiter = launch(&sandbox, &[], &GUARD);
    let waiter = waiter.args(["/bin/sh", "-c", "echo done"]).stderr(Stdio::piped());
    let mut waiter = Running::start(waiter);
    until("the waiter sleeps", || sleeps(waiter.pid()));
    holder.end();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut waiter.child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!((waiter.line().as_str(), said.as_str()), ("done", ""));
    assert_eq!(waiter.wait().code(), Some(0));
}

#[test]
fn neither_a_supervisor_nor_a_waiter_ever_wakes_up_for_nothing() {
    let sandbox = Sandbox::new();
    let mut holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let waiters = [(); 3].map(|()| {
        let mut waiter = launch(&sandbox, &[], &GUARD);
        // A service manager to be told costs nothing meanwhile.
        let waiter = Running::start(waiter.arg("/bin/true").env("NOTIFY_SOCKET", "@nobody"));
        until("the waiter waits in ppoll", || in_call(waiter.pid(), libc::SYS_ppoll));
        waiter
    });
    until("the supervisor reads signals", || in_call(holder.parent, libc::SYS_read));
    let supervisor = holder.parent;
    let all = || -> Vec<String> {
        let pids = waiters.iter().map(Running::pid).chain([supervisor]);
        pids.map(switches).collect()
    };
    let before = all();
    // The one place where time itself is what is measured.
    poll(&mut [], PollTimeout::from(1000_u16)).unwrap();
    assert_eq!(all(), before);
    // It was counting: a signal is a wakeup.
    holder.send(libc::SIGUSR1);
    holder.says("10 user");
    assert_ne!(all(), before);
    send(holder.job, libc::SIGKILL);
    for mut waiter in waiters {
        assert_eq!(waiter.wait().code(), Some(0));
    }
}

/// Whether a process sleeps in this system call.
fn in_call(pid: i32, call: i64) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    text.split(' ').next() == Some(&call.to_string())
}

/// How often a process was switched away from, by itself or not.
fn switches(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().filter(|line| line.contains("ctxt_switches")).collect()
}
