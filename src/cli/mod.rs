//! The command line: [`args`] says what may be typed, [`plan`] what it means.

pub mod args;
pub mod duration;
pub mod plan;
