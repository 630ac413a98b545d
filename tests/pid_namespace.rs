//! PID namespaces: numbers that come back by force, jobs that die with their supervisor, and
//! holders seen from beside, where their PIDs mean nothing, and from above.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobguard::sys::pidfd::PidFd;
use rstest::rstest;
use serde_json::Value;
use support::{Done, JOBGUARD, Running, Sandbox, require_program, require_root, run, until};

/// How long a slack lifeline takes to be evidence.
const GRACE: Duration = Duration::from_secs(1);

/// A shell as the first process of a PID namespace of its own, which ends with the test. It finds
/// jobguard as `$0`.
fn namespace(sandbox: &Sandbox, script: &str, args: &[&str]) -> Running {
    require_root("a PID namespace");
    require_program("unshare");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, JOBGUARD]);
    command.args(args);
    sandbox.confine(&mut command);
    Running::start(command.stdin(Stdio::piped()))
}

/// Lets the shell go on, past its next `read`.
fn say(namespace: &mut Running, line: &str) {
    writeln!(namespace.child.stdin.as_mut().unwrap(), "{line}").unwrap();
}

/// Verdict and reason, as seen from outside the namespace.
fn from_outside(sandbox: &Sandbox) -> (i32, String) {
    let done = run(&mut sandbox.jobguard(["status", "m1", "--json"]));
    (done.code(), reason(&done.json()))
}

fn reason(machine: &Value) -> String {
    machine["reason"].as_str().unwrap_or("").to_owned()
}

/// A jobguard in a namespace beside the holder's: it sees no process of it.
fn beside(sandbox: &Sandbox, words: &[&str]) -> Done {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", JOBGUARD]).args(words);
    sandbox.confine(&mut command);
    run(&mut command)
}

/// Verdict and reason, as seen from beside the namespace.
fn from_beside(sandbox: &Sandbox) -> (i32, String) {
    let done = beside(sandbox, &["status", "m1", "--json"]);
    (done.code(), reason(&done.json()))
}

/// Kills a supervisor and its job, and has another process take the job's PID: `sleep`, or the
/// jobguards that look at the record and take the machine. `/bin/true` makes the shell reap.
const REUSE: &str = r#"
    fifo=$1; who=$2; rounds=$3
    next() { echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; }
    while [ "$rounds" -gt 0 ]; do
        rounds=$((rounds - 1))
        "$0" --on-supervisor-death keep -m m1 -- sh -c 'echo $$ >"$0"; exec sleep inf' "$fifo" &
        supervisor=$!
        read -r job <"$fifo"
        kill -KILL $supervisor $job
        while kill -0 $job 2>/dev/null; do /bin/true; done
        next $job
        if [ $who = another ]; then
            sleep inf & other=$!
            [ $other = $job ] || echo "missed: $other is not $job"
            read -r stat </proc/$other/stat
            echo "$stat"
        fi
        "$0" status m1 --json
        echo $?
        next $job
        "$0" -n -m m1 -- true
        echo $?
        [ $who != another ] || kill -KILL $other
    done 2>/dev/null
"#;

/// The start ticks in `/proc/PID/stat` of a process whose name holds no space.
fn start_ticks(stat: &str) -> u64 {
    stat.split(' ').nth(21).unwrap().parse().unwrap()
}

#[rstest]
#[case::to_another_process("another")]
#[case::to_the_observer_itself("observer")]
fn a_pid_that_was_given_away_is_no_holder(#[case] who: &str) {
    const ROUNDS: u32 = 25;
    let sandbox = Sandbox::new();
    let fifo = sandbox.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let args = [fifo.to_str().unwrap(), who, &ROUNDS.to_string()];
    let mut shell = namespace(&sandbox, REUSE, &args);
    let mut same_tick = 0;
    for _ in 0..ROUNDS {
        let stat = if who == "another" { shell.line() } else { String::new() };
        let seen: Value = serde_json::from_str(&shell.line()).unwrap();
        assert_eq!((shell.line().as_str(), reason(&seen).as_str()), ("1", "pid_reused"), "{seen}");
        assert_eq!(shell.line(), "0", "the next run does not go through");
        let job = &seen["holders"][0]["job"];
        if who == "another" {
            assert!(stat.starts_with(&format!("{} ", job["pid"])), "{stat}");
            same_tick += u32::from(job["start_ticks"] == start_ticks(&stat));
        }
    }
    println!("{ROUNDS} PIDs given to {who}, {same_tick} of them in the same clock tick");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["pid_reused"], ROUNDS);
}

/// A holder whose supervisor is killed at the first word from outside; at the second its job, and
/// then the namespace's next run is tried.
const KILLED_IN_TWO_STEPS: &str = r#"
    "$0" "$@" -m m1 -- sh -c 'echo $$; exec sleep inf' &
    supervisor=$!
    read -r job
    read -r _
    kill -KILL $supervisor
    wait $supervisor
    echo killed
    read -r how
    [ "$how" = "it dies" ] || kill -KILL $job
    while kill -0 $job 2>/dev/null; do /bin/true; done
    "$0" -n -m m1 -- true
    echo $?
    read -r _
"#;

