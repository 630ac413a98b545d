//! `--log-max-size` and `--log-keep`: a full log makes place when a run begins, and nothing is lost but
//! what is too old.

use std::collections::BTreeMap;

use super::*;

/// Runs a script with a log that makes place from 10 bytes on.
fn rotated(sandbox: &Sandbox, log: &Path, keep: &str, script: &str) -> Done {
    let mut command = sandbox.jobguard(["-m", "m1", "--log-max-size", "10", "--log-keep", keep]);
    run(command.arg("--log").arg(log).args(["--", "sh", "-c", script]))
}

#[test]
fn so_many_are_kept_the_newest_first() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("logs");
    fs::create_dir(&dir).unwrap();
    let log = dir.join("log");
    for round in 1..=6 {
        rotated(&sandbox, &log, "3", &format!("echo round no {round}")).exits(0).silent();
    }
    let all = ["log", "log.1", "log.2", "log.3"];
    assert_eq!(names(&dir), all);
    assert_eq!(
        all.map(|name| read(dir.join(name)).trim().chars().last()),
        [6, 5, 4, 3].map(|digit| char::from_digit(digit, 10))
    );
    // One that is small goes on.
    fs::write(&log, "small\n").unwrap();
    rotated(&sandbox, &log, "3", "echo and more").exits(0).silent();
    assert_eq!(read(&log), "small\nand more\n");
}

#[test]
fn a_run_goes_on_in_the_log_that_is_moved_under_it() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    let options = ["--log", log.to_str().unwrap(), "--quiet-unless-fail"];
    let (mut guard, job) = echoing(&sandbox, &options, &log);
    let mut stdin = guard.child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"a line of many bytes\n").unwrap();
    until("it is written", || read(&log).contains("many"));
    let mut other = sandbox.jobguard(["-m", "m2", "--log-max-size", "10", "--log"]);
    run(other.arg(&log).args(["echo", "other"])).exits(0).silent();
    drop(stdin);
    assert_eq!(guard.wait().code(), Some(0));
    assert_eq!(read(&log), "other\n");
    assert_eq!(read(sandbox.path("log.1")), format!("{}\na line of many bytes\nend\n", job.0));
}

/// Runs of different machines, all at once, into one log: each line is there once, whole.
#[test]
fn concurrent_runs_lose_no_line() {
    const MACHINES: usize = 6;
    const ROUNDS: usize = 15;
    const LINES: usize = 5;
    let sandbox = Sandbox::new();
    let dir = sandbox.path("logs");
    fs::create_dir(&dir).unwrap();
    let log = dir.join("log");
    std::thread::scope(|scope| {
        for machine in 0..MACHINES {
            let (sandbox, log) = (&sandbox, &log);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = format!("m{machine}");
                    let options = ["-m", &name, "--log-max-size", "1", "--log-keep", "999"];
                    let script = "for i in 0 1 2 3 4; do echo \"$0 $i\"; done";
                    let mut command = sandbox.jobguard(options);
                    command.arg("--log").arg(log).args(["--", "sh", "-c", script]);
                    run(command.arg(format!("{machine}.{round}"))).exits(0).silent();
                }
            });
        }
    });
    let mut lines = BTreeMap::<String, usize>::new();
    for name in names(&dir) {
        for line in read(dir.join(name)).lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(lines.len(), MACHINES * ROUNDS * LINES);
    assert!(lines.values().all(|count| *count == 1), "{lines:?}");
    // They are numbered without a gap.
    let count = names(&dir).len();
    assert!(count > ROUNDS, "moved but {count} times");
    assert!((1..count).all(|number| dir.join(format!("log.{number}")).exists()), "{count}");
}

#[test]
fn a_log_that_cannot_be_moved_grows_on() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    fs::write(&log, "0123456789\n").unwrap();
    fs::create_dir(sandbox.path("log.1")).unwrap();
    let done = rotated(&sandbox, &log, "1", "echo ran").exits(0);
    done.says("cannot rotate the log").says("it grows on: Is a directory");
    assert_eq!(read(&log), "0123456789\nran\n");
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_moved() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("far")).unwrap();
    let (link, log) = (sandbox.path("link"), sandbox.path("far").join("log"));
    fs::write(&log, "0123456789\n").unwrap();
    std::os::unix::fs::symlink(&log, &link).unwrap();
    rotated(&sandbox, &link, "1", "echo ran").exits(0).silent();
    assert!(link.is_symlink());
    assert_eq!(read(&log), "ran\n");
    assert_eq!(read(sandbox.path("far").join("log.1")), "0123456789\n");
}

/// A job may lock what it writes to; nobody waits for that, and the job gets no lock of ours.
#[test]
fn locks_on_the_log_are_the_jobs_own() {
    let sandbox = Sandbox::new();
    let log = sandbox.path("log");
    fs::write(&log, "0123456789\n").unwrap();
    let lock = File::open(&log).unwrap();
    lock.lock().unwrap();
    rotated(&sandbox, &log, "1", "echo ran").exits(0).silent();
    assert_eq!(read(&log), "0123456789\nran\n");
    // A child that another test forks meanwhile may have it open for a moment.
    lock.unlock().unwrap();
    require_program("flock");
    // Through another description of the file: ours would not be in the way.
    rotated(&sandbox, &log, "1", "flock -n /proc/self/fd/1 true && echo free").exits(0).silent();
    assert_eq!(read(&log), "free\n");
}

#[rstest]
#[case(&["--log-max-size", "10"], "--log")]
#[case(&["--log", "x", "--log-keep", "2"], "--log-max-size")]
#[case(&["--log", "x", "--log-max-size", "1", "--log-keep", "0"], "'0' is no number of logs")]
#[case(&["--log", "x", "--log-max-size", "ten"], "'ten' is no size")]
#[case(&["--log", ""], "'' is no file name")]
#[case(&["--log", "x{host}"], "a placeholder {host}")]
fn what_makes_no_sense_is_a_usage_error(#[case] options: &[&str], #[case] why: &str) {
    let sandbox = Sandbox::new();
    run(sandbox.jobguard(["-m", "m1"]).args(options).arg("true")).exits(64).says(why);
}
