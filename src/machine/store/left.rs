//! Files of runs that a supervisor that was killed leaves behind: what it takes to repeat a run
//! ([`super::memos`]), output that was not shown ([`super::outputs`]).
//!
//! Each is locked (flock(2)) as long as it is of use, so no machine lock is needed to remove the others.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{MachineDir, check_plain};
use crate::sys::file::{entries, open_dir, openat};
use crate::sys::retry::retry;

/// So many of a kind stay: one of them is of the run that was lost, and others may be of phantoms that
/// nobody has met yet.
const KEPT: usize = 3;

impl MachineDir {
    /// Removes what runs left behind in files of this prefix and their tokens, but for the newest. What
    /// cannot be looked at is somebody else's to remove, and stays.
    pub(super) fn sweep_left(&self, prefix: &str) {
        let listed = open_dir(&self.fd).and_then(|mut dir| entries(&mut dir)).unwrap_or_default();
        let name = |token: u64| format!("{prefix}{token}");
        let parse = |file: &str| {
            let token = file.strip_prefix(prefix)?.parse::<u64>().ok()?;
            (name(token) == file).then_some(token)
        };
        let names = listed.iter().filter_map(|entry| entry.file_name().to_str().ok());
        let mut tokens: Vec<u64> = names.filter_map(parse).collect();
        tokens.sort_unstable();
        let names = tokens.into_iter().rev().map(name);
        let left = names.filter_map(|name| Some((self.left(&name)?, name)));
        // Each is locked until it is gone.
        left.skip(KEPT).for_each(|(_lock, name)| self.unlink(&name));
    }

    /// A file that nobody needs any more, locked; the lock goes with the file.
    fn left(&self, name: &str) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened: nix::Result<OwnedFd> = openat(&self.fd, name, flags, Mode::empty());
        let file = File::from(opened.ok()?);
        check_plain(&file).ok()?;
        retry(|| file.try_lock()).is_ok().then_some(file)
    }
}
