//! The job as if jobguard were not there, and what is asked for beside that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod cli;
mod demo;
mod exit_status;
mod limits;
mod pipelines;
mod rerun;
mod resources;
mod stdio;
mod terminal;
