//! Lifelines: FIFOs whose read end their owner keeps open.
//!
//! Opening one for writing without blocking succeeds while somebody reads (it is *taut*) and fails
//! with `ENXIO` when nobody does (it is *slack*). That holds across PID namespaces, needs no
//! permission over the owner, and a poll on the write end speaks up the moment the owner dies
//! (fifo(7)). The owner closes it by dying: nothing to clean up can be missed.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::geteuid;

use crate::sys::file::{fchmod, fstat, lstatat, mkfifoat, openat};
use crate::sys::retry::retry;

/// A lifeline's identity: device and inode, as `"259:1048633"` in the record.
///
/// Another mount or overlay layer may show a FIFO of the same name that is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifelineId {
    device: u64,
    inode: u64,
}

impl LifelineId {
    /// The identity of the FIFO with this device and inode.
    pub fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    fn of(stat: &FileStat) -> Self {
        Self::new(stat.st_dev, stat.st_ino)
    }
}

impl fmt::Display for LifelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

/// How a lifeline felt.
#[derive(Debug)]
pub enum Feel {
    /// Somebody holds its read end; the descriptor is its write end and errs when they let go.
    Taut(OwnedFd),
    /// Nobody does.
    Slack,
    /// There is no FIFO of that name.
    Missing,
    /// It cannot be opened, or is another one than was recorded: says nothing.
    Unknown(String),
}

/// The identity and the owner of the FIFO `name` in `dir`; `None` when there is none.
pub fn whose(dir: BorrowedFd<'_>, name: &str) -> Option<(LifelineId, u32)> {
    let stat = lstatat(dir, name).ok()?;
    is_fifo(&stat).then(|| (LifelineId::of(&stat), stat.st_uid))
}

/// Feels the lifeline `name` in `dir`; `expected` is its recorded identity, if one is.
pub fn feel(dir: BorrowedFd<'_>, name: &str, expected: Option<&str>) -> Feel {
    try_feel(dir, name, expected)
        .unwrap_or_else(|errno| Feel::Unknown(format!("cannot open {name}: {}", errno.desc())))
}

/// The same, for those who must know why it could not be felt.
pub fn try_feel(dir: BorrowedFd<'_>, name: &str, expected: Option<&str>) -> nix::Result<Feel> {
    let is_it = |stat: &FileStat| {
        is_fifo(stat) && expected.is_none_or(|id| LifelineId::of(stat).to_string() == id)
    };
    let another = || Feel::Unknown(format!("{name} is not the lifeline that was recorded"));
    // Before the open, since a slack one yields no descriptor to ask.
    match lstatat(dir, name) {
        Ok(stat) if !is_fifo(&stat) => return Ok(Feel::Missing),
        Ok(stat) if !is_it(&stat) => return Ok(another()),
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(Feel::Missing),
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(writer) if is_it(&fstat(&writer)?) => Ok(Feel::Taut(writer)),
        Ok(_) => Ok(another()),
        Err(Errno::ENXIO) => Ok(Feel::Slack),
        Err(Errno::ENOENT) => Ok(Feel::Missing),
        Err(errno) => Err(errno),
    }
}

fn is_fifo(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits()
}

/// The read end of a lifeline: whoever keeps it open is alive.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

/// Which ends of its lifeline an owner opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The read end alone.
    Read,
    /// Both: it can be told something, and polls it. With its own write end open it is not woken by
    /// whoever feels it: the last writer to close would leave it `POLLHUP` for ever (fifo(7): opening
    /// for both succeeds on Linux).
    Both,
}

impl Lifeline {
    /// Makes a FIFO called `name` and opens its read end: it is taut when this returns.
    ///
    /// Its mode is 0222 from then on, since a stray reader would keep it taut.
    pub fn create(dir: BorrowedFd<'_>, name: &str, ends: Ends) -> nix::Result<Self> {
        mkfifoat(dir, name, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let access = match ends {
            Ends::Read => OFlag::O_RDONLY,
            Ends::Both => OFlag::O_RDWR,
        };
        let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let reader = openat(dir, name, flags, Mode::empty())?;
        let stat = fstat(&reader)?;
        if !is_fifo(&stat) || stat.st_uid != geteuid().as_raw() || stat.st_nlink != 1 {
            // Somebody put another file there, whose mode is none of our business.
            return Err(Errno::EEXIST);
        }
        fchmod(&reader, Mode::S_IWUSR | Mode::S_IWGRP | Mode::S_IWOTH)?;
        Ok(Self(reader))
    }

    /// Takes what others have written into it, without waiting; whether there was anything.
    pub fn drain(&self) -> bool {
        let mut bytes = [0; 4096];
        retry(|| nix::unistd::read(&self.0, &mut bytes)).is_ok_and(|length| length > 0)
    }

    /// Its identity, for the record.
    pub fn id(&self) -> nix::Result<LifelineId> {
        Ok(LifelineId::of(&fstat(&self.0)?))
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
