//! How the job ends, and what the wrapper makes of that.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use libc::{SIGABRT, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1};

use crate::support::probe::{Watched, executable, launch, probe, send};
use crate::support::{Running, Sandbox, ends, run, state, until};
use crate::table::{NONE, UNSEEN};
use crate::wrapper::{MARK, Wrapper, over};

/// A wait status in words.
pub fn status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(SIGTERM)) => "dies of TERM".to_owned(),
        (None, signal) => format!("dies of signal {signal:?}"),
    }
}

/// What a wrapper's end is, if it comes.
pub fn end(wrapper: Wrapper, running: &mut Running) -> String {
    if ends(running.pid(), wrapper.patience()) {
        status(running.wait())
    } else {
        "hangs".to_owned()
    }
}

fn of(wrapper: Wrapper, state: &[&str], job: &[&str]) -> String {
    let sandbox = Sandbox::new();
    let mut running = Running::start(wrapper.launch(&sandbox, state).args(job));
    end(wrapper, &mut running)
}

pub fn exits_3(wrapper: Wrapper) -> String {
    of(wrapper, &[], &["/bin/sh", "-c", "exit 3"])
}

pub fn dies_of_term(wrapper: Wrapper) -> String {
    of(wrapper, &[], &[probe().to_str().unwrap(), "die", "15"])
}

pub fn sigchld_ignored(wrapper: Wrapper) -> String {
    of(wrapper, &["ignore=10000"], &["/bin/sh", "-c", "exit 7"])
}

/// The job's core is its own; the wrapper's would be a second one, maybe in its place.
pub fn cores(wrapper: Wrapper) -> String {
    let dumps = |wrapper: Wrapper| {
        let sandbox = Sandbox::new();
        let mut command = wrapper.launch(&sandbox, &["core=1000000000"]);
        command.arg(probe()).args(["die", &SIGABRT.to_string()]);
        run(command.current_dir(sandbox.path(""))).0.status.core_dumped()
    };
    if !dumps(Wrapper::Bare) {
        return UNSEEN.to_owned(); // what core(5) says about pipes and limits is not ours to change
    }
    let twice = wrapper != Wrapper::Bare && dumps(wrapper);
    if twice { "two, one of the wrapper" } else { "one, the job's" }.to_owned()
}

/// What a shell says of a command that it cannot run, or what the wrapper says.
pub fn not_run(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    executable(&script, "exit 3\n");
    let script = script.to_str().unwrap();
    ["no-such-command", "/etc/passwd", script]
        .map(|word| {
            let mut command = wrapper.launch(&sandbox, &[]);
            if wrapper == Wrapper::Bare {
                command.args(["/bin/sh", "-c", "\"$0\""]);
            }
            end(wrapper, &mut Running::start(command.arg(word)))
        })
        .join(", ")
}

/// Stopped by something that is no business of a terminal.
pub fn stopped(wrapper: Wrapper) -> String {
    let sandbox = Sandbox::new();
    let mut job = wrapper.watched(&sandbox, &["default=18", "until=10"]);
    send(job.job, SIGSTOP);
    until("the job is stopped", || state(job.job) == Some('T'));
    send(job.job, SIGCONT);
    send(job.job, SIGUSR1);
    job.says(&format!("{SIGUSR1} user"));
    match end(wrapper, &mut job.guard).as_str() {
        "0" => "waits on".to_owned(),
        other => other.to_owned(),
    }
}

/// The job's SIGCHLD is merged into one that is pending already, from somebody else.
pub fn merged_sigchld(wrapper: Wrapper) -> String {
    if wrapper == Wrapper::Bare {
        return NONE.to_owned();
    }
    let sandbox = Sandbox::new();
    let mut job = wrapper.watched(&sandbox, &[]);
    let guard = job.guard.pid();
    send(guard, SIGSTOP);
    until("the wrapper is stopped", || state(guard) == Some('T'));
    send(guard, SIGCHLD);
    send(job.job, SIGKILL);
    assert!(ends(job.job, crate::support::PATIENCE));
    send(guard, SIGCONT);
    let end = end(wrapper, &mut job.guard);
    if end == "hangs" { end } else { "ends".to_owned() }
}

/// SIGKILL cannot be forwarded.
pub fn wrapper_killed(wrapper: Wrapper) -> String {
    if wrapper == Wrapper::Bare {
        return NONE.to_owned();
    }
    let sandbox = Sandbox::new();
    let mut command = if wrapper == Wrapper::Jobguard {
        // The default, but not in a container, where these tests may run.
        launch(&sandbox, &[], &["-m", "m", "--on-supervisor-death", "keep"])
    } else {
        wrapper.launch(&sandbox, &[])
    };
    let mut job = Watched::start(&mut command, &[]);
    job.guard.signal(nix::sys::signal::Signal::SIGKILL);
    job.guard.wait();
    if !over(job.job) {
        send(job.job, MARK);
    }
    // Its answer, or the end of its output.
    let goes_on = job.guard.line_within(wrapper.patience()).is_some_and(|line| !line.is_empty());
    let held = match wrapper {
        Wrapper::Jobguard => run(&mut sandbox.jobguard(["-n", "-m", "m", "true"])).code() == 75,
        Wrapper::Flock => {
            let mut flock = Command::new("flock");
            run(flock.arg("-n").arg(sandbox.path("lock")).arg("true")).code() == 1
        }
        _ => return if goes_on { "goes on" } else { "is over" }.to_owned(),
    };
    match (goes_on, held) {
        (true, true) => "goes on, and holds",
        (true, false) => "goes on, holds nothing",
        (false, true) => "is over, still held",
        (false, false) => "is over",
    }
    .to_owned()
}
