//! What a service manager hands to the process that it executes, which is jobguard, is the job's: the
//! sockets of sd_listen_fds(3) and the watchdog of sd_watchdog_enabled(3). `tests/systemd` has the
//! real one.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rstest::rstest;

use crate::support::{JOBGUARD, Running, Sandbox, require_program, run, until};

/// A job that takes its socket as sd_listen_fds(3) does, and serves one client.
const SERVES: &str = "
import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid()), os.environ
assert os.environ['LISTEN_FDS'] == '1', os.environ
client, _ = socket.socket(fileno=3).accept()
client.sendall(b'served')
";

#[test]
fn a_job_takes_the_socket_that_it_is_activated_for() {
    ["systemd-socket-activate", "python3"].into_iter().for_each(require_program);
    let sandbox = Sandbox::new();
    let socket = sandbox.path("socket");
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg("--listen").arg(&socket).arg("-E").arg("JOBGUARD_STATE_DIR");
    activate.args([JOBGUARD, "-m", "m1", "--", "python3", "-c", SERVES]);
    sandbox.confine(&mut activate);
    let mut manager = Running::new(activate.stderr(Stdio::null()).spawn().unwrap());
    let mut client = None;
    until("somebody listens", || {
        client = UnixStream::connect(&socket).ok();
        client.is_some()
    });
    let mut said = String::new();
    client.unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "served");
    assert!(manager.wait().success());
    assert_eq!(sandbox.record("m1")["last"]["code"], 0);
}

/// A shell that becomes jobguard, whose PID it says in these variables; the job says what it finds.
#[rstest]
#[case::listen("LISTEN_PID=$$", "LISTEN_PID=job")]
#[case::watchdog("WATCHDOG_PID=$$", "WATCHDOG_PID=job")]
#[case::both("LISTEN_PID=$$ WATCHDOG_PID=$$", "LISTEN_PID=job WATCHDOG_PID=job")]
#[case::by_pidfd("LISTEN_PID=$$ LISTEN_PIDFDID=7", "LISTEN_PID=job")]
#[case::somebody_elses("LISTEN_PID=1 LISTEN_PIDFDID=7", "LISTEN_PID=1 LISTEN_PIDFDID=7")]
#[case::in_words("LISTEN_PID=me WATCHDOG_PID=", "LISTEN_PID=me WATCHDOG_PID=")]
#[case::another_variable("MY_PID=$$", "MY_PID=jobguard")]
fn what_is_meant_for_jobguards_pid_is_meant_for_the_jobs(#[case] set: &str, #[case] found: &str) {
    let sandbox = Sandbox::new();
    let job = r#"echo $$; env | grep -E "^(LISTEN|WATCHDOG|MY)_PID" | sort | tr "\n" " ""#;
    let script = format!(r#"echo $$; {set} exec "$0" -m m1 -- sh -c '{job}'"#);
    let mut sh = Command::new("sh");
    sandbox.confine(sh.args(["-c", &script, JOBGUARD]));
    let said = run(&mut sh).exits(0).silent().stdout();
    let [jobguard, job, variables] = said.lines().collect::<Vec<_>>().try_into().unwrap();
    let found = found.replace("jobguard", jobguard).replace("job", job);
    assert_eq!(variables.trim(), found);
}
