//! Measures jobguard beside what else there is: `scripts/bench` builds what this needs, and calls it.
//!
//! * `rows`: what is measured; `race` runs several commands side by side
//! * `launch`, `proc`: processes, and what `/proc` says about them
//! * `peers`: the other wrappers
//! * `report`, `page`, `chart`, `history`: what becomes of the numbers

mod chart;
mod history;
mod launch;
mod page;
mod peers;
mod proc;
mod race;
mod report;
mod rig;
mod rows;
mod stats;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use report::Report;
use rig::Rig;

const USAGE: &str = "usage: jobguard-bench JOBGUARD TOOLS TMPFS EXT4 quick|full [ROW...]";

type Measure = fn(&Rig, &mut Report);

/// Everything that can be measured, by name.
const ROWS: [(&str, Measure); 8] = [
    ("run", rows::run::measure),
    ("memory", rows::memory::measure),
    ("idle", rows::idle::measure),
    ("handover", rows::handover::measure),
    ("phantom", rows::phantom::measure),
    ("looking", rows::looking::measure),
    ("instructions", rows::instructions::measure),
    ("growth", rows::growth::measure),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [jobguard, tools, tmpfs, ext4, mode, only @ ..] = words.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let rig = Rig {
        jobguard: jobguard.into(),
        tools: tools.into(),
        tmpfs: tmpfs.into(),
        ext4: ext4.into(),
        quick: mode == "quick",
    };
    let mut report = Report::default();
    for (name, measure) in ROWS {
        if !only.is_empty() && !only.iter().any(|word| word == name) {
            continue;
        }
        let begin = Instant::now();
        let from = report.rows.len();
        measure(&rig, &mut report);
        eprintln!("{name}: {} s", begin.elapsed().as_secs());
        report.rows[from..].iter().for_each(show);
    }
    report.curves.iter().for_each(show_curve);
    if !report.skipped.is_empty() {
        eprintln!("NOT MEASURED, not there: {}", report.skipped.join(", "));
    }
    let worse = history::regressions(Path::new(HISTORY), &report);
    worse.iter().for_each(|worse| println!("WORSE than in the last entry: {worse}"));
    if mode == "full" && only.is_empty() {
        publish(&report);
    }
    if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const HISTORY: &str = "bench/history.jsonl";

fn show(row: &report::Row) {
    let verdict = match row.target {
        None => String::new(),
        Some(target) if row.is_missed() => format!("  MISSED, at most {}", row.show(target)),
        Some(target) => format!("  reached, at most {}", row.show(target)),
    };
    println!("{}: {}{verdict}", row.what, page::measured(row));
}

fn show_curve(curve: &report::Curve) {
    for (name, points) in &curve.series {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x}: ×{y:.2}")).collect();
        println!("{}, {name}: {}", curve.title, points.join("  "));
    }
}

/// Page, charts, history.
fn publish(report: &Report) {
    let write = |path: String, text: String| {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    fs::create_dir_all("docs/bench").unwrap_or_else(|error| panic!("docs/bench: {error}"));
    for field in &report.fields {
        write(format!("docs/bench/run-{}.svg", field.place), chart::bars(field));
    }
    for curve in &report.curves {
        write(format!("docs/bench/{}.svg", curve.key), chart::curves(curve));
    }
    let entry = history::entry(report);
    write("docs/bench.md".to_owned(), page::page(report, &entry));
    history::append(Path::new(HISTORY), &entry);
}
