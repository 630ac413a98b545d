//! The shell and the jobs of `shell.c`, and the terminal that they are on.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::support::probe::{compiled, send};
use crate::support::{JOBGUARD, PATIENCE, Running, Sandbox, Stray, next_line, state, until};

/// How the job is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Alone: what the others are measured by.
    Bare,
    /// Under jobguard.
    Shared,
    /// Under jobguard, in a process group of its own.
    Own,
}

/// The three of them.
pub(crate) const GUARDS: [Guard; 3] = [Guard::Bare, Guard::Shared, Guard::Own];

impl Guard {
    /// What comes before the job's words.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Bare => &[],
            Self::Shared => &[JOBGUARD, "-m", "m", "--"],
            Self::Own => &[JOBGUARD, "-m", "m", "--group", "own", "--"],
        }
    }
}

/// The program, compiled.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("tests/jobcontrol/shell.c", "shell")).to_str().unwrap()
}

/// A terminal: our end, and the path of the other.
pub(crate) struct Terminal {
    pub(crate) master: Option<File>,
    pub(crate) path: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname_r(&master).unwrap();
        Self { master: Some(File::from(OwnedFd::from(master))), path }
    }

    pub(crate) fn types(&mut self, keys: &[u8]) {
        self.master.as_mut().unwrap().write_all(keys).unwrap();
    }

    pub(crate) fn hangs_up(&mut self) {
        self.master = None;
    }
}

/// What the job says of itself.
pub(crate) struct Job {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// It may outlive whoever started it, but never its test.
    _stray: Stray,
}

impl Job {
    /// From the line that it greets with.
    #[track_caller]
    pub(crate) fn greet(line: &str) -> Self {
        let ids: Vec<i32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(line.starts_with("ready ") && ids.len() == 2, "no greeting: {line:?}");
        Self { pid: ids[0], parent: ids[1], _stray: Stray(ids[0]) }
    }
}

/// A shell on a terminal, with one job.
pub(crate) struct Shell {
    pub(crate) terminal: Terminal,
    running: Running,
    reports: BufReader<ChildStderr>,
    guard: Guard,
    /// Whom the shell started: the job, or its jobguard.
    child: Option<Stray>,
    job: Option<Job>,
    _sandbox: Sandbox,
}

impl Shell {
    /// A shell that has not started `command` yet.
    pub(crate) fn of(guard: Guard, command: &[&str]) -> Self {
        let (sandbox, terminal) = (Sandbox::new(), Terminal::open());
        let mut shell = Command::new(program());
        shell.arg("shell").arg(&terminal.path).args(command);
        sandbox.confine(&mut shell);
        shell.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(&mut shell);
        let reports = BufReader::new(running.child.stderr.take().unwrap());
        Self { terminal, running, reports, guard, child: None, job: None, _sandbox: sandbox }
    }

    /// The same with a job of `shell.c`.
    pub(crate) fn new(guard: Guard, job: &[&str]) -> Self {
        Self::of(guard, &[guard.words(), &[program(), "job"], job].concat())
    }

    /// Tells the shell to do something.
    pub(crate) fn does(&mut self, command: &str) {
        let stdin = self.running.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
    }

    /// Starts the job, with `run` or `start`, until it has greeted.
    #[track_caller]
    pub(crate) fn starts(&mut self, how: &str) {
        self.launches(how);
        self.job = Some(Job::greet(&self.report()));
    }

    /// Starts the job, which may not come so far as to greet.
    #[track_caller]
    pub(crate) fn launches(&mut self, how: &str) {
        self.does(how);
        let line = self.line();
        let child = line.strip_prefix("started ").expect(&line);
        self.child = Some(Stray(child.parse().unwrap()));
    }

    /// The process that the shell started, and sees.
    pub(crate) fn child(&self) -> i32 {
        self.child.as_ref().unwrap().0
    }

    pub(crate) fn job(&self) -> &Job {
        self.job.as_ref().unwrap()
    }

    /// The next line of the shell.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.running.line()
    }

    /// Asserts on the next line of the shell.
    #[track_caller]
    pub(crate) fn sees(&mut self, line: &str) {
        assert_eq!(self.line(), line, "{:?}", self.guard);
    }

    /// Asserts on the next stop; whether it sees a moment between two is up to the moment.
    #[track_caller]
    pub(crate) fn sees_stop(&mut self, signal: i32) {
        let mut lines = std::iter::repeat_with(|| self.line());
        let stop = lines.find(|line| line != "continued");
        assert_eq!(stop, Some(format!("stopped {signal}")), "{:?}", self.guard);
    }

    /// The next line of the job.
    #[track_caller]
    pub(crate) fn report(&mut self) -> String {
        next_line(&mut self.reports, PATIENCE).expect("the job says something in time")
    }

    /// Asserts on the next line of the job.
    #[track_caller]
    pub(crate) fn reports(&mut self, line: &str) {
        assert_eq!(self.report(), line, "{:?}", self.guard);
    }

    /// Asserts that the job got this signal, from whomever: what is forwarded has a sender.
    #[track_caller]
    pub(crate) fn gets(&mut self, signal: i32) {
        let line = self.report();
        let number = line.split(' ').next();
        assert_eq!(number, Some(&*signal.to_string()), "{:?}: {line:?}", self.guard);
    }

    /// Asserts that nothing came before this: it is the next line.
    #[track_caller]
    pub(crate) fn nothing_more(&mut self) {
        // Through jobguard, so that it comes after whatever that was to forward.
        send(self.child(), libc::SIGUSR1);
        self.reports(&format!("{} user", libc::SIGUSR1));
    }

    /// Asserts on who owns the terminal: `shell`, or `job` for whom it started, in any group.
    #[track_caller]
    pub(crate) fn owned_by(&mut self, whom: &str) {
        self.does("owner");
        let expected = if whom == "job" && self.guard == Guard::Own { "other" } else { whom };
        self.sees(&format!("owner {expected}"));
    }

    /// Waits until the job is stopped, and jobguard with it.
    #[track_caller]
    pub(crate) fn is_stopped(&self) {
        for pid in [self.job().pid, self.child()] {
            until("it is stopped", || state(pid) == Some('T'));
        }
    }

    /// Ends the job, and asserts that the shell sees it.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        send(self.job().pid, libc::SIGUSR2);
        self.sees("exited 7");
        self.owned_by("shell");
    }
}

/// A session that the job leads, or its jobguard: as sshd starts a command.
pub(crate) fn leader(
    sandbox: &Sandbox,
    terminal: &Terminal,
    guard: Guard,
    before: &[&str],
) -> Session {
    let mut command = Command::new(program());
    command.arg("leader").arg(&terminal.path).args(before).args(guard.words());
    sandbox.confine(command.args([program(), "job"]));
    let mut running = Running::start(&mut command);
    let job = Job::greet(&running.line());
    Session { running, job }
}

/// See [`leader`].
pub(crate) struct Session {
    pub(crate) running: Running,
    pub(crate) job: Job,
}
