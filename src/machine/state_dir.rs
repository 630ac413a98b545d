//! The state directory: where it is, and whether it can be trusted.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode};
use nix::unistd::{AccessFlags, Gid, Uid, User, getegid, geteuid, getgroups};

use super::holds::{self, Holds};
use super::name::MachineName;
use super::store::MachineDir;
use crate::error::{Error, plain};
use crate::identity::host::Locality;
use crate::report::escape::escape_path;
use crate::sys::file::{access, entries, file_system, fstat, lstatat, open, open_dir};
use crate::sys::retry::retry;

/// The system-wide state directory; it survives a reboot.
const SYSTEM: &str = "/var/lib/jobguard";

/// An open, trusted state directory.
#[derive(Debug)]
pub struct StateDir {
    fd: OwnedFd,
    path: PathBuf,
    id: String,
    locality: Locality,
    shared: bool,
}

/// What to do about a state directory that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it, and its parents.
    Create,
    /// There is none, then.
    Accept,
}

/// Where the state directory is, absolute: `chosen` (from `--state-dir`), else
/// `JOBGUARD_STATE_DIR`, else the system's where we may write there, else the user's.
pub fn locate(chosen: Option<&Path>) -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = chosen.map(PathBuf::from).or(set("JOBGUARD_STATE_DIR").map(PathBuf::from)) {
        return std::path::absolute(&path)
            .map_err(Error::io(format!("find the directory '{}'", escape_path(&path))));
    }
    if geteuid().is_root() || access(Path::new(SYSTEM), AccessFlags::W_OK).is_ok() {
        return Ok(PathBuf::from(SYSTEM));
    }
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    if let Some(state) = set("XDG_STATE_HOME").and_then(absolute) {
        return Ok(state.join("jobguard"));
    }
    let home = set("HOME")
        .and_then(absolute)
        .or_else(|| User::from_uid(Uid::effective()).ok().flatten().map(|user| user.dir))
        .filter(|home| home.is_absolute());
    home.map(|home| home.join(".local/state/jobguard")).ok_or_else(|| {
        Error::State(
            "cannot tell where to keep state: there is no HOME and no passwd entry; name a \
             directory with --state-dir"
                .to_owned(),
        )
    })
}

impl StateDir {
    /// Opens the state directory at `path`; `None` when it is missing and that is accepted.
    ///
    /// # Errors
    /// When it cannot be opened or made, or cannot be trusted: see `check_owner`.
    pub fn open(
        path: &Path,
        missing: Missing,
        allow_network_fs: bool,
    ) -> Result<Option<Self>, Error> {
        let shown = escape_path(path);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = match open(path, flags) {
            Err(Errno::ENOENT) if missing == Missing::Accept => return Ok(None),
            Err(Errno::ENOENT) => {
                create(path)?;
                open(path, flags)
            }
            opened => opened,
        };
        let fd = opened.map_err(|errno| match errno {
            Errno::ENOTDIR | Errno::ELOOP if path.is_symlink() => Error::State(format!(
                "the state directory '{shown}' is a symbolic link: name its target with --state-dir"
            )),
            Errno::ENOTDIR => Error::State(format!(
                "the state directory '{shown}' is not a directory: name another with --state-dir"
            )),
            errno => Error::Io {
                doing: format!("open the state directory '{shown}'"),
                source: errno.into(),
            },
        })?;
        let cannot_look = || Error::io(format!("look at the state directory '{shown}'"));
        let stat = fstat(&fd).map_err(cannot_look())?;
        check_owner(&stat, &shown)?;
        let kind = file_system(&fd).map_err(cannot_look())?;
        let locality = Locality::of(kind);
        if let Locality::Unknown(kind) = locality
            && !allow_network_fs
        {
            return Err(Error::State(format!(
                "the state directory '{shown}' is on a network or unknown file system (type \
                 {:#x}), where locks may not be shared: name a local one with --state-dir, \
                 or say --allow-network-fs",
                kind.0
            )));
        }
        let (shared, id) = (is_shared(&stat), holds::dir_id(stat.st_dev, stat.st_ino));
        Ok(Some(Self { fd, path: path.to_owned(), id, locality, shared }))
    }

    /// Opens a machine's directory; `None` when it is missing and that is accepted.
    pub fn machine(
        &self,
        name: &MachineName,
        missing: Missing,
    ) -> Result<Option<MachineDir>, Error> {
        MachineDir::open(self.fd.as_fd(), &self.path, name, missing, self.shared)
    }

    /// The names of all machines that have a directory, sorted.
    pub fn machines(&self) -> Result<Vec<MachineName>, Error> {
        let cannot = |errno: Errno| Error::Io {
            doing: format!("list the state directory '{}'", escape_path(&self.path)),
            source: errno.into(),
        };
        let entries = open_dir(&self.fd).and_then(|mut dir| entries(&mut dir)).map_err(cannot)?;
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = MachineName::parse(OsStr::from_bytes(entry.file_name().to_bytes()))
                && self.is_directory(&name, entry.file_type())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Some file systems do not say the type of what they list.
    fn is_directory(&self, name: &MachineName, listed: Option<Type>) -> bool {
        match listed {
            Some(kind) => kind == Type::Directory,
            None => lstatat(&self.fd, name.as_str())
                .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR),
        }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the job holds that we are part of, as seen from here.
    pub fn inherited_holds(&self) -> Holds {
        Holds::told(env::var_os(Holds::VARIABLE).as_deref(), Some(self.id.clone()))
    }

    /// Whether other kernels could have it mounted.
    pub fn locality(&self) -> Locality {
        self.locality
    }
}

/// Makes the state directory and its parents. Whatever the umask is, nobody but their owner may
/// write there: sharing one is a deliberate act.
fn create(path: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    let builder = builder.recursive(true).mode(0o755);
    retry(|| builder.create(path)).map_err(|error| {
        cannot_write(&format!("make the state directory '{}'", escape_path(path)), error)
    })
}

/// The error of a place that one may not write to: then another one is needed.
pub(super) fn cannot_write(doing: &str, source: io::Error) -> Error {
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Error::State(format!(
            "cannot {doing}: {}: name a directory that you may write to with --state-dir",
            plain(&source)
        )),
        _ => Error::io(doing)(source),
    }
}

/// Shared between the members of its group: setgid and writable by the group.
fn is_shared(stat: &FileStat) -> bool {
    let mode = Mode::from_bits_truncate(stat.st_mode);
    mode.contains(Mode::S_ISGID | Mode::S_IWGRP)
}

/// Refuses a directory in which a stranger could swap files under us: one that is world-writable,
/// or that belongs to neither root nor us nor, by its setgid bit, to a group of ours.
pub(super) fn check_owner(stat: &FileStat, shown: &str) -> Result<(), Error> {
    if Mode::from_bits_truncate(stat.st_mode).contains(Mode::S_IWOTH) {
        return Err(Error::State(format!(
            "the directory '{shown}' is world-writable, so anybody could free a machine: \
             chmod o-w it"
        )));
    }
    let owner = Uid::from_raw(stat.st_uid);
    let group = Gid::from_raw(stat.st_gid);
    let ours = || {
        // Root is in every group.
        geteuid().is_root()
            || getegid() == group
            || getgroups().is_ok_and(|groups| groups.contains(&group))
    };
    if owner.is_root() || owner == geteuid() || (is_shared(stat) && ours()) {
        return Ok(());
    }
    Err(Error::State(format!(
        "the directory '{shown}' belongs to another user (uid {owner}): name a state directory of \
         your own with --state-dir, or share it (chmod 2775, in a group of yours)"
    )))
}
