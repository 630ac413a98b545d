//! The grammar: what starts a job, what is a subcommand, and what is told to whom makes no sense.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use rstest::rstest;

use crate::support::{Done, JOBGUARD, Sandbox, run};

/// A sandbox with programs on the PATH that are called like this, and say what they were given.
fn sandbox_with(programs: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let bin = sandbox.path("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in programs {
        let program = bin.join(name);
        // Not by ourselves: a child that another test forks meanwhile would have it open for
        // writing for a moment, and nobody can execute it then (ETXTBSY).
        let write = "printf '#!/bin/sh\necho \"job ${0##*/}:$*\"\n' > \"$0\"; chmod 755 \"$0\"";
        let status = Command::new("sh").args(["-c", write]).arg(&program).status().unwrap();
        assert!(status.success());
    }
    sandbox
}

#[rstest]
#[case::status(&["-m", "m1", "status", "m1"], "job status:m1")]
#[case::list(&["-m", "m1", "list"], "job list:")]
#[case::clear(&["-mm1", "clear", "--all"], "job clear:--all")]
#[case::after_dashes(&["-m", "m1", "--", "status", "--json"], "job status:--json")]
#[case::dashes_are_the_jobs(&["--machine=m1", "info", "--", "x"], "job info:-- x")]
#[case::options_are_the_jobs(
    &["-m", "m1", "status", "-n", "-w", "bad", "-m", "m2", "--help", "--version", "-E", "999"],
    "job status:-n -w bad -m m2 --help --version -E 999"
)]
#[case::a_job_called_like_an_option(&["-m", "m1", "--", "--help"], "job --help:")]
#[case::and_a_short_one(&["-m", "m1", "-n", "--", "-n", "-n"], "job -n:-n")]
#[case::machine_called_like_a_command(&["-m", "status", "list"], "job list:")]
fn with_a_machine_the_first_word_is_the_job(#[case] args: &[&str], #[case] says: &str) {
    let sandbox = sandbox_with(&["status", "list", "clear", "info", "--help", "-n"]);
    let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
    let done = run(sandbox.jobguard(args).env("PATH", path)).exits(0).silent();
    assert_eq!(done.stdout().trim_end(), says);
}

#[rstest]
#[case(&["--help"], "Usage: jobguard [OPTIONS] -m NAME")]
#[case(&["-h"], "clear ")]
#[case(&["-m", "m1", "--help"], "Usage: jobguard")]
#[case(&["--version"], concat!("jobguard ", env!("CARGO_PKG_VERSION"), "\n"))]
#[case(&["-V"], env!("CARGO_PKG_VERSION"))]
#[case(&["status", "--help"], "Usage: jobguard status")]
#[case(&["clear", "-h"], "--force")]
#[case(&["list", "--version"], env!("CARGO_PKG_VERSION"))]
fn help_and_version_are_answers(#[case] args: &[&str], #[case] says: &str) {
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.jobguard(args)).exits(0).silent();
    assert!(done.stdout().contains(says), "{}", done.stdout());
    assert!(!sandbox.state().exists());
}

/// Refused as a command line: 64, on stderr, with nothing made and nothing run.
#[track_caller]
fn refused<S: AsRef<OsStr>>(args: &[S]) -> Done {
    let sandbox = Sandbox::new();
    let done = run(&mut sandbox.jobguard(args)).exits(64);
    assert_eq!(done.stdout(), "");
    assert!(done.stderr().lines().all(|line| line.starts_with("jobguard: ")), "{}", done.stderr());
    assert!(!sandbox.state().exists());
    done
}

