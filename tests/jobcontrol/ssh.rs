//! `ssh -t HOST jobguard ...` whose client is killed: a real sshd, without network (the client's proxy
//! command is the server) and in a mount namespace, so that it writes nothing on this machine.

use std::io::Write;
use std::process::{Command, Stdio};

use libc::{SIGCONT, SIGHUP};
use nix::sys::signal::Signal;

use crate::shell::{Guard, Job, program};
use crate::support::{
    JOBGUARD, PATIENCE, Running, Sandbox, ends, require_program, require_root, run, until,
};

/// What the server needs is somewhere else for it, and goes with it.
const SERVER: &str =
    "mount -t tmpfs t /run && mount -t tmpfs t /var/log && mkdir /run/sshd && exec";

/// A client that runs `command` on a terminal of the server's.
fn client(sandbox: &Sandbox, command: &str) -> Running {
    require_root("sshd");
    for program in ["ssh", "ssh-keygen", "unshare"] {
        require_program(program);
    }
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    for key in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)])).exits(0);
    }
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n\
         PrintMotd no\nPrintLastLog no\n",
        path("host"),
        path("user.pub")
    );
    std::fs::write(path("config"), config).unwrap();
    let server = format!("{SERVER} /usr/sbin/sshd -i -e -f {} 2>{}", path("config"), path("log"));
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-tt", "-q", "-i", &path("user")]);
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        &format!("ProxyCommand=unshare --mount sh -c '{server}'"),
    ];
    for option in options {
        ssh.args(["-o", option]);
    }
    ssh.args(["root@nowhere", command]);
    sandbox.confine(&mut ssh);
    Running::start(ssh.stdin(Stdio::piped()).stderr(Stdio::null()))
}

/// Kills the client, and so closes the terminal.
fn hang_up(mut client: Running) {
    client.signal(Signal::SIGKILL);
    client.wait();
}

fn words(sandbox: &Sandbox, guard: Guard) -> String {
    let state = sandbox.state();
    match guard {
        Guard::Bare => String::new(),
        Guard::Shared => format!("{JOBGUARD} --state-dir {} -m m --", state.display()),
        Guard::Own => format!("{JOBGUARD} --state-dir {} -m m --group own --", state.display()),
    }
}

/// The command's own shell makes way for it: it leads the session.
#[test]
fn the_job_of_a_connection_that_is_lost_is_told_once() {
    for guard in [Guard::Bare, Guard::Shared, Guard::Own] {
        let sandbox = Sandbox::new();
        let report = sandbox.path("report");
        let words = words(&sandbox, guard);
        let client =
            client(&sandbox, &format!("exec {words} {} job >{}", program(), report.display()));
        let told = || std::fs::read_to_string(&report).unwrap_or_default();
        until("the job greets", || told().ends_with('\n'));
        let job = Job::greet(told().trim_end());
        hang_up(client);
        until("the job is told", || told().lines().count() >= 3);
        crate::support::probe::send(if guard == Guard::Bare { job.pid } else { job.parent }, 10);
        until("all was told", || told().contains("10 user\n"));
        let numbers = |text: String| -> Vec<String> {
            text.lines().skip(1).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
        };
        let mut numbers = numbers(told());
        numbers.sort();
        assert_eq!(numbers, [SIGHUP, 10, SIGCONT].map(|signal| signal.to_string()), "{guard:?}");
    }
}

#[test]
fn a_machine_is_let_go_by_when_the_connection_of_its_job_is_lost() {
    let kinds = [
        // As the leader of the session, under a script, and under a shell with job control.
        ("exec JOB", None),
        ("JOB; true", None),
        ("exec env HOME=/nonexistent PS1= bash --norc --noprofile -i", Some("JOB\n")),
        ("exec env HOME=/nonexistent PS1= bash --norc --noprofile -i", Some("JOB &\n")),
    ];
    for (command, typed) in kinds {
        for guard in [Guard::Shared, Guard::Own] {
            let sandbox = Sandbox::new();
            let job = format!("{} sleep 1000", words(&sandbox, guard));
            let mut client = client(&sandbox, &command.replace("JOB", &job));
            if let Some(typed) = typed {
                let stdin = client.child.stdin.as_mut().unwrap();
                stdin.write_all(typed.replace("JOB", &job).as_bytes()).unwrap();
            }
            let record = sandbox.machine("m").join("record.json");
            until("the machine is held", || record.exists());
            let pid =
                |who: &str| sandbox.record("m")["holders"][0][who]["pid"].as_i64().unwrap() as i32;
            let (job, supervisor) = (pid("job"), pid("supervisor"));
            let _strays = [job, supervisor].map(crate::support::Stray);
            hang_up(client);
            assert!(ends(supervisor, PATIENCE), "{command} {typed:?} {guard:?}");
            let last = &sandbox.record("m")["last"];
            assert_eq!((&last["ended"], &last["code"]), (&"signaled".into(), &SIGHUP.into()));
        }
    }
}
