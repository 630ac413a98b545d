//! Is the process that was recorded still the one behind its PID?
//!
//! A PID alone proves nothing: it is reused, after a reboot or a container restart at once. The
//! identity of a process is, in this order: the inode of its pidfd (Linux 6.9; unique until the
//! next boot, decides alone), else its start time in clock ticks, read in one time namespace.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::stat::Stat;
use crate::error::plain;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

/// A process as it was when it was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its PID, in the PID namespace that the record names.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot, shifted by the time namespace.
    #[serde(default)]
    pub start_ticks: Option<u64>,
    /// The inode number of its pidfd; `None` on kernels before 6.9.
    #[serde(default)]
    pub pidfd_inode: Option<u64>,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What was found when a recorded process was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It runs: its identity matches and it has not ended.
    Alive,
    /// It has ended: no such process, or a zombie.
    Gone,
    /// Its PID belongs to another process, or to a thread, by now.
    Reused,
    /// The kernel would not tell.
    Denied(String),
    /// It can't be told apart from another process.
    Unclear(String),
}

impl Sighting {
    /// Whether the recorded process is provably over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Gone | Self::Reused)
    }
}

/// A sighting, and a handle on what was sighted where that runs: readable once it is over.
#[derive(Debug)]
pub struct Look {
    /// What was found.
    pub sighting: Sighting,
    /// The process that was found.
    pub handle: Option<PidFd>,
}

impl Look {
    fn without_handle(sighting: Sighting) -> Self {
        Self { sighting, handle: None }
    }
}

/// What this kernel can tell about processes: the seam through which tests reach older kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// pidfd_open(2) may be used (Linux 5.3).
    pub pidfd: bool,
    /// pidfds have inodes of their own (Linux 6.9).
    pub pidfd_inode: bool,
    /// `/proc` shows our PID namespace.
    pub proc: bool,
}

impl Kernel {
    /// What the running kernel lacks of pidfds is found out as they are used; whose `/proc` this is
    /// must be asked first, since the one of another PID namespace answers, too, with strangers.
    pub fn here() -> Self {
        Self { pidfd: true, pidfd_inode: true, proc: proc_is_ours() }
    }

    /// The identity of a running process, for the record: what `/proc` says of it, and a handle on
    /// it where there are such. One of the two is enough.
    pub fn identify(self, pid: i32, pidfd: Option<&PidFd>) -> io::Result<ProcessId> {
        self.identity(pid, pidfd, || self.stat(pid))
    }

    /// Our own, as [`Self::identify`], of what `/proc/self/stat` says.
    pub fn identify_ourselves(
        self,
        pidfd: Option<&PidFd>,
        own: &io::Result<Stat>,
    ) -> io::Result<ProcessId> {
        let pid = std::process::id().cast_signed();
        let same = |own: &io::Result<Stat>| own.as_ref().ok().copied().filter(|_| self.proc);
        self.identity(pid, pidfd, || same(own).map_or_else(|| self.stat(pid), Ok))
    }

