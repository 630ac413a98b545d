//! The way from one world to the next, told to people.

use super::{Life, Machine, World};

/// The machines by name.
pub const NAMES: [&str; 2] = ["a", "b"];

impl World {
    /// What changed on the way to `next`, a line each.
    pub fn difference(&self, next: &Self) -> String {
        let mut lines = String::new();
        for (index, (old, new)) in self.processes.iter().zip(&next.processes).enumerate() {
            if old != new {
                lines.push_str(&format!("  process {index}: {}\n", old.life.doing()));
            }
        }
        for (index, job) in next.jobs.iter().enumerate() {
            if self.jobs.get(index) != Some(job) {
                lines.push_str(&format!("    job {index} is {job:?}\n"));
            }
        }
        for ((name, old), new) in NAMES.iter().zip(&self.machines).zip(&next.machines) {
            lines.push_str(&old.difference(new, name));
        }
        if self.faults != next.faults {
            lines.push_str(&format!("    fault: {:?} are left\n", next.faults));
        }
        lines
    }
}

impl Machine {
    fn difference(&self, next: &Self, name: &str) -> String {
        let mut lines = String::new();
        if self.lock != next.lock {
            lines.push_str(&format!("    {name}: lock file {:?}\n", next.lock));
        }
        if self.lifelines != next.lifelines {
            lines.push_str(&format!("    {name}: lifelines {:?}\n", next.lifelines));
        }
        if self.queue != next.queue {
            let waiting: Vec<_> = next.queue.values().collect();
            lines.push_str(&format!("    {name}: waiting {waiting:?}\n"));
        }
        if self.record != next.record {
            let holders = next.record.iter().flat_map(|record| &record.holders);
            let tokens: Vec<u64> = holders.map(|holder| holder.token).collect();
            lines.push_str(&format!("    {name}: record names {tokens:?}\n"));
        }
        lines
    }
}

impl Life {
    /// What it is about to do, in a few words.
    fn doing(&self) -> String {
        match self {
            Self::Acting(_, at, act) => {
                let act = format!("{act:?}");
                let act = act.split(['(', ' ']).next().unwrap_or_default();
                format!("{act}, on its machine {at}")
            }
            other => format!("{other:?}"),
        }
    }
}
