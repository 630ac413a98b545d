//! Who is it, where is it, is it alive.
//!
//! [`verdict`] is the policy: one pure function from evidence to a verdict. The others gather the
//! evidence: [`process`] looks at PIDs, [`host`] says which kernel and namespaces we are in, [`inside`]
//! looks into PID namespaces below ours, [`lifeline`] feels FIFOs, [`observe`] puts it together for
//! one holder. [`warrant`] is the one way from a record to a process that may be signalled, [`tree`] finds
//! what descends from it, also by the [`mark`] that its environment is.

pub mod host;
pub mod inside;
pub mod lifeline;
pub mod mark;
pub mod observe;
pub mod process;
pub mod stat;
pub mod tree;
pub mod verdict;
pub mod warrant;
