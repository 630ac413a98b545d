//! `--log`: the job writes to the file itself, and what cannot be such a file is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod quiet;
mod quiet_kept;
mod rotation;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;
use strangers::{ALICE, Commons, Mounted};
use support::held::Held;
use support::{Done, JOBGUARD, Running, Sandbox, Stray, ends, require_program, run, until};

/// Runs a script on `m1` with its output in this log.
fn logged(sandbox: &Sandbox, log: &Path, script: &str) -> Done {
    run(sandbox.jobguard(["-m", "m1", "--log"]).arg(log).args(["--", "sh", "-c", script]))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn output_is_appended_in_order_and_nothing_else_is_printed() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    fs::write(&log, "before\n").unwrap();
    let script = "echo 1; echo 2 >&2; echo 3; echo 4 >&2; exit 5";
    let done = logged(&sandbox, &log, script).exits(5).silent();
    assert_eq!(done.stdout(), "");
    assert_eq!(read(&log), "before\n1\n2\n3\n4\n");
    logged(&sandbox, &log, "kill -9 $$").silent();
    assert_eq!(read(&log), "before\n1\n2\n3\n4\n");
}

/// The job has the file as a shell's `>>` would have given it, and nothing else of ours.
#[test]
fn the_job_has_the_file_and_no_descriptor_more() {
    let sandbox = Sandbox::new();
    let (log, bare) = (sandbox.path("log"), sandbox.path("bare"));
    let look = "ls /proc/self/fd; grep flags: /proc/self/fdinfo/1 /proc/self/fdinfo/2; \
                stat -L -c %i /proc/$$/fd/1 /proc/$$/fd/2 | uniq | wc -l";
    let mut shell = Command::new("sh");
    let script = format!("(umask 026; exec sh -c '{look}' >>\"$0\" 2>&1)");
    run(shell.args(["-c", &script]).arg(&bare).stdin(Stdio::null())).exits(0).silent();
    let ours = "umask 026; exec \"$0\" -m m1 --log \"$1\" -- sh -c \"$2\"";
    let mut wrapped = Command::new("sh");
    sandbox.confine(&mut wrapped);
    run(wrapped.args(["-c", ours, JOBGUARD]).arg(&log).arg(look)).exits(0).silent();
    assert_eq!(read(&log), read(&bare));
    assert!(read(&log).ends_with("\n1\n"), "{}", read(&log));
    let mode = |path: &Path| strangers::bits(path);
    assert_eq!((mode(&log), mode(&bare)), (0o640, 0o640));
}

#[rstest]
#[case::machine(&["-m", "m1"], "{machine}.log", "echo $JOBGUARD_MACHINE.log")]
#[case::token(&["-m", "m1"], "x{token}", "echo x$JOBGUARD_TOKEN")]
#[case::several(&["-m", "b", "-m", "a"], "{machine}-{token}",
                "echo $JOBGUARD_MACHINE-$JOBGUARD_TOKEN")]
#[case::braces(&["-m", "m1"], "{{token}}%t", "echo {token}%t")]
#[case::date(&["-m", "m1"], "{date}", "TZ=UTC date -r /proc/self +%Y-%m-%d")]
fn placeholders(#[case] machines: &[&str], #[case] log: &str, #[case] name: &str) {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("logs");
    fs::create_dir(&dir).unwrap();
    let mut command = sandbox.jobguard(machines);
    command.args(["--log", log, "--", "sh", "-c", name]).current_dir(&dir);
    run(&mut command).exits(0).silent();
    let [made] = &names(&dir)[..] else { panic!("{:?}", names(&dir)) };
    assert_eq!(read(dir.join(made)).trim_end(), made);
}

#[test]
fn the_time_is_that_of_the_beginning_in_utc() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("logs");
    fs::create_dir(&dir).unwrap();
    logged(&sandbox, &dir.join("{time}"), "true").exits(0).silent();
    let began = sandbox.record("m1")["last"]["started_at"].as_str().unwrap().to_owned();
    let digits: String = began.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(names(&dir), [format!("{}T{}Z", &digits[..8], &digits[8..14])]);
}

