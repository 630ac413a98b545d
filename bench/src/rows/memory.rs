//! Resident memory of whoever only waits.

use nix::sys::signal::{Signal, kill};

use crate::launch::{Launch, Started};
use crate::peers;
use crate::proc::{LOCKS, has_read_all_signals, job, rss, sleeps_in, until};
use crate::report::{Report, Row, Unit};
use crate::rig::Rig;

const MIB: f64 = 1024.0;
/// Of which the median counts: where the kernel happens to put a program is some pages more or less.
const STARTS: usize = 15;

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

pub fn measure(rig: &Rig, report: &mut Report) {
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    let mut resident = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        let supervisor = rig.guarded(&state, "m", &["sleep", "1000"]).start();
        job(supervisor.pid, "sleep");
        let waiter = rig.guarded(&state, "m", &["true"]).start();
        until("it waits", || sleeps_in(waiter.pid, &LOCKS));
        resident[0].push(rss(supervisor.pid));
        resident[1].push(rss(waiter.pid));
        drop(waiter); // before the machine is free
    }
    let [before, waiting] = resident.map(median);

    // It ignores the signals that are to come.
    let deaf = ["sh", "-c", "trap '' USR1; exec sleep 1000"];
    let supervisor = rig.guarded(&state, "deaf", &deaf).start();
    job(supervisor.pid, "sleep");
    // The first ones touch pages that were not needed until then.
    storm(&supervisor, 100);
    let warm = rss(supervisor.pid);
    let signals = rig.times(100_000);
    storm(&supervisor, signals);
    let growth = rss(supervisor.pid).saturating_sub(warm);

    let kib = |key, what: String, value: u64| Row::number(key, what, Unit::KiB, value as f64);
    let what = "resident memory of a supervisor of `sleep`".to_owned();
    report.rows.push(kib("rss_supervisor", what, before).at_most(MIB));
    let what = format!("growth of that over {signals} signals");
    report.rows.push(kib("rss_growth", what, growth).at_most(0.0));
    let what = "resident memory of a waiter".to_owned();
    report.rows.push(kib("rss_waiter", what, waiting).at_most(MIB));

    report.memory.push(("jobguard".to_owned(), before));
    report.memory.push(("fork, exec, wait".to_owned(), of(vec![rig.tool("floor")])));
    for peer in peers::present().0 {
        if !EXEC.contains(&peer.name) {
            report.memory.push((peer.name.to_owned(), of(peer.words(scratch.path()))));
        }
    }
    report.memory.sort_by_key(|(_, kib)| *kib);
}

/// Sends so many signals, and each is read.
fn storm(supervisor: &Started, signals: usize) {
    for _ in 0..signals {
        supervisor.signal(Signal::SIGUSR1);
        // Two that are pending at once would be one.
        while !has_read_all_signals(supervisor.pid) {}
    }
}

/// Those that become their job.
const EXEC: [&str; 5] = ["flock -F", "s6-setlock", "chpst -L", "setlock", "with-lock-ex"];

/// The memory of a wrapper.
fn of(mut words: Vec<String>) -> u64 {
    words.extend(["sleep".to_owned(), "1000".to_owned()]);
    let mut wrapper = Launch::new(&words, &[]).start();
    let job = job(wrapper.pid, "sleep");
    let kib = rss(wrapper.pid);
    // Not every wrapper passes a signal on.
    kill(job, Signal::SIGTERM).expect("it sleeps");
    wrapper.wait();
    kib
}
