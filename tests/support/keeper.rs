//! Processes that nobody supervises: daemons, and jobs whose supervisor was killed. A keeper (`probe.c`)
//! takes them in, so that it is known whether somebody reaps them.

use std::process::{ChildStdin, Command, Stdio};

use super::probe::{probe, send};
use super::{JOBGUARD, Running, Sandbox, Stray, until};
use jobguard::identity::stat::Stat;

/// Whether the keeper reaps what it takes in.
pub const REAPS: &str = "reaps";
pub const LAZY: &str = "lazy";

/// A process of a keeper; it ends with its standard input.
pub struct Kept {
    pub keeper: Running,
    pub process: Stray,
    stdin: Option<ChildStdin>,
}

impl Kept {
    fn start(command: &mut Command) -> (i32, Self) {
        let mut keeper = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::null()));
        let first = keeper.line().parse().unwrap();
        let process = Stray(keeper.line().parse().unwrap());
        let stdin = keeper.child.stdin.take();
        (first, Self { keeper, process, stdin })
    }

    fn taken_in(self) -> Self {
        let parent = || Stat::read(self.process.0).unwrap().parent;
        until("its parent is over", || parent() == self.keeper.pid());
        self
    }

    /// Lets it end.
    pub fn let_go(&mut self) {
        self.stdin = None;
    }

    pub fn pid(&self) -> i32 {
        self.process.0
    }
}

/// A process of a session of its own, whose parent is over; it runs this script.
pub fn daemon(keeper: &str, script: &str) -> Kept {
    let mut command = Command::new(probe());
    // In the background standard input would be /dev/null.
    let start = "exec 3<&0; setsid sh -c \"echo \\$\\$; $0\" <&3 3<&- & ";
    command.args(["keeper", keeper, "sh", "-c", start, script]);
    Kept::start(&mut command).1.taken_in()
}

/// A job on m1 that says its PID first, and whose supervisor was killed.
pub fn orphan(sandbox: &Sandbox, keeper: &str, script: &str) -> Kept {
    let mut command = Command::new(probe());
    command.args(["keeper", keeper, JOBGUARD, "-m", "m1", "--", "sh", "-c", script]);
    sandbox.confine(&mut command);
    orphan_of(&mut command)
}

/// The same of a keeper that is about to be started with such a jobguard.
pub fn orphan_of(command: &mut Command) -> Kept {
    let (supervisor, kept) = Kept::start(command);
    send(supervisor, libc::SIGKILL);
    kept.taken_in()
}
