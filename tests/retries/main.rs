//! Jobs that are tried again, and the machine that is held meanwhile.
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/mod.rs"]
mod support;

mod attempts;
mod ended;
mod scene;
