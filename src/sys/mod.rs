//! The kernel, one object per file: the only place where `unsafe` is allowed.
//!
//! Everything here is mechanism. What a signal means, when a holder is dead and in which order the
//! protocol proceeds is decided elsewhere, in code that makes no system call.
#![allow(unsafe_code, reason = "raw system calls live here, each with its argument")]

pub mod disposition;
pub mod file;
pub mod fork;
pub mod kill;
mod own_pid;
mod pass;
pub mod pidfd;
pub mod poll;
pub mod procfs;
pub mod rename;
pub mod retry;
mod siginfo;
pub mod signal;
pub mod startup;
pub mod usage;
pub mod wait;
