//! Files of `/proc`, which are written as they are read: there is no size to ask for.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::file::{entries, open, open_dir};
use super::retry::retry;

/// Most of them fit into one.
const PAGE: usize = 4096;

/// What is in a file.
///
/// # Errors
/// `ENOENT` and `ESRCH`: the process is not there any more. `EACCES`: it is another user's.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PAGE);
    open_file(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is in a file that the kernel hands over in one piece: `stat`, `status`, `cgroup` and `fdinfo` of a
/// process (`single_open` and `proc_single_show` in the kernel). So what does not fill a page was all.
///
/// # Errors
/// As [`read`].
pub fn read_piece(path: &str) -> io::Result<Vec<u8>> {
    let mut file = open_file(path)?;
    let mut bytes = vec![0; PAGE];
    let length = retry(|| file.read(&mut bytes))?;
    bytes.truncate(length);
    if length == PAGE {
        file.take(u64::MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn open_file(path: &str) -> io::Result<File> {
    Ok(File::from(open(Path::new(path), OFlag::O_RDONLY | OFlag::O_CLOEXEC)?))
}

/// What is in a file that is text but for the names that processes give themselves.
///
/// # Errors
/// As [`read`].
pub fn read_text(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// What stands behind `name:` in a file that has a field a line.
///
/// # Errors
/// As [`read`].
pub fn field(path: &str, name: &str) -> io::Result<Option<String>> {
    let text = String::from_utf8_lossy(&read_piece(path)?).into_owned();
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    Ok(text.lines().find_map(value))
}

/// The names in a directory.
///
/// # Errors
/// As [`read`].
pub fn names(path: &str) -> io::Result<Vec<OsString>> {
    let dir = open(Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)?;
    let all = entries(&mut open_dir(dir)?)?;
    let names = all.iter().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    Ok(names.filter(|name| name != "." && name != "..").collect())
}

/// The PIDs of all processes that are shown.
///
/// # Errors
/// There is no `/proc`.
pub fn pids() -> io::Result<Vec<i32>> {
    let names = names("/proc")?;
    Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}
