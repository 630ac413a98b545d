//! What is on disk: records, logs, directories, locks; damaged, planted, deleted, full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/still.rs"]
mod still;
#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod bad_records;
mod clear;
mod deleted_lock;
mod disk_full;
mod legacy_records;
mod rewrites;
mod sharing;
mod state_dir;
