//! Time limits: what timeout(1) does with the same job, and what it does not do: warn, once.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::support;
use crate::support::litter::Leash;
use crate::support::probe::bare;
use crate::support::{PATIENCE, Running, Sandbox, ends, require_program, run, until};

/// What a shell would see: 128 and the signal's number.
fn shown(status: std::process::ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// timeout(1) and jobguard on the same job end with the same status, within the same time.
#[rstest]
#[case::it_overruns(&["0.3"], &["--timeout", "0.3"], "exec sleep 60", 124)]
#[case::it_does_not(&["30"], &["--timeout", "30"], "exit 7", 7)]
#[case::killed_by_itself(&["30"], &["--timeout", "30"], "kill -INT $$", 130)]
#[case::not_found(&["30"], &["--timeout", "30"], "exec /nowhere", 127)]
#[case::no_limit(&["0"], &["--timeout", "0"], "sleep 0.5; exit 7", 7)]
#[case::fractions(&["0.05"], &["--timeout", "0.05"], "exec sleep 60", 124)]
#[case::units(&["0.005m"], &["--timeout", "300ms"], "exec sleep 60", 124)]
#[case::huge(&["99999999999d"], &["--timeout", "9999999999999999"], "exit 7", 7)]
#[case::another_signal(&["-s", "USR1", "0.3"], &["--signal", "USR1", "--timeout", "0.3"], "exec sleep 60", 124)]
#[case::by_number(&["-s", "2", "0.3"], &["--signal", "2", "--timeout", "0.3"], "exec sleep 60", 124)]
#[case::kill_at_once(&["-s", "KILL", "0.3"], &["--signal", "KILL", "--timeout", "0.3"], "exec sleep 60", 137)]
#[case::kill_as_number(&["-s", "9", "0.3"], &["--signal", "9", "--timeout", "0.3"], "exec sleep 60", 137)]
#[case::it_ignores_term(&["-k", "0.3", "0.3"], &["-k", "0.3", "--timeout", "0.3"], "trap '' TERM; while :; do sleep 0.1; done", 137)]
#[case::huge_grace(&["-k", "99999999999d", "0.3"], &["-k", "9999999999999999", "--timeout", "0.3"], "exec sleep 60", 124)]
#[case::it_needs_a_while(&["-k", "20", "0.3"], &["-k", "20", "--timeout", "0.3"], "trap 'sleep 0.3; exit 5' TERM; while :; do sleep 0.1; done", 124)]
#[case::it_succeeds_on_term(&["0.3"], &["--timeout", "0.3"], "trap 'exit 0' TERM; while :; do sleep 0.1; done", 124)]
#[case::it_ignores_the_signal_and_ends(&["0.3"], &["--timeout", "0.3"], "trap '' TERM; sleep 0.6; exit 5", 124)]
#[case::it_is_stopped(&["0.3"], &["--timeout", "0.3"], "kill -STOP $$", 124)]
#[case::it_is_stopped_and_killed(&["-s", "KILL", "0.3"], &["--signal", "KILL", "--timeout", "0.3"], "kill -STOP $$", 137)]
fn as_timeout(
    #[case] theirs: &[&str],
    #[case] ours: &[&str],
    #[case] job: &str,
    #[case] expected: i32,
) {
    require_program("timeout");
    let sandbox = Sandbox::new();
    let status = |command: &mut std::process::Command| {
        // timeout(1) leads a group, which it kills, and itself with it.
        let mut guard = Running::new(command.stderr(Stdio::null()).spawn().unwrap());
        shown(guard.wait())
    };
    let mut timeout = bare(&sandbox, &[]);
    let path = run(std::process::Command::new("which").arg("timeout")).exits(0).stdout();
    timeout.arg(path.trim()).args(theirs).args(["sh", "-c", job]);
    let mut jobguard = bare(&sandbox, &[]);
    jobguard.arg(support::JOBGUARD).args(["-m", "m1"]).args(ours).args(["--", "sh", "-c", job]);
    assert_eq!((status(&mut timeout), status(&mut jobguard)), (expected, expected));
    let last = &sandbox.record("m1")["last"];
    let ended =
        if [124, 137].contains(&expected) { "timed_out" } else { last["ended"].as_str().unwrap() };
    assert_eq!(last["ended"], ended, "{last}");
}

/// Both end the whole group; we do the rest, too (see tests/leftovers).
#[rstest]
#[case("timeout", &["0.5"])]
#[case(support::JOBGUARD, &["-m", "m1", "--timeout", "0.5"])]
fn the_whole_group(#[case] program: &str, #[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    let mut leash = Leash::new(&sandbox);
    let mut command = bare(&sandbox, &[]);
    let path = run(std::process::Command::new("which").arg(program)).exits(0).stdout();
    command.arg(path.trim()).args(options).args(leash.job("sit stay twice"));
    let mut guard = Running::start(&mut command);
    guard.line();
    leash.is_taken();
    assert_eq!(shown(guard.wait()), 124);
    assert!(leash.is_let_go(Duration::from_secs(2)));
}

/// A grace that no clock reaches never ends, also for those who are left when the job is over.
#[test]
fn a_grace_without_end() {
    let sandbox = Sandbox::new();
    let mut leash = Leash::new(&sandbox);
    let mut command = sandbox.jobguard(["-m", "m1", "--timeout", "0.5", "-k", "9999999999999999"]);
    command.arg("--").args(leash.job("sit stay setsid deaf")).stderr(Stdio::null());
    let mut guard = Running::start(&mut command);
    let deaf = support::Stray(guard.line().parse().unwrap());
    leash.is_taken();
    // The machine is free, as without them; jobguard is not over.
    until("the job is over", || sandbox.machine("m1").join("events.jsonl").exists());
    assert!(!ends(guard.pid(), Duration::from_secs(1)) && !leash.is_let_go(Duration::ZERO));
    run(&mut sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(0);
    drop(deaf);
    assert_eq!(guard.wait().code(), Some(124));
}

/// In a script there is no telling whether the job did that itself; here there is.
#[test]
fn what_was_done_is_said() {
    let sandbox = Sandbox::new();
    let job = ["-m", "m1", "--name", "nightly", "--timeout", "0.3", "-k", "0.2", "--", "sh", "-c"];
    let deaf = "trap '' TERM; while :; do sleep 0.1; done";
    let done = run(sandbox.jobguard(job).arg(deaf)).exits(137);
    let lines = [
        "jobguard: m1: \"nightly\" ran for 300ms: sent TERM",
        "jobguard: m1: \"nightly\" was still there 200ms after TERM: sent KILL",
    ];
    assert_eq!(done.stderr().lines().collect::<Vec<_>>(), lines);
    let last = &sandbox.record("m1")["last"];
    assert_eq!((&last["ended"], &last["code"]), (&"timed_out".into(), &9.into()));
    let status = run(&mut sandbox.jobguard(["status", "m1"])).exits(3).stdout();
    assert!(status.contains("time"), "{status}");
}

/// One line and one event, once, and the job goes on.
#[test]
fn a_warning() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "-m", "m2", "--warn-after", "0.1", "--"]);
    let done = run(command.args(["sh", "-c", "sleep 0.6; exit 7"])).exits(7);
    let line = "jobguard: m1, m2: \"sh -c 'sleep 0.6; exit 7'\" still runs after 100ms\n";
    assert_eq!(done.stderr(), line);
    for machine in ["m1", "m2"] {
        let events = sandbox.events(machine);
        let warnings: Vec<_> = events.iter().filter(|e| e["event"] == "still_running").collect();
        assert_eq!(warnings.len(), 1, "{events:?}");
        assert_eq!(warnings[0]["after_ms"], 100);
        assert_eq!(warnings[0]["token"], sandbox.record(machine)["last"]["token"]);
    }
    run(&mut sandbox.jobguard(["-m", "m1", "--warn-after", "60", "--", "true"])).exits(0).silent();
}

