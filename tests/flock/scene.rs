//! What a case is made of: one of the two tools, what it locks, a holder, and who comes after.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::held::{sleeps_in, waits};
use crate::support::{JOBGUARD, Running, Sandbox, require_program, run, until};

/// The exit status of every job here, which neither tool has of its own: whoever ends with it has run.
pub const RAN: i32 = 7;
/// What is typed for a job that notes that it ran.
pub const JOB: &str = "echo contender >>log; exit 7";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Flock,
    Jobguard,
}

/// A lock file and a machine, of which the tool uses one.
pub struct Scene {
    tool: Tool,
    sandbox: Sandbox,
}

/// Somebody who has it, until told to let go.
pub struct Holder {
    pub wrapper: Running,
    /// The job's standard input; kept apart, since a wait for the wrapper would close it.
    stdin: Option<ChildStdin>,
}

impl Scene {
    pub fn new(tool: Tool) -> Self {
        require_program("flock");
        Self { tool, sandbox: Sandbox::new() }
    }

    /// The command as it is typed for this tool, among the files of the scene.
    pub fn command(&self, options: &str, command: &[&str]) -> Command {
        let options = options.split_ascii_whitespace();
        let mut typed = match self.tool {
            Tool::Flock => Command::new("flock"),
            Tool::Jobguard => Command::new(JOBGUARD),
        };
        match self.tool {
            Tool::Flock => typed.args(options).arg("lock"),
            Tool::Jobguard => typed.args(options).args(["-m", "m1", "--"]),
        };
        self.sandbox.confine(typed.args(command));
        typed.current_dir(self.sandbox.path("")).stderr(Stdio::null());
        typed
    }

    /// What comes of a job with these options.
    pub fn status(&self, options: &str, command: &[&str]) -> i32 {
        as_a_shell_shows(run(&mut self.command(options, command)).0.status)
    }

    /// A holder whose job has begun, and goes on with this script.
    pub fn hold(&self, options: &str, script: &str) -> Holder {
        let script = format!("echo begins >>log; echo; {script}");
        let mut command = self.command(options, &["sh", "-c", &script]);
        let mut wrapper = Running::start(command.stdin(Stdio::piped()));
        wrapper.line();
        let stdin = wrapper.child.stdin.take();
        Holder { wrapper, stdin }
    }

    /// Waits until this one waits for what another holds.
    #[track_caller]
    pub fn until_it_waits(&self, contender: &Running) {
        until("it waits", || match self.tool {
            Tool::Flock => sleeps_in(contender.pid(), libc::SYS_flock),
            Tool::Jobguard => waits(contender.pid()),
        });
    }

    /// What ran, in order.
    pub fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.sandbox.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// What holds on until it is told to let go.
pub const HOLDS: &str = "read _; echo ends >>log";

impl Holder {
    pub fn let_go(&mut self) {
        self.stdin = None;
    }
}

/// `$?`
pub fn as_a_shell_shows(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap()
}

/// What jobguard makes of a status of flock's: only that it is busy is said with another one.
fn in_jobguards_words(tool: Tool, of_flock: i32) -> i32 {
    if tool == Tool::Jobguard && of_flock == 1 { 75 } else { of_flock }
}

/// Somebody comes with these options while a holder with those is there, and stays.
#[track_caller]
pub fn try_beside(tool: Tool, holder: &str, options: &str, status: i32) {
    let scene = Scene::new(tool);
    let mut held = scene.hold(holder, HOLDS);
    let begun = Instant::now();
    let came = scene.status(options, &["sh", "-c", JOB]);
    assert_eq!(came, in_jobguards_words(tool, status));
    if options.contains(".2") {
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    }
    held.let_go();
    assert!(held.wrapper.wait().success());
    let log: &[&str] =
        if status == RAN { &["begins", "contender", "ends"] } else { &["begins", "ends"] };
    assert_eq!(scene.log(), log);
}

/// Somebody comes with these options, and waits until a holder with those lets go.
#[track_caller]
pub fn wait_behind(tool: Tool, holder: &str, options: &str) {
    let scene = Scene::new(tool);
    let mut held = scene.hold(holder, HOLDS);
    let mut contender = scene.command(options, &["sh", "-c", JOB]);
    let mut contender = Running::new(contender.spawn().unwrap());
    scene.until_it_waits(&contender);
    held.let_go();
    assert_eq!(as_a_shell_shows(contender.wait()), RAN);
    assert_eq!(scene.log(), ["begins", "ends", "contender"]);
}
