//! Jobs that leave processes behind (`litter.c`), and the leash that they are on.

use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Sandbox;
use super::probe::compiled;

/// The program, compiled.
pub fn litter() -> &'static str {
    static LITTER: OnceLock<PathBuf> = OnceLock::new();
    LITTER.get_or_init(|| compiled("tests/support/litter.c", "litter")).to_str().unwrap()
}

/// A FIFO that a job of ours, and whatever comes of it, holds open. They end when this is dropped.
pub struct Leash {
    path: PathBuf,
    end: File,
    /// Keeps it from looking let go until they have it.
    reader: Option<File>,
}

impl Leash {
    pub fn new(sandbox: &Sandbox) -> Self {
        Self::at(sandbox.path("leash"))
    }

    pub fn at(path: PathBuf) -> Self {
        mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap(); // whatever the umask
        let open = |write: bool| {
            let mut options = OpenOptions::new();
            options.read(!write).write(write).custom_flags(O_NONBLOCK).open(&path).unwrap()
        };
        let reader = Some(open(false));
        let end = open(true);
        Self { path, end, reader }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command line of a job, options separated by spaces.
    pub fn job(&self, options: &str) -> Vec<String> {
        let (what, options) = options.split_once(' ').unwrap_or((options, ""));
        let leash = self.path.to_str().unwrap();
        [litter(), what, leash]
            .into_iter()
            .chain(options.split_whitespace())
            .map(str::to_owned)
            .collect()
    }

    /// They have it: from here on it is known when they are gone.
    pub fn is_taken(&mut self) {
        self.reader = None;
    }

    /// Whether all of them are gone, within a time.
    #[track_caller]
    pub fn is_let_go(&self, within: Duration) -> bool {
        assert!(self.reader.is_none(), "nobody has said that it is taken");
        let mut fds = [PollFd::new(self.end.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() != 0
    }
}
