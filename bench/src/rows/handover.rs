//! From the end of one job to the first instruction of the next, while others wait.
//!
//! The jobs say themselves when they began and ended (`c/stamp.c`). All are queued behind a holder,
//! which is then ended; each lasts for some milliseconds, so that what its predecessor still has to do
//! is over when it ends. Only the first of a queue are counted, while it is about as long as it is said
//! to be. The two contestants take turns.

use std::fs::{self, File};
use std::path::Path;

use nix::sys::signal::{Signal, kill};

use crate::launch::Launch;
use crate::peers;
use crate::proc::{LOCKS, job, sleeps_in, until};
use crate::report::{Report, Row};
use crate::rig::Rig;
use crate::stats::Spread;

/// How long each job lasts.
const MILLISECONDS: &str = "3";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Jobguard,
    Flock,
}

pub fn measure(rig: &Rig, report: &mut Report) {
    let crowd = if rig.quick { 100 } else { 500 };
    let mut one = Contest::default();
    (0..rig.times(300)).for_each(|_| one.add(rig, 1));
    let mut many = Contest::default();
    (0..rig.times(5)).for_each(|_| many.add(rig, crowd));

    let against = "job's exit → next job's first instruction, ÷ flock";
    let what = format!("{against}, 1 waiter");
    report.rows.push(Row::ratio("handover_1", what, one.ratio()).at_most(1.0));
    let what = format!("{against}, {crowd} waiters");
    report.rows.push(Row::ratio("handover_many", what, many.ratio()).at_most(1.0));
    let base = Spread::of(one.ours.iter().copied()).p50;
    let growth = Spread::of(many.ours.iter().map(|time| time / base));
    let what = format!("the same of jobguard, {crowd} waiters ÷ 1 waiter");
    report.rows.push(Row::ratio("handover_growth", what, growth).at_most(1.3));
}

/// Microseconds, in pairs of turns.
#[derive(Default)]
struct Contest {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Contest {
    fn add(&mut self, rig: &Rig, waiters: usize) {
        let (ours, theirs) = (turns(rig, Who::Jobguard, waiters), turns(rig, Who::Flock, waiters));
        self.ours.extend(&ours);
        self.theirs.extend(&theirs);
    }

    fn ratio(&self) -> Spread {
        let p50 = |times: &[f64]| Spread::of(times.iter().copied()).p50;
        let each = Spread::of(self.ours.iter().zip(&self.theirs).map(|(a, b)| a / b));
        Spread { p50: p50(&self.ours) / p50(&self.theirs), ..each }
    }
}

/// The first hand-overs of a queue of so many, in microseconds: up to a fifth of it.
pub fn turns(rig: &Rig, who: Who, waiters: usize) -> Vec<f64> {
    let scratch = rig.scratch(&rig.tmpfs);
    let dir = scratch.path();
    let stamps = dir.join("stamps");
    // The one that begins with so many behind it, and those.
    let jobs = waiters + 1;
    File::create(&stamps).and_then(|file| file.set_len(jobs as u64 * 16)).expect("some memory");

    let holder = launch(rig, who, dir, &["sleep", "1000"]).start();
    let gate = job(holder.pid, "sleep");
    let stamp = rig.tool("stamp");
    let path = stamps.display().to_string();
    let mut queue: Vec<_> = (0..jobs)
        .map(|slot| {
            launch(rig, who, dir, &[&stamp, &path, &slot.to_string(), MILLISECONDS]).start()
        })
        .collect();
    for waiter in &queue {
        until("it waits", || sleeps_in(waiter.pid, &LOCKS));
    }
    kill(gate, Signal::SIGKILL).expect("it sleeps");
    for waiter in &mut queue {
        assert_eq!(waiter.wait(), 0, "a waiter's job went wrong");
    }
    let mut holder = holder;
    holder.wait();
    gaps(&fs::read(&stamps).expect("it was just written"), waiters.div_ceil(5))
}

fn launch(rig: &Rig, who: Who, dir: &Path, job: &[&str]) -> Launch {
    match who {
        Who::Jobguard => rig.guarded(&dir.join("state"), "m", job),
        Who::Flock => {
            let mut words = peers::named("flock").words(dir);
            words.extend(job.iter().map(|word| (*word).to_owned()));
            Launch::new(&words, &[])
        }
    }
}

/// The first so many times between two jobs.
fn gaps(stamps: &[u8], count: usize) -> Vec<f64> {
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let job = |slot: &[u8]| (number(&slot[..8]), number(&slot[8..]));
    let mut jobs: Vec<(u64, u64)> = stamps.chunks_exact(16).map(job).collect();
    jobs.sort_unstable();
    let gap = |pair: &[(u64, u64)]| {
        let gap = pair[1].0.checked_sub(pair[0].1);
        gap.expect("two jobs at once, of a machine or of a file lock") as f64 / 1e3
    };
    jobs.windows(2).take(count).map(gap).collect()
}
