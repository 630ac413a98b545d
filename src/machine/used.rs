//! What a run used, as its machine's record and the event log keep it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::sys::usage::Usage;

/// What a run used; nothing of a run whose end nobody saw.
///
/// Numbers are kept as they were read: a record is written again as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Used {
    /// Seconds from its beginning to its end, by a clock that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<Number>,
    /// CPU time of the job and of those of its children that it waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<Number>,
    /// The most memory that one of them had at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss_kib: Option<u64>,
    /// What they read from disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_read_kib: Option<u64>,
    /// What they wrote to disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_written_kib: Option<u64>,
}

impl Used {
    /// What the kernel said of a run that took so long.
    pub fn new(wall: Option<Duration>, usage: Option<Usage>) -> Self {
        // 512-byte blocks.
        let kib = |blocks: u64| blocks / 2;
        Self {
            wall_seconds: wall.and_then(seconds),
            cpu_seconds: usage.and_then(|usage| seconds(usage.cpu)),
            max_rss_kib: usage.map(|usage| usage.max_rss_kib),
            disk_read_kib: usage.map(|usage| kib(usage.blocks_read)),
            disk_written_kib: usage.map(|usage| kib(usage.blocks_written)),
        }
    }
}

/// With microseconds, as far as the kernel tells them.
fn seconds(time: Duration) -> Option<Number> {
    Number::from_f64(Duration::from_micros(time.as_micros().try_into().ok()?).as_secs_f64())
}
