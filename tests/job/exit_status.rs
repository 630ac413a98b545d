//! How jobguard ends: as the job did, or with 126 and 127 where there was nothing to run.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::json;

use crate::support::probe::{Watched, bare, executable, launch, not_executable, probe, send};
use crate::support::strace::{Point, struck, tracee};
use crate::support::{
    Done, PATIENCE, Running, Sandbox, ends, require_program, require_root, run, sleeps, until,
};

const GUARD: [&str; 2] = ["-m", "m"];

/// Asserts that the machine is free and how the last run ended.
#[track_caller]
fn last(sandbox: &Sandbox, ended: &str, code: i32) {
    let record = sandbox.record("m");
    assert_eq!(record["holders"], json!([]));
    assert_eq!((&record["last"]["ended"], &record["last"]["code"]), (&json!(ended), &json!(code)));
    run(&mut sandbox.jobguard(["status", "m"])).exits(3);
}

#[test]
fn every_exit_status_is_the_jobs() {
    let sandbox = Sandbox::new();
    for status in (0..=255).step_by(5).chain([1, 2, 64, 75, 124, 126, 127, 128, 137, 143, 254]) {
        let exit = format!("exit {status}");
        run(&mut sandbox.jobguard(["-m", "m", "sh", "-c", &exit])).exits(status).silent();
        assert_eq!(sandbox.record("m")["last"]["code"], status);
    }
}

#[test]
fn death_by_a_signal_is_death_by_that_signal() {
    let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let deadly = |signal: &i32| !harmless.contains(signal) && !stopping.contains(signal);
    let deadly: Vec<i32> = (1..=64).filter(deadly).collect();
    assert_eq!(deadly.len(), 56);
    // Ignored on entry, the signal must end us all the same: the job set it to its default.
    for ignore in ["ignore=0", "ignore=ffffffffffffffff"] {
        let sandbox = Sandbox::new();
        for signal in &deadly {
            let mut guard = launch(&sandbox, &[ignore], &GUARD);
            let done = run(guard.arg(probe()).args(["die", &signal.to_string()])).silent();
            assert_eq!(done.signal(), Some(*signal), "{ignore}");
        }
        last(&sandbox, "signaled", 64);
    }
}

#[test]
fn the_job_dumps_core_and_jobguard_does_not() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let sandbox = Sandbox::new();
    let dumps = |mut command: Command| {
        command.current_dir(sandbox.path("")).arg(probe()).args(["die", "6"]);
        let done = run(&mut command);
        assert_eq!(done.signal(), Some(libc::SIGABRT));
        done.0.status.core_dumped()
    };
    let cores = || {
        let names = std::fs::read_dir(sandbox.path("")).unwrap();
        names.filter(|name| name.as_ref().unwrap().file_name().to_str().unwrap().contains("core"))
    };
    let remove = || cores().for_each(|core| std::fs::remove_file(core.unwrap().path()).unwrap());

    let alone = dumps(bare(&sandbox, &["core=1000000000"]));
    let files = cores().count();
    remove();
    println!("core_pattern {:?}: alone, the job dumps: {alone}, {files} file(s)", pattern.trim());
    assert!(!dumps(launch(&sandbox, &["core=1000000000"], &GUARD)), "jobguard dumped, too");
    assert_eq!(cores().count(), files, "the job's own core");
}

#[rstest]
#[case::missing("no-such-command", 127)]
#[case::missing_path("/no/such/command", 127)]
#[case::below_a_file("/etc/passwd/x", 127)]
#[case::empty("", 127)]
#[case::not_executable("/etc/passwd", 126)]
#[case::directory("/etc", 126)]
#[case::device("/dev/null", 126)]
fn what_cannot_be_run_is_refused_before_anything_is_touched(#[case] word: &str, #[case] code: i32) {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m", "--", word])).exits(code).says("cannot run");
    assert!(!sandbox.state().exists(), "no lock, no record, no directory");
    // Nor is there a wait for a busy machine, or a word about it in its record.
    let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let record = sandbox.record("m");
    run(&mut sandbox.jobguard(["-m", "m", "--", word])).exits(code).says("cannot run");
    assert_eq!(sandbox.record("m"), record);
    holder.end();
}

#[test]
fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    executable(&script, "echo \"$0\" \"$@\"\nexit 3\n");
    let done = run(sandbox.jobguard(GUARD).arg(&script).args(["a  b", ""])).exits(3).silent();
    assert_eq!(done.stdout(), format!("{} a  b \n", script.display()));
    last(&sandbox, "exited", 3);
}

