//! The directory of one machine: its lock, its record, its lifelines.
//!
//! The record is always whole: every rewrite makes a new file and exchanges it with the old one.
//! Nothing here decides anything; [`crate::protocol`] does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::events::{self, Event};
use super::lock::{self, Asked, MachineLock};
use super::name::MachineName;
use super::record::{MAX_TOKEN, Reading, Record};
use super::state_dir::{Missing, cannot_write, check_owner};
use crate::error::Error;
use crate::identity::lifeline::{Feel, Lifeline, feel};
use crate::identity::verdict::Subject;
use crate::report::escape::escape_path;
use crate::sys::rename::{Rename, rename_in};

/// The largest record, in bytes: the longest command line that execve(2) takes (2 MiB), with every
/// byte spelled out, fits.
pub const MAX_RECORD: u64 = 16 << 20;

const RECORD: &str = "record.json";
const LOCK: &str = "lock";
const LIFE: &str = "life.";

/// An open directory of one machine.
#[derive(Debug)]
pub struct MachineDir {
    fd: OwnedFd,
    name: MachineName,
    path: PathBuf,
    shared: bool,
}

/// A record file as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// What it says.
    pub reading: Reading,
    /// When the file was last written, in seconds since the Unix epoch.
    pub modified: Option<i64>,
    /// Its bytes; `None` when there is no file, or none that was read.
    bytes: Option<Vec<u8>>,
}

impl Snapshot {
    /// Whether both saw the same bytes.
    pub fn same_as(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.reading.subjects == other.reading.subjects
    }
}

