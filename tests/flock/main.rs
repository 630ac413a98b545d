//! flock(1)'s own cases: the same is typed with flock and with jobguard, and the same must come of it, in
//! exit status, in what ran, and in which order. Where jobguard differs on purpose the case says how, and so
//! does the manual, under FLOCK(1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]

mod scene;
mod shared;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rstest::rstest;
use scene::{HOLDS, JOB, RAN, Scene, Tool, as_a_shell_shows, try_beside, wait_behind};
use support::probe::executable;
use support::{JOBGUARD, Running, Sandbox, run};

#[rstest]
#[case::nothing("", RAN)]
#[case::n("-n", RAN)]
#[case::nonblock("--nonblock", RAN)]
#[case::w("-w 5", RAN)]
#[case::wait("--wait 5", RAN)]
#[case::wait_with_equals("--wait=5", RAN)]
#[case::w_joined("-w5", RAN)]
#[case::w_zero("-w 0", RAN)]
#[case::w_fractional("-w 0.5", RAN)]
#[case::w_without_a_zero("-w .5", RAN)]
#[case::w_exponent("-w 1e-1", RAN)]
#[case::w_very_long("-w 99999999999", RAN)]
#[case::w_no_number("-w x", 64)]
#[case::w_decimal_comma("-w 1,5", 64)]
#[case::e("-E 9", RAN)]
#[case::e_zero("-E 0", RAN)]
#[case::e_last("-E 255", RAN)]
#[case::e_out_of_range("-E 256", 64)]
#[case::e_negative("-E -1", 64)]
#[case::e_no_number("-E x", 64)]
#[case::e_hexadecimal("-E 0x10", 64)]
#[case::in_words("--conflict-exit-code 9", RAN)]
#[case::n_and_e("-n -E 9", RAN)]
#[case::n_and_e_in_one("-nE9", RAN)]
#[case::e_and_w("-E 9 -w 5", RAN)]
#[case::no_such_option("-q", 64)]
fn nobody_is_in_the_way(
    #[values(Tool::Flock, Tool::Jobguard)] tool: Tool,
    #[case] options: &str,
    #[case] status: i32,
) {
    let scene = Scene::new(tool);
    assert_eq!(scene.status(options, &["sh", "-c", JOB]), status);
    assert_eq!(scene.log(), if status == RAN { &["contender"][..] } else { &[] });
}

#[rstest]
#[case::n("", "-n", 1)]
#[case::nonblock("", "--nonblock", 1)]
#[case::n_and_e("", "-n -E 123", 123)]
#[case::n_and_e_in_words("", "--nonblock --conflict-exit-code 123", 123)]
#[case::n_and_e_zero("", "-n -E 0", 0)]
#[case::w_zero("", "-w 0", 1)]
#[case::w_zero_and_e("", "-w 0 -E 5", 5)]
#[case::w_fractional("", "-w 0.2", 1)]
#[case::w_without_a_zero("", "-w .2", 1)]
#[case::w_and_e("", "-w 0.2 -E 5", 5)]
#[case::e_and_w("", "-E 5 -w 0.2", 5)]
#[case::w_and_e_zero("", "-w 0.2 -E 0", 0)]
#[case::said_twice("", "-n -n -E 5 -E 6", 6)]
#[case::the_last_w("", "-w 20 -w 0.2", 1)]
#[case::e_out_of_range("", "-n -E 256", 64)]
fn somebody_is_and_stays(
    #[values(Tool::Flock, Tool::Jobguard)] tool: Tool,
    #[case] holder: &str,
    #[case] options: &str,
    #[case] status: i32,
) {
    try_beside(tool, holder, options, status);
}

#[rstest]
#[case::nothing("", "")]
#[case::w("", "-w 20")]
#[case::w_and_e("", "-w 20 -E 5")]
#[case::e("", "-E 5")]
fn somebody_is_and_lets_go(
    #[values(Tool::Flock, Tool::Jobguard)] tool: Tool,
    #[case] holder: &str,
    #[case] options: &str,
) {
    wait_behind(tool, holder, options);
}

/// jobguard's own end says more: it dies of the signal that the job died of.
#[test]
fn the_status_is_the_commands() {
    let scenes = [Tool::Flock, Tool::Jobguard].map(Scene::new);
    for status in [0, 1, 2, 64, 65, 69, 75, 124, 125, 126, 127, 128, 143, 255] {
        let command = ["sh", "-c", &format!("exit {status}")];
        assert_eq!(scenes.each_ref().map(|scene| scene.status("-n", &command)), [status; 2]);
    }
    // Not HUP and INT: whoever runs the tests may ignore them.
    for signal in [6, 9, 11, 15] {
        let command = ["sh", "-c", &format!("ulimit -c 0; kill -{signal} $$")];
        let ends = scenes.each_ref().map(|scene| run(&mut scene.command("", &command)).0.status);
        assert_eq!(ends.map(as_a_shell_shows), [128 + signal; 2]);
        assert_eq!(ends.map(|end| end.signal()), [None, Some(signal)]);
    }
}

