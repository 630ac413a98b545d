//! What a service manager is told: a socket of ours stands for systemd's. `tests/systemd` has the real
//! one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use rstest::rstest;

use crate::support;
use crate::support::held::Held;
use crate::support::probe::executable;
use crate::support::{PATIENCE, Running, Sandbox, run};

/// Somebody who listens at `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    /// At a path in the sandbox, or at an abstract address of its name.
    fn new(sandbox: &Sandbox, is_abstract: bool) -> Self {
        let path = sandbox.path("notify").to_str().unwrap().to_owned();
        let (address, name) = match is_abstract {
            true => (SocketAddr::from_abstract_name(&path).unwrap(), format!("@{path}")),
            false => (SocketAddr::from_pathname(&path).unwrap(), path),
        };
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, address: name }
    }

    /// A jobguard that runs under it.
    fn jobguard(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = sandbox.jobguard(args);
        command.env("NOTIFY_SOCKET", &self.address).env_remove("SYSTEMD_EXEC_PID");
        command
    }

    /// The next message.
    #[track_caller]
    fn hears(&self) -> String {
        let mut bytes = [0; 8192];
        let length = self.socket.recv(&mut bytes).expect("nothing was said");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Asserts that there is nothing more to be heard; what was said is there when its sender is over.
    #[track_caller]
    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 8192]).expect_err("something was said");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// Says what the job finds of its manager.
const LOOKS: [&str; 3] = ["sh", "-c", "echo ${NOTIFY_SOCKET-unset}"];

#[rstest]
fn the_job_keeps_the_socket_and_jobguard_says_its_status(#[values(false, true)] is_abstract: bool) {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, is_abstract);
    let words = [&["-m", "m1", "--name", "the job", "--"][..], &LOOKS].concat();
    let done = run(&mut manager.jobguard(&sandbox, &words)).exits(0).silent();
    assert_eq!(done.stdout().trim(), manager.address);
    let said = manager.hears();
    assert!(said.starts_with("STATUS=running \"the job\" (PID "), "{said}");
    assert!(!said.contains('\n'), "{said}");
    manager.hears_nothing();
}

#[test]
fn with_notify_ready_jobguard_says_it_and_the_job_has_no_socket() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, false);
    let words = [&["-m", "m1", "--notify", "ready"][..], &LOOKS].concat();
    // Asked for, it is said by whoever is asked.
    let mut command = manager.jobguard(&sandbox, &words);
    let done = run(command.env("SYSTEMD_EXEC_PID", "1")).exits(0).silent();
    assert_eq!(done.stdout().trim(), "unset");
    assert!(manager.hears().starts_with("STATUS=running"));
    assert_eq!(manager.hears(), "READY=1");
    manager.hears_nothing();
}

#[test]
fn a_waiter_puts_the_time_limit_off_and_says_for_whom_it_waits() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, false);
    let mut held = Held::start(&sandbox);
    let words = ["-m", "m1", "--notify", "ready", "true"];
    let mut waiter = Running::start(&mut manager.jobguard(&sandbox, &words));
    let waits = manager.hears();
    assert!(waits.starts_with("STATUS=waiting: m1 is held by \"sh -c"), "{waits}");
    assert!(waits.ends_with("\nEXTEND_TIMEOUT_USEC=180000000"), "{waits}");
    held.let_go();
    let runs = loop {
        let said = manager.hears();
        // While the release is due, perhaps.
        if !said.starts_with("STATUS=waiting") {
            break said;
        }
    };
    assert!(runs.starts_with("STATUS=running \"true\""), "{runs}");
    assert!(runs.ends_with("\nEXTEND_TIMEOUT_USEC=180000000"), "{runs}");
    assert_eq!(manager.hears(), "READY=1");
    assert_eq!(waiter.wait().code(), Some(0));
    manager.hears_nothing();
}

/// It is not ready when it is refused, nor when it cannot be executed.
#[test]
fn who_does_not_begin_is_not_ready() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, false);
    let _held = Held::start(&sandbox);
    let words = ["-m", "m1", "-n", "--notify", "ready", "true"];
    run(&mut manager.jobguard(&sandbox, &words)).exits(75);
    let words = ["-m", "m2", "--notify", "ready", "no-such-program"];
    run(&mut manager.jobguard(&sandbox, &words)).exits(127);
    manager.hears_nothing();
    // That its interpreter is missing shows only when it is executed.
    let script = sandbox.path("script");
    executable(&script, "#!/no/such/interpreter\n");
    manager.socket.set_nonblocking(false).unwrap();
    let words = ["-m", "m3", "--notify", "ready", script.to_str().unwrap()];
    run(&mut manager.jobguard(&sandbox, &words)).exits(127);
    assert!(manager.hears().starts_with("STATUS=running"));
    manager.hears_nothing();
}

/// Somebody deep in a service speaks for nobody, and systemd would log every word as one that was not
/// allowed.
#[test]
fn only_the_services_own_process_says_a_status() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox, false);
    run(manager.jobguard(&sandbox, &["-m", "m1", "true"]).env("SYSTEMD_EXEC_PID", "1")).exits(0);
    manager.hears_nothing();
    // A shell that becomes jobguard.
    let script = r#"SYSTEMD_EXEC_PID=$$ exec "$0" -m m1 true"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, support::JOBGUARD]);
    sandbox.confine(&mut command);
    run(command.env("NOTIFY_SOCKET", &manager.address)).exits(0);
    manager.socket.set_nonblocking(false).unwrap();
    assert!(manager.hears().starts_with("STATUS=running \"true\" (PID "));
}

#[rstest]
#[case::nobody("/nonexistent/notify")]
#[case::nobody_abstract("@jobguard-nobody")]
#[case::nonsense("vsock:2:1")]
#[case::empty("")]
fn a_manager_that_cannot_be_told_fails_nothing(#[case] address: &str) {
    let sandbox = Sandbox::new();
    let words = ["-m", "m1", "--notify", "ready", "true"];
    run(sandbox.jobguard(words).env("NOTIFY_SOCKET", address)).exits(0).silent();
}

#[test]
fn the_record_names_unit_and_invocation() {
    const ID: &str = "0123456789abcdef0123456789abcdef";
    let sandbox = Sandbox::new();
    for (id, recorded) in [(ID, Some(ID)), ("", None), ("\u{1b}[31m", None), (&ID[1..], None)] {
        let ask = ["-m", "m1", "sh", "-c", "\"$0\" info m1 --json", support::JOBGUARD];
        let done = run(sandbox.jobguard(ask).env("INVOCATION_ID", id)).exits(0);
        assert_eq!(done.json()["holders"][0]["context"]["invocation_id"].as_str(), recorded);
    }
    let ask = ["-m", "m1", "sh", "-c", "\"$0\" info m1", support::JOBGUARD];
    let done = run(sandbox.jobguard(ask).env("INVOCATION_ID", ID)).exits(0);
    assert!(done.stdout().contains(&format!("Invocation ID:    {ID}\n")), "{}", done.stdout());
}
