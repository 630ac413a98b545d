//! A control group for the job alone (cgroups(7), version 2), where one can be had: its processes can be
//! killed all at once then, however fast they fork.
//!
//! It is made below our own, under a name that says whose it is, so that others find it. Who may not
//! write there, or has version 1 only, does without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::machine::name::MachineName;
use crate::sys::procfs;
use crate::sys::retry::retry;

/// The control group of a job.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

impl Cgroup {
    /// Makes one for a run, and puts the process in it.
    pub fn make(machine: &MachineName, token: u64, pid: i32) -> io::Result<Self> {
        let path = of(std::process::id().cast_signed())?.join(name(machine, token));
        retry(|| fs::create_dir(&path))?;
        let made = Self(path);
        made.write("cgroup.procs", &pid.to_string()).inspect_err(|_| made.remove())?;
        Ok(made)
    }

    /// The one that a run has in which this process is the supervisor, or the job, which the caller has
    /// made sure of.
    pub fn find(machine: &MachineName, token: u64, process: i32) -> io::Result<Self> {
        let (at, name) = (of(process)?, name(machine, token));
        let path = if at.ends_with(&name) { at } else { at.join(name) };
        fs::metadata(path.join("cgroup.kill"))?;
        Ok(Self(path))
    }

    /// Kills whatever is in it (`cgroup.kill`, Linux 5.14).
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Removes it, if nobody is left in it.
    pub fn remove(&self) {
        let _ = retry(|| fs::remove_dir(&self.0)); // somebody is, and it goes with our own
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        retry(|| fs::write(self.0.join(file), text))
    }
}

fn name(machine: &MachineName, token: u64) -> String {
    format!("jobguard.{machine}.{token}")
}

/// The directory of the control group that a process is in.
fn of(pid: i32) -> io::Result<PathBuf> {
    let groups = procfs::read_text(&format!("/proc/{pid}/cgroup"))?;
    // Version 2 has the hierarchy 0, without controllers in its name.
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.filter(|path| !path.starts_with("..")); // outside our cgroup namespace
    let is_v2 = |mount: &&&str| {
        statfs(**mount).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
    };
    let mount = MOUNTS.iter().find(is_v2);
    match (mount, path) {
        (Some(mount), Some(path)) => Ok(Path::new(mount).join(path)),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
