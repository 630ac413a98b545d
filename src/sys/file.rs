//! nix's calls on files, made again when they are interrupted (see [`super::retry`]).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::{Dir, Entry};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag};
use nix::sys::stat::{FileStat, Mode};
use nix::sys::statfs::FsType;
use nix::unistd::{AccessFlags, UnlinkatFlags};
use nix::{NixPath, Result};

use super::retry::retry;

/// openat(2).
pub fn openat<P: ?Sized + NixPath>(
    dir: impl AsFd,
    name: &P,
    flags: OFlag,
    mode: Mode,
) -> Result<OwnedFd> {
    retry(|| nix::fcntl::openat(&dir, name, flags, mode))
}

/// open(2) of an existing file.
pub fn open(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    openat(AT_FDCWD, path, flags, Mode::empty())
}

/// A directory to list.
pub fn open_dir(dir: impl AsFd) -> Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| Dir::openat(&dir, ".", flags, Mode::empty()))
}

/// What is in a directory, `.` and `..` included.
pub fn entries(dir: &mut Dir) -> Result<Vec<Entry>> {
    let mut listing = dir.iter();
    let mut entries = Vec::new();
    while let Some(entry) = retry(|| listing.next().transpose())? {
        entries.push(entry);
    }
    Ok(entries)
}

/// fstat(2).
pub fn fstat(fd: impl AsFd) -> Result<FileStat> {
    retry(|| nix::sys::stat::fstat(&fd))
}

/// fstatat(2) of the name itself, were it a symbolic link.
pub fn lstatat(dir: impl AsFd, name: &str) -> Result<FileStat> {
    retry(|| nix::sys::stat::fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW))
}

/// The type of the file system that a file is on: fstatfs(2).
pub fn file_system(fd: impl AsFd) -> Result<FsType> {
    Ok(retry(|| nix::sys::statfs::fstatfs(&fd))?.filesystem_type())
}

/// mkdirat(2).
pub fn mkdirat(dir: impl AsFd, name: &str, mode: Mode) -> Result<()> {
    retry(|| nix::sys::stat::mkdirat(&dir, name, mode))
}

/// mkfifoat(3).
pub fn mkfifoat(dir: impl AsFd, name: &str, mode: Mode) -> Result<()> {
    retry(|| nix::unistd::mkfifoat(&dir, name, mode))
}

/// fchmod(2).
pub fn fchmod(fd: impl AsFd, mode: Mode) -> Result<()> {
    retry(|| nix::sys::stat::fchmod(&fd, mode))
}

/// linkat(2), within one directory.
pub fn link_in<P: ?Sized + NixPath>(dir: impl AsFd, from: &P, to: &P) -> Result<()> {
    retry(|| nix::unistd::linkat(&dir, from, &dir, to, AtFlags::empty()))
}

/// unlinkat(2) of a file.
pub fn unlinkat(dir: impl AsFd, name: &str) -> Result<()> {
    retry(|| nix::unistd::unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir))
}

/// unlinkat(2) of a directory.
pub fn rmdirat(dir: impl AsFd, name: &str) -> Result<()> {
    retry(|| nix::unistd::unlinkat(&dir, name, UnlinkatFlags::RemoveDir))
}

/// Whether we may do that to a file, by our effective IDs (faccessat2(2)).
pub fn access(path: &Path, what: AccessFlags) -> std::result::Result<(), Errno> {
    retry(|| nix::unistd::faccessat(AT_FDCWD, path, what, AtFlags::AT_EACCESS))
}

/// Lets calls on a file block that was opened not to (fcntl(2), `F_SETFL`).
pub fn make_blocking(fd: impl AsFd) -> Result<()> {
    let flags = retry(|| nix::fcntl::fcntl(&fd, FcntlArg::F_GETFL))?;
    let flags = OFlag::from_bits_truncate(flags) - OFlag::O_NONBLOCK;
    retry(|| nix::fcntl::fcntl(&fd, FcntlArg::F_SETFL(flags))).map(drop)
}
