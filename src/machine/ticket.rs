//! A ticket: a waiter's place in the queue of a machine, and who that is.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::argument::Argument;
use super::holds::Holds;
use super::name::MachineName;
use super::record::{Mode, SCHEMA, Unknown};
use crate::protocol::want::Want;

/// A ticket's name: its place in the queue.
///
/// Those who wait within the job of a holder (nested) are a queue of their own: their machine is held
/// by what they are part of, so they must not wait behind outsiders, who wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    /// The lowest of its queue is the head. Numbers are given once in all queues of a machine.
    pub number: u64,
    /// The token of the holder in whose job it waits.
    pub within: Option<u64>,
}

/// The number of whoever goes ahead of the queue: there is one such place.
pub const AHEAD: u64 = 0;

/// Numbers from here on are nobody's: a million waiters a second would take ten thousand years.
const MAX_NUMBER: u64 = 1 << 58;

/// Where to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Spot {
    /// In the job of this holder; `None`: outside.
    pub within: Option<u64>,
    /// Ahead of all who wait there, not behind.
    pub ahead: bool,
}

impl TicketId {
    /// Reads a name as we would have written it: `7`, `7.in.1763649600123`.
    pub fn parse(name: &str) -> Option<Self> {
        let (number, within) = match name.split_once(".in.") {
            None => (name, None),
            Some((number, token)) => (number, Some(token.parse().ok()?)),
        };
        let id = Self { number: number.parse().ok()?, within };
        (id.number < MAX_NUMBER && id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.within.map_or(Ok(()), |token| write!(f, ".in.{token}"))
    }
}

/// What a waiter says of itself. Whether it waits is felt on its lifeline, and its place is its file's
/// name; what it says here decides at most who goes first.
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
    /// All machines that it must have at the same time, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineName>,
    /// What the job that it is part of holds, as in `JOBGUARD_HOLDS`.
    #[serde(default, skip_serializing_if = "Holds::is_empty")]
    pub holds: Holds,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Ticket {
    /// The ticket of a waiter who wants this.
    pub fn of(
        holder: &super::record::Holder,
        machines: Vec<MachineName>,
        holds: Holds,
        since: String,
    ) -> Self {
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
            machines,
            holds,
            unknown: Unknown::new(),
        }
    }

    /// Whether it is for other machines than these.
    pub fn needs_more(&self, machines: &[MachineName]) -> bool {
        !self.machines.iter().all(|machine| machines.contains(machine))
    }

    /// How it wants `machine`, for which it is a ticket.
    pub fn want(&self, machine: &MachineName) -> Want {
        let holds = self.holds.of(machine).collect();
        Want { mode: self.mode, slots: self.slots, holds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("7", Some((7, None)))]
    #[case("0.in.12", Some((0, Some(12))))]
    #[case("07", None)]
    #[case("7.in.", None)]
    #[case("7.in.012", None)]
    #[case("+7", None)]
    #[case("288230376151711744", None)]
    #[case("", None)]
    fn names(#[case] name: &str, #[case] expected: Option<(u64, Option<u64>)>) {
        let id = TicketId::parse(name);
        assert_eq!(id.map(|id| (id.number, id.within)), expected);
        assert!(id.is_none_or(|id| id.to_string() == name));
    }
}
