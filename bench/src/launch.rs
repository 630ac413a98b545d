//! Starting a program as cheaply as can be, and waiting for its end.
//!
//! posix_spawn(3): the C library shares its memory with the child until the exec, so what is
//! measured is the program, and not a copy of this one's pages.

use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawnp};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::proc::children;

/// A command that is ready to be started, again and again: standard input, output and error are
/// `/dev/null`, its environment is nothing but what is given here.
pub struct Launch {
    words: Vec<CString>,
    environment: Vec<CString>,
    actions: PosixSpawnFileActions,
    attributes: PosixSpawnAttr,
}

impl Launch {
    pub fn new<S: AsRef<str>>(words: &[S], environment: &[(&str, &Path)]) -> Self {
        let c = |text: &str| CString::new(text).expect("no NUL in words");
        let mut actions = PosixSpawnFileActions::init().expect("memory");
        for fd in 0..=2 {
            actions.add_open(fd, "/dev/null", OFlag::O_RDWR, Mode::empty()).expect("memory");
        }
        let mut variables = vec![c("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")];
        variables.extend(
            environment.iter().map(|(name, path)| c(&format!("{name}={}", path.display()))),
        );
        Self {
            words: words.iter().map(|word| c(word.as_ref())).collect(),
            environment: variables,
            actions,
            attributes: PosixSpawnAttr::init().expect("memory"),
        }
    }

    pub fn start(&self) -> Started {
        let spawned = posix_spawnp(
            &self.words[0],
            &self.actions,
            &self.attributes,
            &self.words,
            &self.environment,
        );
        Started {
            pid: spawned.unwrap_or_else(|errno| panic!("{:?}: {errno}", self.words[0])),
            over: false,
        }
    }

    /// From before its start to after its end, and its status.
    pub fn timed(&self) -> (Duration, i32) {
        let begin = Instant::now();
        let code = self.start().wait();
        (begin.elapsed(), code)
    }
}

/// A process that does not outlive this handle.
pub struct Started {
    pub pid: Pid,
    over: bool,
}

impl Started {
    /// Its exit status; 128+N when a signal ended it.
    pub fn wait(&mut self) -> i32 {
        self.over = true;
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            other => panic!("{other:?}"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("it is our child, and not reaped");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.over {
            // Its job first: not every wrapper ends it. Either may be over, and that is all right.
            for job in children(self.pid) {
                let _ = kill(job, Signal::SIGKILL);
            }
            let _ = kill(self.pid, Signal::SIGTERM);
            let _ = waitpid(self.pid, None);
        }
    }
}
