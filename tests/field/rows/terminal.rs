//! A wrapper at a terminal.

use std::ffi::OsString;
use std::io::Write;
use std::time::Instant;

use libc::{SIGINT, SIGTSTP};
use nix::poll::{PollTimeout, poll};

use crate::rows::signals::{TRIES, most, what_came};
use crate::support::probe::{Watched, probe};
use crate::support::{PATIENCE, Running, Sandbox, state};
use crate::wrapper::{Next, Shell, Wrapper, next, on_terminal};

/// Types at the terminal.
fn types(running: &mut Running, keys: &[u8]) {
    // A shell that cannot read may be gone by now.
    drop(running.child.stdin.as_mut().unwrap().write_all(keys));
}

/// Wrapper and job.
fn words(wrapper: &[OsString], job: &[&str]) -> Vec<OsString> {
    wrapper.iter().cloned().chain(job.iter().map(OsString::from)).collect()
}

/// The words of a job that prints its signals.
fn signals<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&[probe().to_str().unwrap(), "signals"], options].concat()
}

/// ^C, once.
pub fn interrupt(wrapper: Wrapper) -> String {
    let all = (0..TRIES).map(|_| {
        let sandbox = Sandbox::new();
        let words = words(&wrapper.slow_words(&sandbox), &signals(&[]));
        let running = on_terminal(&sandbox, Shell::Interactive, r#""$@"; :"#, &words);
        let mut job = Watched::greet(running);
        let guard = guard(wrapper, &job);
        job.types(b"\x03");
        match next(&mut job, guard, wrapper.patience()) {
            Next::Nothing => "no".to_owned(),
            Next::Over => what_came(&mut job, guard, &[], SIGINT),
            Next::Line(first) => {
                // The terminal signals one after the other: the wrapper may not have it yet.
                poll(&mut [], PollTimeout::from(50_u8)).unwrap();
                what_came(&mut job, guard, &[first], SIGINT)
            }
        }
    });
    most(all)
}

/// Who stands for the wrapper: alone, the job does, and its parent is the shell.
fn guard(wrapper: Wrapper, job: &Watched) -> i32 {
    if wrapper == Wrapper::Bare { job.job } else { job.parent }
}

/// ^Z, and then `fg`.
pub fn suspend(wrapper: Wrapper) -> String {
    let script = r#""$@"; echo "shell: $?"; read -r go; fg >/dev/null; :"#;
    let sandbox = Sandbox::new();
    let words = words(&wrapper.words(&sandbox), &signals(&["default=20", "default=18"]));
    let mut job = Watched::greet(on_terminal(&sandbox, Shell::Interactive, script, &words));
    let guard = guard(wrapper, &job);
    job.types(b"\x1a");
    let told = job.guard.line_within(wrapper.patience());
    let stopped = |pid| state(pid) == Some('T');
    // Who is to stop may be about to.
    comes_to(wrapper, || stopped(guard) && stopped(job.job));
    let stops = match (stopped(guard), stopped(job.job)) {
        (true, true) => "both stop",
        (true, false) => "only the wrapper stops",
        (false, true) => "only the job stops",
        (false, false) => "nobody stops",
    };
    let Some(told) = told else {
        return format!("{stops}, the shell waits");
    };
    job.types(b"go\n");
    let run = |pid| state(pid) == Some('S');
    let goes_on = if comes_to(wrapper, || run(guard) && run(job.job)) {
        "both go on"
    } else {
        "the job stays stopped"
    };
    match told.strip_prefix("shell: ").and_then(|status| status.parse::<i32>().ok()) {
        Some(status) if status == 128 + SIGTSTP => format!("{stops}, {goes_on}"),
        Some(status) => format!("{stops} (the shell is told {status}), {goes_on}"),
        None => format!("{stops}, the shell is not told"),
    }
}

/// Whether a condition comes to hold, in the time that the wrapper has for it.
fn comes_to(wrapper: Wrapper, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + wrapper.patience();
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        poll(&mut [], PollTimeout::from(5_u8)).unwrap();
    }
    true
}

/// The foreground process group of a process's terminal.
fn in_foreground(pid: i32) -> i32 {
    field(pid, 5)
}

fn group(pid: i32) -> i32 {
    field(pid, 2)
}

/// A number of `/proc/PID/stat`, counted from the state.
fn field(pid: i32, number: usize) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(number).unwrap().parse().unwrap()
}

/// Started with `&`: the foreground is the shell's.
pub fn background(wrapper: Wrapper) -> String {
    let script = r#"echo $$; "$@" & wait"#;
    let sandbox = Sandbox::new();
    let words = words(&wrapper.words(&sandbox), &signals(&[]));
    let mut running = on_terminal(&sandbox, Shell::Interactive, script, &words);
    let shell: i32 = running.line().parse().unwrap();
    let _job = Watched::greet(running);
    if in_foreground(shell) == group(shell) { "no" } else { "takes it from the shell" }.to_owned()
}

/// Whether a script's job can read what is typed.
pub fn reads(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let job = ["/bin/sh", "-c", "echo reading; read -r word; echo \"read: $word\""];
    let words = words(&wrapper.words(&sandbox), &job);
    let mut running = on_terminal(&sandbox, Shell::Plain, r#""$@"; :"#, &words);
    assert_eq!(running.line(), "reading");
    types(&mut running, b"word\n");
    match running.line_within(wrapper.patience()).as_deref() {
        Some("read: word") => "yes",
        Some(_) => "error",
        None => "hangs",
    }
    .to_owned()
}

/// What a script without job control, which started the wrapper, can still read when that is over.
pub fn given_back(wrapper: Wrapper) -> String {
    let script = r#""$@"; echo over; read -r word && echo "read: $word"; :"#;
    let sandbox = Sandbox::new();
    let words = words(&wrapper.words(&sandbox), &["/bin/true"]);
    let mut running = on_terminal(&sandbox, Shell::Plain, script, &words);
    assert_eq!(running.line(), "over");
    types(&mut running, b"word\n");
    match running.line_within(PATIENCE).as_deref() {
        Some("read: word") => "the caller's",
        _ => "nobody's: the caller cannot read",
    }
    .to_owned()
}