/// What is at `log`, and what it is refused for.
#[rstest]
#[case::missing("nowhere/log", "No such file or directory")]
#[case::missing_placeholder("nowhere/{token}", "No such file or directory")]
#[case::missing_machine("{machine}/log", "No such file or directory")]
#[case::no_directory("file/log", "Not a directory")]
#[case::no_directory_placeholder("file/{token}", "it is not a directory")]
#[case::directory("dir", "is a directory")]
#[case::slash("new/", "No such file or directory")]
#[case::fifo("fifo", "is a FIFO or a pipe")]
#[case::socket("socket", "is neither a file nor a device like /dev/null")]
#[case::stdout("/dev/stdout", "is a FIFO or a pipe")]
fn what_can_be_no_log_is_refused_before_any_queue(#[case] log: &str, #[case] why: &str) {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let dir = sandbox.path("logs");
    fs::create_dir_all(dir.join("dir")).unwrap();
    fs::write(dir.join("file"), "kept").unwrap();
    mkfifo(&dir.join("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(dir.join("socket")).unwrap();
    let before = names(&dir);
    let mut command = sandbox.jobguard(["-m", "m1", "--log", log, "--", "echo", "ran"]);
    let done = run(command.current_dir(&dir)).exits(125).says(why);
    assert_eq!(done.stdout(), "");
    assert_eq!((names(&dir), read(dir.join("file"))), (before, "kept".to_owned()));
    assert!(!sandbox.machine("m1").join("queue").exists());
    held.let_go();
    held.supervisor.wait();
}

#[test]
fn what_may_not_be_written_is_refused_before_any_queue_as_root() {
    let commons = Commons::new("a log of somebody else");
    let dir = commons.dir("logs", strangers::BOB, strangers::BOB.0, 0o755);
    fs::write(dir.join("log"), "").unwrap();
    let state = commons.dir("state", ALICE, ALICE.0, 0o755);
    for log in ["log", "new", "{token}"] {
        let words = ["-m", "m1", "--log"].map(OsString::from);
        let mut command = commons.jobguard(ALICE, &[], &state, words);
        run(command.arg(dir.join(log)).arg("true")).exits(125).says("Permission denied");
    }
    assert!(!state.join("m1").join("record.json").exists(), "it was no run");
}

#[test]
fn a_log_that_fails_at_the_last_moment_lets_nothing_run_and_the_machine_go() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("no{token}").join("log");
    let done = logged(&sandbox, &log, "echo ran >&2").exits(125);
    let done = done.says("cannot let the job begin: cannot open the log '").says("No such file");
    assert!(!done.stderr().contains("ran\n"), "{}", done.stderr());
    assert_eq!(sandbox.record("m1")["last"]["ended"], "exec_failed");
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
}

#[test]
fn devices_are_what_they_are() {
    let sandbox = Sandbox::new();
    logged(&sandbox, Path::new("/dev/null"), "echo lost").exits(0).silent();
    logged(&sandbox, Path::new("/dev/full"), "echo lost || exit 9").exits(9).silent();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // A file that is our standard output already.
    let file = sandbox.path("file");
    let mut command = sandbox.jobguard(["-m", "m1", "--log", "/dev/stdout", "echo", "there"]);
    let child = command.stdout(File::create(&file).unwrap()).spawn().unwrap();
    assert_eq!(Running::new(child).wait().code(), Some(0));
    assert_eq!(read(&file), "there\n");
}

#[test]
fn a_full_disk_is_the_jobs_own_to_see_as_root() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.state()).unwrap();
    let disk = Mounted::new("tmpfs", "tmpfs", "size=256k,mode=755", &sandbox.state());
    let log = sandbox.state().join("log");
    let script = "head -c 10000000 /dev/zero; echo $? >\"$0\"; exit 6";
    let told = sandbox.path("told");
    let words = ["-m", "m1", "--log", log.to_str().unwrap(), "--", "sh", "-c", script];
    let done = run(disk.jobguard(words).arg(&told)).exits(6);
    assert_eq!(done.stdout(), "");
    assert_eq!(read(told), "1\n", "the write failed in the job");
    let size = fs::metadata(disk.outside("log")).unwrap().len();
    assert!((100_000..300_000).contains(&size), "what fitted in is there: {size}");
}

