//! What the tests share: a state directory of their own, processes that never outlive a test, and
//! waiting for events instead of for time.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub mod dice;
pub mod held;
pub mod job_log;
pub mod keeper;
pub mod litter;
pub mod probe;
pub mod static_binary;
pub mod strace;
pub mod troupe;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub const JOBGUARD: &str = env!("CARGO_BIN_EXE_jobguard");

/// The same, or what `TEST_BINARY` says instead: one that was built for another C library.
pub fn jobguard() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var("TEST_BINARY").unwrap_or_else(|_| JOBGUARD.to_owned()))
}

/// A state directory that goes with the test.
pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("jobguard-").tempdir().unwrap() }
    }

    /// The same in `/tmp`, whatever `TMPDIR` says: what a run costs depends on how long its path is.
    pub fn in_tmp() -> Self {
        Self { dir: tempfile::Builder::new().prefix("jobguard-").tempdir_in("/tmp").unwrap() }
    }

    /// Scratch space beside the state directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// How `JOBGUARD_HOLDS` names the state directory.
    pub fn dir_id(&self) -> String {
        let found = std::fs::metadata(self.state()).unwrap();
        format!("{}:{}", found.dev(), found.ino())
    }

    pub fn machine(&self, name: &str) -> PathBuf {
        self.state().join(name)
    }

    /// A jobguard that keeps its state here.
    pub fn jobguard<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = Command::new(jobguard());
        command.args(args);
        self.confine(&mut command);
        command
    }

    /// Gives any command our state directory and no others' variables.
    pub fn confine(&self, command: &mut Command) {
        // What cargo tells the loader: a hundred directories to look into.
        command.env_remove("LD_LIBRARY_PATH");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("JOBGUARD_") {
                command.env_remove(name);
            }
        }
        command.env("JOBGUARD_STATE_DIR", self.state()).stdin(Stdio::null());
    }

    /// The record of a machine.
    pub fn record(&self, machine: &str) -> Value {
        let path = self.machine(machine).join("record.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Plants a record.
    pub fn plant(&self, machine: &str, bytes: impl AsRef<[u8]>) {
        let dir = self.machine(machine);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("record.json"), bytes).unwrap();
    }

    /// The event log of a machine, a value a line.
    pub fn events(&self, machine: &str) -> Vec<Value> {
        let path = self.machine(machine).join("events.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs a command to its end, within [`PATIENCE`], and returns its output.
pub fn run(command: &mut Command) -> Done {
    let child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cannot be started");
    let mut guard = Running::new(child);
    let (stdout, stderr) = (guard.child.stdout.take(), guard.child.stderr.take());
    let drain = |mut from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.as_mut().map(|from| from.read_to_end(&mut bytes)).transpose().unwrap();
            bytes
        })
    };
    let out = drain(stdout.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let err = drain(stderr.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let status = guard.wait();
    Done(Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() })
}

/// A command that is over.
#[derive(Debug)]
pub struct Done(pub Output);

impl Done {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).expect("stdout is JSON")
    }

    /// The exit code; panics with everything that was said when a signal ended it.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("{self:?}"))
    }

    pub fn signal(&self) -> Option<i32> {
        self.0.status.signal()
    }

    /// Asserts on the exit code, and shows everything that was said when it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.0.status.code(),
            Some(code),
            "stdout: {}\nstderr: {}\nstatus: {:?}",
            self.stdout(),
            self.stderr(),
            self.0.status
        );
        self
    }

    /// Asserts that stderr holds this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "stderr lacks {text:?}: {}", self.stderr());
        self
    }

    /// Asserts that nothing was said on stderr.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert_eq!(self.stderr(), "");
        self
    }
}

/// The next line of a pipe, if there is one within so long; an empty string is the end.
pub fn next_line<R: Read + AsFd>(reader: &mut BufReader<R>, within: Duration) -> Option<String> {
    if reader.buffer().is_empty() {
        let mut fds = [PollFd::new(reader.get_ref().as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() == 0 {
            return None;
        }
    }
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    Some(line.trim_end().to_owned())
}

/// A process that is killed when its test ends, however that ends.
pub struct Running {
    pub child: Child,
    lines: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub fn new(child: Child) -> Self {
        Self { child, lines: None }
    }

    /// Starts a command whose lines of output are waited for.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("cannot be started");
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the next line of output; an empty string is the end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.line_within(PATIENCE).unwrap_or_else(|| panic!("no output within {PATIENCE:?}"))
    }

    /// The next line of output, if there is one within so long; an empty string is the end.
    pub fn line_within(&mut self, within: Duration) -> Option<String> {
        next_line(self.lines.as_mut().expect("started with Running::start"), within)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end, within [`PATIENCE`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        assert!(ends(self.pid(), PATIENCE), "PID {} did not end in {PATIENCE:?}", self.pid());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already over and reaped is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Kills a process that is no child of ours when the test ends: a job whose supervisor was killed.
pub struct Stray(pub i32);

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL); // it may be over already
    }
}

/// Waits for a process to end, through a pidfd; false when it did not in time.
pub fn ends(pid: i32, within: Duration) -> bool {
    let Ok(pidfd) = jobguard::sys::pidfd::PidFd::open(pid) else { return true };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() != 0
}

/// Waits until a condition holds that no descriptor announces, as a process's state in `/proc`.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        poll(&mut [], PollTimeout::from(5_u8)).unwrap();
    }
}

/// Whether a process sleeps in a system call, as a waiter does.
pub fn sleeps(pid: i32) -> bool {
    state(pid) == Some('S')
}

/// The state letter of a process in `/proc`.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether this kernel tells whoever had a handle how a process ended: Linux 6.15.
pub fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

/// Fails where a rig cannot run, and says which: a silent skip would be a lie.
#[track_caller]
pub fn require_root(rig: &str) {
    assert!(nix::unistd::geteuid().is_root(), "the rig '{rig}' needs root");
}

/// Whether a program is on the PATH.
#[track_caller]
pub fn require_program(name: &str) {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|dir| Path::new(&dir).join(name).exists());
    assert!(found, "this rig needs {name}: scripts/test installs it");
}
