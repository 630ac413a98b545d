//! What every command needs to know: flag before environment before default.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::args::{Place, host_id};

/// What every command needs to know.
#[derive(Debug)]
pub struct Settings {
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// Network file systems are allowed.
    pub allow_network_fs: bool,
    /// Overrides the machine ID.
    pub host_id: Option<String>,
    /// How long to wait for the machine lock.
    pub lock_timeout: Duration,
    /// The age from which a record of schema 0 without a PID is over.
    pub legacy_grace: Duration,
}

impl Settings {
    /// `inner` is what stood after a subcommand, `outer` what stood before.
    pub fn resolve(inner: Place, outer: Place) -> Result<Self, String> {
        let set = env::var_os("JOBGUARD_HOST_ID").filter(|id| !id.is_empty());
        let given = inner.host_id.or(outer.host_id);
        let host_id = match (given, set) {
            (Some(id), _) => Some(id),
            (None, set) => {
                set.map(host_id).transpose().map_err(|why| format!("JOBGUARD_HOST_ID: {why}"))?
            }
        };
        Ok(Self {
            host_id,
            state_dir: inner.state_dir.or(outer.state_dir),
            allow_network_fs: inner.allow_network_fs || outer.allow_network_fs,
            lock_timeout: inner.lock_timeout.or(outer.lock_timeout).unwrap_or(LOCK_TIMEOUT),
            legacy_grace: inner.legacy_grace.or(outer.legacy_grace).unwrap_or(LEGACY_GRACE),
        })
    }
}

const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LEGACY_GRACE: Duration = Duration::from_secs(300);
