//! A deleted lock file alone never lets two jobs run: whoever holds it no more excludes nobody, so
//! lifelines must. A claim is stopped after every single one of its calls while the lock is deleted
//! and another claim, on a new lock file, comes all the way.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::support::held::waits;
use crate::support::job_log::{Inhabitants, JobLog};
use crate::support::strace::{Point, points, strike_all, struck, traced, tracee};
use crate::support::{Running, Sandbox, ends, require_program, require_root, run, until};

/// The first call on the machine's own files.
const LOCKS: &str = "\"lock\", O_RDWR";

struct Stage {
    sandbox: Sandbox,
    log: JobLog,
}

impl Stage {
    /// A machine that was used before has a record, which is exchanged instead of made.
    fn set(used: bool) -> Self {
        let sandbox = Sandbox::new();
        let log = JobLog::new(&sandbox, "jobs");
        if used {
            run(&mut sandbox.jobguard(["-m", "m1", "--", "true"])).exits(0);
        }
        Self { sandbox, log }
    }

    /// `-m m1 -- JOB`.
    fn line(&self, work: &str) -> Vec<String> {
        ["-m", "m1", "--"].map(str::to_owned).into_iter().chain(self.log.job(work)).collect()
    }

    /// The calls of a claim: from the lock to the gate.
    fn claim(&self) -> Vec<Point> {
        run(&mut traced(&self.sandbox, &self.line(":"))).exits(0);
        let mut points = points(&self.sandbox, LOCKS);
        let gate = points.iter().position(|point| point.name == "sendto").expect("a gate");
        points.truncate(gate);
        points
    }

    /// One claim is stopped at the point, the lock deleted, another claim started; that one's job
    /// goes on until the first has seen it.
    fn survives(&self, point: &Point) {
        let first = struck(&self.sandbox, point, "signal=STOP", &self.line("sleep 0.02"));
        let mut first = Running::start(&mut { first });
        let trace = self.sandbox.path("trace");
        until("the first is stopped", || {
            std::fs::read_to_string(&trace).is_ok_and(|t| t.contains("stopped by SIGSTOP"))
        });
        let stopped = tracee(&first).expect("a process that is traced");
        drop(std::fs::remove_file(self.sandbox.machine("m1").join("lock")));

        let mut second = self.sandbox.jobguard(self.line("read _"));
        let mut second = Running::start(second.stdin(Stdio::piped()));
        until("the second has come as far as it can", || {
            self.log.starts() == 1 || waits(second.pid())
        });
        let overtook = self.log.starts() == 1;
        kill(Pid::from_raw(stopped), Signal::SIGCONT).unwrap();
        until("the first has come as far as it can", || {
            !overtook || waits(stopped) || ends(first.pid(), Duration::ZERO)
        });
        drop(second.child.stdin.take());
        assert_eq!((first.wait().code(), second.wait().code()), (Some(0), Some(0)));
        assert_eq!(self.log.never_two(), 2);
        run(&mut self.sandbox.jobguard(["status", "m1"])).exits(3);
    }
}

#[rstest]
fn a_claim_that_is_overtaken_anywhere(#[values(false, true)] used: bool) {
    require_root("tracing");
    require_program("strace");
    let before = Instant::now();
    let stage = Stage::set(used);
    let claim = stage.claim();
    let stopped = strike_all(&claim, |point| {
        let stage = Stage::set(used);
        let _inhabitants = Inhabitants(&stage.sandbox);
        stage.survives(point);
        true
    });
    println!("used: {used}: stopped after {stopped} calls, in {:?}", before.elapsed());
    assert!(stopped >= 40, "only {stopped} calls");
}
