//! The state directory, one directory in it per machine, and what lies in those.

pub mod argument;
pub mod events;
pub mod holds;
pub mod legacy;
pub mod lock;
pub mod memo;
pub mod name;
pub mod reading;
pub mod record;
pub mod state_dir;
pub mod store;
pub mod ticket;
pub mod used;
