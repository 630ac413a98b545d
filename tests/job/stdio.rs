//! Standard descriptors that are closed, full, or nobody's.

use std::process::{Command, Stdio};

use rstest::rstest;

use crate::support::{Done, JOBGUARD, Sandbox, run};

/// Runs a shell script in which `$0` is the binary.
fn shell(sandbox: &Sandbox, script: &str) -> Done {
    let mut command = Command::new("bash");
    command.args(["-c", script, JOBGUARD]);
    sandbox.confine(&mut command);
    run(&mut command)
}

/// A state directory in which m1 has run, and m2 holds a phantom that cannot be missed.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0);
    sandbox.plant("m2", r#"{"job":"old","job_pid":0}"#);
    sandbox
}

#[rstest]
#[case::stdin("<&-", "0")]
#[case::stdout(">&-", "1")]
#[case::stderr("2>&-", "2")]
#[case::stdin_and_stdout("<&- >&-", "0 1")]
#[case::all("<&- >&- 2>&-", "0 1 2")]
fn the_job_finds_closed_what_was_closed(#[case] redirection: &str, #[case] closed: &str) {
    let sandbox = prepared();
    let list =
        "for fd in 0 1 2; do test -e /proc/$$/fd/$fd || c=\"$c $fd\"; done; echo $c > \"$1\"";
    for (number, machine) in ["m1", "m2"].into_iter().enumerate() {
        let out = sandbox.path(&format!("out{number}"));
        let script = format!(
            "\"$0\" -m {machine} sh -c '{list}; exit 7' sh '{}' {redirection}; echo $?",
            out.display()
        );
        let done = shell(&sandbox, &script).exits(0);
        assert_eq!(done.stdout(), "7\n");
        let said = machine == "m2" && !redirection.contains("2>");
        assert_eq!(done.stderr().contains("m2: cleared \"old\""), said, "{}", done.stderr());
        assert_eq!(std::fs::read_to_string(out).unwrap().trim_end(), closed);
        // Nothing that was said went into a file of ours.
        let record = sandbox.record(machine);
        assert_eq!(record["last"]["code"], 7, "{record}");
        let lock = std::fs::read_to_string(sandbox.machine(machine).join("lock")).unwrap();
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(lock, boot_id.trim());
    }
}

#[rstest]
fn whatever_is_closed_answers_keep_their_exit_status(
    #[values("<&-", ">&-", "2>&-", "<&- >&- 2>&-")] redirection: &str,
) {
    let sandbox = prepared();
    let asks =
        [("status m1", 3), ("status m2", 1), ("info m1 --json", 3), ("list", 0), ("--help", 0)];
    for (ask, code) in asks {
        let done = shell(&sandbox, &format!("\"$0\" {ask} {redirection}")).exits(code);
        let unheard = redirection.split(' ').any(|one| one == ">&-");
        assert_eq!(done.stdout().is_empty(), unheard, "{done:?}");
    }
    shell(&sandbox, &format!("\"$0\" status {redirection}")).exits(64);
    shell(&sandbox, &format!("\"$0\" clear m2 {redirection}")).exits(0);
    shell(&sandbox, "\"$0\" status m2").exits(3);
}

#[rstest]
#[case("status m1", 4)]
#[case("status m1 --json", 4)]
#[case("status m2 --explain", 4)]
#[case("info m1", 4)]
#[case("list", 125)]
#[case("list --json", 125)]
#[case("--help", 125)]
#[case("--version", 125)]
#[case("clear m1 --json", 125)]
fn an_answer_that_cannot_be_written_is_an_error(#[case] ask: &str, #[case] code: i32) {
    let sandbox = prepared();
    let done = shell(&sandbox, &format!("\"$0\" {ask} > /dev/full")).exits(code);
    assert_eq!(
        done.stderr(),
        "jobguard: cannot write to standard output: No space left on device\n"
    );
    // Nobody to tell, either.
    shell(&sandbox, &format!("\"$0\" {ask} > /dev/full 2> /dev/full")).exits(code);
}

#[test]
fn a_job_does_not_care_what_becomes_of_our_messages() {
    for stderr in ["2> /dev/full", "2>&-", "2> >(exec true)"] {
        let sandbox = prepared();
        let script = format!("\"$0\" -m m2 sh -c 'echo ran; exit 7' {stderr}");
        let done = shell(&sandbox, &script).exits(7);
        assert_eq!(done.stdout(), "ran\n");
        assert_eq!(sandbox.record("m2")["counters"]["phantoms"]["process_gone"], 1);
    }
}

/// What a reader that is gone does to a writer: SIGPIPE kills it silently, or, where that is
/// ignored, it ends as if all had been read.
#[rstest]
fn a_reader_that_is_gone_is_no_error(
    #[values("list", "list --json", "status m1", "info m2", "--help")] ask: &str,
    #[values(false, true)] ignored: bool,
) {
    let sandbox = prepared();
    let trap = if ignored { "trap '' PIPE; " } else { "" };
    // The write end of a pipe whose read end is closed before anybody writes.
    let fifo = sandbox.path("pipe");
    let script = format!(
        "{trap}mkfifo '{0}'; exec 8<> '{0}' 9> '{0}' 8<&-; \"$0\" {ask} >&9; echo $?",
        fifo.display()
    );
    let done = shell(&sandbox, &script).exits(0);
    let code: i32 = done.stdout().trim_end().parse().unwrap();
    let own = if ask.starts_with("status") { 3 } else { i32::from(ask.starts_with("info")) };
    assert_eq!(code, if ignored { own } else { 141 });
    assert_eq!(done.stderr(), "");
}

#[test]
fn a_message_to_a_reader_that_is_gone_kills_no_job() {
    for trap in ["", "trap '' PIPE; "] {
        let sandbox = prepared();
        let fifo = sandbox.path("pipe");
        let script = format!(
            "{trap}mkfifo '{0}'; exec 8<> '{0}' 9> '{0}' 8<&-; \
             \"$0\" -m m2 sh -c 'echo ran; exit 7' 2>&9; echo $?",
            fifo.display()
        );
        assert_eq!(shell(&sandbox, &script).exits(0).stdout(), "ran\n7\n");
        sandbox.plant("m1", "torn");
        let refused = script.replace("mkfifo", "true").replace("m2", "m1 -n");
        assert_eq!(shell(&sandbox, &refused).exits(0).stdout(), "75\n");
        run(&mut sandbox.jobguard(["status", "m1"])).exits(4);
    }
}

#[test]
fn the_jobs_streams_are_ours() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.jobguard(["-m", "m1", "sh", "-c", "cat; echo err >&2"]);
    let input = sandbox.path("input");
    std::fs::write(&input, b"a\0\xff\n").unwrap();
    command.stdin(Stdio::from(std::fs::File::open(input).unwrap()));
    let done = run(&mut command).exits(0);
    assert_eq!((&done.0.stdout[..], &done.0.stderr[..]), (&b"a\0\xff\n"[..], &b"err\n"[..]));
}
