//! A log that runs append to, as a shell's `>>` does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::rotation::{Made, make_place};
use crate::cli::args::output::LogPlan;
use crate::error::{Error, plain};
use crate::machine::name::MachineName;
use crate::report::escape::escape_path;
use crate::report::output;
use crate::sys::file::{access, make_blocking};
use crate::sys::retry::retry;

/// The same path, whatever the directory is.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path) // without a current directory it fails when it is opened
}

/// Complains about a log that will not be had, as far as that is to be seen before there is a run.
/// Nothing is made, or opened: a FIFO's reader would notice.
pub(super) fn check(plan: &LogPlan, machines: &[MachineName], to_read: bool) -> Result<(), Error> {
    if let Some(path) = plan.name.of_any_run(machines).map(absolute) {
        let found = retry(|| std::fs::metadata(&path));
        match found {
            Ok(found) => return check_file(&path, &found.file_type(), to_read),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_open(&path)(error)),
        }
        if path.is_symlink() {
            return Ok(()); // where it points may be a place to write to
        }
    }
    let Some(dir) = plan.name.directory(machines) else { return Ok(()) };
    let dir = absolute(if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir });
    let cannot = |why: String| {
        Err(Error::State(format!("cannot write a log into '{}': {why}", escape_path(&dir))))
    };
    match retry(|| std::fs::metadata(&dir)) {
        Ok(found) if !found.is_dir() => cannot("it is not a directory".to_owned()),
        Ok(_) => access(&dir, AccessFlags::W_OK | AccessFlags::X_OK)
            .or_else(|errno| cannot(plain(&errno.into()))),
        Err(error) => cannot(plain(&error)),
    }
}

fn check_file(path: &Path, kind: &std::fs::FileType, to_read: bool) -> Result<(), Error> {
    check_kind(path, kind, to_read)?;
    let how = if to_read { AccessFlags::R_OK | AccessFlags::W_OK } else { AccessFlags::W_OK };
    access(path, how).map_err(cannot_open(path))
}

/// Refuses what keeps nothing: when nobody reads a FIFO the job would hang, or its output be lost.
fn check_kind(path: &Path, kind: &std::fs::FileType, to_read: bool) -> Result<(), Error> {
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_char_device() && !to_read => return Ok(()),
        _ if kind.is_char_device() => {
            "a device, of which nothing could be shown when the job fails"
        }
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO or a pipe, not a file",
        _ => "neither a file nor a device like /dev/null",
    };
    Err(Error::State(format!("the log '{}' is {what}: name another", escape_path(path))))
}

fn cannot_open<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Error + use<E> {
    Error::io(format!("open the log '{}'", escape_path(path)))
}

/// Opens it for the job, and, where that is wanted, to read what the job writes from where that begins.
pub(super) fn open(
    path: &Path,
    plan: &LogPlan,
    to_read: bool,
) -> Result<(File, Option<(File, u64)>), Error> {
    let mut tries = 0;
    loop {
        let writer = open_with_place(path, plan)?;
        let found = writer.metadata().map_err(cannot_open(path))?;
        check_kind(path, &found.file_type(), to_read)?;
        make_blocking(&writer).map_err(cannot_open(path))?;
        if !to_read {
            return Ok((writer, None));
        }
        let reader = reading(path).map_err(cannot_open(path))?;
        let same = reader.metadata().map_err(cannot_open(path))?;
        if (same.dev(), same.ino()) == (found.dev(), found.ino()) {
            return Ok((writer, Some((reader, found.len()))));
        }
        // Another run has moved it away meanwhile.
        tries += 1;
        if tries == MAX_TRIES {
            return Err(cannot_open(path)(io::Error::other("it is replaced again and again")));
        }
    }
}

/// A log that is replaced more often than this while we open it is not to be had.
const MAX_TRIES: usize = 100;

/// Opens it, after it was moved away if it is full.
fn open_with_place(path: &Path, plan: &LogPlan) -> Result<File, Error> {
    let mut tries = 0;
    loop {
        let file = append_to(path).map_err(cannot_open(path))?;
        let Some(max_size) = plan.max_size else { return Ok(file) };
        tries += 1;
        match make_place(path, &file, max_size, plan.keep) {
            Ok(Made::Place) if tries < MAX_TRIES => {} // and now into the new one
            Ok(Made::Place | Made::Nothing) => return Ok(file),
            // The job is worth more than the size of its log.
            Err(error) => {
                let (path, why) = (escape_path(path), plain(&error));
                output::message(format!("cannot rotate the log '{path}', it grows on: {why}"));
                return Ok(file);
            }
        }
    }
}

/// Opens it as a shell would, but waits for nobody to open the other end.
fn append_to(path: &Path) -> io::Result<File> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(io::Error::other("a file name holds no NUL"));
    }
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    OpenOptions::new().append(true).create(true).mode(0o666).custom_flags(flags).open(path)
}

fn reading(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path)
}
