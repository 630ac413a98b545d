//! A process that was adopted: it stops and goes on with its supervisor, which the shell waits for.

use std::fs::File;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::shell::Terminal;
use crate::support::held::sleeps_in;
use crate::support::{JOBGUARD, Running, Sandbox, Stray, require_program, state, until};

/// In a group of its own, as every job of a shell is, and in that of its supervisor, as those of a script
/// are. Neither is a child of jobguard, so its stop is told to others; what a script leaves us by executing
/// us is.
#[rstest]
#[case::of_a_shell(
    "sleep 1000 & echo $!; \"$0\" adopt m1 --pid $!; echo saw $?; read -r _; fg %2; echo saw $?"
)]
#[case::of_a_script(
    "sh -c 'sleep 1000 & echo $!; \"$0\" adopt m1 --pid $!; exit $?' \"$0\"; echo saw $?; read -r _; fg; echo saw $?"
)]
#[case::of_our_own(
    "sh -c 'sleep 1000 & echo $!; exec \"$0\" adopt m1 --pid $!' \"$0\"; echo saw $?; read -r _; fg; echo saw $?"
)]
fn the_stop_key_stops_both_and_fg_continues_both(#[case] script: &str) {
    require_program("bash");
    require_program("setsid");
    let (sandbox, mut terminal) = (Sandbox::new(), Terminal::open());
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "--wait", "bash", "--norc", "-ic"]);
    shell.arg(script).arg(JOBGUARD);
    sandbox.confine(&mut shell);
    shell.stdin(File::open(&terminal.path).unwrap()).stderr(Stdio::null());
    let mut shell = Running::start(&mut shell);
    let job = Stray(shell.line().parse().unwrap());
    let supervisor = || {
        let path = sandbox.machine("m1").join("record.json");
        let record = std::fs::read(path).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        let pid = record["holders"][0]["supervisor"]["pid"].as_i64();
        pid.map_or(0, |pid| i32::try_from(pid).unwrap())
    };
    until("it is adopted", || sleeps_in(supervisor(), libc::SYS_ppoll));
    let guard = Stray(supervisor());
    terminal.types(b"\x1a");
    until("both are stopped", || [job.0, guard.0].map(state) == [Some('T'); 2]);
    terminal.types(b"\n");
    until("both go on", || state(job.0) == Some('S') && sleeps_in(guard.0, libc::SYS_ppoll));
    kill(Pid::from_raw(job.0), Signal::SIGTERM).unwrap();
    let mut said = || loop {
        let line = shell.line();
        assert!(!line.is_empty(), "the shell is over");
        if line.starts_with("saw ") {
            return line;
        }
    };
    let stopped_and_ended =
        [libc::SIGTSTP, libc::SIGTERM].map(|signal| format!("saw {}", 128 + signal));
    assert_eq!([said(), said()], stopped_and_ended);
}
