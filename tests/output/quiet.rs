//! `--quiet-unless-fail`: nothing is seen of a job that succeeds, and everything of one that fails.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::support::strace::{points, strike_all, struck, traced};

/// A run on `m1` that is quiet.
fn quiet(sandbox: &Sandbox, script: &str) -> Command {
    sandbox.jobguard(["-m", "m1", "--quiet-unless-fail", "--", "sh", "-c", script])
}

/// The files with output in a machine's directory.
pub(crate) fn outputs(sandbox: &Sandbox) -> Vec<String> {
    let mut all = names(&sandbox.machine("m1"));
    all.retain(|name| name.starts_with("output."));
    all
}

#[rstest]
#[case::success("exit 0", 0, "")]
#[case::failure("exit 3", 3, "1\n2\n3\n4\n")]
#[case::last_status("exit 255", 255, "1\n2\n3\n4\n")]
fn output_is_shown_in_order_when_the_job_fails(
    #[case] end: &str,
    #[case] code: i32,
    #[case] shown: &str,
) {
    let sandbox = Sandbox::new();
    let script = format!("echo 1; echo 2 >&2; echo 3; echo 4 >&2; {end}");
    let done = run(&mut quiet(&sandbox, &script)).exits(code).silent();
    assert_eq!(done.stdout(), shown);
    assert_eq!(outputs(&sandbox), [""; 0]);
}

/// One that fails for good has said all of this; one that succeeds at last, nothing.
#[rstest]
#[case::at_last("3", 0, "")]
#[case::never("9", 1, "try 1\ntry 2\ntry 3\n")]
fn all_attempts_write_to_the_same_file(
    #[case] until: &str,
    #[case] code: i32,
    #[case] shown: &str,
) {
    let sandbox = Sandbox::new();
    let count = sandbox.path("count");
    let script = "echo >>\"$1\"; n=$(wc -l <\"$1\"); echo try $n; [ $n -ge $0 ]";
    let options = ["-m", "m1", "--quiet-unless-fail", "--retries", "2", "--retry-delay", "0", "--"];
    let mut command = sandbox.jobguard(options);
    let done = run(command.args(["sh", "-c", script, until]).arg(count)).exits(code);
    assert_eq!(done.stdout(), shown);
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn a_job_that_overran_has_failed() {
    let sandbox = Sandbox::new();
    let words = ["-m", "m1", "--quiet-unless-fail", "--timeout", "0.3", "--", "sh", "-c"];
    let done = run(sandbox.jobguard(words).arg("echo slow; sleep 60")).exits(124);
    assert_eq!(done.stdout(), "slow\n");
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn a_job_that_is_killed_has_failed() {
    let sandbox = Sandbox::new();
    let done = run(&mut quiet(&sandbox, "echo last words; kill -9 $$")).silent();
    assert_eq!((done.signal(), done.stdout().as_str()), (Some(9), "last words\n"));
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn a_command_that_cannot_be_executed_says_so_and_nothing_else() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    fs::write(&script, "#!/nowhere/at/all\n").unwrap();
    strangers::mode(&script, 0o755);
    let mut command = sandbox.jobguard(["-m", "m1", "--quiet-unless-fail"]);
    let done = run(command.arg(&script)).exits(127).says("cannot run");
    assert_eq!((done.stderr().lines().count(), done.stdout().as_str()), (1, ""));
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn whoever_does_not_run_says_why() {
    let sandbox = Sandbox::new();
    let mut held = Held::start(&sandbox);
    let words = ["-n", "-m", "m1", "--quiet-unless-fail", "echo", "ran"];
    let done = run(&mut sandbox.jobguard(words)).exits(75).says("m1 is held by");
    assert_eq!(done.stdout(), "");
    assert_eq!(outputs(&sandbox), [""; 0]);
    held.let_go();
    held.supervisor.wait();
}

#[test]
fn of_several_machines_the_first_keeps_it() {
    let sandbox = Sandbox::new();
    let script = "cat \"$0\"/*/record.json; ls \"$0\"/*; exit 1";
    let mut command = sandbox.jobguard(["-m", "b", "-m", "a", "--quiet-unless-fail", "--"]);
    let done = run(command.args(["sh", "-c", script]).arg(sandbox.state())).exits(1).silent();
    let token = sandbox.record("a")["last"]["token"].to_string();
    let path = sandbox.machine("a").join(format!("output.{token}"));
    let told = format!("\"output\":\"{}\"", path.display());
    assert_eq!(done.stdout().matches(&told).count(), 2, "{}", done.stdout());
    assert_eq!(done.stdout().lines().filter(|line| line.starts_with("output.")).count(), 1);
}

#[test]
fn a_log_keeps_everything_and_what_is_new_in_it_is_shown() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let runs =
        [("echo one; exit 1", 1, "one\n"), ("echo two", 0, ""), ("echo 3; exit 3", 3, "3\n")];
    for (script, code, shown) in runs {
        let mut command = sandbox.jobguard(["-m", "m1", "--quiet-unless-fail", "--log"]);
        let done = run(command.arg(&log).args(["--", "sh", "-c", script])).exits(code).silent();
        assert_eq!(done.stdout(), shown);
    }
    assert_eq!(read(&log), "one\ntwo\n3\n");
    assert_eq!(outputs(&sandbox), [""; 0]);
    let mut command = sandbox.jobguard(["-m", "m1", "--quiet-unless-fail", "--log", "/dev/null"]);
    run(command.arg("true")).exits(125).says("a device, of which nothing could be shown");
}

/// What somebody cut off is not there to be shown, and nothing is made up.
#[test]
fn of_a_log_that_was_cut_off_the_rest_is_shown() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    fs::write(&log, "long enough\n").unwrap();
    let mut command = sandbox.jobguard(["-m", "m1", "--quiet-unless-fail", "--log"]);
    let script = "echo before; : >\"$0\"; echo after; exit 1";
    let done = run(command.arg(&log).args(["--", "sh", "-c", script]).arg(&log)).exits(1).silent();
    assert_eq!(done.stdout(), "after\n");
}

const MEBIBYTE: usize = 1 << 20;

/// A run that shows a mebibyte to a reader who takes his time: a pipe, of which this is the end, and
/// whose other end does not block when `nonblocking`.
fn shows_much(sandbox: &Sandbox, nonblocking: bool) -> (Running, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    if nonblocking {
        let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&writer, flags).unwrap();
    }
    let script = format!("head -c {MEBIBYTE} /dev/zero | tr '\\0' x; exit 4");
    let mut command = quiet(sandbox, &script);
    let guard = Running::new(command.stdout(OwnedFd::from(writer)).spawn().unwrap());
    drop(command); // and its copy of the pipe
    let free = || run(&mut sandbox.jobguard(["status", "m1"])).code() == 3;
    until("there is something to read", || {
        let mut fds = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&reader),
            nix::poll::PollFlags::POLLIN,
        )];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 1
    });
    assert!(free(), "the machine was given back before");
    (guard, File::from(OwnedFd::from(reader)))
}

