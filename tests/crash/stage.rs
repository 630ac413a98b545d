//! The scenes that jobguard is struck in, and what must hold afterwards.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

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
}

/// A machine, its jobs' log, and everybody on it.
pub struct Stage {
    scene: Scene,
    sandbox: Sandbox,
    pub log: JobLog,
    holder: Option<Running>,
    lock: Option<File>,
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
        let mut stage = Self { scene, sandbox, log, holder: None, lock: None };
        match scene {
            Scene::Uncontended => {}
            Scene::ClearsAPhantom | Scene::Clear => stage.plant_phantom(),
            Scene::Contended => stage.holder = Some(stage.hold()),
            Scene::LockContended => stage.lock = Some(stage.lock()),
        }
        stage
    }

    fn plant_phantom(&self) {
        let job = ["-m", "m1", "--", "sh", "-c", "echo $$; exec sleep inf"];
        let mut supervisor = Running::start(&mut self.sandbox.jobguard(job));
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
        let mut command = self.sandbox.jobguard(run_line(&job));
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
            _ => self.sandbox.jobguard(run_line(&self.log.job(WORK))),
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
        until(&format!("it is over {strike:?}"), || traced.is_over());
        let trace = traced.wait();
        let stderr = std::fs::read(said).unwrap();
        let done = Done(Output { status: trace.status, stdout: Vec::new(), stderr });
        Played { done, trace }
    }

    /// How many jobs have begun in this scene.
    pub fn starts(&self) -> usize {
        self.log.starts() - usize::from(self.scene == Scene::Contended)
    }

    /// Those whom a failed test must not leave behind.
    pub fn inhabitants(&self) -> Inhabitants<'_> {
        Inhabitants(&self.sandbox)
    }

    /// Everything that must hold after a strike. Says how long the next run took.
    pub fn recovers(&self) -> Duration {
        let inhabitants = self.inhabitants();
        inhabitants.all_recorded("m1");
        let status = run(&mut self.sandbox.jobguard(["status", "m1", "--json"]));
        assert!([0, 1, 3].contains(&status.code()), "{status:?}");
        assert_eq!(status.json()["machine"], "m1");

        let before = Instant::now();
        let mut next = self.sandbox.jobguard(["-w", "5"]);
        run(next.args(run_line(&self.log.job(WORK)))).exits(STATUS);
        let took = before.elapsed();
        assert!(took <= SOON, "the next run took {took:?}");
        assert!(self.log.never_two() > 0);
        run(&mut self.sandbox.jobguard(["status", "m1"])).exits(3);
        assert_eq!(leftovers(&self.sandbox.machine("m1")), [""; 0]);
        took
    }
}

/// `-m m1 -- JOB`.
fn run_line(job: &[String]) -> Vec<String> {
    ["-m", "m1", "--"].map(str::to_owned).into_iter().chain(job.iter().cloned()).collect()
}

/// Files in a free machine's directory that should not be there.
fn leftovers(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !["lock", "record.json", "events.jsonl"].contains(&name.as_str())).collect()
}
