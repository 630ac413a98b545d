//! Hostile neighbours: another user may write to the state directory, and does. Whatever they put
//! there, nobody hangs, nothing outside is touched, nobody is signalled, no terminal obeys.
//!
//! Real users, by their IDs; all of it needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/still.rs"]
mod still;
#[path = "../support/strangers.rs"]
mod strangers;
#[path = "../support/mod.rs"]
mod support;

mod arena;
mod flood;
mod giants;
mod innocents;
mod locked;
mod planted;
mod swapped;
mod warrants;
mod words;