#[rstest]
fn a_slow_reader_gets_everything_and_keeps_no_machine(#[values(false, true)] nonblocking: bool) {
    let sandbox = Sandbox::new();
    let (mut guard, mut reader) = shows_much(&sandbox, nonblocking);
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
    let mut shown = Vec::new();
    reader.read_to_end(&mut shown).unwrap();
    assert_eq!(guard.wait().code(), Some(4));
    assert!(shown.len() == MEBIBYTE && shown.iter().all(|byte| *byte == b'x'), "{}", shown.len());
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn a_signal_ends_the_showing() {
    let sandbox = Sandbox::new();
    let (mut guard, _reader) = shows_much(&sandbox, false);
    guard.signal(Signal::SIGTERM);
    assert_eq!(guard.wait().signal(), Some(15));
    assert_eq!(outputs(&sandbox).len(), 1, "it can still be read");
}

#[test]
fn a_reader_that_went_away_has_had_enough() {
    let sandbox = Sandbox::new();
    let (mut guard, reader) = shows_much(&sandbox, false);
    drop(reader);
    assert_eq!(guard.wait().code(), Some(4));
    assert_eq!(outputs(&sandbox), [""; 0]);
}

#[test]
fn what_cannot_be_shown_is_kept_and_the_jobs_status_wins() {
    let sandbox = Sandbox::new();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut command = quiet(&sandbox, "echo words; exit 4");
    let child = command.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let mut guard = Running::new(child);
    assert_eq!(guard.wait().code(), Some(4));
    let mut said = String::new();
    guard.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let [kept] = &outputs(&sandbox)[..] else { panic!("{:?}", outputs(&sandbox)) };
    let path = sandbox.machine("m1").join(kept);
    let why = "cannot show the job's output: No space left on device: it is in";
    assert_eq!(said, format!("jobguard: {why} '{}'\n", path.display()));
    assert_eq!(read(path), "words\n");
    // Nobody to show it to, and nothing wrong with that.
    let closed = "exec \"$0\" -m m1 --quiet-unless-fail -- sh -c 'echo x; exit 4' >&-";
    let mut shell = Command::new("sh");
    sandbox.confine(shell.args(["-c", closed, JOBGUARD]));
    run(&mut shell).exits(4).silent();
}

/// Whatever strikes the supervisor, and whenever, once its machine is its own: nothing stands in the way
/// of the next run, and what the job wrote was shown, or is there.
#[rstest]
#[case::killed("signal=KILL")]
#[case::broken_disk("error=EIO")]
#[case::no_memory("error=ENOMEM")]
fn a_supervisor_that_is_struck_at_any_call_loses_no_output(#[case] how: &str) {
    const WORDS: &str = "words of the job";
    require_program("strace");
    let script = format!("echo {WORDS}; exit 3");
    let job = ["-m", "m1", "--quiet-unless-fail", "--", "sh", "-c", &script].map(str::to_owned);
    let scene = Sandbox::new();
    run(&mut traced(&scene, &job)).exits(3);
    let points = points(&scene, "\"output.");
    let spared = AtomicUsize::new(0);
    let hits = strike_all(&points, |point| {
        let sandbox = Sandbox::new();
        let done = run(&mut struck(&sandbox, point, how, &job));
        let next = run(&mut quiet(&sandbox, "true")).exits(0);
        let left = outputs(&sandbox);
        assert!(left.len() <= 1, "{left:?}");
        let kept = left.first().map(|name| read(sandbox.machine("m1").join(name)));
        if !done.stdout().contains(WORDS) && !kept.is_some_and(|kept| kept.contains(WORDS)) {
            // The gate was never opened, then, and that was said.
            let said = [done.stderr(), next.stderr()].concat();
            assert!(
                said.contains("cannot let the job begin") || said.contains("cleared"),
                "{said}"
            );
            spared.fetch_add(1, Ordering::Relaxed);
        }
        done.0.status.code() != Some(3)
    });
    let spared = spared.into_inner();
    println!("{how} at {} calls: {hits} changed its status, {spared} the job", points.len());
    assert!(points.len() > 50 && hits > 3 && spared < points.len() / 2);
}
