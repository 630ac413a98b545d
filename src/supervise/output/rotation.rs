//! Moving a full log away: FILE to FILE.1, FILE.1 to FILE.2, and so on.
//!
//! Who writes to a file that is moved goes on writing to it. Runs of several machines may share a log, so
//! the file that is to be moved is locked (flock(2)), and only who has that lock touches the older ones:
//! moving FILE itself comes last, and after it the lock is worth nothing any more.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::retry::retry;

/// What became of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It was moved away, by us or somebody else.
    Place,
    /// It may go on.
    Nothing,
}

/// Moves a log away that has reached its size; `file` is open at `path`.
pub(super) fn make_place(path: &Path, file: &File, max_size: u64, keep: u32) -> io::Result<Made> {
    let is_full = |found: &fs::Metadata| found.is_file() && found.len() >= max_size;
    if !is_full(&file.metadata()?) {
        return Ok(Made::Nothing);
    }
    match retry(|| file.try_lock()) {
        Ok(()) => {}
        // Somebody is at it, or a job has locked its output: we write to what it is now.
        Err(TryLockError::WouldBlock) => return Ok(Made::Nothing),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let made = move_away(path, file, is_full, keep);
    // The job is to have the file, and not a lock of ours.
    retry(|| file.unlock())?;
    made
}

fn move_away(
    path: &Path,
    file: &File,
    is_full: impl Fn(&fs::Metadata) -> bool,
    keep: u32,
) -> io::Result<Made> {
    // Where a symbolic link points: it stays, and so do the files beside each other.
    let path = retry(|| fs::canonicalize(path))?;
    let (ours, there) = (file.metadata()?, retry(|| fs::metadata(&path))?);
    if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
        return Ok(Made::Place);
    }
    if !is_full(&ours) {
        return Ok(Made::Nothing);
    }
    // As far as there are any: a crash between two moves leaves a gap, which must cost no file.
    let is_free = |number: &u32| fs::symlink_metadata(numbered(&path, *number)).is_err();
    let last = (1..keep).find(is_free).unwrap_or(keep);
    for number in (1..last).rev() {
        retry(|| fs::rename(numbered(&path, number), numbered(&path, number + 1)))?;
    }
    retry(|| fs::rename(&path, numbered(&path, 1)))?;
    Ok(Made::Place)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_a_crash_left_costs_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let rotate = || make_place(&path, &File::open(&path).unwrap(), 1, 3).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        fs::write(&path, "new").unwrap();
        fs::write(numbered(&path, 2), "older").unwrap();
        fs::write(numbered(&path, 3), "oldest").unwrap();
        assert_eq!(rotate(), Made::Place);
        assert_eq!([read("log.1"), read("log.2"), read("log.3")], ["new", "older", "oldest"]);
        fs::write(&path, "newer").unwrap();
        assert_eq!(rotate(), Made::Place);
        assert_eq!([read("log.1"), read("log.2"), read("log.3")], ["newer", "new", "older"]);
        assert!(!numbered(&path, 4).exists());
    }

    #[test]
    fn what_is_small_or_locked_or_gone_is_not_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "12").unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(make_place(&path, &file, 3, 1).unwrap(), Made::Nothing);
        let other = File::open(&path).unwrap();
        other.lock().unwrap();
        assert_eq!(make_place(&path, &file, 2, 1).unwrap(), Made::Nothing);
        other.unlock().unwrap();
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(make_place(&path, &file, 2, 1).unwrap(), Made::Place);
        assert!(!numbered(&path, 1).exists());
        other.try_lock().expect("the job gets no lock of ours");
    }
}