/// Looked for before anything is waited for, and with the statuses of a shell; flock says EX_UNAVAILABLE.
#[rstest]
#[case::missing("no-such-command", 127)]
#[case::not_executable("/etc/passwd", 126)]
#[case::empty("", 127)]
fn what_cannot_be_run(#[case] word: &str, #[case] status: i32) {
    let [flock, jobguard] = [Tool::Flock, Tool::Jobguard].map(Scene::new);
    assert_eq!((flock.status("", &[word]), jobguard.status("", &[word])), (69, status));
    let _held = [flock.hold("", HOLDS), jobguard.hold("", HOLDS)];
    assert_eq!((flock.status("-n", &[word]), jobguard.status("-n", &[word])), (1, status));
}

/// What stands in the manual: options of flock's that jobguard has not, and what it does not take.
#[rstest]
#[case::exclusive_is_the_default("-x", RAN, 64)]
#[case::exclusive_by_its_other_name("-e", RAN, 64)]
#[case::exclusive("--exclusive", RAN, 64)]
#[case::nothing_is_left_open("-o", RAN, 64)]
#[case::there_is_always_a_supervisor("-F", RAN, 64)]
#[case::nothing_to_unlock("-u", RAN, 64)]
#[case::verbose("--verbose", RAN, 64)]
#[case::another_word("--nb", RAN, 64)]
#[case::one_more_word("--nonblocking", RAN, 64)]
#[case::cut_short("--conf 9", RAN, 64)]
#[case::a_contradiction("-n -w 5", RAN, 64)]
#[case::the_same_the_other_way_round("-w 5 -n", RAN, 64)]
#[case::w_hexadecimal("-w 0x10", RAN, 64)]
#[case::w_with_a_unit("-w 5m", 64, RAN)]
fn differs_on_purpose(#[case] options: &str, #[case] of_flock: i32, #[case] of_jobguard: i32) {
    for (tool, status) in [(Tool::Flock, of_flock), (Tool::Jobguard, of_jobguard)] {
        let scene = Scene::new(tool);
        assert_eq!(scene.status(options, &["sh", "-c", JOB]), status, "{tool:?}");
        assert_eq!(scene.log(), if status == RAN { &["contender"][..] } else { &[] }, "{tool:?}");
    }
}

#[test]
fn a_command_must_be_named() {
    let scenes = [Tool::Flock, Tool::Jobguard].map(Scene::new);
    assert_eq!(scenes.map(|scene| scene.status("-n", &[])), [64; 2]);
}

/// `-c` is what a shell is for.
#[test]
fn a_command_for_the_shell() {
    let [flock, jobguard] = [Tool::Flock, Tool::Jobguard].map(Scene::new);
    assert_eq!(flock.status("", &["-c", JOB]), RAN);
    assert_eq!(jobguard.status("", &["sh", "-c", JOB]), RAN);
}

/// As the manual has it for what scripts do with descriptors, and with flock on themselves.
#[test]
fn a_script_that_never_runs_twice_at_once() {
    const SCRIPT: &str = "#!/bin/sh
        [ \"$JOBGUARD_MACHINE\" = m1 ] || exec \"$JOBGUARD\" -m m1 -n -- \"$0\" \"$@\"
        echo \"$@\"; read _; exit 7\n";
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    executable(&script, SCRIPT);
    let command = || {
        let mut command = Command::new(&script);
        sandbox.confine(command.args(["a  b", "c"]).env("JOBGUARD", JOBGUARD));
        command
    };
    let mut first = Running::start(command().stdin(Stdio::piped()));
    assert_eq!(first.line(), "a  b c");
    run(&mut command()).exits(75).says("m1 is held by");
    drop(first.child.stdin.take());
    assert_eq!(first.wait().code(), Some(RAN));
    run(&mut command()).exits(RAN);
}

/// Whatever the job leaves in the background has flock's descriptor, and so the lock; not with `-o`, and
/// never with jobguard.
#[rstest]
#[case::flock(Tool::Flock, "", 1)]
#[case::flock_o(Tool::Flock, "-o", RAN)]
#[case::jobguard(Tool::Jobguard, "", RAN)]
fn what_goes_on_in_the_background(#[case] tool: Tool, #[case] holds: &str, #[case] status: i32) {
    let scene = Scene::new(tool);
    let mut left = scene.hold(holds, "exec 9<&0; { read _ <&9; } & exit 7");
    assert_eq!(left.wrapper.wait().code(), Some(RAN));
    assert_eq!(scene.status("-n", &["sh", "-c", JOB]), status);
    left.let_go();
}

/// flock dies, and its job goes on with the lock; jobguard's job gets the signal.
#[rstest]
#[case::flock(Tool::Flock, 1)]
#[case::jobguard(Tool::Jobguard, RAN)]
fn a_wrapper_that_is_told_to_end(#[case] tool: Tool, #[case] status: i32) {
    let scene = Scene::new(tool);
    let mut held = scene.hold("", HOLDS);
    held.wrapper.signal(Signal::SIGTERM);
    assert_eq!(held.wrapper.wait().signal(), Some(libc::SIGTERM));
    assert_eq!(scene.status("-n", &["sh", "-c", JOB]), status);
    held.let_go();
}
