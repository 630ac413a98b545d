//! jobguard as the first process of a PID namespace, as in a container: it reaps, forwards, and ends
//! with 128+N; and signals that the kernel keeps from such a process do to it what they would have done
//! to its job.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use jobguard::identity::stat::Stat;
use jobguard::sys::pidfd::PidFd;
use jobguard::sys::signal::Arrival;
use libc::{SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1};
use rstest::rstest;
use support::held::{Held, sleeps_in, waits};
use support::probe::{probe, send};
use support::{
    PATIENCE, Running, Sandbox, ends, jobguard, require_program, require_root, run, state, until,
};

/// Something as the first process of a PID namespace. Its signals are the defaults.
fn container(sandbox: &Sandbox, state: &[&str], words: &[&str]) -> Command {
    require_root("namespaces");
    require_program("unshare");
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(probe());
    unshare.args(["launch", "setsid", "ignore=0", "mask=0"]).args(state).arg("--").args(words);
    sandbox.confine(&mut unshare);
    unshare
}

/// The children of a process, dead or alive.
fn children(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The only child of a process; none while it has not begun.
fn child(pid: i32) -> Option<i32> {
    children(pid).first().copied()
}

/// A container of which jobguard is the first process: that is, and `unshare`, which ends as it does.
struct Container {
    unshare: Running,
    init: i32,
}

impl Container {
    fn start(sandbox: &Sandbox, state: &[&str], words: &[&str]) -> Self {
        let all = [&[jobguard()], words].concat();
        let mut command = container(sandbox, state, &all);
        let unshare = Running::start(command.stdin(Stdio::piped()));
        until("it has begun", || child(unshare.pid()).is_some());
        let init = child(unshare.pid()).unwrap();
        Self { unshare, init }
    }

    /// One that waits for machine `m1`.
    fn waiting(sandbox: &Sandbox, state: &[&str], words: &[&str]) -> Self {
        let container = Self::start(sandbox, state, words);
        until("it waits", || waits(container.init));
        container
    }

    /// Its job says who it is; in numbers that mean nothing here.
    #[track_caller]
    fn greets(&mut self) {
        let line = self.unshare.line();
        assert!(line.starts_with("ready "), "{line:?}");
    }

    /// Signals it from inside or, as `docker stop` does, from outside.
    fn signal(&self, signal: i32, inside: bool) {
        if !inside {
            return send(self.init, signal);
        }
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.init.to_string(), "--pid", "--mount"]);
        nsenter.args(["sh", "-c", &format!("kill -{signal} 1")]);
        nsenter.status().unwrap(); // it ends with its namespace, which may be at once
    }
}

#[rstest]
fn a_waiter_ends_by_what_would_have_ended_its_job(
    #[values(SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, libc::SIGPIPE, 34, 64)] signal: i32,
    #[values(false, true)] inside: bool,
) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut first = Container::waiting(&sandbox, &[], &["-m", "m1", "--", "true"]);
    let second = sandbox.jobguard(["-m", "m1", "--", "echo", "mine"]);
    let mut second = Running::start(&mut { second });
    until("it waits", || waits(second.pid()));
    first.signal(signal, inside);
    assert_eq!(first.unshare.wait().code(), Some(128 + signal));
    // Its place is nobody's; the holder has noticed nothing.
    let names = std::fs::read_dir(sandbox.machine("m1").join("queue")).unwrap();
    let tickets = names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().ends_with(".json"));
    assert_eq!(tickets.count(), 1);
    held.let_go();
    assert_eq!(second.line(), "mine");
    assert_eq!(held.supervisor.wait().code(), Some(support::held::STATUS));
}

/// And by nothing else: what is ignored, blocked, or does nothing by default leaves it waiting.
#[rstest]
#[case::nothing_by_default(&[], &[libc::SIGCHLD, SIGCONT, libc::SIGURG, libc::SIGWINCH])]
#[case::ignored(&["ignore=ffffffffffffffff"], &[SIGTERM, SIGINT, SIGHUP, 40])]
#[case::blocked(&["mask=ffffffffffffffff"], &[SIGTERM, SIGINT, SIGHUP, 40])]
fn a_waiter_keeps_waiting_where_its_job_would_have_lived(
    #[case] state: &[&str],
    #[case] signals: &[i32],
) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let job = ["-m", "m1", "--", probe().to_str().unwrap(), "signals"];
    let mut container = Container::waiting(&sandbox, state, &job);
    for signal in signals {
        container.signal(*signal, false);
    }
    until("it waits", || waits(container.init));
    held.let_go();
    container.greets();
    if state == ["mask=ffffffffffffffff"] {
        let mut signals = signals.to_vec();
        signals.sort_unstable();
        for signal in signals {
            assert_eq!(container.unshare.line(), format!("{signal} user"));
        }
    }
    send(container.init, SIGUSR1);
    if state != ["ignore=ffffffffffffffff"] {
        assert_eq!(container.unshare.line(), format!("{SIGUSR1} user"));
    }
}

#[test]
fn the_command_wait_ends_by_a_signal() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let mut container = Container::waiting(&sandbox, &[], &["wait", "m1"]);
    container.signal(SIGINT, false);
    assert_eq!(container.unshare.wait().code(), Some(128 + SIGINT));
    assert_eq!(state(held.job.0), Some('S'));
}

