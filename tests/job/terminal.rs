//! A job on a terminal: it shares jobguard's process group, so the keys reach it without us, and
//! the shell's job control works as it does without jobguard. And who waits on one is told for whom.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use libc::{SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1};

use crate::support::held::{Held, waits};
use crate::support::probe::{Watched, probe, send};
use crate::support::{JOBGUARD, PATIENCE, Running, Sandbox, ends, require_program, state, until};

/// A terminal with an interactive shell, for its job control, which runs a script; `$@` is a
/// watched job.
fn terminal(sandbox: &Sandbox, script: &str, guarded: bool, job: &[&str]) -> Watched {
    require_program("bash");
    let mut pty = Command::new(probe());
    pty.args(["pty", "bash", "--norc", "-ic", script, "script"]);
    if guarded {
        pty.args([JOBGUARD, "-m", "m", "--"]);
    }
    sandbox.confine(pty.args(job));
    Watched::greet(Running::start(pty.stdin(Stdio::piped())))
}

#[test]
fn the_keys_reach_the_job_once() {
    let sandbox = Sandbox::new();
    for guarded in [false, true] {
        let words = [probe().to_str().unwrap(), "signals", "until=15"];
        let script = r#""$@"; echo "shell: $?""#;
        let mut job = terminal(&sandbox, script, guarded, &words);
        if guarded {
            assert_eq!(job.group, job.parent, "the job is in jobguard's group");
        }
        // ^C ^\ ^Z
        for (key, signal) in [(b"\x03", SIGINT), (b"\x1c", SIGQUIT), (b"\x1a", SIGTSTP)] {
            job.types(key);
            job.says(&format!("{signal} kernel"));
        }
        // Had one of them been forwarded as well, it would come before this.
        for signal in [SIGUSR1, SIGINT, SIGTERM] {
            send(if guarded { job.parent } else { job.job }, signal);
            job.says(&format!("{signal} user"));
        }
        job.says("shell: 0");
    }
}

#[test]
fn stopping_and_continuing_looks_to_the_shell_as_without_jobguard() {
    let sandbox = Sandbox::new();
    for guarded in [false, true] {
        let script = r#"exec 2>/dev/null; "$@"; echo "shell: $?"
                        read -r go; fg >/dev/null; echo "shell: $?""#;
        let words = [probe().to_str().unwrap(), "signals", "default=20", "default=18", "until=2"];
        let mut job = terminal(&sandbox, script, guarded, &words);
        job.types(b"\x1a");
        assert_eq!(job.guard.line(), format!("shell: {}", 128 + SIGTSTP), "guarded: {guarded}");
        assert_eq!(state(job.job), Some('T'));
        if guarded {
            assert_eq!(state(job.parent), Some('T'));
        }
        job.types(b"go\n");
        until("the job goes on", || state(job.job) == Some('S'));
        job.types(b"\x03");
        job.says(&format!("{SIGINT} kernel"));
        job.says("shell: 0");
    }
}

/// The terminal sends a key to the group as it is: a job that is born a moment later has not had it.
#[test]
fn a_key_pressed_right_before_the_job_is_born_reaches_it() {
    require_program("strace");
    let sandbox = Sandbox::new();
    let mut pty = Command::new(probe());
    // The gate is made after the lifeline and before the fork; here that takes half a second.
    pty.args(["pty", "strace", "-qq", "-o", "/dev/null"]);
    pty.args(["-e", "inject=socketpair:delay_enter=500000", JOBGUARD, "-m", "m", "--"]);
    pty.args(["sh", "-c", "echo survived"]);
    sandbox.confine(&mut pty);
    let mut guard = Running::start(pty.stdin(Stdio::piped()));
    let begun = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("life.");
    until("the claim has its lifeline", || {
        let listed = std::fs::read_dir(sandbox.machine("m")).into_iter().flatten();
        listed.flatten().any(|entry| begun(&entry.file_name()))
    });
    guard.child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let lines = std::iter::repeat_with(|| guard.line()).take_while(|line| !line.is_empty());
    let told: Vec<String> = lines.collect();
    assert!(!told.iter().any(|line| line.contains("survived")), "{told:?}");
    guard.wait();
    let last = &sandbox.record("m")["last"];
    assert_eq!((&last["ended"], &last["code"]), (&"signaled".into(), &SIGINT.into()));
}

/// A waiter without a terminal, whose job says so and ends with its standard input.
fn waiter(sandbox: &Sandbox) -> Running {
    let mut command = sandbox.jobguard(["-m", "m1", "--", "sh", "-c", "echo mine; read _; :"]);
    let waiter = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    until("it waits", || waits(waiter.pid()));
    waiter
}

#[test]
fn who_waits_on_a_terminal_is_told_once_for_whom_and_nobody_else_is_told() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let mut before = [waiter(&sandbox), waiter(&sandbox)];
    let mut pty = Command::new(probe());
    pty.args(["pty", JOBGUARD, "-m", "m1", "--", "echo", "mine"]);
    sandbox.confine(&mut pty);
    let mut terminal = Running::start(pty.stdin(Stdio::piped()));
    let holder = &sandbox.record("m1")["holders"][0];
    let (user, since) = (holder["user"].as_str().unwrap(), holder["started_at"].as_str().unwrap());
    assert_eq!(
        terminal.line(),
        format!(
            "jobguard: m1 is held by \"sh -c 'echo $$; read _; exit 7'\" (PID {}, user {user}, since \
             {since}); waiting, with 2 before us",
            held.job.0
        )
    );
    // It wakes up for each of them, and has said enough.
    held.let_go();
    for waiter in &mut before {
        assert_eq!(waiter.line(), "mine");
        drop(waiter.child.stdin.take());
        let mut said = String::new();
        assert!(ends(waiter.pid(), PATIENCE));
        waiter.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), waiter.wait().code()), ("", Some(0)));
    }
    assert_eq!((terminal.line(), terminal.line()), ("mine".to_owned(), String::new()));
    assert!(terminal.wait().success());
}
