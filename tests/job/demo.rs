//! The classic story, as `scripts/demo` tells it.

use std::path::Path;
use std::process::Command;

use crate::support;

#[test]
fn a_killed_claim_is_seen_said_and_cleared() {
    support::require_program("strace");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo");
    let bin = Path::new(support::JOBGUARD).parent().unwrap();
    let done = support::run(Command::new(script).arg(bin).env("NO_COLOR", "1")).exits(0);
    let told = done.stdout();
    let mut rest = told.as_str();
    for part in [
        "m1: free (never used",
        "(killed: exit status 137)",
        "m1: STALE (process not running) \"echo 'this never runs'\"",
        "Job status:       STALE (process not running)",
        "\nB runs\n",
        "m1: free (last run exited 0",
        "\"reason\":\"process_gone\"",
    ] {
        let found = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing in {told}"));
        rest = &rest[found..];
    }
    assert!(!told.contains("\nthis never runs\n"), "{told}");
    let cleared = done.says("m1: cleared \"echo 'this never runs'\" (PID ");
    assert!(cleared.stderr().contains("STALE (process not running)"));
}