/// The wait in the queue does not count.
#[test]
fn the_time_is_the_jobs() {
    let sandbox = Sandbox::new();
    let mut held = support::held::Held::start(&sandbox);
    let mut command =
        sandbox.jobguard(["-m", "m1", "--timeout", "1.5", "--", "sh", "-c", "sleep 0.5; exit 3"]);
    let mut waiter = Running::new(command.stderr(Stdio::null()).spawn().unwrap());
    until("it waits", || support::held::waits(waiter.pid()));
    assert!(!ends(waiter.pid(), Duration::from_secs(2)));
    held.let_go();
    assert_eq!(waiter.wait().code(), Some(3));
}

/// Stopped by job control, alone or with its supervisor, or by anybody.
#[rstest]
#[case(Signal::SIGSTOP)]
#[case(Signal::SIGTSTP)]
fn a_job_that_was_stopped(#[case] signal: Signal) {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "--timeout", "1", "-k", "20", "--"]);
    command.args(["sh", "-c", "echo $$; exec sleep 60"]).stderr(Stdio::null());
    let begun = Instant::now();
    let mut guard = Running::start(&mut command);
    let job: i32 = guard.line().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(job), signal).unwrap();
    until("it is stopped", || support::state(job) == Some('T'));
    assert_eq!(guard.wait().code(), Some(124));
    assert!(begun.elapsed() < Duration::from_secs(10), "TERM did not reach it");
}

