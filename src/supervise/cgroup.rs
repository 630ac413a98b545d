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
    ///
    /// Those that supervisors of the same machine left behind when they were killed are removed, if
    /// nobody is in them any more. We have the machine lock: nobody makes one for it now, but for one of
    /// the same name in another state directory, whose run does without when it is this quick.
    pub fn make(machine: &MachineName, token: u64, pid: i32) -> io::Result<Self> {
        let own = of(std::process::id().cast_signed())?;
        sweep(&own, machine);
        let path = own.join(name(machine, token));
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

    /// Removes it, with what the job made below it, if nobody is left in it.
    pub fn remove(&self) {
        remove(&self.0);
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        retry(|| fs::write(self.0.join(file), text))
    }
}

/// Removes a control group and those below it, unless somebody is in one of them: then what is empty there
/// may still be wanted, and all of it goes with our own.
fn remove(path: &Path) {
    let events = retry(|| fs::read_to_string(path.join("cgroup.events"))).unwrap_or_default();
    if !events.lines().any(|line| line == "populated 0") {
        return;
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    let groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.for_each(|group| remove(&group.path()));
    let _ = retry(|| fs::remove_dir(path)); // somebody came meanwhile
}

/// Removes what is left in `own` of this machine's runs.
fn sweep(own: &Path, machine: &MachineName) {
    let prefix = format!("jobguard.{machine}.");
    let is_of_a_run = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let token = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        token.is_some_and(|token| token.parse::<u64>().is_ok())
    };
    let found = fs::read_dir(own).into_iter().flatten().flatten();
    found.filter(is_of_a_run).for_each(|group| remove(&group.path()));
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