#[test]
fn a_missing_interpreter_is_127_and_leaves_the_machine_free() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    executable(&script, "#!/no/such/interpreter\n");
    run(sandbox.jobguard(GUARD).arg(&script)).exits(127).says("cannot run");
    last(&sandbox, "exec_failed", libc::ENOENT);
    run(&mut sandbox.jobguard(["-n", "-m", "m", "true"])).exits(0);
}

#[test]
fn an_interpreter_that_is_a_directory_is_126() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    executable(&script, "#!/etc\n");
    run(sandbox.jobguard(GUARD).arg(&script)).exits(126).says("cannot run");
    last(&sandbox, "exec_failed", libc::EACCES);
}

#[rstest]
#[case::gone(|file: &Path| std::fs::remove_file(file).unwrap(), 127, libc::ENOENT)]
#[case::no_longer_executable(not_executable, 126, libc::EACCES)]
fn a_file_may_change_while_its_run_waits(
    #[case] change: fn(&Path),
    #[case] code: i32,
    #[case] errno: i32,
) {
    let sandbox = Sandbox::new();
    let file = sandbox.path("file");
    executable(&file, "#!/bin/sh\n");
    let holder = Watched::start(&mut launch(&sandbox, &[], &GUARD), &[]);
    let waiter = sandbox.jobguard(GUARD).arg(&file).stderr(std::process::Stdio::null()).spawn();
    let mut waiter = Running::new(waiter.unwrap());
    until("the waiter sleeps", || sleeps(waiter.pid()));
    change(&file);
    holder.end();
    assert_eq!(waiter.wait().code(), Some(code));
    last(&sandbox, "exec_failed", errno);
}

/// A directory with `a/tool`, which cannot be executed, and `b/tool` and `tool`, which can.
fn tools(sandbox: &Sandbox) {
    for place in ["a", "b", "."] {
        executable(&sandbox.path(place).join("tool"), &format!("#!/bin/sh\necho {place} \"$0\"\n"));
    }
    not_executable(&sandbox.path("a/tool"));
    executable(&sandbox.path("d/tool/file"), "");
}

#[rstest]
#[case::denied_then_found("a:b", 0, "b b/tool")]
#[case::directory_then_found("d:b", 0, "b b/tool")]
#[case::file_then_found("/etc/passwd:b", 0, "b b/tool")]
#[case::denied_and_not_found("a:/no/such/dir", 126, "")]
#[case::only_a_directory("d", 126, "")]
#[case::not_found("/no/such/dir", 127, "")]
#[case::empty_entry_first(":b", 0, ". ./tool")]
#[case::empty_entry_last("/no/such/dir:", 0, ". ./tool")]
#[case::empty_entry_amid("/no/such/dir::b", 0, ". ./tool")]
#[case::empty("", 0, ". ./tool")]
fn path_is_searched_as_execvp_does(#[case] path: &str, #[case] code: i32, #[case] said: &str) {
    let sandbox = Sandbox::new();
    tools(&sandbox);
    let mut guard = sandbox.jobguard(["-m", "m", "tool"]);
    let done = run(guard.current_dir(sandbox.path("")).env("PATH", path)).exits(code);
    assert_eq!(done.stdout().trim_end(), said);
}

#[test]
fn without_a_path_the_default_one_is_searched() {
    let sandbox = Sandbox::new();
    tools(&sandbox);
    let without = |word: &str| -> Done {
        let mut guard = sandbox.jobguard(["-m", "m", word]);
        run(guard.current_dir(sandbox.path("")).env_remove("PATH"))
    };
    without("true").exits(0).silent();
    without("tool").exits(127);
}

/// Its SIGCHLD said that the job had stopped. When that is asked for, it is over.
#[test]
fn a_job_that_ends_while_its_stop_is_looked_at_as_root() {
    require_root("tracing");
    require_program("strace");
    let sandbox = Sandbox::new();
    let line = ["-m", "m", "--", "sh", "-c", "echo $$; kill -STOP $$; exit 7"].map(str::to_owned);
    let looked = Point { name: "waitid".to_owned(), occurrence: 1 };
    let mut guard = Running::start(&mut struck(&sandbox, &looked, "signal=STOP", &line));
    let job = guard.line().parse().unwrap();
    let trace = sandbox.path("trace");
    until("the supervisor is stopped after its first look", || {
        std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("stopped by SIGSTOP"))
    });
    send(job, libc::SIGCONT);
    assert!(ends(job, PATIENCE));
    send(tracee(&guard).expect("a process that is traced"), libc::SIGCONT);
    assert_eq!(guard.wait().code(), Some(7));
    last(&sandbox, "exited", 7);
}