/// Several machines, and all are free when the job is over.
#[test]
fn of_several_machines() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "-m", "m2", "--timeout", "0.2", "--"]);
    run(command.args(["sleep", "60"])).exits(124).says("m1, m2: \"sleep 60\" ran for 200ms");
    for machine in ["m1", "m2"] {
        run(&mut sandbox.jobguard(["status", machine])).exits(3);
        assert_eq!(sandbox.record(machine)["last"]["ended"], "timed_out");
    }
}

/// Until the limit nothing is done: one call sleeps, and wakes up at the limit.
#[test]
fn waiting_costs_nothing() {
    require_program("strace");
    let sandbox = Sandbox::new();
    let words = ["-m", "m1", "--timeout", "2", "--", "sleep", "60"].map(str::to_owned);
    let mut traced = support::strace::traced(&sandbox, &words);
    let mut guard = Running::new(traced.stderr(Stdio::null()).spawn().unwrap());
    assert_eq!(guard.wait().code(), Some(124));
    let trace = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let sleeps =
        lines.iter().position(|line| line.starts_with("ppoll(") && line.contains("tv_sec=1,"));
    let sleeps = sleeps.unwrap_or_else(|| panic!("{trace}"));
    assert!(lines[sleeps].contains("Timeout"), "{}", lines[sleeps]);
    let asleep = lines[sleeps..].iter().filter(|line| line.starts_with("ppoll(")).count();
    assert!(asleep <= 3, "{trace}");
}

#[rstest]
#[case(&["--timeout", "-1"], "is no duration")]
#[case(&["--timeout", "soon"], "is no duration")]
#[case(&["--timeout", "inf"], "is no duration")]
#[case(&["--signal", "TERM"], "--timeout")]
#[case(&["--timeout", "1", "--signal", "TERMINATE"], "is no signal")]
#[case(&["--timeout", "1", "--signal", "0"], "is no signal")]
#[case(&["--warn-after", "x"], "is no duration")]
#[case(&["-k", "5"], "-k (--kill-after) belongs to")]
#[case(&["--leftovers", "wait", "-k", "5"], "-k (--kill-after) belongs to")]
#[case(&["--leftovers", "adopt"], "leave, wait, kill")]
#[case(&["--retries", "-1"], "-1")]
#[case(&["--retries", "many"], "is no number of retries")]
#[case(&["--retry-delay", "5"], "--retries")]
#[case(&["--retry-backoff"], "--retries")]
#[case(&["--retries", "1", "--retry-on", "0-"], "is nothing to try again on")]
fn typing_errors(#[case] options: &[&str], #[case] says: &str) {
    let sandbox = Sandbox::new();
    run(sandbox.jobguard(["-m", "m1"]).args(options).args(["--", "true"])).exits(64).says(says);
    assert!(!sandbox.state().exists());
}

/// A limit is no licence for a supervisor that is gone: the job goes on, and holds the machine.
#[test]
fn of_a_supervisor_that_was_killed() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "--timeout", "0.5", "--"]);
    let mut guard = Running::start(command.args(["sh", "-c", "echo $$; exec sleep 60"]));
    let job = support::Stray(guard.line().parse().unwrap());
    guard.signal(Signal::SIGKILL);
    guard.wait();
    assert!(!ends(job.0, Duration::from_secs(1)));
    run(&mut sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(75);
    let pid = job.0;
    drop(job);
    assert!(ends(pid, PATIENCE));
}
