//! Handles on jobs that were seen to run: whoever had one before the end is told how it ended.
//!
//! A process that was reaped cannot be opened any more, so a look after the end is too late: the
//! handles of one look are kept for the next. Until it is reaped its status stands in `/proc`, for
//! those who may see it; from then on the kernel tells who has a handle.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Handles;
use crate::identity::process::ProcessId;
use crate::identity::stat::Stat;
use crate::identity::verdict::{Subject, Told};
use crate::sys::pidfd::PidFd;
use crate::sys::wait::Ended;

/// The jobs that one observer has seen run, by the tokens of their runs.
#[derive(Debug, Default)]
pub(super) struct Witness {
    jobs: BTreeMap<u64, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The inode of its pidfd: a run that is tried again has another job. A kernel that tells how
    /// processes ended has them.
    inode: u64,
    handle: Arc<PidFd>,
}

impl Witness {
    /// Keeps a handle on the job of the run `token`, and returns the one to wait on.
    pub(super) fn keep(&mut self, token: u64, job: &ProcessId, handle: PidFd) -> Arc<PidFd> {
        let Some(inode) = job.pidfd_inode else { return Arc::new(handle) };
        match self.jobs.get(&token) {
            Some(seen) if seen.inode == inode => return Arc::clone(&seen.handle),
            None if self.jobs.len() >= Handles::MAX_KEPT => return Arc::new(handle),
            _ => {}
        }
        let handle = Arc::new(handle);
        self.jobs.insert(token, Seen { inode, handle: Arc::clone(&handle) });
        handle
    }

    /// Asks how the job of the run `token` ended, which is over; and its handle where the answer is due.
    pub(super) fn ask(&self, token: u64, job: &ProcessId) -> (Told, Option<Arc<PidFd>>) {
        let seen = self.jobs.get(&token).filter(|seen| Some(seen.inode) == job.pidfd_inode);
        let Some(Seen { handle, .. }) = seen else { return (Told::Nothing, None) };
        let told = told(handle);
        (told, (told == Told::Soon).then(|| Arc::clone(handle)))
    }

    /// Lets go of all whom a record does not name any more.
    pub(super) fn forget_all_but(&mut self, subjects: &[Subject]) {
        self.jobs.retain(|token, _| subjects.iter().any(|subject| subject.token() == *token));
    }
}

/// What the kernel tells of how a process ended that is over.
pub fn told(handle: &PidFd) -> Told {
    if let Ok(Some(ended)) = handle.ended() {
        return Told::Ended(ended);
    }
    let status = handle.pid().and_then(Stat::exit_status);
    // As long as it is not reaped, what stands under its PID is its own.
    match (handle.is_reaped(), handle.ended(), status) {
        (_, Ok(Some(ended)), _) => Told::Ended(ended), // reaped meanwhile
        (Ok(false), _, Ok(Some(status))) => Told::Ended(Ended::of_status(status)),
        (Ok(false), Ok(None), _) => Told::Soon,
        _ => Told::Nothing,
    }
}
