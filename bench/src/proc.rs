//! What `/proc` says about a process.

use std::fs;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::unistd::Pid;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until it is so. What is waited for here is announced by no descriptor.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        pause(Duration::from_millis(1));
    }
}

/// Lets time pass: what is measured is that nothing happens.
pub fn pause(time: Duration) {
    let time = PollTimeout::try_from(time).expect("a short time");
    let _ = poll(&mut [], time); // a signal ends it early, and nobody sends one
}

/// A process sleeps in this system call.
pub fn sleeps_in(pid: Pid, numbers: &[&str]) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next().is_some_and(|number| numbers.contains(&number))
}

/// The numbers of system calls (x86-64) that whoever waits for a lock sleeps in: flock, fcntl, ppoll.
pub const LOCKS: [&str; 3] = ["73", "72", "271"];

/// Those that a wrapper sleeps in while its job runs: read, wait4, waitid, poll, ppoll,
/// rt_sigsuspend, rt_sigtimedwait, epoll_wait, epoll_pwait.
pub const WAITS: [&str; 9] = ["0", "61", "247", "7", "271", "130", "128", "232", "281"];

/// The children of a process.
pub fn children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}

/// The first child of a process, once it runs the program of this name.
fn child(pid: Pid, comm: &str) -> Option<Pid> {
    let child = *children(pid).first()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim_end() == comm).then_some(child)
}

/// Waits for a wrapper to supervise a job of that name, and returns the job.
pub fn job(wrapper: Pid, comm: &str) -> Pid {
    let mut job = None;
    until(&format!("{wrapper} supervises {comm}"), || {
        job = child(wrapper, comm);
        job.is_some() && sleeps_in(wrapper, &WAITS)
    });
    job.expect("until returned")
}

/// Resident memory in KiB, exactly: `status` may be off by some pages for each CPU.
pub fn rss(pid: Pid) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// How often all threads of a process have given up or lost the CPU.
pub fn switches(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let status = tasks.map(|task| task.expect("it lives").path().join("status"));
    let count = |path: std::path::PathBuf| {
        let path = path.display().to_string();
        field(&path, "voluntary_ctxt_switches:") + field(&path, "nonvoluntary_ctxt_switches:")
    };
    status.map(count).sum()
}

/// No signal is pending for a process.
pub fn has_read_all_signals(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    status.lines().any(|line| line == "ShdPnd:\t0000000000000000")
}

/// The number behind a name.
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{path} has no {name}"))
}