#[test]
fn the_command_stop_ends_by_a_signal() {
    let sandbox = Sandbox::new();
    // The holder is a child of what becomes `jobguard stop`, in its namespace, and minds no TERM.
    let script = r#""$0" -m m1 -- sh -c "trap 'echo told' TERM; echo begun; while :; do sleep 1000 & wait; done" &
                    read -r _; exec "$0" stop m1 --grace 1h"#;
    let mut command = container(&sandbox, &[], &["/bin/sh", "-c", script, jobguard()]);
    let mut unshare = Running::start(command.stdin(Stdio::piped()));
    assert_eq!(unshare.line(), "begun");
    let init = child(unshare.pid()).unwrap();
    writeln!(unshare.child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(unshare.line(), "told");
    until("it waits for the end of that", || waits(init));
    send(init, SIGINT);
    assert_eq!(unshare.wait().code(), Some(128 + SIGINT));
}

#[test]
fn what_comes_before_it_waits_is_not_lost() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    // From when it blocks everything, which is the first that it does.
    let mut command = container(&sandbox, &[], &[jobguard(), "-m", "m1", "--", "true"]);
    for _ in 0..50 {
        let mut unshare = Running::start(&mut command);
        let blocks_all = || {
            let init = child(unshare.pid())?;
            let status = std::fs::read_to_string(format!("/proc/{init}/status")).ok()?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
            (blocked.trim() == "fffffffffffbfeff" || waits(init)).then_some(init)
        };
        let mut init = None;
        until("it blocks all signals", || {
            init = blocks_all();
            init.is_some()
        });
        send(init.unwrap(), SIGTERM);
        assert_eq!(unshare.wait().code(), Some(128 + SIGTERM));
    }
    drop(held);
}

#[rstest]
fn it_ends_with_128_and_the_jobs_signal(
    #[values(SIGTERM, SIGKILL, libc::SIGSEGV, 40)] signal: i32,
) {
    let sandbox = Sandbox::new();
    let words = [probe().to_str().unwrap(), "die", &signal.to_string()].map(str::to_owned);
    let words = words.each_ref().map(String::as_str);
    let all = [&[jobguard(), "-m", "m1", "--"], &words[..]].concat();
    assert_eq!(run(&mut container(&sandbox, &[], &all)).code(), 128 + signal);
    assert_eq!(sandbox.record("m1")["last"]["code"], signal);
}

#[test]
fn it_forwards_and_ends_as_its_job_does() {
    let sandbox = Sandbox::new();
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, 33] {
        for inside in [false, true] {
            let words = ["-m", "m1", "--", "sh", "-c", "echo begun; exec sleep 1000"];
            let mut container = Container::start(&sandbox, &[], &words);
            assert_eq!(container.unshare.line(), "begun");
            container.signal(signal, inside);
            assert_eq!(container.unshare.wait().code(), Some(128 + signal), "{inside}");
        }
    }
}

#[test]
fn it_reaps_ten_thousand_orphans_and_forwards_five_thousand_signals_meanwhile() {
    const SIGNALS: u64 = 5000;
    let sandbox = Sandbox::new();
    // Ten at a time, each of which leaves a thousand, which end at once. They are not in the job's group,
    // which gets its signals.
    let orphans = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); (true & true & true & true & true & \
                   true & true & true & true & true &); done";
    let script = "for i in 0 1 2 3 4 5 6 7 8 9; do setsid sh -c \"$1\" & done; exec \"$0\" signals";
    let words = ["-m", "m1", "--", "sh", "-c", script, probe().to_str().unwrap(), orphans];
    let mut container = Container::start(&sandbox, &[], &words);
    let init = container.init;
    container.greets();
    let to = PidFd::open(init).unwrap();
    let inner = child(init).unwrap();
    let leads = |pid: &i32| Stat::read(*pid).is_ok_and(|stat| stat.group == *pid);
    until("they are out of the job's group", || {
        children(inner).iter().filter(|pid| leads(pid)).count() == 10
    });
    for value in 0..SIGNALS {
        let arrival = Arrival { code: libc::SI_QUEUE, value, ..Arrival::plain(40) };
        to.pass_on(arrival).unwrap();
    }
    for value in 0..SIGNALS {
        loop {
            let line = container.unshare.line();
            if line == format!("40 queued {value}") {
                break;
            }
            // Its own ten children.
            assert_eq!(line, format!("{} kernel", libc::SIGCHLD));
        }
    }
    // They are children of the job, which reaps none of them.
    let all_over = || {
        let children = children(inner);
        children.len() == 10 && children.into_iter().all(|child| state(child) == Some('Z'))
    };
    until("whoever leaves orphans is over", all_over);
    until("there are no zombies but the job's own", || children(init).len() == 1);
    // Each took a PID of the namespace.
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--target", &init.to_string(), "--pid", "--mount"]);
    nsenter.args(["cat", "/proc/sys/kernel/ns_last_pid"]);
    let spawned: u32 = run(&mut nsenter).stdout().trim().parse().unwrap();
    assert!(spawned > 10_000, "{spawned}");
    println!("{spawned} processes, {SIGNALS} signals, no zombie");
    send(container.init, SIGKILL);
    assert!(ends(init, PATIENCE));
}

/// Orphans that end while nobody has a job yet are reaped, too: health checks, say.
#[test]
fn it_reaps_while_it_waits() {
    let sandbox = Sandbox::new();
    let held = Held::start(&sandbox);
    let container = Container::waiting(&sandbox, &[], &["-m", "m1", "--", "true"]);
    for _ in 0..20 {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &container.init.to_string(), "--pid", "--mount"]);
        nsenter.args(["sh", "-c", "(true & true & true &)"]);
        assert!(nsenter.status().unwrap().success());
    }
    until("it has no child, dead or alive", || child(container.init).is_none());
    until("it waits on", || sleeps_in(container.init, libc::SYS_ppoll));
    drop(held);
}
