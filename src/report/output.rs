//! The only place that writes to stdout and stderr.

use std::fmt::Display;
use std::io::{self, Write};

use crate::error::Error;

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