    fn identity(
        self,
        pid: i32,
        pidfd: Option<&PidFd>,
        stat: impl FnOnce() -> io::Result<Stat>,
    ) -> io::Result<ProcessId> {
        let pidfd_inode = match pidfd {
            Some(pidfd) if self.pidfd_inode => pidfd.inode()?,
            _ => None,
        };
        let start_ticks = match stat() {
            Ok(stat) => Some(stat.start_ticks),
            Err(_) if pidfd_inode.is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(ProcessId { pid, start_ticks, pidfd_inode, unknown: Map::new() })
    }

    /// Reads `/proc/PID/stat`, where that is ours.
    fn stat(self, pid: i32) -> io::Result<Stat> {
        if !self.proc {
            return Err(io::Error::other("/proc is not that of our PID namespace"));
        }
        Stat::read(pid)
    }

    /// Looks for a process that was recorded in this PID namespace and under this kernel.
    ///
    /// `same_time` says that start ticks were recorded in our time namespace.
    pub fn look_for(self, recorded: &ProcessId, same_time: bool) -> Look {
        self.look_through(recorded, same_time).unwrap_or_else(|error| {
            let (pid, why) = (recorded.pid, plain(&error));
            Look::without_handle(match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Sighting::Denied(format!("looking at PID {pid} is forbidden: {why}"))
                }
                _ => Sighting::Unclear(format!("cannot look at PID {pid}: {why}")),
            })
        })
    }

    fn look_through(self, recorded: &ProcessId, same_time: bool) -> io::Result<Look> {
        if recorded.pid <= 0 {
            // No process ever has such a number (pidfd_open: EINVAL).
            return Ok(Look::without_handle(Sighting::Gone));
        }
        let through_proc = || self.look_through_proc(recorded, same_time).map(Look::without_handle);
        if !self.pidfd {
            return through_proc();
        }
        match PidFd::open(recorded.pid) {
            Ok(pidfd) => {
                let sighting = self.compare(&pidfd, recorded, same_time)?;
                let handle = (!sighting.is_over()).then_some(pidfd);
                Ok(Look { sighting, handle })
            }
            Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ESRCH => Ok(Look::without_handle(Sighting::Gone)),
                // A thread has the number by now.
                Errno::EINVAL | Errno::ENOENT => Ok(Look::without_handle(Sighting::Reused)),
                Errno::ENOSYS | Errno::EPERM => through_proc(),
                _ => Err(error),
            },
        }
    }

    fn compare(self, pidfd: &PidFd, recorded: &ProcessId, same_time: bool) -> io::Result<Sighting> {
        let inode = if self.pidfd_inode { pidfd.inode()? } else { None };
        if let (Some(now), Some(then)) = (inode, recorded.pidfd_inode) {
            if now != then {
                return Ok(Sighting::Reused);
            }
            return Ok(if pidfd.is_over()? { Sighting::Gone } else { Sighting::Alive });
        }
        // Read the start time while the pidfd is known to be open on a living process: if it ends
        // and its PID is reused in between, the poll afterwards says so.
        let stat = self.stat(recorded.pid);
        if pidfd.is_over()? {
            return Ok(Sighting::Gone);
        }
        Ok(same_start(recorded, stat?.start_ticks, same_time))
    }

    /// The way without pidfds: kill(2) with signal 0, and `/proc`.
    fn look_through_proc(self, recorded: &ProcessId, same_time: bool) -> io::Result<Sighting> {
        // hidepid hides processes of others from /proc, but not from kill: only ESRCH means "none".
        let is_gone = || kill(Pid::from_raw(recorded.pid), None) == Err(Errno::ESRCH);
        if is_gone() {
            return Ok(Sighting::Gone);
        }
        let stat = match self.stat(recorded.pid) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_gone() => {
                return Ok(Sighting::Gone); // since the first kill
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Sighting::Denied(format!("PID {} is hidden in /proc", recorded.pid)));
            }
            Err(error) => return Err(error),
        };
        if is_thread(recorded.pid)? {
            return Ok(Sighting::Reused);
        }
        Ok(if stat.is_over() {
            Sighting::Gone
        } else {
            same_start(recorded, stat.start_ticks, same_time)
        })
    }
}

/// Whether the `/proc` that is mounted shows our own PID namespace: seen from an outer one we have
/// several PIDs (`NSpid` of proc_pid_status(5), Linux 4.1).
fn proc_is_ours() -> bool {
    let pids = procfs::field("/proc/self/status", "NSpid").ok().flatten();
    pids.and_then(|pids| pids.parse().ok()) == Some(std::process::id())
}

/// Compares start times; a process that can't be told apart from the recorded one is not over.
fn same_start(recorded: &ProcessId, found: u64, same_time: bool) -> Sighting {
    match recorded.start_ticks {
        None => Sighting::Alive, // nothing to compare with: the PID is in use
        Some(_) if !same_time => Sighting::Unclear(format!(
            "PID {} runs, but its start time was recorded in another time namespace",
            recorded.pid
        )),
        Some(then) if then == found => Sighting::Alive,
        Some(_) => Sighting::Reused,
    }
}

/// Whether the number is that of a thread other than its process's first: `/proc/TID` exists for
/// those too, and kill(2) accepts them.
fn is_thread(pid: i32) -> io::Result<bool> {
    let leader = procfs::field(&format!("/proc/{pid}/status"), "Tgid")?;
    Ok(leader.and_then(|leader| leader.parse().ok()) != Some(pid))
}
