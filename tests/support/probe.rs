//! The probe (`probe.c`): a job that says what it inherited and which signals reach it, and a
//! launcher that starts jobguard in a given state.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Running, Sandbox, jobguard, require_program};
use jobguard::sys::pidfd::PidFd;

/// The probe, compiled.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| compiled("tests/support/probe.c", "probe"))
}

/// A C program of the tests, compiled under this name.
pub fn compiled(source: &str, name: &str) -> PathBuf {
    require_program("cc");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let (made, program) = (place.join(format!("{name}.{}", std::process::id())), place.join(name));
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Wno-unused-result", "-O1", "-o"]).arg(&made).arg(source);
    assert!(
        cc.args(["-lutil", "-lpthread"]).status().unwrap().success(),
        "{name} does not compile"
    );
    // Another test binary may be running it.
    std::fs::rename(made, &program).unwrap();
    program
}

/// A jobguard that starts without a terminal, in the state that the launcher's options describe,
/// for the job that follows; see `probe.c`.
pub fn launch(sandbox: &Sandbox, state: &[&str], guard: &[&str]) -> Command {
    let mut command = bare(sandbox, state);
    command.arg(jobguard()).args(guard).arg("--");
    command
}

/// The same without jobguard.
pub fn bare(sandbox: &Sandbox, state: &[&str]) -> Command {
    apart(sandbox, "setsid", state)
}

/// Without jobguard, and apart from us: `setsid` or `setpgid`.
pub fn apart(sandbox: &Sandbox, how: &str, state: &[&str]) -> Command {
    let mut command = Command::new(probe());
    // Whatever the tests themselves were started with: a shell's background job ignores INT.
    command.args(["launch", how, "ignore=0", "mask=0"]).args(state).arg("--");
    sandbox.confine(&mut command);
    command
}

/// A job that prints the signals that reach it, under a jobguard.
pub struct Watched {
    /// The launched jobguard.
    pub guard: Running,
    /// The job.
    pub job: i32,
    /// The process that the job calls its parent.
    pub parent: i32,
    /// The job's process group.
    pub group: i32,
    handle: Option<PidFd>,
}

/// A job may outlive its jobguard, but never its test.
impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.handle.as_ref().map(|job| job.signal(libc::SIGKILL)));
    }
}

impl Watched {
    /// Starts `command` (whose last word so far is `--`) with the probe as its job.
    #[track_caller]
    pub fn start(command: &mut Command, options: &[&str]) -> Self {
        Self::greet(Running::start(command.arg(probe()).arg("signals").args(options)))
    }

    /// A job that is about to say who it is.
    #[track_caller]
    pub fn greet(mut guard: Running) -> Self {
        let line = guard.line();
        Self::greeted(guard, &line)
    }

    /// A job that has said this.
    #[track_caller]
    pub fn greeted(guard: Running, line: &str) -> Self {
        let ids: Vec<i32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(line.starts_with("ready ") && ids.len() == 3, "no greeting: {line:?}");
        let handle = PidFd::open(ids[0]).ok(); // it may be over by now
        Self { guard, job: ids[0], parent: ids[1], group: ids[2], handle }
    }

    /// Sends a signal to the job's parent, jobguard.
    pub fn send(&self, signal: i32) {
        send(self.parent, signal);
    }

    /// Types at its terminal.
    pub fn types(&mut self, keys: &[u8]) {
        self.guard.child.stdin.as_mut().unwrap().write_all(keys).unwrap();
    }

    /// Asserts on the next line.
    #[track_caller]
    pub fn says(&mut self, line: &str) {
        assert_eq!(self.guard.line(), line);
    }

    /// Ends the job, and with it jobguard.
    #[track_caller]
    pub fn end(mut self) {
        send(self.job, libc::SIGKILL);
        self.guard.wait();
    }
}

/// Sends any signal, those included that have no name.
pub fn send(pid: i32, signal: i32) {
    PidFd::open(pid).unwrap().signal(signal).unwrap();
}

/// Makes an executable file, and the directories it lies in. By another process: were it written
/// by ours, a child that another test forks meanwhile would hold it open, and exec would say
/// `ETXTBSY`.
pub fn executable(path: &Path, text: &str) {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", r#"mkdir -p "${0%/*}" && printf %s "$1" >"$0" && chmod 755 "$0""#]);
    assert!(sh.arg(path).arg(text).status().unwrap().success());
}

/// Takes the right to be executed from a file.
pub fn not_executable(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}
