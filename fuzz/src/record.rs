//! The record reader, and everything that is made of what it read.

use jobguard::identity::observe::{Handles, Observed};
use jobguard::identity::verdict::{Evidence, Observer, Subject, judge};
use jobguard::look::Sight;
use jobguard::machine::name::MachineName;
use jobguard::machine::reading::Reading;
use jobguard::machine::record::{MAX_TOKEN, Record};
use jobguard::protocol::Judged;
use jobguard::protocol::rewrite::{next_revision, without};
use serde_json::Value;

use super::draw::Draw;

mod shown;
mod viewpoints;

use viewpoints::viewpoints;

/// The machine whose record it is said to be.
pub const MACHINE: &str = "m1";

/// The input is a record file, as it was found.
pub fn check(input: &[u8]) {
    let reading = Reading::parse(MACHINE, input);
    let said = serde_json::from_slice(input).ok();
    is_consistent(&reading);
    is_free_only_if_it_says_so(&reading, said.as_ref());
    keeps_what_it_says(&reading, said.as_ref());
    is_the_same_after_a_rewrite(&reading.record);
    half_of_it_is_damaged(input, said.as_ref());
    for (observer, evidence) in viewpoints(&reading) {
        let name = MachineName::parse(MACHINE.as_ref()).unwrap();
        let row = [(name, sight(&reading, &observer, &evidence))];
        shown::is_shown_safely(&row, &observer);
        phantoms_alone_are_cleared(&row[0].1);
    }
}

fn is_consistent(reading: &Reading) {
    let record = &reading.record;
    assert_eq!((record.schema, record.machine.as_str()), (1, MACHINE));
    match &reading.subjects[..] {
        [] => assert_eq!(record.holders, []),
        // Nobody but a record of our own names more than one.
        [Subject::Holder(_), ..] => assert_eq!(reading.subjects, subjects_of(record)),
        [_] => assert_eq!(record.holders, []),
        _ => panic!("{:?}", reading.subjects),
    }
    for (index, holder) in record.holders.iter().enumerate() {
        let twin = record.holders[..index].iter().find(|other| other.token == holder.token);
        assert!(twin.is_none(), "token {} names two runs", holder.token);
    }
    let tokens = record.holders.iter().map(|holder| holder.token);
    assert!(tokens.chain([record.token]).all(|token| token <= MAX_TOKEN));
}

fn subjects_of(record: &Record) -> Vec<Subject> {
    record.holders.iter().cloned().map(|holder| Subject::Holder(Box::new(holder))).collect()
}

/// A reader who errs here lets two jobs onto one machine.
fn is_free_only_if_it_says_so(reading: &Reading, said: Option<&Value>) {
    if !reading.subjects.is_empty() {
        return;
    }
    let Some(Value::Object(said)) = said else { panic!("read as free: {said:?}") };
    let is_none = |key: &str| match said.get(key) {
        None | Some(Value::Null) => true,
        Some(value) => value == "",
    };
    match said.get("schema").map(Value::as_u64) {
        Some(Some(1)) => {
            assert_eq!(said.get("machine"), Some(&MACHINE.into()));
            assert_eq!(said.get("holders"), Some(&Value::Array(Vec::new())));
        }
        None | Some(Some(0)) => {
            let keys = ["job", "job_pid", "job_timestamp"];
            assert!(keys.iter().any(|key| said.contains_key(*key)), "{said:?}");
            assert!(is_none("job") && is_none("job_pid"), "{said:?}");
        }
        schema => panic!("read as free: schema {schema:?}"),
    }
}

/// What a record of ours says is written again, fields of later versions included; what another
/// tool added to a record of schema 0 is, too, unless we have a field of that name.
fn keeps_what_it_says(reading: &Reading, said: Option<&Value>) {
    let written = serde_json::to_value(&reading.record).unwrap();
    let Some(Value::Object(said)) = said else { return };
    match (said.get("schema").map(Value::as_u64), &reading.subjects[..]) {
        (Some(Some(1)), [] | [Subject::Holder(_), ..]) => {
            assert_kept(&Value::Object(said.clone()), &written);
        }
        (_, [] | [Subject::Legacy(_)]) => {
            let blank = serde_json::to_value(Record::new(MACHINE)).unwrap();
            for (key, value) in said {
                let theirs = ["schema", "job", "job_pid", "job_timestamp"].contains(&key.as_str());
                if !theirs && blank.get(key).is_none() {
                    assert_kept(value, &written[key]);
                }
            }
        }
        _ => {}
    }
}

