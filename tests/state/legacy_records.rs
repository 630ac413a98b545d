//! Records of schema 0, as other tools wrote them: every row of the verdict table.

use std::time::{SystemTime, UNIX_EPOCH};

use rstest::rstest;
use serde_json::Value;

use crate::still::still;
use crate::support;
use crate::support::{Sandbox, run};

/// No process has this number: PIDs end at 2^22.
const DEAD: i32 = i32::MAX;

/// A record in which `ALIVE`, `DEAD` and times relative to `NOW` are filled in.
fn filled_in(template: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut text = template
        .replace("ALIVE", &std::process::id().to_string())
        .replace("DEAD", &DEAD.to_string());
    for seconds in [10, 200, 299, 400, 1_000_000] {
        text = text.replace(&format!("NOW-{seconds}"), &(now - seconds).to_string());
        text = text.replace(&format!("NOW+{seconds}"), &(now + seconds).to_string());
    }
    text
}

const FREE: i32 = 3;
const LIVE: i32 = 0;
const PHANTOM: i32 = 1;
const UNVERIFIABLE: i32 = 4;

#[rstest]
#[case::nothing(r#"{"job":null}"#, FREE, "never used")]
#[case::empty_strings(r#"{"job":"","job_pid":"","job_timestamp":""}"#, FREE, "never used")]
#[case::nulls(r#"{"schema":0,"job":null,"job_pid":null,"job_timestamp":null}"#, FREE, "never used")]
#[case::only_a_time(r#"{"job_timestamp":NOW-10}"#, FREE, "never used")]
#[case::alive(r#"{"job":"x","job_pid":ALIVE,"job_timestamp":NOW-10}"#, LIVE, "running \"x\" (PID")]
#[case::alive_text(r#"{"job":"x","job_pid":"ALIVE"}"#, LIVE, "running \"x\"")]
#[case::alive_text_blanks(r#"{"job":"x","job_pid":" ALIVE\n"}"#, LIVE, "running \"x\"")]
#[case::alive_float(r#"{"job":"x","job_pid":ALIVE.0}"#, LIVE, "running \"x\"")]
#[case::alive_and_old(r#"{"job":"x","job_pid":ALIVE,"job_timestamp":0}"#, LIVE, "since 1970-01-01")]
#[case::alive_nameless(r#"{"job":"","job_pid":ALIVE}"#, LIVE, "running \"unknown job\"")]
#[case::alive_number_for_a_name(r#"{"job":7,"job_pid":ALIVE}"#, LIVE, "running \"7\"")]
#[case::control_characters(r#"{"job":"\u001b[31m","job_pid":1}"#, LIVE, "\"\\u{1b}[31m\"")]
#[case::init(r#"{"job":"x","job_pid":1}"#, LIVE, "running \"x\" (PID 1)")]
#[case::dead(
    r#"{"job":"x","job_pid":DEAD,"job_timestamp":NOW-10}"#,
    PHANTOM,
    "process not running"
)]
#[case::dead_text(r#"{"job":"x","job_pid":"DEAD"}"#, PHANTOM, "process not running")]
#[case::dead_future(
    r#"{"job":"x","job_pid":DEAD,"job_timestamp":NOW+400}"#,
    PHANTOM,
    "not running"
)]
#[case::zero(r#"{"job":"x","job_pid":0}"#, PHANTOM, "process not running")]
#[case::zero_text(r#"{"job":"x","job_pid":"0","job_timestamp":""}"#, PHANTOM, "not running")]
#[case::minus_one(r#"{"job":"x","job_pid":-1}"#, PHANTOM, "process not running")]
#[case::minus_one_text(r#"{"job":"x","job_pid":"-1"}"#, PHANTOM, "process not running")]
#[case::older(r#"{"job":"x","job_timestamp":NOW-400}"#, PHANTOM, "no PID within the grace")]
#[case::older_text(r#"{"job":"x","job_pid":"","job_timestamp":"NOW-400"}"#, PHANTOM, "the grace")]
#[case::older_fraction(r#"{"job":"x","job_timestamp":"NOW-400.75"}"#, PHANTOM, "the grace")]
#[case::epoch(r#"{"job":"x","job_timestamp":0}"#, PHANTOM, "since 1970-01-01T00:00:00Z")]
#[case::before_epoch(r#"{"job":"x","job_timestamp":-5}"#, PHANTOM, "since Unix second -5")]
#[case::long_ago(r#"{"job":"x","job_timestamp":-9223372036854775808}"#, PHANTOM, "the grace")]
#[case::younger(r#"{"job":"x","job_timestamp":NOW-200}"#, LIVE, "running \"x\" (since 2")]
#[case::younger_text(r#"{"job":"x","job_timestamp":"NOW-10"}"#, LIVE, "running \"x\"")]
#[case::future(r#"{"job":"x","job_timestamp":NOW+400}"#, UNVERIFIABLE, "dated in the future")]
#[case::far_future(
    r#"{"job":"x","job_timestamp":9223372036854775807}"#,
    UNVERIFIABLE,
    "the future"
)]
#[case::no_time(r#"{"job":"x"}"#, UNVERIFIABLE, "neither a PID nor a time")]
#[case::no_time_text(r#"{"job":"x","job_timestamp":""}"#, UNVERIFIABLE, "neither a PID nor a time")]
fn every_row(#[case] template: &str, #[case] code: i32, #[case] says: &str) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", filled_in(template));
    let path = sandbox.machine("m1").join("record.json");
    let before = still(&path);
    let line = run(&mut sandbox.jobguard(["status", "m1"])).exits(code).silent().stdout();
    assert!(line.contains(says), "no {says:?} in {line}");
    let object = run(&mut sandbox.jobguard(["status", "m1", "--json"])).exits(code).json();
    let expected = ["live", "phantom", "", "free", "unverifiable"];
    assert_eq!(object["verdict"], expected[usize::try_from(code).unwrap()]);
    run(&mut sandbox.jobguard(["info", "m1"])).exits(code).silent();
    run(&mut sandbox.jobguard(["list"])).exits(0).silent();
    assert_eq!(still(&path), before);
    if [LIVE, UNVERIFIABLE].contains(&code) {
        let refused = run(&mut sandbox.jobguard(["-n", "-m", "m1", "echo", "ran"])).exits(75);
        assert_eq!(refused.says("m1 is held by").stdout(), "");
        let next = "if you know it is over: jobguard clear m1 --force --token 0";
        run(&mut sandbox.jobguard(["clear", "m1"])).exits(75).says(next);
        assert_eq!(still(&path), before);
        run(&mut sandbox.jobguard(["clear", "m1", "--force", "--token", "0"])).exits(0);
    }
    let done = run(&mut sandbox.jobguard(["-n", "-m", "m1", "echo", "ran"])).exits(0);
    assert_eq!(done.stdout(), "ran\n");
    assert_eq!(done.stderr().contains("m1: cleared \""), code == PHANTOM, "{}", done.stderr());
    let record = sandbox.record("m1");
    assert_eq!((&record["schema"], &record["job_pid"]), (&1.into(), &Value::Null));
}

