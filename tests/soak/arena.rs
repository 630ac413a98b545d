//! The place: contenders that are replaced when they end, and whoever runs there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jobguard::sys::pidfd::PidFd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};

use crate::schedule::{Contender, Target};
use crate::support::JOBGUARD;

/// How many contend at a time.
const CONTENDERS: usize = 12;

/// Nanoseconds since boot: the clock of all logs.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
    u64::try_from(Duration::from(now).as_nanos()).unwrap()
}

/// How a contender ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signaled(i32),
}

/// A contender that is over.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub contender: Contender,
    pub ended: Ended,
    pub said: String,
    pub begun: u64,
    pub over: u64,
}

struct Live {
    contender: Contender,
    pidfd: PidFd,
    begun: u64,
}

/// A process that can be attacked.
pub struct Process {
    pub pidfd: PidFd,
    pub pid: i32,
    pub target: Target,
    /// Its contender's.
    pub number: u64,
    pub machine: String,
    pub keep: bool,
    /// A job that has not begun.
    pub gated: bool,
}

/// The first process of its PID namespace, which owns all the others.
pub struct Arena {
    dir: PathBuf,
    seed: u64,
    /// Contenders go without jobguard: what the checker must not miss.
    sham: bool,
    next: u64,
    live: BTreeMap<i32, Live>,
    pub outcomes: Vec<Outcome>,
}

impl Arena {
    pub fn new(dir: &Path, seed: u64, sham: bool) -> Self {
        let (live, outcomes) = (BTreeMap::new(), Vec::new());
        Self { dir: dir.to_owned(), seed, sham, next: 0, live, outcomes }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The log of a machine's jobs.
    pub fn log(&self, machine: &str) -> PathBuf {
        self.dir.join(format!("{machine}.jobs"))
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// A command in a clean environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("JOBGUARD_STATE_DIR", self.state()).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// The command line of a job: [`Self::number_of`] finds the number in it.
    fn job(&self, contender: &Contender) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let witness = |machine: &str| path(self.dir.join(format!("{machine}.witness")));
        let both = |machine: &String| [path(self.log(machine)), witness(machine)];
        let mut words = vec![path(self.dir.join("job"))];
        words.extend(both(&contender.machine));
        words.extend(contender.also.as_ref().map_or(["-", "-"].map(str::to_owned), both));
        words.extend([contender.number.to_string(), contender.job_ms.to_string()]);
        words.extend([contender.status.to_string(), contender.share.word().to_owned()]);
        words
    }

    /// Replaces who has ended.
    #[expect(clippy::zombie_processes, reason = "reap() reaps everybody")]
    pub fn refill(&mut self) {
        while self.live.len() < CONTENDERS {
            let contender = Contender::new(self.seed, self.next);
            self.next += 1;
            let job = self.job(&contender);
            let mut command = match self.sham {
                true => self.command(&job[0]),
                false => self.command(JOBGUARD),
            };
            match self.sham {
                true => command.args(&job[1..]),
                false => command.args(contender.options()).args(job),
            };
            let said = File::create(self.said(contender.number)).unwrap();
            let begun = now();
            let child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
            // Nobody else reaps, so the PID is still its own.
            let pid = child.id().cast_signed();
            let pidfd = PidFd::open(pid).unwrap();
            self.live.insert(pid, Live { contender, pidfd, begun });
        }
    }

    fn said(&self, number: u64) -> PathBuf {
        self.dir.join(format!("said.{number}"))
    }

    /// Waits for the end of anybody.
    pub fn wait(&self, at_most: Duration) {
        let mut fds: Vec<PollFd> =
            self.live.values().map(|l| PollFd::new(l.pidfd.as_fd(), PollFlags::POLLIN)).collect();
        ppoll(&mut fds, Some(at_most.into()), None).unwrap();
    }

    /// Reaps who is over: contenders, and jobs whose supervisors were killed.
    pub fn reap(&mut self) {
        loop {
            let (pid, ended) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ended::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ended::Signaled(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                other => panic!("waitpid: {other:?}"),
            };
            let Some(Live { contender, begun, .. }) = self.live.remove(&pid.as_raw()) else {
                continue;
            };
            let path = self.said(contender.number);
            let said = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            self.outcomes.push(Outcome { contender, ended, said, begun, over: now() });
        }
    }

    /// Everybody here who is not over yet.
    pub fn processes(&self) -> Vec<Process> {
        let pids = std::fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut found: Vec<Process> = pids.filter_map(|pid| self.process(pid)).collect();
        let busy: Vec<u64> =
            found.iter().filter(|p| p.target == Target::Job).map(|p| p.number).collect();
        for process in found.iter_mut().filter(|p| p.target == Target::Waiter) {
            if busy.contains(&process.number) {
                process.target = Target::Supervisor;
            }
        }
        found.sort_by_key(|process| (process.number, process.target));
        found
    }

    fn process(&self, pid: i32) -> Option<Process> {
        let pidfd = PidFd::open(pid).ok()?;
        let (number, machine, keep, gated) = match self.live.get(&pid) {
            Some(live) => {
                let contender = &live.contender;
                (contender.number, contender.machine.clone(), contender.keep, false)
            }
            None => {
                let (number, gated) = self.number_of(pid)?;
                let contender = Contender::new(self.seed, number);
                (number, contender.machine, contender.keep, gated)
            }
        };
        let target = match self.live.contains_key(&pid) {
            true => Target::Waiter,
            false => Target::Job,
        };
        // Still there: what was read is of the process that the pidfd names.
        let is_there = !pidfd.is_over().unwrap();
        is_there.then_some(Process { pidfd, pid, target, number, machine, keep, gated })
    }

    /// The contender's number in a command line, and whether that is a jobguard's.
    fn number_of(&self, pid: i32) -> Option<(u64, bool)> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8(line).ok()?;
        let words: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
        let job = words.len().checked_sub(9)?;
        let is_ours = Path::new(words[job]) == self.dir.join("job");
        is_ours.then(|| Some((words[job + 5].parse().ok()?, job != 0)))?
    }

    /// What everybody is doing, for a report.
    pub fn describe(&self) -> io::Result<String> {
        let mut text = String::new();
        for process in self.processes() {
            let read = |file| std::fs::read_to_string(format!("/proc/{}/{file}", process.pid));
            let (stat, stack) = (read("stat"), read("wchan"));
            text.push_str(&format!(
                "{:?} {} of {}: {stat:?} {stack:?}\n",
                process.target, process.number, process.machine
            ));
        }
        Ok(text)
    }
}
