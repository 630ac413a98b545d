//! A machine that is held, until the test says how that ends.

use std::process::{ChildStdin, Stdio};

use nix::sys::signal::Signal;

use super::{PATIENCE, Running, Sandbox, Stray, ends, state, until};

/// The exit status of the job of [`Held`].
pub const STATUS: i32 = 7;

/// A job on machine `m1`; it has said its PID, and ends when its standard input does.
pub struct Held {
    pub supervisor: Running,
    pub job: Stray,
    /// The job's standard input; kept apart, since a wait for the supervisor would close it.
    stdin: Option<ChildStdin>,
}

impl Held {
    pub fn start(sandbox: &Sandbox) -> Self {
        Self::running(sandbox, &format!("echo $$; read _; exit {STATUS}"))
    }

    /// The same with another script, which says its PID first.
    pub fn running(sandbox: &Sandbox, script: &str) -> Self {
        let mut command = sandbox.jobguard(["-m", "m1", "--", "sh", "-c", script]);
        let command = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut supervisor = Running::start(command);
        let job = Stray(supervisor.line().parse().unwrap());
        let stdin = supervisor.child.stdin.take();
        Self { supervisor, job, stdin }
    }

    /// Lets the job end, and its supervisor release the machine, if that can.
    pub fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Kills the supervisor; the job goes on.
    pub fn orphan(&mut self) {
        self.supervisor.signal(Signal::SIGKILL);
        self.supervisor.wait();
    }

    /// Kills the supervisor and the job: a phantom.
    pub fn kill(mut self) {
        self.orphan();
        let job = self.job.0;
        drop(self.job);
        assert!(ends(job, PATIENCE));
    }

    /// Stops the supervisor.
    pub fn stop_supervisor(&self) {
        self.supervisor.signal(Signal::SIGSTOP);
        until("it is stopped", || state(self.supervisor.pid()) == Some('T'));
    }
}

/// Whether a process sleeps in ppoll(2), as a waiter does, and nowhere else.
pub fn waits(pid: i32) -> bool {
    sleeps_in(pid, libc::SYS_ppoll)
}

/// Whether a process, its first thread, sleeps in this system call.
pub fn sleeps_in(pid: i32, number: i64) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    state(pid) == Some('S') && call.split(' ').next() == Some(&number.to_string())
}
