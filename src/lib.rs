//! jobguard: an exec-wrapper and process supervisor that keeps a machine from being used twice.
//!
//! The map. A run reads top to bottom in `commands/run.rs`: plan → claim → supervise → release →
//! exit. The rooms it goes through:
//!
//! * [`cli`]: what was typed, and what it means
//! * [`commands`]: one file per command
//! * [`protocol`]: who may take, release or clear a machine, as pure steps; [`transaction`]
//!   executes them
//! * [`identity`]: who is a holder, and is it alive: evidence, and the verdict on it
//! * [`machine`]: the state directory and the files in it
//! * [`ending`]: ending what holds a machine: TERM, and after a grace KILL
//! * [`look`]: looking at a machine without its lock, and waiting for it to change
//! * [`supervise`]: the job's birth, the signals it gets, its end
//! * [`report`]: everything that is printed
//! * [`summary`]: all holders of a machine taken together; [`error`]: what went wrong, in words
//! * [`sys`]: the kernel; the only `unsafe`, but for two calls into it that carry its conditions

pub mod cli;
pub mod commands;
pub mod ending;
pub mod error;
pub mod identity;
pub mod look;
pub mod machine;
pub mod protocol;
pub mod report;
pub mod summary;
pub mod supervise;
pub mod sys;
pub mod transaction;

use std::ffi::OsString;

/// How the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit status.
    Code(u8),
    /// By this signal, as the job did.
    Signal(i32),
}

/// Does what the command line says.
pub fn run(args: Vec<OsString>) -> Exit {
    if supervise::init::is_init() {
        sys::signal::block_from_the_start();
    }
    sys::startup::occupy_standard_descriptors();
    match cli::plan::plan(args) {
        Ok(plan) => commands::execute(plan),
        Err(text) => {
            report::output::message(text);
            Exit::Code(error::USAGE)
        }
    }
}