/// Defaults may be added; forms that serde takes for the same may be replaced by the usual one.
fn assert_kept(said: &Value, written: &Value) {
    match (said, written) {
        (Value::Object(said), Value::Object(written)) => {
            for (key, value) in said {
                match written.get(key) {
                    Some(kept) => assert_kept(value, kept),
                    None => assert!(says_nothing(key, value), "{key} is lost"),
                }
            }
        }
        (Value::Array(said), Value::Array(written)) if said.len() == written.len() => {
            said.iter().zip(written).for_each(|(said, written)| assert_kept(said, written));
        }
        // An argument whose bytes are UTF-8.
        (Value::Array(bytes), Value::String(text)) => {
            assert!(bytes.iter().map(Value::as_u64).eq(text.bytes().map(|b| Some(b.into()))));
        }
        // An enum, as {"running": null}.
        (Value::Object(said), Value::String(text)) => {
            assert!(said.len() == 1 && said.get(text) == Some(&Value::Null), "{said:?}: {text}");
        }
        _ => assert_eq!(said, written),
    }
}

/// A field of ours that is left out when it says nothing.
fn says_nothing(key: &str, value: &Value) -> bool {
    let counters = ["refused", "reused", "replaced"];
    let facts = [
        "output",
        "wall_seconds",
        "cpu_seconds",
        "max_rss_kib",
        "disk_read_kib",
        "disk_written_kib",
    ];
    (counters.contains(&key) && *value == 0) || (facts.contains(&key) && value.is_null())
}

/// Written and read again it is equal, and so are the bytes of the next time: nothing drifts.
fn is_the_same_after_a_rewrite(record: &Record) {
    let written = serde_json::to_vec(record).unwrap();
    let again = Reading::parse(MACHINE, &written);
    assert_eq!(&again.record, record);
    assert_eq!(again.subjects, subjects_of(record));
    let twice = serde_json::to_vec(&again.record).unwrap();
    assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&written));
}

/// Cut off anywhere a record is damaged: it names nobody, and frees nothing.
fn half_of_it_is_damaged(input: &[u8], said: Option<&Value>) {
    if !said.is_some_and(Value::is_object) {
        return;
    }
    let whole = input.trim_ascii_end();
    let half = &whole[..Draw::from(input).below(whole.len())];
    let subjects = Reading::parse(MACHINE, half).subjects;
    assert!(matches!(subjects[..], [Subject::Torn(_)]), "{subjects:?}");
}

fn sight(reading: &Reading, observer: &Observer, evidence: &Evidence) -> Sight {
    let observed = |subject: &Subject| Observed {
        subject: subject.clone(),
        evidence: evidence.clone(),
        judgement: judge(subject, observer, evidence),
        handles: Handles::default(),
    };
    // Somebody holds a lifeline, too, that the record does not name.
    let unrecorded = evidence.now.is_positive().then_some(Subject::Unrecorded(1));
    let observed = reading.subjects.iter().chain(&unrecorded).map(observed).collect();
    Sight { record: reading.record.clone(), observed, queue: Vec::new() }
}

/// The record without its phantoms is one that is read as it was written, and names all others.
fn phantoms_alone_are_cleared(sight: &Sight) {
    let judged = sight
        .observed
        .iter()
        .map(|observed| Judged::new(observed.subject.clone(), observed.judgement.clone()));
    let phantoms: Vec<Judged> = judged.filter(Judged::is_phantom).collect();
    if phantoms.is_empty() {
        return;
    }
    let record = *next_revision(without(sight.record.clone(), &phantoms, "now"));
    is_the_same_after_a_rewrite(&record);
    let left = |subject: &Subject| !phantoms.iter().any(|phantom| phantom.subject == *subject);
    let expected: Vec<Subject> = subjects_of(&sight.record).into_iter().filter(left).collect();
    assert_eq!(subjects_of(&record), expected);
    assert_eq!(record.unknown, sight.record.unknown);
    let tokens = phantoms.iter().map(|phantom| phantom.subject.token());
    assert!(tokens.chain([sight.record.token]).all(|token| token <= record.token));
}
