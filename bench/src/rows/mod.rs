//! What is measured, a file for each kind.

pub mod growth;
pub mod handover;
pub mod idle;
pub mod instructions;
pub mod looking;
pub mod memory;
pub mod phantom;
pub mod run;
