//! Runs of any machines, whose jobs go on until they are let go and say who they are in one log:
//! who ran beside whom is judged by that.

use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::held::waits;
use super::job_log::{Inhabitants, JobLog};
use super::{PATIENCE, Running, Sandbox, ends, state, until};

/// Everybody in a sandbox; whoever is left is killed on drop.
pub struct Troupe {
    pub sandbox: Sandbox,
    pub log: JobLog,
}

impl Drop for Troupe {
    fn drop(&mut self) {
        drop(Inhabitants(&self.sandbox));
    }
}

/// A jobguard and its job.
pub struct Member {
    pub guard: Running,
    /// The job's PID, once it has begun.
    pub job: i32,
    /// `JOBGUARD_TOKEN` as the job has it.
    pub token: String,
    /// `JOBGUARD_HOLDS` as the job has it.
    pub holds: String,
    stdin: Option<ChildStdin>,
}

impl Troupe {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        let log = JobLog::new(&sandbox, "jobs");
        Self { sandbox, log }
    }

    /// A jobguard with these options, machines included, for a job that is `who` in the log.
    pub fn command(&self, who: &str, options: &[&str]) -> Command {
        let mut command = self.sandbox.jobguard(options);
        let hello = "echo $$ $JOBGUARD_TOKEN $JOBGUARD_HOLDS; read _";
        command.arg("--").args(self.log.job_as(who, hello)).stdin(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }

    /// One whose job has begun.
    #[track_caller]
    pub fn hold(&self, who: &str, options: &[&str]) -> Member {
        let mut member = Member::start(&mut self.command(who, options));
        member.begins();
        member
    }

    /// One that waits.
    #[track_caller]
    pub fn queue(&self, who: &str, options: &[&str]) -> Member {
        let member = Member::start(&mut self.command(who, options));
        member.waits();
        member
    }

    /// The same from inside the job of `outer`: the environment is all that it takes.
    pub fn inside(&self, outer: &Member, who: &str, options: &[&str]) -> Command {
        let mut command = self.command(who, options);
        command.env("JOBGUARD_HOLDS", &outer.holds);
        command
    }

    /// One that waits inside the job of `outer`.
    #[track_caller]
    pub fn queue_inside(&self, outer: &Member, who: &str, options: &[&str]) -> Member {
        let member = Member::start(&mut self.inside(outer, who, options));
        member.waits();
        member
    }

    /// Any of our commands, to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> super::Done {
        super::run(&mut self.sandbox.jobguard(words))
    }

    /// How a run ends that would not wait, or not for long: 0 when it could have the machine.
    #[track_caller]
    pub fn tries(&self, options: &[&str]) -> i32 {
        super::run(self.sandbox.jobguard(options).args(["--", "true"])).code()
    }

    /// Asserts that these machines are free and as good as new: a run of all of them at once is
    /// through within a second, and nothing is left behind.
    #[track_caller]
    pub fn is_free(&self, machines: &[&str]) {
        for machine in machines {
            self.run(&["status", machine]).exits(3);
        }
        let before = Instant::now();
        let all = machines.iter().flat_map(|machine| ["-m", machine]);
        let done = super::run(self.sandbox.jobguard(["-n"]).args(all).args(["--", "true"]));
        done.exits(0).silent();
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        for machine in machines {
            assert_eq!(self.lifelines(machine), [""; 0]);
            assert!(!self.sandbox.machine(machine).join("queue").exists());
        }
    }

    /// The tokens in the record of a machine, in order.
    pub fn tokens(&self, machine: &str) -> Vec<String> {
        let record = self.sandbox.record(machine);
        let holders = record["holders"].as_array().unwrap();
        holders.iter().map(|holder| holder["token"].to_string()).collect()
    }

    /// The tokens of the lifelines of a machine, in order.
    pub fn lifelines(&self, machine: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.sandbox.machine(machine)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut tokens: Vec<String> =
            names.filter_map(|name| Some(name.strip_prefix("life.")?.to_owned())).collect();
        tokens.sort_unstable();
        tokens
    }
}

impl Member {
    pub fn start(command: &mut Command) -> Self {
        let mut guard = Running::start(command);
        let stdin = guard.child.stdin.take();
        Self { guard, job: 0, token: String::new(), holds: String::new(), stdin }
    }

    /// Waits until its job has begun.
    #[track_caller]
    pub fn begins(&mut self) {
        let line = self.guard.line();
        let words: Vec<&str> = line.split(' ').collect();
        let [job, token, holds] = words[..] else { panic!("no greeting: {line:?}") };
        self.job = job.parse().unwrap();
        (self.token, self.holds) = (token.to_owned(), holds.to_owned());
    }

    /// Waits until it waits for a machine.
    #[track_caller]
    pub fn waits(&self) {
        until("it waits", || waits(self.guard.pid()));
    }

    /// Lets the job end.
    pub fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Lets the job end, and waits for its supervisor, which has nothing to say.
    #[track_caller]
    pub fn ends(mut self) {
        self.let_go();
        let (code, said) = self.result();
        assert_eq!((code, said.as_str()), (Some(0), ""));
    }

    /// Waits for its end: the status, and what it said.
    #[track_caller]
    pub fn result(&mut self) -> (Option<i32>, String) {
        let status = self.guard.wait();
        let said = self.guard.child.stderr.take();
        (status.code(), said.map(|pipe| std::io::read_to_string(pipe).unwrap()).unwrap_or_default())
    }

    pub fn stop(&self) {
        self.guard.signal(Signal::SIGSTOP);
        until("it is stopped", || state(self.guard.pid()) == Some('T'));
    }

    pub fn go_on(&self) {
        self.guard.signal(Signal::SIGCONT);
    }

    /// Kills the supervisor; the job goes on.
    pub fn orphan(&mut self) {
        self.guard.signal(Signal::SIGKILL);
        self.guard.wait();
    }

    /// Kills the supervisor, then the job: a phantom.
    pub fn kill(&mut self) {
        self.orphan();
        let job = jobguard::sys::pidfd::PidFd::open(self.job).unwrap();
        job.signal(libc::SIGKILL).unwrap();
        assert!(ends(self.job, PATIENCE));
    }
}
