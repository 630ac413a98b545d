//! Output of runs that is shown only when they fail (`--quiet-unless-fail`): a file each, which goes with
//! its supervisor. A supervisor that was killed leaves it behind.
//!
//! Each is locked (flock(2)) through the descriptor that the job writes to, so it is locked as long as
//! anybody may write to it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{MAX_TRIES, MachineDir};
use crate::error::Error;
use crate::sys::file::{fstat, openat};
use crate::sys::retry::retry;

const OUTPUT: &str = "output.";

impl MachineDir {
    /// Where the output of the run `token` is.
    pub fn output_path(&self, token: u64) -> PathBuf {
        self.path.join(output_name(token))
    }

    /// Makes it: for the job to write to, and for us to read from.
    pub fn make_output(&self, token: u64) -> Result<(File, File), Error> {
        let name = output_name(token);
        let cannot = |error: io::Error| self.cannot("make", &name)(error);
        for _ in 0..MAX_TRIES {
            match self.try_make_output(&name) {
                Ok(Some(made)) => return Ok(made),
                // Swept before it was locked, or planted, or of a run whose record was lost.
                Ok(None) => self.unlink(&name),
                Err(error) => return Err(cannot(error)),
            }
        }
        Err(cannot(Errno::EEXIST.into()))
    }

    fn try_make_output(&self, name: &str) -> io::Result<Option<(File, File)>> {
        let (common, own) = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR);
        let new = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL | common;
        let had = |opened: nix::Result<OwnedFd>| match opened {
            Err(Errno::EEXIST | Errno::ENOENT | Errno::ELOOP) => Ok(None),
            opened => opened.map(File::from).map(Some),
        };
        let Some(writer) = had(openat(&self.fd, name, new, own))? else { return Ok(None) };
        // Somebody may have put a FIFO in its place since, whose opening waits for a writer.
        let old = OFlag::O_RDONLY | OFlag::O_NONBLOCK | common;
        let Some(reader) = had(openat(&self.fd, name, old, own))? else { return Ok(None) };
        let is_locked = retry(|| writer.try_lock()).is_ok();
        let (made, found) = (fstat(&writer)?, fstat(&reader)?);
        let is_it = made.st_nlink == 1 && made.st_ino == found.st_ino;
        Ok((is_locked && is_it).then_some((writer, reader)))
    }

    /// Removes the output of the run `token`, which was shown, or need not be.
    pub fn remove_output(&self, token: u64) {
        self.unlink(&output_name(token));
    }

    /// Removes what earlier runs left behind, but for the newest: those may still be wanted.
    pub fn sweep_outputs(&self) {
        self.sweep_left(OUTPUT);
    }
}

fn output_name(token: u64) -> String {
    format!("{OUTPUT}{token}")
}
