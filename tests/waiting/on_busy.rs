//! What becomes of a run whose machine is busy: never silent, always counted.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support;
use crate::support::held::Held;
use crate::support::{Done, Sandbox, run};

fn try_with(sandbox: &Sandbox, options: &[&str]) -> Done {
    run(sandbox.jobguard(options).args(["-m", "m1", "--", "echo", "ran"]))
}

#[rstest]
#[case::n(&["-n"], 75, "refused")]
#[case::fail(&["--on-busy", "fail"], 75, "refused")]
#[case::fail_with_another_status(&["--on-busy", "fail", "-E", "9"], 9, "refused")]
#[case::skip(&["--on-busy", "skip"], 0, "skipped")]
#[case::forbid(&["--on-busy", "forbid"], 0, "skipped")]
#[case::reuse(&["--on-busy", "reuse"], 0, "reused")]
#[case::wait(&["-w", "0.2"], 75, "timed_out")]
#[case::wait_in_words(&["--on-busy", "wait", "-w", "0.2"], 75, "timed_out")]
fn who_goes_away_is_counted_and_logged(
    #[case] options: &[&str],
    #[case] code: i32,
    #[case] why: &str,
) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let done = try_with(&sandbox, options).exits(code);
    let holder = format!("\"sh -c 'echo $$; read _; exit 7'\" (PID {}, user ", held.job.0);
    if why == "reused" {
        let done = done.silent();
        assert!(done.stdout().starts_with(&format!("m1: already running {holder}")), "{done:?}");
    } else {
        assert_eq!(done.stdout(), "");
        let done = done.says(&format!("m1 is held by {holder}"));
        assert_eq!(done.stderr().contains("skipped"), why == "skipped");
    }
    let record = sandbox.record("m1");
    assert_eq!(record["counters"][why], 1, "{record}");
    assert_eq!(record["counters"]["runs"], 1);
    let token = &record["holders"][0]["token"];
    let event = sandbox.events("m1").pop().unwrap();
    assert_eq!((&event["event"], &event["why"]), (&json!("not_run"), &json!(why)), "{event}");
    assert_eq!((&event["token"], &event["command"]), (token, &json!(["echo", "ran"])));
    // The run itself has noticed nothing.
    held.let_go();
    assert_eq!(held.supervisor.wait().code(), Some(support::held::STATUS));
    assert_eq!(sandbox.record("m1")["counters"][why], 1);
}

#[rstest]
fn a_free_machine_is_taken(#[values("wait", "fail", "skip", "replace", "reuse")] policy: &str) {
    let sandbox = Sandbox::new();
    let done = try_with(&sandbox, &["--on-busy", policy]).exits(0).silent();
    assert_eq!(done.stdout(), "ran\n");
    assert_eq!(sandbox.events("m1").len(), 1);
}

#[rstest]
#[case(&["-n", "--on-busy", "skip"], "cannot be used with")]
#[case(&["--on-busy", "skip", "-w", "3"], "-w (--wait) belongs to --on-busy wait")]
#[case(&["--on-busy", "allow"], "possible values: wait, fail, skip, replace, reuse")]
fn what_contradicts_itself_is_refused(#[case] options: &[&str], #[case] says: &str) {
    let sandbox = Sandbox::new();
    try_with(&sandbox, options).exits(64).says(says);
    assert!(!sandbox.state().exists());
}

/// A holder about whom nothing can be proven.
fn plant_a_run_of_another_host(sandbox: &Sandbox) -> Value {
    Held::start(sandbox).kill();
    let mut record = sandbox.record("m1");
    record["holders"][0]["host"]["boot_id"] = json!("another");
    record["holders"][0]["host"]["id"] = json!("another");
    record["holders"][0]["host"]["boot_id_genuine"] = json!(false);
    sandbox.plant("m1", record.to_string());
    record
}

/// What cannot be verified is held, and not written to: another host may be at work there.
#[test]
fn a_record_of_another_host_is_not_written_to() {
    let sandbox = Sandbox::new();
    let record = plant_a_run_of_another_host(&sandbox);
    try_with(&sandbox, &["--on-busy", "skip"]).exits(0).says("cannot be verified");
    assert_eq!(sandbox.record("m1"), record);
    assert_eq!(sandbox.events("m1").pop().unwrap()["why"], "skipped");
}

/// A job that is over will not do instead of another run.
#[test]
fn only_a_run_that_is_alive_is_reused() {
    let sandbox = Sandbox::new();
    plant_a_run_of_another_host(&sandbox);
    let done = try_with(&sandbox, &["--on-busy", "reuse"]).exits(75).says("cannot be verified");
    assert_eq!(done.stdout(), "");
}
