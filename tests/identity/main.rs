//! Who holds it, and is that still true: processes, kernels, containers, PIDs that come back.
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod containers;
mod kernels;
mod orphans;
mod pid_reuse;
mod process;
