//! Memos of runs that are to be repeated if they are lost (`--rerun-if-lost`): a file each, which goes
//! with its supervisor. A supervisor that was killed leaves it behind.
//!
//! What is in there is executed, so it must be its user's own word: a regular file that belongs to him,
//! that only he may read or write, and that has no other name. Nobody else can make one, and one that was
//! moved here says itself of which run it is.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::getuid;

use super::{MachineDir, create_new};
use crate::error::Error;
use crate::machine::memo::Memo;
use crate::machine::record::SCHEMA;
use crate::report::escape::escape_path;
use crate::sys::file::{fstat, openat};
use crate::sys::retry::retry;

const MEMO: &str = "rerun.";

/// The largest memo that is read, in bytes: the kernel allows no larger command line and environment
/// (execve(2)), and a byte is four characters at most here.
const MAX_BYTES: u64 = 32 << 20;

/// A memo that is kept as long as its run goes on. It is locked (flock(2)), so that others leave it alone.
#[derive(Debug)]
pub struct Kept {
    file: File,
}

impl Kept {
    /// Empties it, wherever it is by now: nobody can bring it back.
    pub fn empty(self) {
        let _ = retry(|| self.file.set_len(0)); // it is removed as well
    }
}

impl MachineDir {
    /// Writes down what it takes to repeat a run, and removes what earlier ones left behind.
    pub fn keep_memo(&self, memo: &Memo) -> Result<Kept, Error> {
        self.sweep_left(MEMO);
        let name = name(memo.token);
        let written = self.write_memo(&name, memo).map_err(self.cannot("write", &name));
        written.map(|file| Kept { file })
    }

    fn write_memo(&self, name: &str, memo: &Memo) -> io::Result<File> {
        let bytes = serde_json::to_vec(memo)?;
        let mut file = create_new(self.fd.as_fd(), name, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let _ = retry(|| file.try_lock()); // just made; whoever has it can remove it as well
        file.write_all(&bytes).inspect_err(|_| self.unlink(name))?;
        Ok(file)
    }

    /// What it takes to repeat the run `token` of our own; `None` when there is nothing to repeat: it came
    /// to its end, though it could not be taken out of the record.
    pub fn memo(&self, token: u64) -> Result<Option<Memo>, Error> {
        let name = name(token);
        let path = escape_path(&self.path.join(&name));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened: nix::Result<OwnedFd> = openat(&self.fd, name.as_str(), flags, Mode::empty());
        let file = match opened {
            Err(Errno::ENOENT) => return Ok(None),
            opened => File::from(opened.map_err(|errno| self.cannot("open", &name)(errno.into()))?),
        };
        let stat = fstat(&file).map_err(|errno| self.cannot("look at", &name)(errno.into()))?;
        if stat.st_nlink == 0 {
            return Ok(None); // since it was opened
        }
        let is_ours = stat.st_uid == getuid().as_raw()
            && stat.st_mode & (libc::S_IFMT | 0o077) == libc::S_IFREG
            && stat.st_nlink == 1;
        if !is_ours {
            return Err(Error::State(format!(
                "'{path}' may be somebody else's word: what it says is not run"
            )));
        }
        if stat.st_size == 0 {
            return Ok(None); // its run has emptied it
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(self.cannot("read", &name))?;
        let memo: Option<Memo> = serde_json::from_slice(&bytes).ok();
        let memo = memo.filter(|memo| (memo.schema, memo.token) == (SCHEMA, token));
        memo.map(Some).ok_or_else(|| {
            Error::State(format!("'{path}' does not say how to repeat the run {token}"))
        })
    }

    /// Removes a memo: its run is over, or repeated.
    pub fn forget_memo(&self, token: u64) {
        self.unlink(&name(token));
    }
}

fn name(token: u64) -> String {
    format!("{MEMO}{token}")
}