#[rstest]
#[case("0", "NOW-10", PHANTOM)]
#[case("1h", "NOW-400", LIVE)]
#[case("5", "NOW-10", PHANTOM)]
#[case("300", "NOW-400", PHANTOM)]
#[case("1000000y", "0", LIVE)]
#[case("0", "NOW+400", UNVERIFIABLE)]
fn the_grace_is_chosen(#[case] grace: &str, #[case] time: &str, #[case] code: i32) {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", filled_in(&format!(r#"{{"job":"x","job_timestamp":{time}}}"#)));
    for args in
        [&["--legacy-grace", grace, "status", "m1"], &["status", "m1", "--legacy-grace", grace]]
    {
        run(&mut sandbox.jobguard(args)).exits(code).silent();
    }
    let done = run(&mut sandbox.jobguard(["--legacy-grace", grace, "-nm", "m1", "true"]));
    done.exits(if code == PHANTOM { 0 } else { 75 });
}

#[test]
fn a_phantom_of_schema_0_is_recorded_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.plant(
        "m1",
        r#"{"job":"night\u001b[1mly","job_pid":"-1","job_timestamp":"86400","x":[1]}"#,
    );
    let done = run(&mut sandbox.jobguard(["clear", "m1"])).exits(0);
    assert_eq!(
        done.stderr(),
        "jobguard: m1: cleared \"night\\u{1b}[1mly\" (PID -1, since 1970-01-02T00:00:00Z): \
         STALE (process not running)\n"
    );
    let events = sandbox.events("m1");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "phantom_cleared");
    assert_eq!(events[0]["reason"], "process_gone");
    assert_eq!(events[0]["proof"], "schema 0: its PID is not in use");
    assert_eq!(events[0]["token"], 0);
    let holder = serde_json::json!(
        { "job": "night\u{1b}[1mly", "job_pid": -1, "job_timestamp": 86400 }
    );
    assert_eq!(events[0]["holder"], holder);
    let record = sandbox.record("m1");
    assert_eq!(record["counters"]["phantoms"]["process_gone"], 1);
    assert_eq!(record["x"], serde_json::json!([1]), "unknown fields of schema 0 are kept");
}

#[test]
fn a_process_that_asks_about_itself_is_alive() {
    let sandbox = Sandbox::new();
    sandbox.plant("m1", "");
    let write = "echo '{\"job\":\"me\",\"job_pid\":'$$'}' > \"$JOBGUARD_STATE_DIR/m1/record.json\"";
    for (ask, code) in [("status m1", 0), ("-nm m1 echo ran", 75), ("clear m1", 75)] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{write}; exec \"$0\" {ask}"), support::JOBGUARD]);
        sandbox.confine(&mut command);
        let done = run(&mut command).exits(code);
        assert!(!done.stdout().contains("ran"));
        assert!((done.stdout() + &done.stderr()).contains("\"me\" (PID "));
    }
}
