//! The scenes that jobguard is struck in, and what must hold afterwards.

use std::fs::File;
use std::path::Path;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::Signal;

use crate::support::held::{sleeps_in, waits};
use crate::support::job_log::{Inhabitants, JobLog};
use crate::support::{Done, Running, Sandbox, Stray, ends, run, until};
use crate::tracer::{Point, Strike, Trace, Traced};

/// What the job ends with, after long enough for the next run's job to overlap, if it could.
pub const WORK: &str = "sleep 0.02; trap 'exit 7' EXIT";
pub const STATUS: i32 = 7;

/// The next run must be through by then, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(3);

/// What jobguard is asked, and what it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// A run of a machine that nobody has used.
    Uncontended,
    /// A run of a machine whose record names a job that was killed with its supervisor.
    ClearsAPhantom,
    /// A run of a machine whose job ends as soon as it is waited for.
    Contended,
    /// A run that has to wait for the machine lock: in a thread, which is struck, too.
    LockContended,
    /// `clear`, where a phantom is.
    Clear,
    /// `adopt` of a process that ends when its supervisor is there, or never comes.
    Adopt,
    /// `adopt` of a job whose supervisor was killed.
    TakeOver,
    /// A run of two machines, which both name a job that was killed with its supervisor.
    Two,
    /// A run of two machines that are held until it waits for them.
    TwoContended,
    /// A run whose job fails, is tried again, and fails again.
    Retried,
}

impl Scene {
    /// The machines that it is about.
    pub fn machines(self) -> &'static [&'static str] {
        match self {
            Self::Two | Self::TwoContended => &["m1", "m2"],
            _ => &["m1"],
        }
    }

    /// Whether somebody holds them first.
    fn is_contended(self) -> bool {
        matches!(self, Self::Contended | Self::TwoContended)
    }

    /// `-m m1 -- JOB`.
    fn run_line(self, job: &[String]) -> Vec<String> {
        let machines = self.machines().iter().flat_map(|machine| ["-m", machine]);
        let retries: &[&str] = match self {
            Self::Retried => &["--retries", "1", "--retry-delay", "0"],
            _ => &[],
        };
        machines
            .chain(retries.iter().copied())
            .chain(["--"])
            .map(str::to_owned)
            .chain(job.iter().cloned())
            .collect()
    }
}

/// A machine, its jobs' log, and everybody on it.
pub struct Stage {
    scene: Scene,
    sandbox: Sandbox,
    pub log: JobLog,
    holder: Option<Running>,
    lock: Option<File>,
    /// What is to be adopted.
    process: Option<Process>,
}

/// A process that ends with its standard input.
struct Process {
    pid: i32,
    _stray: Stray,
    stdin: Option<ChildStdin>,
    /// Where we started it.
    _child: Option<Running>,
}

/// A scene that is over.
pub struct Played {
    pub done: Done,
    pub trace: Trace,
}

impl Stage {
    pub fn set(scene: Scene) -> Self {
        let sandbox = Sandbox::new();
        let log = JobLog::new(&sandbox, "jobs");
        let (holder, lock, process) = (None, None, None);
        let mut stage = Self { scene, sandbox, log, holder, lock, process };
        match scene {
            Scene::Uncontended | Scene::Retried => {}
            Scene::ClearsAPhantom | Scene::Clear | Scene::Two => stage.plant_phantom(),
            Scene::Contended | Scene::TwoContended => stage.holder = Some(stage.hold()),
            Scene::LockContended => stage.lock = Some(stage.lock()),
            Scene::Adopt => {
                let job = stage.log.job(&format!("echo $$; read _; {WORK}"));
                let mut command = Command::new(&job[0]);
                stage.process = Some(Process::of(command.args(&job[1..]), false));
            }
            Scene::TakeOver => {
                let job = stage.log.job(&format!("echo $$; read _; {WORK}"));
                let mut command = stage.sandbox.jobguard(scene.run_line(&job));
                stage.process = Some(Process::of(&mut command, true));
            }
        }
        stage
    }

    fn plant_phantom(&self) {
        let job = ["sh", "-c", "echo $$; exec sleep inf"].map(str::to_owned);
        let mut supervisor = Running::start(&mut self.sandbox.jobguard(self.scene.run_line(&job)));
        let job = Stray(supervisor.line().parse().unwrap());
        supervisor.child.kill().unwrap();
        supervisor.wait();
        let pid = job.0;
        drop(job);
        assert!(ends(pid, SOON));
    }

