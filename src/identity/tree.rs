//! The processes of a run: its job, and whatever descends from it, as far as that can be found.
//!
//! Three signs count, all of them the kernel's word: who the parent is, the process group of a job that
//! leads one, and the environment that a process was born with. A process that cleaned its
//! environment, left the group and lost its parent is found only where the supervisor is the reaper
//! of its descendants (`PR_SET_CHILD_SUBREAPER`), whose child it is then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::mark::{bears, uids};
use super::process::ProcessId;
use super::stat::Stat;
use crate::machine::store::MachineDir;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs;

/// A run whose processes are looked for.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The machine that it holds, or one of them.
    pub dir: &'a MachineDir,
    /// Its token there, by which its processes are known; `None`: nobody but the record says so.
    pub token: Option<u64>,
    /// Whose it is: nobody else's process is its own for the sake of an environment.
    pub uid: u32,
    /// The job, whether it is over or not.
    pub job: ProcessId,
    /// The job leads a process group.
    pub leads_group: bool,
    /// Its supervisor, if it adopts the orphans of the run and nobody else's: what came to it since the
    /// job began is the job's.
    pub adopter: Option<ProcessId>,
}

/// The processes of a run.
#[derive(Debug)]
pub struct Tree<'a> {
    run: Run<'a>,
    /// By PID, each with when it started: what was of the run once stays so, whoever its parent is.
    members: BTreeMap<i32, Member>,
    /// Those that are over, but not reaped, in the group of a job that leads one.
    zombies: BTreeSet<i32>,
    /// They are the same as the look before.
    is_still: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its PID.
    pub pid: i32,
    /// When it started, in clock ticks.
    pub start_ticks: u64,
    /// Its process group.
    pub group: i32,
}

impl<'a> Tree<'a> {
    /// A run whose processes were not looked for yet.
    pub fn new(run: Run<'a>) -> Self {
        Self::known(run, Vec::new())
    }

    /// A run of which these were found before.
    pub fn known(run: Run<'a>, members: Vec<Member>) -> Self {
        let members = members.into_iter().map(|member| (member.pid, member)).collect();
        Self { run, members, zombies: BTreeSet::new(), is_still: false }
    }

