//! The supervisor's life beside its job: what is forwarded, when the job is over, how to end.
//!
//! [`mod@unit`] says under which service we run, and [`notify`] tells its manager how we do.
//!
//! [`policy`] decides, without I/O; [`program`] finds what is to be executed; [`job`] is the child
//! itself, or an [`adoptee`]; [`watch`] is the loop, which only reads signals and has [`forward`] do what
//! the policy says.
//! [`stops`] is the other half of the policy, for a job that stops, and [`terminal`] what it is about;
//! [`init`] is what differs for the first process of a PID namespace.

pub mod adoptee;
pub mod cgroup;
pub mod draft;
pub mod drain;
pub mod environment;
pub mod forward;
pub mod init;
pub mod job;
pub mod limits;
pub mod notify;
pub mod output;
pub mod policy;
pub mod program;
pub mod retries;
pub mod spent;
pub mod stops;
pub mod terminal;
pub mod unit;
pub mod watch;
