//! Those who come while it is held: queues, deadlines, policies, service managers that wait.
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod activation;
mod away;
mod contention;
mod notify;
mod on_busy;
mod pending;
mod queue;
mod replace;
mod wait;
