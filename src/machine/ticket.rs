//! A ticket: a waiter's place in the queue of a machine, and who that is.

use serde::{Deserialize, Serialize};

use super::argument::Argument;
use super::record::{Mode, SCHEMA, Unknown};

/// What a waiter says of itself. Nothing of it decides: whether it waits is felt on its lifeline,
/// and its place is its file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The schema of the record beside it.
    pub schema: u64,
    /// How it wants to share the machine.
    pub mode: Mode,
    /// How many holders it agrees to.
    pub slots: u32,
    /// The PID of the waiting jobguard, in its own namespace.
    pub pid: i32,
    /// The node name of its host.
    #[serde(default)]
    pub host: String,
    /// The job that it will run.
    pub command: Vec<Argument>,
    /// Shown instead of the command line.
    #[serde(default)]
    pub name: Option<Argument>,
    /// Who waits.
    #[serde(default)]
    pub uid: u32,
    /// Their name.
    #[serde(default)]
    pub user: Option<String>,
    /// Since when, RFC 3339 UTC.
    pub since: String,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Ticket {
    /// The ticket of a waiter who wants this.
    pub fn of(holder: &super::record::Holder, since: String) -> Self {
        Self {
            schema: SCHEMA,
            mode: holder.mode,
            slots: holder.slots,
            pid: std::process::id().cast_signed(),
            host: holder.host.name.clone(),
            command: holder.command.clone(),
            name: holder.name.clone(),
            uid: holder.uid,
            user: holder.user.clone(),
            since,
            unknown: Unknown::new(),
        }
    }
}