#[rstest]
#[case::nothing(&[], &["Usage: jobguard", "See jobguard --help"])]
#[case::empty_word(&[""], &["'' is no subcommand", "status, list, info, queue, wait, stop, adopt, rerun, clear"])]
#[case::unknown_subcommand(&["frob"], &["'frob' is no subcommand", "jobguard -m NAME -- frob"])]
#[case::unknown_after_dashes(&["--", "frob"], &["'frob' is no subcommand"])]
#[case::unknown_option(&["--frob"], &["'--frob'"])]
#[case::unknown_option_of_a_run(&["-m", "m1", "--frob", "true"], &["'--frob'"])]
#[case::unknown_option_of_a_subcommand(&["list", "--frob"], &["'--frob'"])]
#[case::no_command(&["-m", "m1"], &["no command to run", "jobguard -m m1 -- COMMAND"])]
#[case::no_command_after_dashes(&["-m", "m1", "--"], &["no command to run"])]
#[case::no_machine(&["-n"], &["no machine named", "jobguard -m NAME"])]
#[case::machine_without_a_name(&["-m"], &["--machine <NAME>"])]
#[case::no_command_for_two(&["-m", "m2", "-m", "m1"], &["jobguard -m m2 -m m1 -- COMMAND"])]
#[case::no_slots(&["-m", "m1", "--slots", "0", "true"], &["'0'", "1 to 256"])]
#[case::too_many_slots(&["-m", "m1", "--slots", "257", "true"], &["'257'", "1 to 256"])]
#[case::nobody_pending(&["-m", "m1", "--max-pending", "0", "true"], &["'0'", "1 to 65535"])]
#[case::nobody_waits(
    &["-m", "m1", "--on-busy", "skip", "--max-pending", "1", "true"],
    &["--max-pending belongs to --on-busy wait"]
)]
#[case::both_waits(&["-n", "-w", "5", "-m", "m1", "true"], &["--nonblock", "--wait"])]
#[case::status_of_nothing(&["status"], &["<NAME>", "jobguard status"])]
#[case::status_of_two(&["status", "m1", "m2"], &["'m2'"])]
#[case::status_of_a_machine_option(&["status", "-m", "m1"], &["'-m'"])]
#[case::stop_of_two(&["stop", "m1", "m2"], &["'m2'"])]
#[case::stop_of_no_token(&["stop", "m1", "--token", "x"], &["'x'", "--token"])]
#[case::stop_of_no_time(&["stop", "m1", "--grace", "soon"], &["'soon'", "--grace"])]
#[case::clear_nothing(&["clear"], &["NAME", "--all"])]
#[case::clear_too_much(&["clear", "--all", "m1"], &["--all"])]
#[case::force_without_token(&["clear", "m1", "--force"], &["--token"])]
#[case::token_without_force(&["clear", "m1", "--token", "5"], &["--force"])]
#[case::force_on_all(&["clear", "--all", "--force", "--token", "5"], &["--all", "--force"])]
#[case::bad_token(&["clear", "m1", "--force", "--token", "x"], &["'x'", "--token"])]
#[case::empty_state_dir(&["--state-dir", "", "list"], &["--state-dir"])]
#[case::repeats_nothing(&["-m", "m1", "--repeat-of=x", "true"], &["'x' is no token"])]
#[case::notify(&["-m", "m1", "--notify", "status", "true"], &["'status'", "ready"])]
#[case::fate(&["-m", "m1", "--on-supervisor-death", "maybe", "true"], &["'maybe'", "keep, kill"])]
fn what_makes_no_sense_is_refused(#[case] args: &[&str], #[case] says: &[&str]) {
    let done = refused(args);
    for part in says {
        assert!(done.stderr().contains(part), "no {part:?} in: {}", done.stderr());
    }
}

/// A number below zero is a number: what is said is what would do, and not how to name a job `-1`.
#[rstest]
#[case("--retries", "0 to 4294967295")]
#[case("--slots", "1 to 256")]
#[case("--max-pending", "1 to 65535")]
fn a_negative_number_is_taken_for_one(#[case] option: &str, #[case] says: &str) {
    refused(&["-m", "m1", option, "-1", "--", "true"])
        .says(&format!("{option} <N>: '-1'"))
        .says(says);
}

#[rstest]
#[case(&["adopt", "m1", "--pid", "2", "--leftovers", "kill"])]
#[case(&["-m", "m1", "--frob", "true"])]
fn an_option_that_there_is_not_is_no_value(#[case] args: &[&str]) {
    let said = refused(args).stderr();
    assert!(said.contains("unexpected argument") && !said.contains("as a value"), "{said}");
}

#[rstest]
#[case(&["-n"], "-n")]
#[case(&["-w", "5"], "-w")]
#[case(&["-E", "3"], "-E")]
#[case(&["--name", "x"], "--name")]
#[case(&["--on-supervisor-death", "keep"], "--on-supervisor-death")]
#[case(&["--notify", "ready"], "--notify")]
fn an_option_of_a_run_before_a_subcommand_is_named(#[case] option: &[&str], #[case] says: &str) {
    let done = refused(&[option, &["status", "m1"]].concat());
    assert!(done.stderr().contains("'status'"), "{}", done.stderr());
    assert!(done.stderr().contains(says), "{}", done.stderr());
    assert!(done.stderr().contains("belongs to a run"), "{}", done.stderr());
}

#[rstest]
fn durations_are_seconds_or_have_units(
    #[values("90", "0.5", ".5", "0", "5m", "1h30m", "250ms", "1h 30m")] duration: &str,
    #[values("-w", "--lock-timeout", "--legacy-grace")] option: &str,
) {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard([option, duration, "-m", "m1", "true"])).exits(0).silent();
}

#[rstest]
fn the_longest_duration_is_for_ever(
    #[values("1e12", "9e18", "1e19", "1.8e19", "1000000y")] duration: &str,
    #[values("-w", "--lock-timeout", "--legacy-grace")] option: &str,
) {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard([option, duration, "-m", "m1", "true"])).exits(0).silent();
}

#[rstest]
fn bad_durations_are_refused(
    #[values(
        "",
        "nan",
        "inf",
        "1e30",
        "18446744073709551616",
        "m",
        "5 apples",
        "five",
        "0x5",
        "-0.5",
        "-5",
        "-5m"
    )]
    duration: &str,
    #[values("-w", "--lock-timeout", "--legacy-grace")] option: &str,
) {
    let done = refused(&[option, duration, "-m", "m1", "true"]);
    assert!(done.stderr().contains(&format!("'{duration}' is no duration")), "{}", done.stderr());
    assert!(done.stderr().contains("say 90, 0.5, 5m or 1h30m"), "{}", done.stderr());
    if duration.parse::<f64>().is_ok_and(|seconds| seconds < 0.0) {
        assert!(done.stderr().contains("negative"), "{}", done.stderr());
    }
}

