//! The command line: [`args`] says what may be typed, [`plan`] and [`settings`] what it means.

pub mod args;
pub mod duration;
pub mod log_name;
pub mod plan;
pub mod settings;
pub mod signal;
pub mod size;
