//! The directory of one machine: its lock, its record ([`sidecar`]), its [`lifelines`].
//!
//! Nothing here decides anything; [`crate::protocol`] does.

mod left;
pub mod lifelines;
pub mod memos;
pub mod outputs;
pub mod queue;
pub mod sidecar;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};

use super::events::{self, Event};
use super::lock::{self, Asked, MachineLock};
use super::name::MachineName;
use super::state_dir::{Missing, cannot_write, check_owner};
use crate::error::{Error, plain};
use crate::report::escape::escape_path;
use crate::sys::file::{fchmod, fstat, lstatat, mkdirat, openat, unlinkat};
use crate::sys::retry::retry;

const LOCK: &str = "lock";

/// An open directory of one machine.
#[derive(Debug)]
pub struct MachineDir {
    fd: OwnedFd,
    name: MachineName,
    path: PathBuf,
    shared: bool,
}

impl MachineDir {
    pub(super) fn open(
        state: BorrowedFd<'_>,
        state_path: &Path,
        name: &MachineName,
        missing: Missing,
        shared: bool,
    ) -> Result<Option<Self>, Error> {
        let path = state_path.join(name.as_str());
        let shown = escape_path(&path);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = match openat(state, name.as_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) if missing == Missing::Accept => return Ok(None),
            Err(Errno::ENOENT) => {
                match make_dir(state, name.as_str(), shared) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => {
                        return Err(cannot_write(&format!("make '{shown}'"), errno.into()));
                    }
                }
                openat(state, name.as_str(), flags, Mode::empty())
            }
            opened => opened,
        };
        let fd = opened.map_err(Error::io(format!("open the directory '{shown}'")))?;
        let stat = fstat(&fd).map_err(Error::io(format!("look at the directory '{shown}'")))?;
        check_owner(&stat, &shown)?;
        Ok(Some(Self { fd, name: name.clone(), path, shared }))
    }

    /// The machine's name.
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn mode(&self, own: u32, shared: u32) -> Mode {
        Mode::from_bits_truncate(if self.shared { shared } else { own })
    }

    fn doing(&self, doing: &str, file: &str) -> String {
        format!("{doing} '{}'", escape_path(&self.path.join(file)))
    }

    fn cannot<'a>(
        &'a self,
        doing: &'a str,
        file: &'a str,
    ) -> impl FnOnce(io::Error) -> Error + use<'a> {
        move |source| Error::io(self.doing(doing, file))(source)
    }

    /// Takes the machine lock, waiting `deadline` at most.
    ///
    /// The lock file may have been deleted, and made again, while we waited: then what we hold
    /// excludes nobody who comes now, so we start over with the new one.
    pub fn lock(&self, deadline: Duration) -> Result<MachineLock, Error> {
        let begun = Instant::now();
        loop {
            let file = self.open_lock()?;
            let left = deadline.saturating_sub(begun.elapsed());
            let asked = lock::take(file, left).map_err(self.cannot("lock", LOCK))?;
            let lock = match asked {
                Asked::Taken(lock) => lock,
                Asked::TimedOut(file) => return Err(self.lock_timeout(&file, deadline)),
            };
            if self.is_current(&lock).map_err(self.cannot("look at", LOCK))? {
                return Ok(lock);
            }
            // Whoever replaces it again and again gets no more than the deadline either.
            if begun.elapsed() >= deadline {
                return Err(self.lock_replaced(deadline));
            }
        }
    }

    /// Takes the machine lock if nobody has it.
    pub fn try_lock(&self) -> Result<Option<MachineLock>, Error> {
        let lock = lock::try_take(self.open_lock()?).map_err(self.cannot("lock", LOCK))?;
        let Some(lock) = lock else { return Ok(None) };
        let current = self.is_current(&lock).map_err(self.cannot("look at", LOCK))?;
        Ok(current.then_some(lock))
    }

    fn open_lock(&self) -> Result<File, Error> {
        let mode = self.mode(0o600, 0o660);
        let file = open_lasting(self.fd.as_fd(), LOCK, OFlag::O_RDWR, mode)
            .map_err(|error| self.cannot_open_lock(error))?;
        check_plain(&file).map_err(self.cannot("trust", LOCK))?;
        Ok(file)
    }

    /// A lock file that was there before the directory was shared keeps its mode.
    fn cannot_open_lock(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::PermissionDenied if self.shared => Error::State(format!(
                "cannot {}: {}: it was made before the directory was shared; its owner can share \
                 it, too: chmod 660",
                self.doing("open", LOCK),
                plain(&error)
            )),
            _ => cannot_write(&self.doing("open", LOCK), error),
        }
    }

    fn lock_timeout(&self, file: &File, deadline: Duration) -> Error {
        let owner = lock::owner(file)
            .unwrap_or_else(|| "a process that cannot be seen from here".to_owned());
        let waited = humantime::format_duration(deadline);
        Error::LockTimeout {
            machine: self.name.clone(),
            detail: format!(
                "{owner} has held it for more than {waited}, which takes microseconds: continue or \
                 end it, or wait longer with --lock-timeout"
            ),
        }
    }

    fn lock_replaced(&self, deadline: Duration) -> Error {
        let waited = humantime::format_duration(deadline);
        let detail = format!("somebody has replaced its file again and again for {waited}");
        Error::LockTimeout { machine: self.name.clone(), detail }
    }

    /// Whether the lock's file is still the one at its path.
    pub fn is_current(&self, lock: &MachineLock) -> io::Result<bool> {
        let held = fstat(lock.file())?;
        match lstatat(&self.fd, LOCK) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The boot that was noted in the lock file, if one was: no job that began under a later one is
    /// in the record.
    pub fn noted_boot(&self) -> io::Result<Option<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        match openat(&self.fd, LOCK, flags, Mode::empty()) {
            Ok(file) => lock::noted_boot(&File::from(file)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Appends to the event log.
    pub fn log(&self, events: &[Event]) -> Result<(), Error> {
        events::append(self.fd.as_fd(), events, self.mode(0o644, 0o664))
            .map_err(self.cannot("write", events::FILE))
    }

    /// Whether the directory itself is still what its path names.
    fn is_in_place(&self) -> bool {
        self.is_at(&self.path)
    }

    /// Whether the directory is what this path names.
    pub fn is_at(&self, path: &Path) -> bool {
        let found = retry(|| std::fs::symlink_metadata(path));
        fstat(&self.fd).is_ok_and(|stat| {
            found.is_ok_and(|found| (found.dev(), found.ino()) == (stat.st_dev, stat.st_ino))
        })
    }
}

/// Opens a file that lasts, or makes it with this mode. It is born with that, whatever the umask is,
/// so a crash leaves none that others cannot open.
///
/// One that is there keeps its mode: in a shared directory another member could have moved a secret
/// of ours there, to have us open it to the group.
pub(super) fn open_lasting(
    dir: BorrowedFd<'_>,
    name: &str,
    access: OFlag,
    mode: Mode,
) -> io::Result<File> {
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut tries = 0;
    loop {
        match openat(dir, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            opened => return Ok(File::from(opened?)),
        }
        let made = born_with(Mode::empty(), || {
            openat(dir, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
        });
        tries += 1;
        match made {
            Err(Errno::EEXIST) if tries < MAX_TRIES => {} // somebody else made it meanwhile
            made => return Ok(File::from(made?)),
        }
    }
}

/// Writes a new file that everybody may read, in place of one that a crash left.
fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(0o644);
    let mut file = create_new(dir, name, mode)?;
    fchmod(&file, mode)?; // the umask may have taken bits away
    file.write_all(bytes)
}

/// Makes a file of our own, in the place of one that was left behind, or planted.
fn create_new(dir: BorrowedFd<'_>, name: &str, mode: Mode) -> nix::Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || openat(dir, name, flags, mode).map(File::from);
    match open() {
        Err(Errno::EEXIST) => {
            unlinkat(dir, name)?;
            open()
        }
        opened => opened,
    }
}

/// Makes a machine's directory, or one in it: complete at birth, so that a crash leaves none that
/// cannot be used. Its owner can use it under any umask, a group it is shared with, too; setgid is
/// inherited.
fn make_dir(dir: impl AsFd, name: &str, shared: bool) -> nix::Result<()> {
    let own = Mode::from_bits_truncate(0o755);
    match shared {
        true => born_with(Mode::empty(), || mkdirat(&dir, name, own | Mode::S_IWGRP)),
        false => born_with(umask_now() - Mode::S_IRWXU, || mkdirat(&dir, name, own)),
    }
}

/// Makes something under another umask, which all threads share.
fn born_with<T>(mask: Mode, make: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock(); // nobody panics in there
    let inherited = umask(mask);
    let made = make();
    umask(inherited);
    made
}

fn umask_now() -> Mode {
    let inherited = umask(Mode::empty());
    umask(inherited);
    inherited
}

/// A file that comes and goes more often than this while we open it is not to be had.
const MAX_TRIES: usize = 100;

/// Refuses what is no regular file of one name: in a shared directory another member could have
/// linked a file of ours there, to have us change it.
pub(super) fn check_plain(file: impl AsFd) -> io::Result<()> {
    let stat = fstat(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::other("it is not a regular file"));
    }
    if stat.st_nlink > 1 {
        return Err(io::Error::other("it has another name elsewhere (a hard link)"));
    }
    Ok(())
}
