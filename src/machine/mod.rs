//! The state directory, one directory in it per machine, and what lies in those.

pub mod events;
pub mod legacy;
pub mod lock;
pub mod name;
pub mod record;
pub mod state_dir;
pub mod store;
mod strict;