/// Starts that holder.
fn holder(sandbox: &Sandbox, options: &[&str]) -> Running {
    let mut shell = namespace(sandbox, KILLED_IN_TWO_STEPS, options);
    let job = shell.line();
    say(&mut shell, &job);
    shell
}

/// Kills its supervisor.
fn kill_supervisor(shell: &mut Running) {
    say(shell, "kill it");
    assert_eq!(shell.line(), "killed");
}

#[test]
fn a_job_dies_with_its_supervisor_and_the_next_run_inside_clears_it() {
    let sandbox = Sandbox::new();
    let mut shell = holder(&sandbox, &[]);
    assert_eq!(sandbox.record("m1")["holders"][0]["dies_with_supervisor"], true);
    kill_supervisor(&mut shell);
    say(&mut shell, "it dies");
    assert_eq!(shell.line(), "0");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["process_gone"], 1);
}

#[test]
fn beside_a_taut_lifeline_is_a_live_holder_and_one_slack_for_a_second_a_phantom() {
    let sandbox = Sandbox::new();
    let mut shell = holder(&sandbox, &[]);
    assert_eq!(from_beside(&sandbox), (0, String::new()));
    beside(&sandbox, &["-n", "-m", "m1", "--", "true"]).exits(75);
    kill_supervisor(&mut shell);
    let before = Instant::now();
    assert_eq!(from_beside(&sandbox), (1, "supervisor_gone".to_owned()));
    assert!(before.elapsed() >= GRACE, "after {:?} only", before.elapsed());
    beside(&sandbox, &["-n", "-m", "m1", "--", "true"]).exits(0).says("supervisor gone");
    assert_eq!(from_beside(&sandbox), (3, String::new()));
}

#[test]
fn beside_a_job_that_may_outlive_its_supervisor_is_unverifiable() {
    let sandbox = Sandbox::new();
    let mut shell = holder(&sandbox, &["--on-supervisor-death", "keep"]);
    assert_eq!(from_beside(&sandbox), (0, String::new()));
    kill_supervisor(&mut shell);
    assert_eq!(from_beside(&sandbox), (4, "other_namespace".to_owned()));
    beside(&sandbox, &["-n", "-m", "m1", "--", "true"]).exits(75);
    beside(&sandbox, &["clear", "m1"]).exits(75);
    // From above, the job itself is seen.
    assert_eq!(from_outside(&sandbox), (0, String::new()));
    say(&mut shell, "kill the job");
    assert_eq!(shell.line(), "0", "inside it is a phantom, and goes");
    assert_eq!(from_beside(&sandbox), (3, String::new()));
}

/// From the first namespace every process is seen: no lifeline is needed, and nobody waits.
#[rstest]
#[case::a_job_that_dies_with_its_supervisor(&[])]
#[case::a_job_that_does_not(&["--on-supervisor-death", "keep"])]
fn from_above_processes_are_seen(#[case] options: &[&str]) {
    let sandbox = Sandbox::new();
    let mut shell = holder(&sandbox, options);
    assert_eq!(from_outside(&sandbox), (0, String::new()));
    let job = namesake(&sandbox.record("m1")["holders"][0]);
    kill_supervisor(&mut shell);
    if !options.is_empty() {
        assert_eq!(from_outside(&sandbox), (0, String::new()), "its job lives on");
        job.signal(nix::libc::SIGKILL).unwrap();
    }
    until("its job is over", || job.is_over().unwrap());
    assert_eq!(from_outside(&sandbox), (1, "process_gone".to_owned()));
    let done = run(&mut sandbox.jobguard(["-n", "-m", "m1", "--", "true"]));
    done.exits(0).says("process not running");
}

/// The job that a record of another namespace names, found by what identifies it everywhere.
fn namesake(holder: &Value) -> PidFd {
    let inode = holder["job"]["pidfd_inode"].as_u64().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        PidFd::open(pid).ok()
    });
    pids.into_iter().find(|pidfd| pidfd.inode().unwrap() == Some(inode)).expect("it runs")
}

/// jobguard as the first process of a container that is killed and started again: the PIDs are the
/// same each time, and often the namespace's inode number is, too.
#[test]
fn a_container_that_is_restarted_clears_what_it_left() {
    const RESTARTS: u32 = 3;
    let sandbox = Sandbox::new();
    let script = r#"exec "$0" -w 5 -m m1 -- sh -c 'echo begun; exec sleep inf'"#;
    for _ in 0..RESTARTS {
        let mut container = namespace(&sandbox, script, &[]);
        assert_eq!(container.line(), "begun");
        let holder = &sandbox.record("m1")["holders"][0];
        assert_eq!(holder["supervisor"]["pid"], 1);
    }
    // Nobody has to know anything about a holder that is cleared by itself a second later.
    let next = beside(&sandbox, &["-n", "-m", "m1", "--", "true"]).exits(0);
    let next = next.says("supervisor gone");
    assert!(!next.stderr().contains("--force"), "{}", next.stderr());
    let phantoms = &sandbox.record("m1")["counters"]["phantoms"];
    println!("cleared after restarts: {phantoms}");
    let cleared: u64 = phantoms.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(cleared, u64::from(RESTARTS));
}
