//! What it takes to repeat the run is kept as long as it goes on.

use super::Job;
use crate::error::Error;
use crate::machine::memo::Memo;
use crate::machine::store::MachineDir;

impl Job {
    /// The same, with what it takes to repeat it kept there.
    #[must_use]
    pub fn kept_in(self, rerun: Option<(MachineDir, Memo)>) -> Self {
        Self { rerun, ..self }
    }

    /// Removes what was kept: it need not be repeated.
    pub fn forget(&mut self) {
        if let (Some(kept), Some((dir, memo))) = (self.memo.take(), &self.rerun) {
            kept.empty();
            dir.forget_memo(memo.token);
        }
    }

    /// Before it can be lost.
    pub(super) fn keep(&mut self, tokens: &[u64]) -> Result<(), Error> {
        if let Some((dir, memo)) = &mut self.rerun
            && self.memo.is_none()
        {
            memo.token = tokens.first().copied().unwrap_or_default();
            self.memo = Some(dir.keep_memo(memo)?);
        }
        Ok(())
    }
}
