//! The results as Markdown: `docs/bench.md`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::report::{Curve, Field, Report, Row};

/// What was measured on what.
pub fn page(report: &Report, entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or("?").to_owned();
    let mut page = format!(
        "\
# Results

Written by `scripts/bench`: do not edit. Revision {}, {}, Linux {}.
How each number is taken, and what stands behind those that are not as low as they could be, is in
[performance.md](performance.md).

A ratio is the median of the ratios within a round, and in brackets what half of all rounds lie between.

## Targets

| what | measured | at most | |
| --- | --- | --- | --- |
",
        text("revision"),
        text("date"),
        text("kernel"),
    );
    for row in &report.rows {
        let target = row.target.map_or_else(|| "–".to_owned(), |target| row.show(target));
        let verdict = match (row.target, row.is_missed()) {
            (None, _) => "",
            (Some(_), true) => "**missed**",
            (Some(_), false) => "reached",
        };
        writeln!(page, "| {} | {} | {target} | {verdict} |", row.what, measured(row))
            .expect("memory");
    }
    for field in &report.fields {
        page += &table(field);
    }
    page += "\n## Memory while `sleep` is supervised\n\n| wrapper | resident |\n| --- | --- |\n";
    for (name, kib) in &report.memory {
        writeln!(page, "| {name} | {kib} KiB |").expect("memory");
    }
    page += "\n## How it grows\n\nEach value as a multiple of the first one.\n";
    for curve in &report.curves {
        page += &growth(curve);
    }
    if !report.skipped.is_empty() {
        let list = report.skipped.join(", ");
        write!(page, "\nNot there, and so not measured: {list}.\n").expect("memory");
    }
    page
}

/// A value with its spread.
pub fn measured(row: &Row) -> String {
    let spread = row.spread.map(|(p25, p75)| format!(" [{}, {}]", row.show(p25), row.show(p75)));
    row.show(row.value) + &spread.unwrap_or_default()
}

fn table(field: &Field) -> String {
    let place = field.place;
    let mut table = format!(
        "\n## A run of `true`, state on {place}\n\n![{place}](bench/run-{place}.svg)\n\n| wrapper | ÷ flock | p50 in that run |\n| --- | --- | --- |\n",
    );
    for peer in &field.peers {
        let (name, ratio, time) = (&peer.name, peer.ratio, peer.microseconds);
        let (p25, p50, p75) = (ratio.p25, ratio.p50, ratio.p75);
        writeln!(table, "| {name} | {p50:.2} [{p25:.2}, {p75:.2}] | {time:.0} µs |")
            .expect("memory");
    }
    table
}

fn growth(curve: &Curve) -> String {
    let Curve { key, title, along, series } = curve;
    let mut table = format!("\n### {title}\n\n![{title}](bench/{key}.svg)\n\n| {along} |");
    let points = series.first().map(|(_, points)| points.as_slice()).unwrap_or_default();
    points.iter().for_each(|point| write!(table, " {} |", point.0).expect("memory"));
    table += "\n| --- |";
    table += &" --- |".repeat(points.len());
    table += "\n";
    for (name, points) in series {
        write!(table, "| {name} |").expect("memory");
        points.iter().for_each(|point| write!(table, " {:.2} |", point.1).expect("memory"));
        table += "\n";
    }
    table
}
