//! The mark of a run: the environment that its job was born with, and hands down.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::machine::holds::{Holds, dir_id};
use crate::machine::store::MachineDir;
use crate::sys::procfs;

/// Whether the process was born with the token of this run in this very directory, as the job's
/// descendants are that did not clean their environment (`/proc/PID/environ`, proc_pid_environ(5)).
///
/// # Errors
/// `EACCES`: it belongs to another user.
pub fn bears(pid: i32, dir: &MachineDir, token: u64) -> io::Result<bool> {
    let environment = procfs::read(&format!("/proc/{pid}/environ"))?;
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let Some(state) = value("JOBGUARD_STATE_DIR").map(|path| Path::new(OsStr::from_bytes(path)))
    else {
        return Ok(false);
    };
    let dir_id = fs::metadata(state).map(|found| dir_id(found.dev(), found.ino())).ok();
    let holds = Holds::told(value(Holds::VARIABLE).map(OsStr::from_bytes), dir_id);
    Ok(holds.contains(dir.name(), token) && dir.is_at(&state.join(dir.name().as_str())))
}

/// The user IDs of a process: real, effective, saved, file system (`Uid:` of proc_pid_status(5)).
pub fn uids(pid: i32) -> io::Result<Vec<u32>> {
    let uids = procfs::field(&format!("/proc/{pid}/status"), "Uid")?.unwrap_or_default();
    Ok(uids.split_ascii_whitespace().filter_map(|uid| uid.parse().ok()).collect())
}
