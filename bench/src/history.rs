//! What was measured before: `history.jsonl`, an object a line, the newest last. It names the revision
//! and the kernel, never the machine.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::report::{Report, Row, Unit};

/// What a ratio may move by from run to run, beyond what half of its rounds lie between.
const NOISE: f64 = 0.08;
/// What memory may: some pages more or less, depending on where the kernel puts things.
const PAGES: f64 = 0.05;
/// What a count may.
const DRIFT: f64 = 0.03;

/// What this run adds.
pub fn entry(report: &Report) -> Value {
    let number = |row: &Row| {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let mut of = Map::from_iter([("value".to_owned(), json!(rounded(row.value)))]);
        if let Some((p25, p75)) = row.spread {
            of.insert("p25".to_owned(), json!(rounded(p25)));
            of.insert("p75".to_owned(), json!(rounded(p75)));
        }
        (row.key.to_owned(), Value::Object(of))
    };
    json!({
        "date": said("date", &["-u", "+%Y-%m-%d"]),
        "revision": revision(),
        "kernel": said("uname", &["-r"]),
        "rows": Map::from_iter(report.rows.iter().map(number)),
    })
}

/// The last commit that changed the program, and whether its sources are still as that says.
fn revision() -> String {
    let sources = ["--", "src", "Cargo.lock"];
    let commit = said("git", &[&["log", "-1", "--format=%h"][..], &sources].concat());
    let changed = said("git", &[&["status", "--porcelain"][..], &sources].concat());
    if changed.is_empty() { commit } else { format!("{commit} and changes") }
}

fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What is worse than it was in the last entry, in words.
pub fn regressions(path: &Path, report: &Report) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let Some(last) = text.lines().last() else { return Vec::new() };
    let last: Value = serde_json::from_str(last).expect("the history is broken");
    let worse = |row: &Row| {
        let before = last["rows"][row.key]["value"].as_f64()?;
        let allowed = match row.unit {
            Unit::Ratio => NOISE,
            Unit::KiB => PAGES,
            Unit::Count => DRIFT,
        };
        (row.value > before * (1.0 + allowed)).then(|| {
            let (now, then) = (row.show(row.value), row.show(before));
            let revision = last["revision"].as_str().unwrap_or("?");
            format!("{}: {now}, and was {then} at {revision}", row.what)
        })
    };
    report.rows.iter().filter_map(worse).collect()
}

pub fn append(path: &Path, entry: &Value) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{entry}"));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spread;

    #[test]
    fn what_got_worse_is_said_and_what_did_not_is_not() {
        let of = |p50| Report {
            rows: vec![Row::ratio("run", "a run", Spread { p25: p50, p50, p75: p50 })],
            ..Report::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        assert!(regressions(&path, &of(1.0)).is_empty());
        append(&path, &entry(&of(1.0)));
        assert!(regressions(&path, &of(1.05)).is_empty());
        assert_eq!(regressions(&path, &of(1.2)).len(), 1);
    }
}
