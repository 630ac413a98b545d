//! The record's file. It is always whole: every rewrite makes a new one and exchanges it with the old.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{MachineDir, write_new};
use crate::error::Error;
use crate::identity::verdict::Subject;
use crate::machine::lock::MachineLock;
use crate::machine::reading::{Reading, is_overgrown};
use crate::machine::record::Record;
use crate::sys::file::{lstatat, openat, rmdirat, unlinkat};
use crate::sys::rename::{Rename, rename_in};
use crate::sys::retry::{Interruptible, retry};

/// The largest record, in bytes: the longest command line that execve(2) takes (2 MiB), with every
/// byte spelled out, fits.
pub const MAX_RECORD: u64 = 16 << 20;

const RECORD: &str = "record.json";

/// A record file as it was read.
#[derive(Debug)]
pub struct Snapshot {
    /// What it says.
    pub reading: Reading,
    /// When the file was last written, in seconds since the Unix epoch.
    pub modified: Option<i64>,
    /// Its bytes; `None` when there is no file, or none that was read.
    bytes: Option<Vec<u8>>,
    /// The file, open, so that no other gets its inode number, and that number.
    file: Option<(File, u64)>,
}

impl Snapshot {
    fn is_absent(&self) -> bool {
        self.bytes.is_none() && self.reading.subjects.is_empty()
    }

    /// Whether it was read from the file with this inode number.
    fn is_at(&self, inode: u64) -> bool {
        self.file.as_ref().is_none_or(|(_, read)| *read == inode)
    }

    fn is_damaged(&self) -> bool {
        matches!(self.reading.subjects[..], [Subject::Torn(_) | Subject::Unreadable(_)])
    }

    /// Whether both saw the same bytes.
    pub fn same_as(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.reading.subjects == other.reading.subjects
    }
}

/// What is in the record's place.
enum Contents {
    Absent,
    /// Why.
    Unreadable(String),
    /// Its bytes, the file, and what it looked like.
    Bytes(Vec<u8>, File, Metadata),
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
    /// Reads the record. What can't be read is a subject to be judged, not an error: it counts as
    /// held.
    pub fn read(&self) -> Result<Snapshot, Error> {
        let name = self.name.as_str();
        let unread = |reading| Snapshot { reading, modified: None, bytes: None, file: None };
        Ok(match self.contents()? {
            Contents::Absent => unread(Reading::absent(name)),
            Contents::Unreadable(why) => unread(Reading::only(name, Subject::Unreadable(why))),
            Contents::Bytes(bytes, file, meta) => Snapshot {
                reading: Reading::parse(name, &bytes),
                modified: Some(meta.mtime()),
                bytes: Some(bytes),
                file: Some((file, meta.ino())),
            },
        })
    }

    /// Whether the record is still what was read; a large one need not be parsed for that.
    pub fn still_reads(&self, seen: &Snapshot) -> Result<bool, Error> {
        Ok(match self.contents()? {
            Contents::Absent => seen.is_absent(),
            Contents::Unreadable(why) => {
                seen.reading.subjects == [Subject::Unreadable(why)] && seen.bytes.is_none()
            }
            Contents::Bytes(bytes, ..) => seen.bytes.as_ref() == Some(&bytes),
        })
    }

    fn contents(&self) -> Result<Contents, Error> {
        let unreadable = |why: &str| Ok(Contents::Unreadable(format!("its record {why}")));
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.fd, RECORD, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(Contents::Absent),
            Err(Errno::ELOOP) => return unreadable("is a symbolic link"),
            Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::ENXIO)) => {
                return unreadable(&format!("cannot be opened: {}", errno.desc()));
            }
            Err(Errno::EAGAIN) => {
                return unreadable("cannot be opened: somebody has a lease on it");
            }
            Err(errno) => return Err(self.cannot("open", RECORD)(errno.into())),
        };
        let meta = retry(|| file.metadata()).map_err(self.cannot("look at", RECORD))?;
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
        // It does not grow: whoever changes it puts another in its place.
        (&file).take(meta.len()).read_to_end(&mut bytes).map_err(self.cannot("read", RECORD))?;
        Ok(Contents::Bytes(bytes, file, meta))
    }

    /// Puts `record` in place of the one in `seen`, unless somebody else replaced that one, or the
    /// lock file, meanwhile.
    pub fn put(&self, record: &Record, seen: &Snapshot, lock: &MachineLock) -> Result<Put, Error> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| self.cannot("write", RECORD)(error.into()))?;
        if bytes.len() as u64 > MAX_RECORD || is_overgrown(&bytes) {
            return Err(Error::State(format!(
                "the record of {} would be larger than any that is read ({} bytes): the command \
                 line is too long",
                self.name,
                bytes.len()
            )));
        }
        let scratch = format!(".record.{}.{}", record.revision, std::process::id());
        let placed = write_new(self.fd.as_fd(), &scratch, &bytes).and_then(|()| {
            // The last look before the new record is in place. Who holds another lock file has a
            // lifeline that we felt, or feels ours; this narrows what is left.
            let current =
                self.is_current(lock)? && self.still_reads(seen).map_err(io::Error::other)?;
            if current { self.place(&scratch, seen) } else { Ok(Put::Overtaken) }
        });
        let removed = match unlinkat(&self.fd, &scratch) {
            Err(Errno::EISDIR) => rmdirat(&self.fd, &scratch),
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

    /// Puts the scratch file in the record's place. Exchanging and unlinking the old one is faster
    /// than replacing it on ext4, which flushes a file that is renamed over another.
    fn place(&self, scratch: &str, seen: &Snapshot) -> io::Result<Put> {
        let dir = self.fd.as_fd();
        let from = std::ffi::CString::new(scratch)?;
        let to = c"record.json";
        let how = if seen.is_absent() { Rename::NoReplace } else { Rename::Exchange };
        let ours = lstatat(dir, scratch)?.st_ino;
        match rename_in(dir, &from, to, how) {
            // Somebody under another lock file was faster, between the last look and this: undone. Who
            // read ours meanwhile has felt the lifelines of all that it did not name.
            Ok(()) if how == Rename::Exchange && !seen.is_at(lstatat(dir, scratch)?.st_ino) => {
                retry(|| rename_in(dir, &from, to, Rename::Exchange))?;
                return Ok(Put::Overtaken);
            }
            Ok(()) => {}
            // A file system in user space may have done it all the same: twice would undo it.
            Err(error) if error.is_interruption() => {
                return match lstatat(dir, RECORD) {
                    Ok(placed) if placed.st_ino == ours => Ok(Put::Placed),
                    Ok(_) | Err(Errno::ENOENT) => self.place(scratch, seen),
                    Err(errno) => Err(errno.into()),
                };
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EEXIST) => return Ok(Put::Overtaken),
                // A file system without these flags.
                Some(libc::EINVAL | libc::ENOSYS) => {
                    retry(|| rename_in(dir, &from, to, Rename::Replace))?
                }
                _ => return Err(error),
            },
        }
        if seen.is_damaged() {
            // What could not be parsed is set aside for whoever wants to know why.
            let _ = retry(|| rename_in(dir, &from, c"record.damaged", Rename::Replace)); // a courtesy
        }
        Ok(Put::Placed)
    }
}