/// The job says its PID into the log, and a line for each line that it is given.
const ECHO: &str = "echo $$; while read line; do echo \"$line\"; done; echo end";

/// Starts it.
fn echoing(sandbox: &Sandbox, options: &[&str], output: &Path) -> (Running, Stray) {
    let mut command = sandbox.jobguard(["-m", "m1"]);
    command.args(options).args(["--", "sh", "-c", ECHO]).stdin(Stdio::piped());
    let guard = Running::start(command.stderr(Stdio::piped()));
    until("the job is there", || read(output).contains('\n'));
    let pid = read(output).trim_end().parse().unwrap();
    (guard, Stray(pid))
}

#[test]
fn a_killed_supervisor_loses_nothing() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let (mut guard, job) = echoing(&sandbox, &["--log", log.to_str().unwrap()], &log);
    let mut lines: Vec<String> = vec![job.0.to_string()];
    let mut stdin = guard.child.stdin.take().unwrap();
    for round in 0..100 {
        let line = format!("line {round}");
        std::io::Write::write_all(&mut stdin, format!("{line}\n").as_bytes()).unwrap();
        lines.push(line);
        if round == 50 {
            guard.signal(Signal::SIGKILL);
            guard.wait();
        }
    }
    drop(stdin);
    assert!(ends(job.0, support::PATIENCE));
    lines.push("end".to_owned());
    assert_eq!(read(&log).lines().collect::<Vec<_>>(), lines);
    let says = format!("its output went to '{}'", log.display());
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).says(&says);
}

#[test]
fn a_holder_says_where_its_output_is() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let options = ["--log", "../log"].map(str::to_owned);
    fs::create_dir_all(sandbox.path("cwd")).unwrap();
    let mut command = sandbox.jobguard(["-m", "m1"]);
    command.args(options).args(["--", "sh", "-c", ECHO]).current_dir(sandbox.path("cwd"));
    let mut guard = Running::start(command.stdin(Stdio::piped()));
    until("the job is there", || read(&log).contains('\n'));
    let absolute = sandbox.path("cwd").join("../log");
    assert_eq!(sandbox.record("m1")["holders"][0]["output"], absolute.to_str().unwrap());
    let page = run(&mut sandbox.jobguard(["info", "m1"])).exits(0).stdout();
    assert!(page.contains(&format!("\nOutput:           {}\n", absolute.display())), "{page}");
    drop(guard.child.stdin.take());
    assert_eq!(guard.wait().code(), Some(0));
}

/// Whoever waits must not make, or move, what the one that runs writes to. And a log that hangs when it
/// is opened keeps nobody from looking, or going away: no lock is held.
#[test]
fn the_log_is_opened_by_a_run_that_has_its_machine_and_without_the_lock() {
    require_program("strace");
    let sandbox = Sandbox::new();
    let log: PathBuf = sandbox.path("log");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-P"]).arg(&log);
    command.args(["-e", "trace=openat,open", "-e"]);
    command
        .arg("inject=openat,open:delay_enter=20000000")
        .arg(JOBGUARD)
        .args(["-m", "m1", "--log"]);
    command.arg(&log).args(["--", "true"]);
    sandbox.confine(&mut command);
    let strace = Running::start(command.stderr(Stdio::piped()));
    let holders = || {
        let record = fs::read(sandbox.machine("m1").join("record.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        record["holders"].as_array().map_or(0, Vec::len)
    };
    until("it is on record", || holders() == 1);
    let slow = Stray(support::strace::tracee(&strace).unwrap());
    assert!(!log.exists(), "it is opened last");
    let mut other = sandbox.jobguard(["-n", "-m", "m1", "--lock-timeout", "0", "--log"]);
    run(other.arg(&log).arg("true")).exits(75).says("m1 is held by \"true\"");
    assert!(!log.exists(), "who does not run opens none");
    drop(slow);
    drop(strace);
    until("it is over", || run(&mut sandbox.jobguard(["clear", "m1"])).code() == 0);
    assert!(fs::metadata(&log).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(fs::metadata(sandbox.path("")).unwrap().nlink(), 3, "the state, and nothing else");
}