    /// The run.
    pub fn run(&self) -> &Run<'a> {
        &self.run
    }

    /// Those that were found last, but for the job.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether none was found but the job.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether the job's group, which has somebody in it, has nothing but zombies: those who fork and end
    /// faster than we look leave others each time.
    pub fn group_is_dead(&self) -> bool {
        self.is_still && !self.zombies.is_empty()
    }

    /// The children of whoever adopts the orphans of the run, the job included; `None`: nobody does, or
    /// the kernel does not tell. As long as a process of the run is left one of them is a child.
    pub fn adopted(&self) -> Option<Vec<i32>> {
        let adopter = self.run.adopter.as_ref()?;
        let is_it = |stat: Stat| adopter.start_ticks == Some(stat.start_ticks);
        Stat::read(adopter.pid).ok().filter(|stat| is_it(*stat))?;
        let path = format!("/proc/{0}/task/{0}/children", adopter.pid);
        let children = procfs::read_text(&path).ok()?;
        Some(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Whether a process that was just seen is a child of that one since the job began.
    pub fn is_adopted(&self, stat: &Stat) -> bool {
        let adopter = self.run.adopter.as_ref().map(|process| process.pid);
        adopter == Some(stat.parent) && self.may_be(stat)
    }

    /// Looks for all of them that run. They may be more a moment later.
    ///
    /// # Errors
    /// `/proc` cannot be listed.
    pub fn look(&mut self) -> io::Result<()> {
        let all = processes()?;
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (pid, stat) in &all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let roots = self.roots(&all);
        let mut next: Vec<i32> = all.keys().copied().filter(|pid| roots.contains(*pid)).collect();
        let mut found: BTreeSet<i32> = BTreeSet::new();
        while let Some(pid) = next.pop() {
            if found.insert(pid) {
                let children = children.get(&pid).into_iter().flatten();
                next.extend(
                    children.filter(|child| all.get(child).is_some_and(|s| self.may_be(s))),
                );
            }
        }
        found.remove(&self.run.job.pid);
        let member = |pid: i32| {
            let stat = all.get(&pid).filter(|stat| !stat.is_over())?;
            Some((pid, Member { pid, start_ticks: stat.start_ticks, group: stat.group }))
        };
        self.members = found.into_iter().filter_map(member).collect();
        let is_dead = |stat: &Stat| stat.group == self.run.job.pid && stat.is_over();
        let zombies = all.iter().filter(|(_, stat)| is_dead(stat)).map(|(pid, _)| *pid).collect();
        self.is_still = zombies == self.zombies;
        self.zombies = zombies;
        Ok(())
    }

    fn roots<'b>(&'b self, all: &'b BTreeMap<i32, Stat>) -> Roots<'b> {
        let Run { job, adopter, .. } = &self.run;
        let is_there = |process: &&ProcessId| {
            let stat = all.get(&process.pid);
            stat.is_some_and(|stat| process.start_ticks == Some(stat.start_ticks))
        };
        let is_known = |member: &Member| {
            let stat = all.get(&member.pid);
            stat.is_some_and(|s| (s.start_ticks, s.group) == (member.start_ticks, job.pid))
        };
        // The number of a group that was never empty since is no other's.
        let group_is_kept = is_there(&job) || self.members.values().any(is_known);
        Roots {
            tree: self,
            all,
            group: self.run.leads_group.then_some(job.pid).filter(|_| group_is_kept),
            adopter: adopter.as_ref().filter(is_there).map(|process| process.pid),
        }
    }

    /// Whether a process is young enough: what was there before the job is none of it.
    fn may_be(&self, stat: &Stat) -> bool {
        self.run.job.start_ticks.is_none_or(|start| stat.start_ticks >= start)
    }
}

/// Which processes are of a run by themselves, not for their parent's sake.
struct Roots<'a> {
    tree: &'a Tree<'a>,
    all: &'a BTreeMap<i32, Stat>,
    group: Option<i32>,
    adopter: Option<i32>,
}

impl Roots<'_> {
    fn contains(&self, pid: i32) -> bool {
        let Run { job, dir, token, uid, .. } = &self.tree.run;
        let Some(stat) = self.all.get(&pid) else { return false };
        if pid == std::process::id().cast_signed() || Some(pid) == self.adopter {
            return false;
        }
        if pid == job.pid {
            return job.start_ticks == Some(stat.start_ticks);
        }
        if !self.tree.may_be(stat) || stat.is_over() {
            return false;
        }
        let known = self.tree.members.get(&pid);
        let is_theirs = || uids(pid).is_ok_and(|uids| uids.iter().all(|found| found == uid));
        known.is_some_and(|known| known.start_ticks == stat.start_ticks)
            || self.adopter == Some(stat.parent)
            || self.group == Some(stat.group)
            || token.is_some_and(|token| is_theirs() && bears(pid, dir, token).unwrap_or(false))
    }
}

impl Member {
    /// Its pidfd, if it is still there.
    pub fn open(&self) -> io::Result<PidFd> {
        let pidfd = PidFd::open(self.pid)?;
        // Read while the pidfd is known to be open on a living process.
        let start_ticks = Stat::read(self.pid)?.start_ticks;
        if start_ticks != self.start_ticks || pidfd.is_over()? {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(pidfd)
    }
}

/// Those that run in a process group.
pub fn of_group(group: i32) -> io::Result<Vec<Member>> {
    let in_it = |(pid, stat): (i32, Stat)| {
        let is_in_it = stat.group == group && !stat.is_over();
        is_in_it.then_some(Member { pid, start_ticks: stat.start_ticks, group })
    };
    Ok(processes()?.into_iter().filter_map(in_it).collect())
}

/// All processes that `/proc` shows.
fn processes() -> io::Result<BTreeMap<i32, Stat>> {
    let mut all = BTreeMap::new();
    for pid in procfs::pids()? {
        if let Ok(stat) = Stat::read(pid) {
            all.insert(pid, stat); // else it ended meanwhile, or is hidden from us
        }
    }
    Ok(all)
}