/// How a rewrite of the record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The new record is in place.
    Placed,
    /// Somebody replaced the lock file or the record meanwhile; nothing was changed.
    Overtaken,
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
                let mode = Mode::from_bits_truncate(if shared { 0o775 } else { 0o755 });
                match mkdirat(state, name.as_str(), mode) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => {
                        return Err(cannot_write(&format!("make '{shown}'"), errno.into()));
                    }
                }
                let made = openat(state, name.as_str(), flags, Mode::empty());
                if shared && let Ok(made) = &made {
                    // The umask took bits away; setgid is inherited from the state directory.
                    let _ = fchmod(made, mode | Mode::S_ISGID); // another member made it
                }
                made
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

    fn cannot(&self, doing: &str, file: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        let doing = format!("{doing} '{}'", escape_path(&self.path.join(file)));
        Error::io(doing)
    }

    /// Takes the machine lock, waiting `deadline` at most.
    ///
    /// The lock file may have been deleted, and made again, while we waited: then what we hold
    /// excludes nobody who comes now, so we start over with the new one.
    pub fn lock(&self, deadline: Duration) -> Result<MachineLock, Error> {
        let mode = self.mode(0o600, 0o660);
        let flags = OFlag::O_RDWR
            | OFlag::O_CREAT
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        loop {
            let file = openat(&self.fd, LOCK, flags, mode)
                .map_err(|errno| self.cannot("open", LOCK)(errno.into()))?;
            check_plain(&file).map_err(self.cannot("trust", LOCK))?;
            if self.shared {
                let _ = fchmod(&file, mode); // another member owns it, and has done this
            }
            let asked =
                lock::take(File::from(file), deadline).map_err(self.cannot("lock", LOCK))?;
            let lock = match asked {
                Asked::Taken(lock) => lock,
                Asked::TimedOut(file) => return Err(self.lock_timeout(&file, deadline)),
            };
            if self.is_current(&lock).map_err(self.cannot("look at", LOCK))? {
                return Ok(lock);
            }
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

    /// Whether the lock's file is still the one at its path.
    pub fn is_current(&self, lock: &MachineLock) -> io::Result<bool> {
        let held = lock.file().metadata()?;
        match fstatat(&self.fd, LOCK, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (held.dev(), held.ino())),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads the record. What can't be read is a subject to be judged, not an error: it counts as
    /// held.
    pub fn read(&self) -> Result<Snapshot, Error> {
        let name = self.name.as_str();
        let absent = |subject: Option<String>| Snapshot {
            reading: match subject {
                None => Reading::absent(name),
                Some(why) => Reading::only(name, Subject::Unreadable(why)),
            },
            modified: None,
            bytes: None,
        };
        let unreadable = |why: &str| Ok(absent(Some(format!("its record {why}"))));
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.fd, RECORD, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(absent(None)),
            Err(Errno::ELOOP) => return unreadable("is a symbolic link"),
            Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::ENXIO)) => {
                return unreadable(&format!("cannot be opened: {}", errno.desc()));
            }
            Err(errno) => return Err(self.cannot("open", RECORD)(errno.into())),
        };
        let meta = file.metadata().map_err(self.cannot("look at", RECORD))?;
        if !meta.is_file() {
            return unreadable("is not a regular file");
        }
        if meta.len() > MAX_RECORD {
            return unreadable(&format!(
                "has {} bytes, more than any record ({MAX_RECORD})",
                meta.len()
            ));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
        file.take(MAX_RECORD + 1).read_to_end(&mut bytes).map_err(self.cannot("read", RECORD))?;
        let reading = Reading::parse(name, &bytes);
        Ok(Snapshot { reading, modified: Some(meta.mtime()), bytes: Some(bytes) })
    }

    /// Puts `record` in place of the one in `seen`, unless somebody else replaced that one, or the
    /// lock file, meanwhile.
    pub fn put(&self, record: &Record, seen: &Snapshot, lock: &MachineLock) -> Result<Put, Error> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| self.cannot("write", RECORD)(error.into()))?;
        if bytes.len() as u64 > MAX_RECORD {
            return Err(Error::State(format!(
                "the record of {} would have {} bytes, more than {MAX_RECORD}: the command line \
                 is too long",
                self.name,
                bytes.len()
            )));
        }
        let scratch = format!(".record.{}.{}", record.revision, std::process::id());
        let placed = self.write_scratch(&scratch, &bytes).and_then(|()| {
            // The last look before the new record is in place. Who holds another lock file has a
            // lifeline that we felt, or feels ours; this narrows what is left.
            let current =
                self.is_current(lock)? && self.read().map_err(io::Error::other)?.same_as(seen);
            if current { self.place(&scratch, seen) } else { Ok(Put::Overtaken) }
        });
        let removed = match unlinkat(&self.fd, scratch.as_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => unlinkat(&self.fd, scratch.as_str(), UnlinkatFlags::RemoveDir),
            other => other,
        };
        // What is left behind, after a crash too, is swept by the next claim.
        let _ = removed;
        match placed {
            // Another claim, under another lock file, has swept our scratch file.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && self.is_in_place() => {
                Ok(Put::Overtaken)
            }
            placed => placed.map_err(self.cannot("write", RECORD)),
        }
    }

    fn write_scratch(&self, scratch: &str, bytes: &[u8]) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o644);
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(&self.fd, scratch, flags, mode);
        let file = match open() {
            Err(Errno::EEXIST) => {
                // Left by a process of our PID that crashed here.
                unlinkat(&self.fd, scratch, UnlinkatFlags::NoRemoveDir)?;
                open()
            }
            other => other,
        }?;
        fchmod(&file, mode)?; // the umask may have taken bits away
        File::from(file).write_all(bytes)
    }

    /// Puts the scratch file in the record's place. Exchanging and unlinking the old one is faster
    /// than replacing it on ext4, which flushes a file that is renamed over another.
    fn place(&self, scratch: &str, seen: &Snapshot) -> io::Result<Put> {
        let dir = self.fd.as_fd();
        let from = std::ffi::CString::new(scratch)?;
        let to = c"record.json";
        let how = if seen.is_absent() { Rename::NoReplace } else { Rename::Exchange };
        match rename_in(dir, &from, to, how) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::EEXIST) => return Ok(Put::Overtaken),
                // A file system without these flags.
                Some(libc::EINVAL | libc::ENOSYS) => rename_in(dir, &from, to, Rename::Replace)?,
                _ => return Err(error),
            },
        }
        if seen.is_damaged() {
            // What could not be parsed is set aside for whoever wants to know why.
            let _ = rename_in(dir, &from, c"record.damaged", Rename::Replace); // a courtesy
        }
        Ok(Put::Placed)
    }

    /// Appends to the event log.
    pub fn log(&self, events: &[Event]) -> Result<(), Error> {
        events::append(self.fd.as_fd(), events, self.mode(0o644, 0o664))
            .map_err(self.cannot("write", events::FILE))
    }

    /// Makes the lifeline of the run `token`; `None` when that token is not to be had.
    ///
    /// It is made under a dot name and moved when it is taut, so nobody ever sees it slack while
    /// its owner lives.
    pub fn make_lifeline(&self, token: u64) -> Result<Option<Lifeline>, Error> {
        if token > MAX_TOKEN {
            return Err(Error::State(format!(
                "{} has used up its tokens, which end at {MAX_TOKEN}: somebody wrote such a number \
                 into '{}', or named a lifeline there so; move that directory away",
                self.name,
                escape_path(&self.path)
            )));
        }
        let target = lifeline_name(token);
        let cannot = |error: io::Error| self.cannot("make", &target)(error);
        let hidden = format!(".{target}.{}", std::process::id());
        let made = match Lifeline::create(self.fd.as_fd(), &hidden) {
            Err(Errno::EEXIST) => {
                self.unlink(&hidden); // left by a process of our PID that crashed here
                Lifeline::create(self.fd.as_fd(), &hidden)
            }
            made => made,
        };
        let lifeline = match made {
            Ok(lifeline) => lifeline,
            Err(Errno::ENOENT) if self.is_in_place() => return Ok(None), // swept by another claim
            Err(errno) => return Err(cannot(errno.into())),
        };
        let (from, to) = (
            std::ffi::CString::new(hidden.as_str()).map_err(|error| cannot(error.into()))?,
            std::ffi::CString::new(target.as_str()).map_err(|error| cannot(error.into()))?,
        );
        let moved = match rename_in(self.fd.as_fd(), &from, &to, Rename::NoReplace) {
            // A file system without that flag; link(2) replaces nothing either.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                let linked = linkat(&self.fd, &*from, &self.fd, &*to, AtFlags::empty());
                linked.map(|()| self.unlink(&hidden)).map_err(io::Error::from)
            }
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Some(lifeline)),
            Err(error) => {
                self.unlink(&hidden);
                match error.raw_os_error() {
                    Some(libc::EEXIST) => Ok(None),
                    Some(libc::ENOENT) if self.is_in_place() => Ok(None), // swept
                    _ => Err(cannot(error)),
                }
            }
        }
    }

    /// Feels the lifeline of the run `token`.
    pub fn feel(&self, token: u64, expected: Option<&str>) -> Feel {
        feel(self.fd.as_fd(), &lifeline_name(token), expected)
    }

    /// The tokens of all lifelines there are, and the names of what crashed processes left half
    /// made.
    pub fn lifelines(&self) -> Result<Listing, Error> {
        let cannot = |errno: Errno| self.cannot("list", "")(errno.into());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.fd, ".", flags, Mode::empty()).map_err(cannot)?;
        let mut listing = Listing { tokens: Vec::new(), scratch: Vec::new() };
        for entry in dir.iter() {
            let entry = entry.map_err(cannot)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if let Some(token) = name.strip_prefix(LIFE) {
                // Not what we would have written: not ours.
                let ours = |token: &u64| *token <= MAX_TOKEN && lifeline_name(*token) == name;
                listing.tokens.extend(token.parse().ok().filter(ours));
            } else if name.starts_with(".record.") || name.starts_with(".life.") {
                listing.scratch.push(name.to_owned());
            }
        }
        Ok(listing)
    }

    /// Unlinks the lifeline of the run `token`.
    pub fn unlink_lifeline(&self, token: u64) {
        self.unlink(&lifeline_name(token));
    }

    /// Unlinks a file that has served its purpose. One that stays does no harm: it is slack, or
    /// nobody's, and swept by a later claim.
    pub fn unlink(&self, name: &str) {
        let _ = unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir); // see above
    }

    /// Whether the directory itself is still what its path names.
    fn is_in_place(&self) -> bool {
        let found = std::fs::symlink_metadata(&self.path);
        fstat(&self.fd).is_ok_and(|stat| {
            found.is_ok_and(|found| (found.dev(), found.ino()) == (stat.st_dev, stat.st_ino))
        })
    }
}

impl Snapshot {
    fn is_absent(&self) -> bool {
        self.bytes.is_none() && self.reading.subjects.is_empty()
    }

    fn is_damaged(&self) -> bool {
        matches!(self.reading.subjects[..], [Subject::Torn(_) | Subject::Unreadable(_)])
    }
}

/// What lies in a machine's directory beside lock, record and log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The tokens of all lifelines.
    pub tokens: Vec<u64>,
    /// Files that a crash left half made.
    pub scratch: Vec<String>,
}

/// Refuses what is no regular file of one name: in a shared directory another member could have
/// linked a file of ours there, to have us change it.
pub(super) fn check_plain(file: impl AsFd) -> io::Result<FileStat> {
    let stat = fstat(file)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::other("it is not a regular file"));
    }
    if stat.st_nlink > 1 {
        return Err(io::Error::other("it has another name elsewhere (a hard link)"));
    }
    Ok(stat)
}

fn lifeline_name(token: u64) -> String {
    format!("{LIFE}{token}")
}
