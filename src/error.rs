//! The one error type: its Display is a sentence for the user, its exit code stands beside it.

use std::fmt;
use std::io;

use crate::machine::name::MachineName;

/// Why jobguard could not do what it was asked.
#[derive(Debug)]
pub enum Error {
    /// The machine is held, or the wait for it is over.
    Busy(String),
    /// The command cannot be executed.
    Command {
        /// Its first word, escaped.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The machine lock was not to be had within its deadline.
    LockTimeout {
        /// Which machine's.
        machine: MachineName,
        /// Who holds it, and for how long we waited.
        detail: String,
    },
    /// The state directory cannot be trusted or used.
    State(String),
    /// We are to end by this signal, as a job that we wait for would have.
    Signaled(i32),
    /// A system call failed.
    Io {
        /// What was being done, as in "cannot …".
        doing: String,
        /// How it failed.
        source: io::Error,
    },
}

/// The exit code of a command line that makes no sense (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

impl Error {
    /// Wraps an I/O error: `doing` completes "cannot …".
    ///
    /// The words are put together when they are needed: mostly nothing fails.
    pub fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { doing: doing.into(), source: source.into() }
    }

    /// The exit code: 75 busy, 126 and 127 as a shell says it, 125 all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Busy(_) => 75,
            Self::Command { source, .. } => match source.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => 127,
                _ => 126,
            },
            // As a shell says it.
            Self::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::LockTimeout { .. } | Self::State(_) | Self::Io { .. } => 125,
        }
    }
}

/// An I/O error as people read it: without the "(os error N)" that Rust appends.
pub fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        // "Try again" is no sentence for people.
        Some(libc::EAGAIN) => "resource temporarily unavailable (a limit was reached?)".to_owned(),
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(text) | Self::State(text) => f.write_str(text),
            Self::Command { command, source } => {
                write!(f, "cannot run '{command}': {}", plain(source))
            }
            Self::LockTimeout { machine, detail } => {
                write!(f, "{machine}: cannot take the machine lock: {detail}")
            }
            Self::Signaled(signal) => write!(f, "ended by signal {signal}"),
            Self::Io { doing, source } => write!(f, "cannot {doing}: {}", plain(source)),
        }
    }
}

impl std::error::Error for Error {}
