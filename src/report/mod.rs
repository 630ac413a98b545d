//! Everything that is printed: stdout is for answers, stderr for messages.

pub mod escape;
pub mod explain;
pub mod human;
pub mod info;
pub mod json;
pub mod output;
pub mod resources;
pub mod table;
