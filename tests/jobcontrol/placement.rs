//! Whose process group the job is in, and whose the terminal is.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use libc::{SIGCONT, SIGSTOP, SIGTERM, SIGUSR1};
use nix::unistd::{Pid, getpgid};

use crate::shell::{Guard, Shell, Terminal};
use crate::support::probe::{Watched, bare, launch, send};
use crate::support::{Running, Sandbox, run, state, until};

fn group_of(pid: i32) -> i32 {
    getpgid(Some(Pid::from_raw(pid))).unwrap().as_raw()
}

#[test]
fn the_job_shares_our_group_with_a_terminal_and_leads_its_own_without_unless_told_otherwise() {
    let sandbox = Sandbox::new();
    let options: [(&[&str], bool); 3] =
        [(&[], false), (&["--group", "share"], true), (&["--group", "own"], false)];
    for (group, shared) in options {
        let guard = [&["-m", "m"], group].concat();
        let job = Watched::start(&mut launch(&sandbox, &[], &guard), &[]);
        assert_eq!(job.group, if shared { job.parent } else { job.job }, "{group:?}");
        job.end();
    }
    for guard in [Guard::Shared, Guard::Own] {
        let mut shell = Shell::new(guard, &[]);
        shell.starts("run");
        let leader = if guard == Guard::Shared { shell.child() } else { shell.job().pid };
        assert_eq!(group_of(shell.job().pid), leader);
        shell.ends();
    }
}

/// A group of ours that the job shares is nobody's to signal: others may be in it.
#[test]
fn without_a_terminal_a_job_in_our_group_gets_what_is_sent_to_us_and_nobody_else_does() {
    let sandbox = Sandbox::new();
    let guard = ["-m", "m", "--group", "share"];
    let mut job = Watched::start(&mut launch(&sandbox, &[], &guard), &["fork"]);
    assert!(job.guard.line().starts_with("child ready "));
    for signal in [SIGTERM, SIGUSR1, 40, SIGUSR1] {
        job.send(signal);
        job.says(&format!("{signal} user"));
    }
    job.end();
}

/// Whoever stops the job of such a session will continue that, and not us.
#[test]
fn without_a_shell_we_go_on_when_the_job_is_stopped() {
    let sandbox = Sandbox::new();
    for group in ["share", "own"] {
        let guard = ["-m", "m", "--group", group];
        let mut job = Watched::start(&mut launch(&sandbox, &[], &guard), &[]);
        send(job.job, SIGSTOP);
        until("the job is stopped", || state(job.job) == Some('T'));
        job.send(SIGUSR1); // it waits for the job
        send(job.job, SIGCONT);
        let mut lines = [job.guard.line(), job.guard.line()];
        lines.sort();
        assert_eq!(lines, [format!("{SIGUSR1} user"), format!("{SIGCONT} user")]);
        job.end();
    }
}

/// `setsid jobguard ... </dev/pts/N`: a file like others.
#[test]
fn a_terminal_that_is_not_ours_is_only_read_from() {
    for guarded in [false, true] {
        let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
        let slave = |path: &str| -> File {
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap()
        };
        let mut command: Command =
            if guarded { launch(&sandbox, &[], &["-m", "m"]) } else { bare(&sandbox, &[]) };
        command.args(["/bin/sh", "-c", "echo ready; read -r line; echo \"got $line\""]);
        let mut job = Running::start(command.stdin(Stdio::from(slave(&terminal.path))));
        assert_eq!(job.line(), "ready");
        // Nobody's keys, were they typed a thousand times.
        terminal.types(b"\x03\x1a\x1chello\n");
        assert_eq!(job.line(), "got hello", "guarded: {guarded}");
        assert!(job.wait().success());
    }
}

#[test]
fn whose_group_is_asked_for_is_checked() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m", "--group", "theirs", "true"])).exits(64);
    run(&mut sandbox.jobguard(["--group", "own", "status", "m"])).exits(64).says("--group");
}

/// Before there is a job to have it, and before its group owns the terminal.
#[test]
fn a_line_typed_early_reaches_a_job_in_its_own_group() {
    let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
    let mut held = crate::support::held::Held::start(&sandbox);
    let words = [crate::support::JOBGUARD, "-m", "m1", "--group", "own", "--"];
    let mut session = Command::new(crate::shell::program());
    session.arg("leader").arg(&terminal.path).args(words);
    session.args(["sh", "-c", "echo mine; read -r line; echo \"got $line\""]);
    sandbox.confine(&mut session);
    let mut session = Running::start(&mut session);
    until("it waits", || crate::support::held::waits(session.pid()));
    terminal.master.as_mut().unwrap().write_all(b"typed ahead\n").unwrap();
    held.let_go();
    assert_eq!((session.line(), session.line()), ("mine".into(), "got typed ahead".into()));
    assert!(session.wait().success());
}