    /// A job that holds the machine until its standard input ends.
    fn hold(&self) -> Running {
        let job = self.log.job("echo held; read _");
        let mut command = self.sandbox.jobguard(self.scene.run_line(&job));
        let mut holder = Running::start(command.stdin(Stdio::piped()));
        assert_eq!(holder.line(), "held");
        holder
    }

    /// The machine lock, held.
    fn lock(&self) -> File {
        run(&mut self.sandbox.jobguard(["-m", "m1", "--", "true"])).exits(0);
        let lock = File::open(self.sandbox.machine("m1").join("lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    /// The scene, with a strike or without. The holder's job ends once it is waited for, or
    /// whoever should is over.
    pub fn play(&mut self, strike: Option<(Point, Strike)>) -> Played {
        let mut command = match self.scene {
            Scene::Clear => self.sandbox.jobguard(["clear", "m1"]),
            Scene::Adopt | Scene::TakeOver => {
                let pid = self.process.as_ref().map_or(0, |process| process.pid);
                self.sandbox.jobguard(["adopt", "m1", "--pid", &pid.to_string()])
            }
            scene => self.sandbox.jobguard(scene.run_line(&self.log.job(WORK))),
        };
        let said = self.sandbox.path("stderr");
        command.stdout(Stdio::null()).stderr(File::create(&said).unwrap());
        let traced = Traced::start(command, strike);
        if let Some(mut holder) = self.holder.take() {
            until("it waits for the holder, or is over before", || {
                waits(traced.pid) || traced.is_over()
            });
            drop(holder.child.stdin.take());
            assert!(holder.wait().success());
        }
        if let Some(lock) = self.lock.take() {
            until("it waits for the lock, or is over before", || {
                sleeps_in(traced.pid, libc::SYS_futex) || traced.is_over()
            });
            lock.unlock().unwrap();
        }
        if let Some(process) = &mut self.process {
            until("it supervises, or is over before", || waits(traced.pid) || traced.is_over());
            process.stdin = None;
            assert!(ends(process.pid, SOON));
        }
        until(&format!("it is over {strike:?}"), || traced.is_over());
        let trace = traced.wait();
        let stderr = std::fs::read(said).unwrap();
        let done = Done(Output { status: trace.status, stdout: Vec::new(), stderr });
        Played { done, trace }
    }

    /// How many jobs have begun in this scene.
    pub fn starts(&self) -> usize {
        let is_there = self.scene.is_contended() || self.process.is_some();
        self.log.starts() - usize::from(is_there)
    }

    /// Those whom a failed test must not leave behind.
    pub fn inhabitants(&self) -> Inhabitants<'_> {
        Inhabitants(&self.sandbox)
    }

    /// Everything that must hold after a strike. Says how long the next run took.
    pub fn recovers(&self) -> Duration {
        let inhabitants = self.inhabitants();
        let machines = self.scene.machines();
        for machine in machines {
            inhabitants.all_recorded(machine);
            let status = run(&mut self.sandbox.jobguard(["status", machine, "--json"]));
            assert!([0, 1, 3].contains(&status.code()), "{status:?}");
            assert_eq!(status.json()["machine"], *machine);
        }

        let before = Instant::now();
        let mut next = self.sandbox.jobguard(["-w", "5"]);
        run(next.args(self.scene.run_line(&self.log.job(WORK)))).exits(STATUS);
        let took = before.elapsed();
        assert!(took <= SOON, "the next run took {took:?}");
        assert!(self.log.never_two() > 0);
        for machine in machines {
            run(&mut self.sandbox.jobguard(["status", machine])).exits(3);
            assert_eq!(leftovers(&self.sandbox.machine(machine)), [""; 0]);
        }
        took
    }
}

impl Process {
    /// Of a command that says the PID; an orphan is it once that command is killed.
    fn of(command: &mut Command, is_orphan: bool) -> Self {
        let mut child = Running::start(command.stdin(Stdio::piped()));
        let pid = child.line().parse().unwrap();
        let stdin = child.child.stdin.take();
        if is_orphan {
            child.signal(Signal::SIGKILL);
            child.wait();
        }
        Self { pid, _stray: Stray(pid), stdin, _child: (!is_orphan).then_some(child) }
    }
}

/// Files in a free machine's directory that should not be there.
fn leftovers(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["lock", "record.json", "events.jsonl"].contains(&name.as_str())).collect()
}
