//! The supervisor is killed, or its system calls fail, at every single one of them: whatever it
//! leaves behind, no job runs unrecorded, no two overlap, and the next run goes through by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rstest::rstest;
use support::held::waits;
use support::job_log::{Inhabitants, JobLog};
use support::strace::{Point, points, strike_all, struck, traced, tracee};
use support::{Done, Running, Sandbox, Stray, ends, require_program, require_root, run, until};

/// Long enough for the next run's job to overlap, if it could.
const WORK: &str = "sleep 0.02";

/// The next run must be through by then.
const SOON: Duration = Duration::from_secs(3);

/// The first call of a run that is jobguard's own: what comes before is the loader's.
const SIGNALS_BLOCKED: &str = "rt_sigprocmask(SIG_SETMASK, ~[]";

/// What the machine is like when the struck jobguard starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Nobody has used it.
    Fresh,
    /// Its record names a job that was killed with its supervisor.
    Phantom,
    /// A job runs on it, and ends as soon as we wait for it.
    Held,
}

/// A machine, its jobs' log, and everybody on it.
struct Stage {
    sandbox: Sandbox,
    log: JobLog,
}

impl Stage {
    fn set(scene: Scene) -> (Self, Option<Running>) {
        let sandbox = Sandbox::new();
        let log = JobLog::new(&sandbox, "jobs");
        let stage = Self { sandbox, log };
        let holder = match scene {
            Scene::Fresh => None,
            Scene::Phantom => {
                stage.plant_phantom();
                None
            }
            Scene::Held => Some(stage.hold()),
        };
        (stage, holder)
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

    /// Starts a command, and lets the holder's job end once it waits for that, or is over.
    fn play(&self, command: &mut std::process::Command, holder: Option<Running>) -> Done {
        let Some(mut holder) = holder else { return run(command) };
        let mut strace = Running::start(command);
        until("it waits for the holder, or is killed before", || {
            let waits = tracee(&strace).is_some_and(waits);
            waits || ends(strace.pid(), Duration::ZERO)
        });
        drop(holder.child.stdin.take());
        let status = strace.wait();
        assert!(holder.wait().success());
        Done(std::process::Output { status, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Everything that must hold after a strike.
    fn recovers(&self) {
        let inhabitants = Inhabitants(&self.sandbox);
        inhabitants.all_recorded("m1");
        let status = run(&mut self.sandbox.jobguard(["status", "m1", "--json"]));
        assert!([0, 1, 3].contains(&status.code()), "{status:?}");
        assert_eq!(status.json()["machine"], "m1");

        let before = Instant::now();
        let mut next = self.sandbox.jobguard(["-w", "5"]);
        run(next.args(run_line(&self.log.job(WORK)))).exits(0);
        let took = before.elapsed();
        assert!(took <= SOON, "the next run took {took:?}");
        assert!(self.log.never_two() > 0);
        run(&mut self.sandbox.jobguard(["status", "m1"])).exits(3);
        assert_eq!(leftovers(&self.sandbox.machine("m1")), [""; 0]);
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

fn require_strace() {
    require_root("tracing");
    require_program("strace");
}

/// Points of the loader are tried once, with `Fresh`: elsewhere they would be the same.
#[rstest]
#[case::an_uncontended_run(Scene::Fresh, "", false, 200)]
#[case::a_run_that_clears_a_phantom(Scene::Phantom, SIGNALS_BLOCKED, false, 150)]
#[case::a_run_that_waited(Scene::Held, SIGNALS_BLOCKED, false, 150)]
#[case::a_clear_of_a_phantom(Scene::Phantom, "state\"", true, 60)]
fn killed_at_every_call(
    #[case] scene: Scene,
    #[case] from: &str,
    #[case] clears: bool,
    #[case] at_least: usize,
) {
    require_strace();
    let started = Instant::now();
    let line = |stage: &Stage| match clears {
        true => ["clear", "m1"].map(str::to_owned).to_vec(),
        false => run_line(&stage.log.job(WORK)),
    };
    let (stage, holder) = Stage::set(scene);
    let inhabitants = Inhabitants(&stage.sandbox);
    stage.play(&mut traced(&stage.sandbox, &line(&stage)), holder).exits(0);
    let points = points(&stage.sandbox, from);
    drop(inhabitants);

    let killed = strike_all(&points, |point| {
        let (stage, holder) = Stage::set(scene);
        let _inhabitants = Inhabitants(&stage.sandbox);
        let mut command = struck(&stage.sandbox, point, "signal=KILL", &line(&stage));
        let done = stage.play(&mut command, holder);
        stage.recovers();
        done.signal() == Some(libc::SIGKILL)
    });
    println!(
        "{scene:?}, clear: {clears}: killed at {killed} of {} calls, in {:?}",
        points.len(),
        started.elapsed()
    );
    assert!(killed >= at_least, "only {killed} points were hit");
}

/// Strikes the calls `name` of an uncontended run with an error, each in turn.
#[rstest]
#[case("openat", "ENOSPC")]
#[case("openat", "EIO")]
#[case("openat", "EMFILE")]
#[case("write", "ENOSPC")]
#[case("write", "EIO")]
#[case("renameat2", "ENOSPC")]
#[case("renameat2", "EIO")]
#[case("mknodat", "ENOSPC")]
#[case("mkdirat", "ENOSPC")]
#[case("clone", "ENOMEM")]
#[case("clone", "EAGAIN")]
#[case("pidfd_open", "EMFILE")]
#[case("pidfd_open", "ENOMEM")]
#[case("flock", "ENOMEM")]
#[case("flock", "EIO")]
#[case("socketpair", "EMFILE")]
#[case("socketpair", "ENOMEM")]
#[case("sendto", "ENOMEM")]
#[case("fchmod", "EIO")]
#[case("getdents64", "EIO")]
#[case("unlinkat", "EIO")]
#[case("signalfd4", "EMFILE")]
fn an_error_is_said_or_survived(#[case] name: &str, #[case] errno: &str) {
    require_strace();
    let line = |stage: &Stage| run_line(&stage.log.job("trap 'exit 7' EXIT"));
    let (stage, _) = Stage::set(Scene::Fresh);
    run(&mut traced(&stage.sandbox, &line(&stage))).exits(7);
    let mut points = points(&stage.sandbox, SIGNALS_BLOCKED);
    points.retain(|point| point.name == name);
    assert_ne!(points.len(), 0, "no call of {name} in the trace");

    let how = format!("error={errno}");
    strike_all(&points, |point: &Point| {
        let (stage, _) = Stage::set(Scene::Fresh);
        let _inhabitants = Inhabitants(&stage.sandbox);
        let done = run(&mut struck(&stage.sandbox, point, &how, &line(&stage)));
        let said = done.stderr();
        assert!(!said.contains("panicked") && !said.contains("internal error"), "{said}");
        if stage.log.starts() == 0 {
            done.exits(125);
            assert!(said.starts_with("jobguard: ") && said.lines().count() == 1, "{said:?}");
        } else {
            done.exits(7);
        }
        stage.recovers();
        true
    });
}
