//! A warrant: leave to signal a process that a record names.
//!
//! Whoever may write to a machine's directory can write anybody's PID into its record, and root
//! would signal that on their word. So a command that signals a recorded process gets it from
//! [`warrant`], as a pidfd, and from nowhere else. There is one only when everybody agrees: the record
//! about who the process is, the process about whose it is, the lifeline about whose the run is,
//! and the kernel about the process being of that run. The first alone would give away any process
//! of somebody who once had a lifeline here, since lifelines can be moved.

use std::io;

use super::host::Host;
use super::lifeline::LifelineId;
use super::mark::{bears, uids};
use super::process::{Look, ProcessId, Sighting};
use super::stat::Stat;
use super::verdict::{Observer, Subject};
use crate::machine::record::Holder;
use crate::machine::store::MachineDir;
use crate::sys::pidfd::PidFd;

mod descriptors;
mod refusal;

use descriptors::{keeps, watches};
pub use refusal::Refusal;

/// Which process of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The job's.
    Job,
    /// The supervisor's.
    Supervisor,
}

impl Role {
    fn of(self, holder: &Holder) -> Option<&ProcessId> {
        match self {
            Self::Job => holder.job.as_ref(),
            Self::Supervisor => holder.supervisor.as_ref(),
        }
    }
}

/// What was found where a record points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What is behind the recorded PID.
    pub sighting: Sighting,
    /// When that started, where it could be read.
    pub start_ticks: Option<u64>,
    /// Its user IDs: real, effective, saved, file system.
    pub uids: Vec<u32>,
    /// The FIFO that has the lifeline's name, and its owner.
    pub lifeline: Option<(LifelineId, u32)>,
    /// What the kernel says of the process and this run; `None`: it does not tell us.
    pub bond: Option<Bond>,
}

/// How a process is of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// It is not.
    Stranger,
    /// It keeps the run's lifeline, or is a child of the one that does, or was born with its token.
    Own,
    /// Whoever keeps the run's lifeline has adopted it.
    Adopted,
}

/// Says whether all that was found agrees with the record; pure.
pub fn agree(holder: &Holder, role: Role, here: &Host, found: &Findings) -> Result<(), Refusal> {
    let recorded = role.of(holder).filter(|process| process.pid > 0).ok_or(Refusal::NoProcess)?;
    if recorded.start_ticks.is_none() {
        return Err(Refusal::NoProcess); // and where its inode is unknown nothing was compared
    }
    if !holder.host.same_kernel(here) || here.pid_ns == 0 || holder.host.pid_ns != here.pid_ns {
        return Err(Refusal::Elsewhere);
    }
    match &found.sighting {
        Sighting::Alive => {}
        Sighting::Gone => return Err(Refusal::Over),
        Sighting::Reused => return Err(Refusal::Another),
        Sighting::Denied(why) | Sighting::Unclear(why) => {
            return Err(Refusal::Unclear(why.clone()));
        }
    }
    let same_time = holder.host.time_ns == here.time_ns;
    if same_time && recorded.start_ticks.is_some() && recorded.start_ticks != found.start_ticks {
        return Err(Refusal::Another);
    }
    // Root may adopt anybody's.
    let is_anybodys = found.bond == Some(Bond::Adopted) && holder.uid == 0;
    let is_theirs = is_anybodys || found.uids.iter().all(|uid| *uid == holder.uid);
    if found.uids.is_empty() || !is_theirs {
        return Err(Refusal::User { recorded: holder.uid, found: found.uids.clone() });
    }
    match &found.lifeline {
        Some((id, _)) if Some(id.to_string()) != holder.lifeline => Err(Refusal::Lifeline),
        None => Err(Refusal::Lifeline),
        Some((_, owner)) if *owner != holder.uid => {
            Err(Refusal::Owner { recorded: holder.uid, found: *owner })
        }
        Some(_) => match found.bond {
            Some(Bond::Own | Bond::Adopted) => Ok(()),
            Some(Bond::Stranger) => Err(Refusal::Stranger),
            None => Err(Refusal::Forbidden { uid: holder.uid }),
        },
    }
}

/// Leave to signal the process that `subject` names in this role, through what is returned.
///
/// A user ID may still change between this and the signal, by a setuid program of the job itself.
///
/// # Errors
/// Which of them did not agree.
pub fn warrant(
    dir: &MachineDir,
    subject: &Subject,
    role: Role,
    observer: &Observer,
) -> Result<PidFd, Refusal> {
    let Subject::Holder(holder) = subject else { return Err(Refusal::NoProcess) };
    let recorded = role.of(holder).ok_or(Refusal::NoProcess)?;
    let same_time = holder.host.time_ns == observer.host.time_ns;
    let Look { sighting, handle } = observer.kernel.look_for(recorded, same_time);
    let lifeline = dir.whose_lifeline(holder.token);
    let bond = |lifeline| match bond(dir, holder, role, lifeline, observer) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        told => Some(told.unwrap_or(Bond::Stranger)),
    };
    let found = Findings {
        sighting,
        start_ticks: Stat::read(recorded.pid).ok().map(|stat| stat.start_ticks),
        uids: uids(recorded.pid).unwrap_or_default(),
        lifeline,
        bond: lifeline.map_or(Some(Bond::Stranger), |(id, _)| bond(id)),
    };
    let over = handle.as_ref().map(PidFd::is_over);
    // What was read under its PID was its own only if it lives still.
    if let Some(Ok(true)) = over {
        return Err(Refusal::Over);
    }
    agree(holder, role, &observer.host, &found)?;
    match (over, handle) {
        (Some(Ok(false)), Some(pidfd)) if observer.kernel.proc => Ok(pidfd),
        _ => Err(Refusal::NoHandle),
    }
}

/// How a process is of the run that the record names. The supervisor keeps the lifeline; the job is its
/// child, or watched by it through the pidfd of an adoption, or, after its death, was born with the token of
/// a run in this very directory. Nobody else's process can be made any of that.
fn bond(
    dir: &MachineDir,
    holder: &Holder,
    role: Role,
    lifeline: LifelineId,
    observer: &Observer,
) -> io::Result<Bond> {
    let own = |is_own: bool| if is_own { Bond::Own } else { Bond::Stranger };
    let same_time = holder.host.time_ns == observer.host.time_ns;
    let supervisor = holder.supervisor.as_ref().filter(|supervisor| {
        observer.kernel.look_for(supervisor, same_time).sighting == Sighting::Alive
            && keeps(supervisor.pid, lifeline).unwrap_or(false)
    });
    let Some(job) = holder.job.as_ref().filter(|_| role == Role::Job) else {
        return Ok(own(supervisor.is_some()));
    };
    if let Some(supervisor) = supervisor {
        if holder.adopted && watches(supervisor.pid, job)? {
            return Ok(Bond::Adopted);
        }
        if Stat::read(job.pid)?.parent == supervisor.pid {
            return Ok(Bond::Own);
        }
    }
    bears(job.pid, dir, holder.token).map(own)
}

#[cfg(test)]
mod tests;
