//! How the cost grows: with the waiters, the machines, the events, the machines of one claim.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::handover::{Who, turns};
use super::looking::Town;
use crate::race::{Candidate, Times, race};
use crate::report::{Curve, Report};
use crate::rig::Rig;
use crate::stats::Spread;

pub fn measure(rig: &Rig, report: &mut Report) {
    report.curves.push(waiters(rig));
    report.curves.push(machines(rig));
    report.curves.push(events(rig));
    report.curves.push(claim(rig));
}

fn waiters(rig: &Rig) -> Curve {
    let lengths: &[usize] =
        if rig.quick { &[1, 10, 100] } else { &[1, 2, 5, 10, 20, 50, 100, 200, 500] };
    let series = [("jobguard", Who::Jobguard), ("flock", Who::Flock)].map(|(name, who)| {
        let p50 = |length: usize| {
            let rounds = rig.times(50).div_ceil(length).max(2);
            Spread::of((0..rounds).flat_map(|_| turns(rig, who, length))).p50
        };
        let times: Vec<(f64, f64)> = lengths.iter().map(|n| (*n as f64, p50(*n))).collect();
        let first = times[0].1;
        (name.to_owned(), times.into_iter().map(|(n, time)| (n, time / first)).collect())
    });
    Curve {
        key: "waiters",
        title: "From a job's exit to the next job's first instruction",
        along: "waiters",
        series: series.into(),
    }
}

fn machines(rig: &Rig) -> Curve {
    let counts: &[usize] =
        if rig.quick { &[1, 10, 100, 1000] } else { &[1, 10, 100, 1000, 10_000] };
    let scratches: Vec<TempDir> = counts.iter().map(|_| rig.scratch(&rig.tmpfs)).collect();
    let build = |(scratch, count): (&TempDir, &usize)| {
        Town::build(rig, &scratch.path().join("state"), *count, 0)
    };
    let towns: Vec<Town> = scratches.iter().zip(counts).map(build).collect();
    let race = |launch: &dyn Fn(&Town) -> crate::launch::Launch, rounds| {
        let candidate =
            |(town, count): (&Town, &usize)| Candidate::new(count.to_string(), launch(town));
        race(towns.iter().zip(counts).map(candidate).collect(), rounds)
    };
    let run = race(&|town| rig.guarded(&town.state, "m00000", &["true"]), rig.times(100));
    let list = race(&|town| rig.jobguard(&town.state, &["list"]), rig.times(20));
    let cat = race(&Town::cat, rig.times(20));
    Curve {
        key: "machines",
        title: "With the machines in the state directory",
        along: "machines",
        series: vec![
            ("a run".to_owned(), growth(&run)),
            ("list".to_owned(), growth(&list)),
            ("cat of all records".to_owned(), growth(&cat)),
        ],
    }
}

fn events(rig: &Rig) -> Curve {
    let counts: Vec<usize> = (0..=6).map(|power| 10_usize.pow(power)).collect();
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    for count in &counts {
        rig.guarded(&state, &format!("m{count}"), &["true"]).timed();
        lengthen(&state.join(format!("m{count}")), *count);
    }
    let race = |words: &[&str], code, rounds| {
        let candidate = |count: &usize| {
            let machine = format!("m{count}");
            let word =
                |word: &&str| if *word == "MACHINE" { machine.clone() } else { (*word).to_owned() };
            let words: Vec<String> = words.iter().map(word).collect();
            Candidate { code, ..Candidate::new(count.to_string(), rig.jobguard(&state, &words)) }
        };
        race(counts.iter().map(candidate).collect(), rounds)
    };
    let run = race(&["-m", "MACHINE", "--", "true"], 0, rig.times(200));
    let info = race(&["info", "MACHINE"], 3, rig.times(100)); // 3: nobody holds it
    Curve {
        key: "events",
        title: "With the events that a machine has had",
        along: "events",
        series: vec![("a run".to_owned(), growth(&run)), ("info".to_owned(), growth(&info))],
    }
}

/// What the logs look like after so many events: a log is moved at 1 MiB, and one that was is kept.
fn lengthen(machine: &Path, events: usize) {
    const LIMIT: usize = 1 << 20;
    let log = machine.join("events.jsonl");
    let line = fs::read(&log).expect("a log");
    let line = &line[..=line.iter().position(|byte| *byte == b'\n').expect("a line")];
    let whole = LIMIT / line.len();
    if events > whole {
        fs::write(machine.join("events.1.jsonl"), line.repeat(whole)).expect("a log");
    }
    // Not so long that it would be moved while we measure.
    fs::write(log, line.repeat((events % whole).clamp(1, whole / 2))).expect("a log");
}

fn claim(rig: &Rig) -> Curve {
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    let candidate = |power: u32| {
        let count = 2_usize.pow(power);
        let mut words = Vec::new();
        for machine in 0..count {
            words.extend(["-m".to_owned(), format!("m{machine}")]);
        }
        words.extend(["--", "true"].map(str::to_owned));
        Candidate::new(count.to_string(), rig.jobguard(&state, &words))
    };
    let times = race((0..=6).map(candidate).collect(), rig.times(100));
    Curve {
        key: "claim",
        title: "With the machines of one claim",
        along: "machines claimed at once",
        series: vec![("a run".to_owned(), growth(&times))],
    }
}

/// Against the first candidate; the names are the numbers along the axis.
fn growth(times: &Times) -> Vec<(f64, f64)> {
    let first = times.names().next().expect("something took part").to_owned();
    let point = |name: &str| (name.parse().expect("a number"), times.ratio(name, &first).p50);
    times.names().map(point).collect()
}
