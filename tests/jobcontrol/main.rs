//! Terminals and job control: a job is stopped, continued, told of keys, sizes and hang-ups as it is
//! without jobguard, and the shell above sees what it would have seen. The same is done with a bare
//! job and a wrapped one, on real terminals: under a small shell of our own (`shell.c`), under those
//! that people use, and with programs that make the most of a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

mod adopted;
mod background;
mod foreground;
mod hangup;
mod moved;
mod placement;
mod programs;
mod races;
mod screen;
mod shell;
mod shells;
mod ssh;
#[path = "../support/mod.rs"]
mod support;
