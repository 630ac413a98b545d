//! jobguard in the pipes that people build.

use duct::{Expression, cmd};
use serde_json::json;

use crate::support::{JOBGUARD, Sandbox};

/// A jobguard in a pipe, with its state in the sandbox.
fn guarded(sandbox: &Sandbox, words: &[&str]) -> Expression {
    cmd(JOBGUARD, words).env("JOBGUARD_STATE_DIR", sandbox.state())
}

#[test]
fn jobs_on_several_machines_are_one_pipe() {
    let sandbox = Sandbox::new();
    let piped = guarded(&sandbox, &["-m", "m1", "printf", "b\\na\\n"])
        .pipe(guarded(&sandbox, &["-m", "m2", "--", "sort"]))
        .pipe(guarded(&sandbox, &["-m", "m3", "--", "tr", "ab", "xy"]));
    assert_eq!(piped.read().unwrap(), "x\ny");
}

#[test]
fn a_reader_that_has_had_enough_ends_a_job_as_it_would_alone() {
    let sandbox = Sandbox::new();
    let endless = guarded(&sandbox, &["-m", "m1", "yes"]).unchecked();
    assert_eq!(endless.pipe(cmd!("head", "-n", "1")).read().unwrap(), "y");
    let last = &sandbox.record("m1")["last"];
    assert_eq!((&last["ended"], &last["code"]), (&json!("signaled"), &json!(nix::libc::SIGPIPE)));
}

#[test]
fn a_shell_sees_the_jobs_status_through_pipefail() {
    let sandbox = Sandbox::new();
    let script = format!("set -o pipefail; {JOBGUARD} -m m1 sh -c 'echo x; exit 9' | cat");
    let done = cmd!("bash", "-c", script)
        .env("JOBGUARD_STATE_DIR", sandbox.state())
        .stdout_capture()
        .unchecked()
        .run()
        .unwrap();
    assert_eq!((done.status.code(), &done.stdout[..]), (Some(9), &b"x\n"[..]));
}
