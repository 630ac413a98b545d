//! The only place that writes to stdout and stderr.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use crate::error::Error;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::retry::retry;
use crate::sys::signal::SignalSet;

/// Writes an answer to stdout.
///
/// # Errors
/// As write(2); a reader that went away is no error, it has had enough.
pub fn answer(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write to standard output")),
    }
}

/// Writes messages to stderr, a line each. Where nobody can read them there is nobody to tell.
pub fn message(text: impl Display) {
    let mut lines = String::new();
    for line in text.to_string().lines() {
        lines.push_str("jobguard: ");
        lines.push_str(line);
        lines.push('\n');
    }
    let _ = io::stderr().lock().write_all(lines.as_bytes()); // nobody to tell
}

/// Copies a part of a file to stdout, as cat(1) would.
///
/// # Errors
/// As read(2) and write(2); a reader that went away is no error, it has had enough.
pub fn copy(file: &File, part: Range<u64>) -> io::Result<()> {
    // Not through the buffer of the standard library: it does not say how far it got.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = vec![0; 1 << 16];
    let mut at = part.start;
    while at < part.end {
        let room = usize::try_from(part.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = retry(|| file.read_at(&mut buffer[..room], at))?;
        if read == 0 {
            return Ok(()); // somebody cut it off
        }
        match write_or_wait(&mut stdout, &buffer[..read]) {
            Ok(written) => at += u64::try_from(written).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what fits in; waits where nothing does, and stdout was made not to.
fn write_or_wait(stdout: &mut File, bytes: &[u8]) -> io::Result<usize> {
    match retry(|| stdout.write(bytes)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let mask = SignalSet::current_mask()?;
            let stdout = [(stdout.as_fd(), Interest::Writable)];
            retry(|| wait_any(&stdout, None, mask))?;
            Ok(0)
        }
        result => result,
    }
}
