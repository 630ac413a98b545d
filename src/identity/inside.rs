//! Looks into PID namespaces below ours: which of our processes is their number N?
//!
//! A process is visible in the `/proc` of every namespace above its own, with another PID in each.
//! The link `/proc/PID/ns/pid` tells its own namespace, and the last `NSpid` of `/proc/PID/status`
//! its PID there (pid_namespaces(7); Linux 4.1).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::host::{Host, INITIAL_PID_NS};
use super::process::{Kernel, Look, ProcessId, Sighting};
use crate::error::plain;
use crate::sys::procfs;
use crate::sys::retry::retry;

/// The processes of a namespace that are visible from here.
#[derive(Debug, Default)]
pub struct Inside {
    /// Our PIDs of them, by theirs.
    ours: BTreeMap<i32, i32>,
    /// Why some processes of the kernel could not be looked at.
    incomplete: Option<String>,
    /// What is not visible from here does not exist.
    all_seeing: bool,
}

impl Inside {
    /// Looks for the processes of the namespace `pid_ns`, those numbered `wanted` above all; `None`
    /// where there is nothing to see.
    ///
    /// Only the first namespace of the kernel sees all processes, and only there "not found" means
    /// "not there": not found twice, since a thread that takes over its process (execve(2)) can make
    /// that invisible for a moment.
    pub fn look(pid_ns: u64, wanted: &[i32], here: &Host, kernel: Kernel) -> Option<Self> {
        if !kernel.proc || pid_ns == 0 {
            return None;
        }
        let mut inside = Self { all_seeing: here.pid_ns == INITIAL_PID_NS, ..Self::default() };
        let mut scans = 0;
        while scans < 2 && !wanted.iter().all(|pid| inside.ours.contains_key(pid)) {
            scans += 1;
            if let Err(error) = inside.scan(pid_ns) {
                inside.incomplete = Some(format!("cannot look through /proc: {}", plain(&error)));
            }
        }
        (inside.all_seeing || !inside.ours.is_empty()).then_some(inside)
    }

    fn scan(&mut self, pid_ns: u64) -> io::Result<()> {
        if hides_processes()? {
            self.incomplete = Some("/proc hides processes (hidepid)".to_owned());
        }
        // The first process of our own namespace is in no other, and may not want to be seen.
        for pid in procfs::pids()?.into_iter().filter(|pid| *pid != 1) {
            match inner_pid(pid, pid_ns) {
                Ok(Some(inner)) => drop(self.ours.insert(inner, pid)),
                Ok(None) => {}
                // It ended meanwhile.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    self.incomplete =
                        Some(format!("looking at PID {pid} is forbidden: {}", plain(&error)));
                }
            }
        }
        Ok(())
    }

    /// Looks for a process that was recorded in that namespace.
    pub fn look_for(&self, recorded: &ProcessId, kernel: Kernel, same_time: bool) -> Look {
        if let Some(pid) = self.ours.get(&recorded.pid) {
            return kernel.look_for(&ProcessId { pid: *pid, ..recorded.clone() }, same_time);
        }
        let sighting = match &self.incomplete {
            Some(why) => Sighting::Denied(why.clone()),
            None if self.all_seeing => Sighting::Gone,
            None => Sighting::Unclear("it is not visible from this PID namespace".to_owned()),
        };
        Look { sighting, handle: None }
    }
}

/// The PID of our process `pid` in the namespace `pid_ns`, if that is its own.
fn inner_pid(pid: i32, pid_ns: u64) -> io::Result<Option<i32>> {
    if retry(|| fs::metadata(format!("/proc/{pid}/ns/pid")))?.ino() != pid_ns {
        return Ok(None);
    }
    let pids = procfs::field(&format!("/proc/{pid}/status"), "NSpid")?;
    Ok(pids.and_then(|pids| pids.split_ascii_whitespace().next_back()?.parse().ok()))
}

/// `ESRCH` comes from a process that ended while its files were read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether `/proc` is mounted so that it shows nobody but ourselves to some (proc(5), `hidepid`).
fn hides_processes() -> io::Result<bool> {
    let mounts = procfs::read_text("/proc/self/mounts")?;
    Ok(mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some("/proc") && line.contains("hidepid=")
    }))
}
