//! The wrappers that are put side by side, and how a job is started under one of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::probe::{Watched, bare, probe, send};
use crate::support::{JOBGUARD, PATIENCE, Running, Sandbox, ends, run, sleeps, until};

/// How long a peer that does nothing is watched before that is believed. Whoever must act is given
/// all the time of [`PATIENCE`].
pub const QUIET: Duration = Duration::from_secs(3);

/// A signal that is sent to the job after the one in question, as the end of what is read: of those
/// that are pending the highest is taken last.
pub const MARK: i32 = 64;

/// Who stands between the caller and the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrapper {
    /// Nobody.
    Bare,
    Jobguard,
    Flock,
    Timeout,
    Tini,
    DumbInit,
    Catatonit,
    Setsid,
    /// `timeout --foreground`.
    TimeoutForeground,
    /// `dumb-init --single-child`.
    DumbInitSingle,
    /// A wrapper that somebody might have written: an interpreter, and what it is told.
    Naive(&'static str, &'static str),
}

/// The columns of the table.
pub const COLUMNS: [Wrapper; 8] = [
    Wrapper::Bare,
    Wrapper::Jobguard,
    Wrapper::Flock,
    Wrapper::Timeout,
    Wrapper::Tini,
    Wrapper::DumbInit,
    Wrapper::Catatonit,
    Wrapper::Setsid,
];

impl Wrapper {
    /// Its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Jobguard => "jobguard",
            Self::Flock => "flock",
            Self::Timeout | Self::TimeoutForeground => "timeout",
            Self::Tini => "tini",
            Self::DumbInit | Self::DumbInitSingle => "dumb-init",
            Self::Catatonit => "catatonit",
            Self::Setsid => "setsid",
            Self::Naive(interpreter, _) => interpreter,
        }
    }

    /// Whether it is somebody else's, who may change what it does.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Bare | Self::Jobguard)
    }

    /// The version that it says it is.
    pub fn version(self) -> Option<String> {
        if !self.is_peer() || matches!(self, Self::Naive(..)) {
            return None;
        }
        let done = run(Command::new(self.program()).arg("--version"));
        let said = format!("{}{}", done.stdout(), done.stderr());
        let is_version = |word: &&str| word.contains('.');
        let word = said.split_whitespace().find(is_version)?;
        let digit = |c: char| !c.is_ascii_digit();
        Some(word.trim_start_matches(digit).split('_').next()?.to_owned())
    }

    #[track_caller]
    fn program(self) -> PathBuf {
        let name = self.name();
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .map(|dir| dir.join(name))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("{name} is missing: scripts/behaviour installs it"))
    }

    /// What is typed before the job.
    pub fn words(self, sandbox: &Sandbox) -> Vec<OsString> {
        let options: &[&str] = match self {
            Self::Bare => return Vec::new(),
            Self::Jobguard => {
                return [JOBGUARD, "-m", "m", "--"].map(OsString::from).to_vec();
            }
            Self::Flock => {
                return vec![self.program().into(), sandbox.path("lock").into()];
            }
            Self::Timeout => &["1000"],
            Self::TimeoutForeground => &["--foreground", "1000"],
            Self::Tini => &["-s", "--"],
            Self::DumbInit | Self::Catatonit => &["--"],
            Self::DumbInitSingle => &["--single-child", "--"],
            Self::Setsid => &["--wait"],
            Self::Naive(_, script) => &["-c", script, "naive"],
        };
        let options = options.iter().map(OsString::from);
        std::iter::once(self.program().into()).chain(options).collect()
    }

    /// The same, but each signal that it sends comes a moment later: two of the same that it sends at
    /// once are two for the job, and not merged into one.
    pub fn slow_words(self, sandbox: &Sandbox) -> Vec<OsString> {
        if self == Self::Bare {
            return Vec::new();
        }
        // In a session of its own, and no parent of the wrapper.
        let delayed = "inject=kill,tgkill,pidfd_send_signal:delay_enter=20000";
        let strace = ["/usr/bin/strace", "-DDD", "-qq", "-o", "/dev/null", "-e", delayed];
        strace.into_iter().map(OsString::from).chain(self.words(sandbox)).collect()
    }

    /// A wrapper that leads a session without a terminal, in the state that the options of
    /// [`launch`](crate::support::probe::launch) describe; the job is to follow.
    pub fn launch(self, sandbox: &Sandbox, state: &[&str]) -> Command {
        leads(sandbox, state, &self.words(sandbox))
    }

    /// The same with the job that prints its signals.
    #[track_caller]
    pub fn watched(self, sandbox: &Sandbox, options: &[&str]) -> Watched {
        Watched::start(&mut self.launch(sandbox, &[]), options)
    }

    /// How long to wait for what ought to happen.
    pub fn patience(self) -> Duration {
        if self.is_peer() { QUIET } else { PATIENCE }
    }
}

