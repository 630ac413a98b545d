//! What is printed about a record: whole lines, nothing that a terminal obeys, JSON that parses.

use std::path::Path;

use jobguard::identity::verdict::{Observer, Subject};
use jobguard::look::Sight;
use jobguard::machine::name::MachineName;
use jobguard::protocol::Judged;
use jobguard::report::explain::{explain, rows};
use jobguard::report::json::{MachineJson, explained, line, subject_json};
use jobguard::report::table::table;
use jobguard::report::{human, info};
use serde_json::Value;

use super::super::screen::{assert_harmless, assert_one_line};
use super::MACHINE;

/// Prints all there is to print about a machine.
pub fn is_shown_safely(row: &[(MachineName, Sight); 1], observer: &Observer) {
    let [(machine, sight)] = row;
    let state_dir = Path::new("/st\x1b[2Ja\nte");
    for chosen in [None, Some(state_dir)] {
        assert_one_line(&human::status_line(machine, sight, state_dir, chosen));
    }
    refusals_are_lines(machine, sight, state_dir);
    the_page_has_its_lines(&info::info(machine, sight, state_dir));
    the_evidence_has_its_rows(sight, observer);
    the_table_has_its_row(row);
    the_objects_parse(machine, sight, observer);
}

fn refusals_are_lines(machine: &MachineName, sight: &Sight, chosen: &Path) {
    for observed in &sight.observed {
        let (subject, judgement) = (observed.subject.clone(), observed.judgement.clone());
        assert_one_line(&human::held_by(machine, &subject, &judgement));
        assert_one_line(&human::next_step(machine, &subject, &judgement, Some(chosen)));
        assert_one_line(&human::cleared(machine, &Judged::new(subject, judgement)));
    }
}

fn the_page_has_its_lines(page: &str) {
    assert_harmless(page);
    for line in page.lines() {
        let label = line.get(..18).unwrap_or_else(|| panic!("no label: {line:?}"));
        let is_label = label.trim_end().strip_suffix(':').is_some_and(|label| {
            label.bytes().all(|byte| byte == b' ' || byte.is_ascii_alphabetic())
        });
        assert!(is_label, "a line out of nowhere: {line:?}");
    }
}

fn the_evidence_has_its_rows(sight: &Sight, observer: &Observer) {
    let text = explain(sight, observer);
    assert_harmless(&text);
    let expected: usize = sight.observed.iter().map(|one| rows(one, observer).len()).sum();
    assert_eq!(text.lines().count(), expected.max(1), "{text}");
}

fn the_table_has_its_row(row: &[(MachineName, Sight); 1]) {
    let text = table(row).unwrap();
    assert_harmless(&text);
    assert_eq!(text.lines().count(), 1 + row[0].1.observed.len().max(1), "{text}");
}

fn the_objects_parse(machine: &MachineName, sight: &Sight, observer: &Observer) {
    for text in [
        line(&MachineJson::new(machine, sight)).unwrap(),
        explained(machine, sight, Some(observer)).unwrap(),
    ] {
        assert_one_line(&text);
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["machine"], MACHINE);
        let holders = object["holders"].as_array().unwrap();
        assert_eq!(holders.len(), sight.observed.len());
        for (shown, observed) in holders.iter().zip(&sight.observed) {
            let mut expected = subject_json(&observed.subject, &observed.judgement);
            if let Subject::Holder(holder) = &observed.subject {
                assert_eq!(shown["command"], serde_json::to_value(&holder.command).unwrap());
            }
            if let Some(evidence) = shown.get("evidence") {
                expected["evidence"] = evidence.clone();
            }
            assert_eq!(*shown, expected);
        }
        assert_eq!(object["counters"], serde_json::to_value(&sight.record.counters).unwrap());
        assert_eq!(object["last"], serde_json::to_value(&sight.record.last).unwrap());
    }
}
