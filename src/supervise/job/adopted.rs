//! A job that we did not start.

use super::{Job, Origin};
use crate::machine::record::Holder;
use crate::supervise::adoptee::Adoptee;
use crate::sys::pidfd::PidFd;

impl Job {
    /// The process that it is, where we did not start it.
    pub fn adopted(&self) -> Option<&Adoptee> {
        match &self.origin {
            Origin::Program(_) => None,
            Origin::Process(process) => Some(process),
        }
    }

    /// It is that of a run which was recorded before: like this.
    pub fn has_run(&mut self, run: Holder) {
        self.id.clone_from(&run.job);
        self.draft = run;
    }

    /// Whether somebody else has started or adopted it before, for the same run.
    pub fn was_taken_over(&self) -> bool {
        self.draft.token != 0
    }

    pub(super) fn pidfd(&self) -> Option<&PidFd> {
        self.adopted().map(Adoptee::pidfd).or(self.pidfd.as_ref())
    }
}