/// A session of its own for wrapper and job.
pub fn leads(sandbox: &Sandbox, state: &[&str], words: &[OsString]) -> Command {
    let mut command = bare(sandbox, state);
    command.args(words).stderr(Stdio::null());
    command
}

/// Who reads the script on a terminal.
#[derive(Debug, Clone, Copy)]
pub enum Shell {
    /// With job control.
    Interactive,
    /// As a script is run: all in one process group.
    Plain,
}

/// A terminal with a shell that runs a script in which `$@` is wrapper and job.
pub fn on_terminal(sandbox: &Sandbox, shell: Shell, script: &str, words: &[OsString]) -> Running {
    let mut pty = Command::new(probe());
    let shell: &[&str] = match shell {
        Shell::Interactive => &["bash", "--norc", "-ic"],
        Shell::Plain => &["sh", "-c"],
    };
    // What the wrappers complain about would be among the job's lines.
    pty.arg("pty").args(shell).arg(format!("exec 2>/dev/null; {script}")).arg("script");
    sandbox.confine(pty.args(words));
    Running::start(pty.stdin(Stdio::piped()))
}

/// Whether a process is over, be it reaped or not.
pub fn over(pid: i32) -> bool {
    ends(pid, Duration::ZERO)
}

/// Waits until a wrapper has dealt with all signals that it had, or is over.
#[track_caller]
pub fn settles(wrapper: i32) {
    let pending = || {
        let status = std::fs::read_to_string(format!("/proc/{wrapper}/status")).unwrap_or_default();
        let mut sets = status.lines().filter(|line| line.contains("Pnd:"));
        sets.any(|set| !set.ends_with("\t0000000000000000"))
    };
    // In this order: it may be woken by what was not there a moment ago, not by what was not there yet.
    until("the wrapper has nothing to do", || over(wrapper) || !pending() && sleeps(wrapper));
}

/// What became of a signal, or of anything else that the job would say a line about.
pub enum Next {
    /// The job says so.
    Line(String),
    /// The wrapper is over, and the job has said nothing.
    Over,
    /// Neither, for long enough.
    Nothing,
}

/// Waits for what comes next of a watched job under a wrapper.
pub fn next(job: &mut Watched, wrapper: i32, within: Duration) -> Next {
    let step = Duration::from_millis(5);
    for _ in 0..within.as_millis() / step.as_millis() {
        let was_over = over(wrapper);
        match job.guard.line_within(step) {
            Some(line) if line.is_empty() => return Next::Over,
            Some(line) => return Next::Line(line),
            None if was_over => return Next::Over,
            None => {}
        }
    }
    Next::Nothing
}

/// The signals that the job had, once the wrapper has nothing more to do: up to a mark that is sent
/// to the job itself.
#[track_caller]
pub fn signals_had(job: &mut Watched, wrapper: i32) -> Vec<String> {
    settles(wrapper);
    if !over(job.job) {
        send(job.job, MARK);
    }
    let mark = format!("{MARK} user");
    let mut had = Vec::new();
    loop {
        let line = job.guard.line();
        if line == mark || line.is_empty() {
            return had;
        }
        had.push(line);
    }
}
