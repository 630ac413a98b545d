//! What a job leaves behind: who is found of it, what it is waited for and ended by, and who is spared.
//! Whether anybody is left is judged by a leash that they hold, never by looking for them.
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/strangers.rs"]
mod strangers;

mod bombs;
mod ended;
mod scene;
mod spared;
mod waited_for;