#[rstest]
fn a_busy_exit_status_is_a_byte(#[values("256", "-1", "1.5", "busy", "")] status: &str) {
    let done = refused(&["-E", status, "-m", "m1", "true"]);
    assert!(done.stderr().contains(&format!("'{status}'")), "{}", done.stderr());
    assert!(done.stderr().contains("--conflict-exit-code"), "{}", done.stderr());
}

#[rstest]
#[case::empty(b"", "cannot be empty")]
#[case::dot(b".hidden", "'.hidden' cannot start with")]
#[case::parent(b"..", "'..' cannot start with")]
#[case::slash(b"a/b", "'a/b' may hold only letters, digits and . _ : @ + -")]
#[case::blank(b"a b", "'a b' may hold only")]
#[case::escape(b"a\x1b[31m", "'a\\u{1b}[31m' may hold only")]
#[case::newline(b"a\njobguard: m1 is free", "'a\\njobguard: m1 is free' may hold only")]
#[case::bidi("a\u{202e}b".as_bytes(), "'a\\u{202e}b' may hold only")]
#[case::c1("a\u{9b}b".as_bytes(), "'a\\u{9b}b' may hold only")]
#[case::not_utf8(b"a\xffb", "'a\\xffb' may hold only")]
#[case::umlaut("ä".as_bytes(), "'ä' may hold only")]
#[case::long(&[b'x'; 129], "machine name of 129 bytes is too long: at most 128 are allowed")]
fn a_bad_machine_name_is_refused_and_shown_safely(#[case] name: &[u8], #[case] says: &str) {
    let name = OsStr::from_bytes(name);
    let machine: [&OsStr; 3] = ["-m".as_ref(), name, "true".as_ref()];
    let attached = [b"-m=", name.as_bytes()].concat();
    let lines: [&[&OsStr]; 4] = [
        &machine,
        &[OsStr::from_bytes(&attached), "true".as_ref()],
        &["status".as_ref(), "--".as_ref(), name],
        &["clear".as_ref(), "m1".as_ref(), name],
    ];
    for line in lines {
        let done = refused(line);
        let stderr = done.stderr();
        assert!(stderr.contains(says), "{stderr}");
        assert!(!stderr.contains(['\x1b', '\u{9b}', '\u{202e}', '\u{fffd}']), "{stderr:?}");
        assert!(!stderr.contains("jobguard: jobguard: "), "{stderr}");
    }
}

#[rstest]
#[case::option(b"--\x1b[31m")]
#[case::option_not_utf8(b"--\xff")]
#[case::word(b"\x1b[31m")]
#[case::word_not_utf8(b"a\xffb")]
fn no_terminal_obeys_what_was_typed(#[case] word: &[u8]) {
    let sandbox = Sandbox::new();
    for before in [&[][..], &["-m", "m1"], &["list"]] {
        let mut command = sandbox.jobguard(before);
        let done = run(command.arg(OsStr::from_bytes(word)));
        assert!([64, 127].contains(&done.code()), "{done:?}");
        assert!(!done.0.stderr.contains(&0x1b), "{}", done.stderr());
        assert!(std::str::from_utf8(&done.0.stderr).is_ok(), "{:?}", done.0.stderr);
    }
}

#[test]
fn a_command_that_cannot_be_run_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::new();
    for (command, code) in [("no-such-program", 127), ("", 127), ("/etc/passwd", 126), ("/", 126)] {
        run(&mut sandbox.jobguard(["-m", "m1", command]))
            .exits(code)
            .says(&format!("cannot run '{command}'"));
        assert!(!sandbox.state().exists());
    }
}

#[test]
fn a_host_id_is_compared_so_nothing_is_replaced_in_it() {
    let sandbox = Sandbox::new();
    let bad = OsStr::from_bytes(b"\xff");
    let flag = [OsStr::new("-m"), OsStr::new("m1"), OsStr::new("--host-id"), bad, "true".as_ref()];
    run(&mut sandbox.jobguard(flag)).exits(64).says("'\\xff' is not UTF-8");
    let mut command = sandbox.jobguard(["-m", "m1", "true"]);
    run(command.env("JOBGUARD_HOST_ID", bad)).exits(64).says("JOBGUARD_HOST_ID").says("'\\xff'");
}

#[test]
fn the_evidence_speaks_json_too() {
    let sandbox = Sandbox::new();
    let ask = ["sh", "-c", "\"$0\" status m1 --explain --json", JOBGUARD];
    let done = run(&mut sandbox.jobguard(["-m", "m1"].iter().chain(&ask))).exits(0);
    let evidence = &done.json()["holders"][0]["evidence"];
    assert_eq!((&evidence["job_found"], &evidence["lifeline"]), (&"alive".into(), &"taut".into()));
    assert_eq!(evidence["decided_by"], "its job is alive");
}
