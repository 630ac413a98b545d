//! Finds the file that a command names, as execvp(3) would, before any queue is entered.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::AccessFlags;

use crate::error::Error;
use crate::report::escape::escape_os;
use crate::sys::file::access;
use crate::sys::retry::retry;

/// A command whose file was found.
#[derive(Debug, Clone)]
pub struct Program {
    path: CString,
    argv: Vec<CString>,
}

/// Where execvp(3) looks when there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

impl Program {
    /// Finds the file of `command[0]`.
    ///
    /// # Errors
    /// When there is none (127) or it cannot be executed (126), as a shell would say it.
    pub fn find(command: &[OsString]) -> Result<Self, Error> {
        let word = command.first().map_or(OsStr::new(""), OsString::as_os_str);
        let path = search(word)
            .map_err(|errno| Error::Command { command: escape_os(word), source: errno.into() })?;
        let to_c = |text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| Error::Command {
                command: escape_os(word),
                source: Errno::EINVAL.into(),
            })
        };
        let argv = command.iter().map(|word| to_c(word)).collect::<Result<_, _>>()?;
        Ok(Self { path: to_c(path.as_os_str())?, argv })
    }

    /// The file.
    pub fn path(&self) -> CString {
        self.path.clone()
    }

    /// The words of the command line.
    pub fn argv(&self) -> Vec<CString> {
        self.argv.clone()
    }
}

fn search(word: &OsStr) -> Result<PathBuf, Errno> {
    if word.is_empty() {
        return Err(Errno::ENOENT);
    }
    if word.as_bytes().contains(&b'/') {
        return check(Path::new(word)).map(|()| PathBuf::from(word));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH));
    let mut worst = Errno::ENOENT;
    for dir in env::split_paths(&path) {
        // An empty entry is the current directory.
        let candidate =
            if dir.as_os_str().is_empty() { Path::new(".").join(word) } else { dir.join(word) };
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Whether the file can be executed, with the rights that exec will use.
fn check(path: &Path) -> Result<(), Errno> {
    access(path, AccessFlags::X_OK)?;
    let kind = retry(|| nix::sys::stat::stat(path))?;
    // A directory is "executable" too; exec says EACCES to it, as to devices.
    if kind.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG { Ok(()) } else { Err(Errno::EACCES) }
}
