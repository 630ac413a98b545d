//! Old readers, new readers and old writers: the first released record is frozen here.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::machine::argument::Argument;

/// A record of schema 1 as the first release wrote it, with fields that a later one may add, at
/// every level.
const FROZEN: &str = include_str!("../../../tests/fixtures/record-1.json");

fn subject(bytes: &[u8]) -> Subject {
    let reading = Reading::parse("m1", bytes);
    assert_eq!(reading.subjects.len(), 1, "{reading:?}");
    reading.subjects.into_iter().next().unwrap()
}

#[test]
fn what_a_later_release_added_survives_a_rewrite() {
    let reading = Reading::parse("m1", FROZEN.as_bytes());
    let written: Value = serde_json::to_value(&reading.record).unwrap();
    let frozen: Value = serde_json::from_str(FROZEN).unwrap();
    assert_eq!(written, frozen);
}

#[rstest]
#[case("22220004306466665320004306468880141")]
#[case("22220004306466653200043064688801415")]
#[case("0.31415926535897932384626433832795")]
#[case("1.7976931348623157e308")]
#[case("-2.2250738585072011e-308")]
fn a_number_that_a_later_release_added_does_not_drift(#[case] number: &str) {
    let record = format!(
        r#"{{"schema":1,"machine":"m1","revision":1,"token":1,"holders":[],"later":{number}}}"#
    );
    let read = |bytes: &[u8]| Reading::parse("m1", bytes).record;
    let first = read(record.as_bytes());
    assert_eq!(first.unknown["later"].as_f64(), number.parse().ok(), "the nearest there is");
    assert_eq!(read(&serde_json::to_vec(&first).unwrap()), first);
}

#[test]
fn the_frozen_record_says_what_it_said() {
    let Subject::Holder(holder) = subject(FROZEN.as_bytes()) else { panic!("no holder") };
    assert_eq!(holder.token, 1_763_649_600_123);
    assert_eq!(holder.job.unwrap().pidfd_inode, Some(90_211));
    assert_eq!(holder.host.pid_ns, 4_026_531_836);
    assert_eq!(holder.command[2].0.as_bytes(), b"\xff");
}

#[test]
fn an_argument_that_is_not_utf8_is_kept_exactly() {
    let argument = Argument(OsString::from_vec(b"a\xffb".to_vec()));
    let written = serde_json::to_value(&argument).unwrap();
    assert_eq!(written, json!([97, 255, 98]));
    assert_eq!(serde_json::from_value::<Argument>(written).unwrap(), argument);
    assert_eq!(serde_json::to_value(Argument("é\n".into())).unwrap(), json!("é\n"));
}

#[rstest]
#[case::empty(b"")]
#[case::truncated(&FROZEN.as_bytes()[..200])]
#[case::binary(b"\x7fELF\x02\x01\x01")]
#[case::no_object(b"[1, 2]")]
#[case::empty_object(b"{}")]
#[case::wrong_types(br#"{"schema":1,"machine":"m1","revision":"x","token":1,"holders":[]}"#)]
#[case::a_float_schema(br#"{"schema":1.5}"#)]
#[case::a_negative_schema(br#"{"schema":-1}"#)]
#[case::no_holders(br#"{"schema":1,"machine":"m1","revision":1,"token":1}"#)]
#[case::zeroes(&[0; 512])]
fn damaged(#[case] bytes: &[u8]) {
    assert!(matches!(subject(bytes), Subject::Torn(_)), "{:?}", subject(bytes));
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = "[".repeat(100_000);
    assert!(matches!(subject(deep.as_bytes()), Subject::Torn(_)));
}

#[test]
fn a_later_schema_and_another_machines_record_are_not_damaged() {
    assert_eq!(subject(br#"{"schema":2,"whatever":[]}"#), Subject::Newer(2));
    let other = br#"{"schema":1,"machine":"m2","revision":1,"token":1,"holders":[]}"#;
    assert!(matches!(subject(other), Subject::Unreadable(_)));
}

fn legacy(value: Value) -> Option<Legacy> {
    let reading = Reading::parse("m1", value.to_string().as_bytes());
    assert!(reading.subjects.len() <= 1);
    reading.subjects.into_iter().next().map(|subject| match subject {
        Subject::Legacy(legacy) => legacy,
        other => panic!("{other:?}"),
    })
}

#[rstest]
#[case(json!({ "job": "x", "job_pid": 42, "job_timestamp": 1000 }), Some(42), Some(1000))]
#[case(json!({ "job": "x", "job_pid": "42", "job_timestamp": "1000.9" }), Some(42), Some(1000))]
#[case(json!({ "job": "x", "job_pid": -1, "job_timestamp": null }), Some(-1), None)]
#[case(json!({ "job": "x", "job_pid": "", "job_timestamp": 1e3 }), None, Some(1000))]
#[case(json!({ "schema": 0, "job": "x" }), None, None)]
fn schema_0(#[case] record: Value, #[case] pid: Option<i32>, #[case] timestamp: Option<i64>) {
    let expected = Legacy { job: Some("x".to_owned()), job_pid: pid, job_timestamp: timestamp };
    assert_eq!(legacy(record), Some(expected));
}

#[rstest]
#[case(json!({ "job": "" }))]
#[case(json!({ "job": null, "job_pid": "", "job_timestamp": "" }))]
#[case(json!({ "job": "", "job_timestamp": 1000 }))]
fn schema_0_of_a_free_machine(#[case] record: Value) {
    assert_eq!(legacy(record), None);
}

#[test]
fn schema_0_with_nonsense_is_damaged_and_its_other_fields_are_kept() {
    assert!(matches!(subject(br#"{"job":"x","job_pid":"abc"}"#), Subject::Torn(_)));
    assert!(matches!(subject(br#"{"job":"x","job_pid":99999999999}"#), Subject::Torn(_)));
    let reading = Reading::parse("m1", br#"{"job":"","board":"imx8","token":"theirs"}"#);
    assert_eq!(reading.record.unknown.get("board"), Some(&json!("imx8")));
    // A field of theirs that is called like one of ours cannot be kept.
    assert!(!reading.record.unknown.contains_key("token"));
    assert!(serde_json::to_string(&reading.record).is_ok());
}
