//! Several at once, as far as they may: shared, slots, several machines, jobs within jobs.
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

#[path = "../support/mod.rs"]
mod support;

mod cycles;
mod nested;
mod nested_limits;
mod several;
mod several_contended;
mod shared;
mod slots;
