//! PIDs that come back by force: 200 times, the number in the record names somebody else.

use std::process::{Command, Stdio};

use rstest::rstest;
use serde_json::Value;

use crate::support::{JOBGUARD, Running, Sandbox, require_program, require_root};

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
    const ROUNDS: u32 = 100;
    let sandbox = Sandbox::new();
    let fifo = sandbox.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let args = [fifo.to_str().unwrap(), who, &ROUNDS.to_string()];
    let mut shell = namespace(&sandbox, REUSE, &args);
    let mut same_tick = 0;
    for _ in 0..ROUNDS {
        let stat = if who == "another" { shell.line() } else { String::new() };
        let seen: Value = serde_json::from_str(&shell.line()).unwrap();
        assert_eq!((shell.line().as_str(), &seen["reason"]), ("1", &"pid_reused".into()), "{seen}");
        assert_eq!(shell.line(), "0", "the next run does not go through");
        let job = &seen["holders"][0]["job"];
        if who == "another" {
            assert!(stat.starts_with(&format!("{} ", job["pid"])), "{stat}");
            same_tick += u32::from(job["start_ticks"] == start_ticks(&stat));
        }
    }
    println!("{ROUNDS} PIDs given to {who}, {same_tick} of them in the same clock tick");
    assert!(same_tick > 0 || who != "another", "none within a clock tick: nothing was proven");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["pid_reused"], ROUNDS);
}

/// Has a process end while somebody who is to adopt it waits for the machine lock, and gives its PID to
/// another. Says how the adoption ended, and whether the other lives.
const ADOPT: &str = r#"
    lock=$1; rounds=$2
    next() { echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; }
    exec 9>"$lock"
    while [ "$rounds" -gt 0 ]; do
        rounds=$((rounds - 1))
        sleep inf 9>&- & process=$!
        flock 9
        "$0" adopt m1 --pid $process --timeout 0.01 --lock-timeout 30 9>&- & guard=$!
        # It blocks in a thread of its own.
        until [ "$(ls /proc/$guard/task 2>&1 | wc -l)" = 2 ]; do :; done
        kill -KILL $process
        while kill -0 $process; do /bin/true; done
        next $process
        sleep inf 9>&- & other=$!
        [ $other = $process ] || echo "missed: $other is not $process"
        flock -u 9
        wait $guard
        echo $?
        kill -0 $other && echo lives
        kill -KILL $other
    done 2>/dev/null
"#;

#[test]
fn nobody_is_adopted_for_the_pid_of_another() {
    const ROUNDS: u32 = 50;
    require_program("flock");
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.machine("m1")).unwrap();
    let lock = sandbox.machine("m1").join("lock");
    let args = [lock.to_str().unwrap(), &ROUNDS.to_string()];
    let mut shell = namespace(&sandbox, ADOPT, &args);
    for _ in 0..ROUNDS {
        assert_eq!((shell.line(), shell.line()), ("125".to_owned(), "lives".to_owned()));
    }
    assert!(!sandbox.machine("m1").join("record.json").exists());
    println!("{ROUNDS} PIDs given to others before they were adopted");
}

/// The same behind the back of a supervisor, which is stopped meanwhile, and then told to end its process.
const FORWARD: &str = r#"
    rounds=$1
    next() { echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; }
    while [ "$rounds" -gt 0 ]; do
        rounds=$((rounds - 1))
        sleep inf & process=$!
        "$0" adopt m1 --pid $process & guard=$!
        until "$0" status m1 >/dev/null; do :; done
        kill -STOP $guard
        until grep -q '^State:.T' /proc/$guard/status; do :; done
        kill -KILL $process
        while kill -0 $process; do /bin/true; done
        next $process
        sleep inf & other=$!
        [ $other = $process ] || echo "missed: $other is not $process"
        kill -TERM $guard
        kill -CONT $guard
        wait $guard
        kill -0 $other && echo lives
        kill -KILL $other
    done 2>/dev/null
"#;

#[test]
fn a_signal_for_an_adopted_process_reaches_no_other() {
    const ROUNDS: u32 = 50;
    let sandbox = Sandbox::new();
    let mut shell = namespace(&sandbox, FORWARD, &[&ROUNDS.to_string()]);
    for _ in 0..ROUNDS {
        assert_eq!(shell.line(), "lives");
    }
    println!("{ROUNDS} PIDs given to others behind the back of a supervisor");
}
