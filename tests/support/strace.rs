//! Strikes the supervisor at one system call: strace kills it there, or makes the call fail.
//!
//! Without `-f` only the supervisor is traced. A kill strikes as the call is entered: it is not
//! made, so the strike at one call is what a crash after the call before it leaves behind.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;
use std::sync::Mutex;

use super::{JOBGUARD, Running, Sandbox};

/// The `occurrence`-th call of `name` that a process makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    pub name: String,
    pub occurrence: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.name, self.occurrence)
    }
}

/// jobguard under strace, which appends these of its own arguments.
fn strace(sandbox: &Sandbox, ours: &[&str], jobguard: &[String]) -> Command {
    let mut command = Command::new("strace");
    command.args(ours).arg(JOBGUARD).args(jobguard);
    sandbox.confine(&mut command);
    command
}

/// A run that is only traced; its calls are in the file `trace` of the sandbox.
pub fn traced(sandbox: &Sandbox, jobguard: &[String]) -> Command {
    strace(sandbox, &["-o", sandbox.path("trace").to_str().unwrap()], jobguard)
}

/// A run that is struck at a point: `how` is `signal=KILL` or `error=NAME`. A signal that can wait
/// (`STOP`) strikes when the call is done.
pub fn struck(sandbox: &Sandbox, point: &Point, how: &str, jobguard: &[String]) -> Command {
    let Point { name, occurrence } = point;
    let inject = format!("inject={name}:{how}:when={occurrence}");
    let trace = format!("trace={name}");
    let output = sandbox.path("trace");
    strace(sandbox, &["-o", output.to_str().unwrap(), "-e", &trace, "-e", &inject], jobguard)
}

/// The points of a traced run, in order: all but its first call (the exec) and its last (the exit).
/// `from` skips what comes before the first line that holds it.
pub fn points(sandbox: &Sandbox, from: &str) -> Vec<Point> {
    let text = std::fs::read_to_string(sandbox.path("trace")).unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut begun = false;
    let mut points = Vec::new();
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        let is_call = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_call || matches!(name, "execve" | "exit_group" | "restart_syscall") {
            continue;
        }
        let occurrence = counts.entry(name).or_default();
        *occurrence += 1;
        begun |= line.contains(from);
        if begun {
            points.push(Point { name: name.to_owned(), occurrence: *occurrence });
        }
    }
    points
}

/// The process that a strace traces, while there is one.
pub fn tracee(strace: &Running) -> Option<i32> {
    let tracer = strace.pid();
    let children = std::fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children"));
    children.ok()?.split_whitespace().next()?.parse().ok()
}

/// Tries all points, a few at a time, and fails with all that did not survive. `survives` returns
/// whether the strike hit; returned is how many did.
#[track_caller]
pub fn strike_all<P: fmt::Display + Sync>(
    points: &[P],
    survives: impl Fn(&P) -> bool + Sync,
) -> usize {
    const AT_ONCE: usize = 6;
    let queue = Mutex::new(points.iter());
    let hits = Mutex::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap().next();
            let Some(point) = next else { break };
            let tried = std::panic::AssertUnwindSafe(|| survives(point));
            match std::panic::catch_unwind(tried) {
                Ok(hit) => *hits.lock().unwrap() += usize::from(hit),
                Err(_) => failures.lock().unwrap().push(point.to_string()), // it has said why
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "struck at these points it went wrong: {failures:?}");
    hits.into_inner().unwrap()
}
