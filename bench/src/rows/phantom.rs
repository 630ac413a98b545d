//! A run that clears a phantom, beside one that need not.

use std::path::Path;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use crate::proc::job;
use crate::race::{Candidate, race};
use crate::report::{Report, Row};
use crate::rig::Rig;

pub fn measure(rig: &Rig, report: &mut Report) {
    // So that a job whose supervisor was killed is ours to reap, and provably over when we go on.
    set_child_subreaper(true).expect("the kernel is older than Linux 3.4");
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    let mut clears = Candidate::new("clears", rig.guarded(&state, "p", &["true"]));
    clears.before = Box::new(|| die(rig, &state, "p"));
    // The same goes on before it, so that both find the machine's caches alike.
    let mut free = Candidate::new("free", rig.guarded(&state, "u", &["true"]));
    free.before = Box::new(|| {
        die(rig, &state, "other");
        rig.guarded(&state, "other", &["true"]).timed();
    });
    let times = race(vec![clears, free], rig.times(300));
    set_child_subreaper(false).expect("as above");
    let what = "run that clears a phantom ÷ run on a free machine";
    report.rows.push(Row::ratio("phantom", what, times.ratio("clears", "free")).at_most(1.3));
}

/// A run whose supervisor and job are killed.
fn die(rig: &Rig, state: &Path, machine: &str) {
    let mut supervisor = rig.guarded(state, machine, &["sleep", "1000"]).start();
    let job = job(supervisor.pid, "sleep");
    supervisor.signal(Signal::SIGKILL);
    supervisor.wait();
    kill(job, Signal::SIGKILL).expect("it sleeps");
    waitpid(job, None).expect("its supervisor is over, so it is ours");
}
