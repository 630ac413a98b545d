//! What a job leaves to be seen: what it wrote, and what it used.

use std::io;

use super::{Job, Output};
use crate::machine::used::Used;
use crate::sys::usage::usage;

impl Job {
    /// The same, with its output there.
    #[must_use]
    pub fn writing_to(self, output: Option<Output>) -> Self {
        Self { output, ..self }
    }

    /// Shows its output where it is to be shown only now, if it `failed`.
    pub fn show_output(&mut self, failed: bool) {
        if let Some(output) = self.output.take() {
            output.end(failed, self.setting.mask);
        }
    }

    /// Notes what it used, when it is over and before it is reaped.
    pub fn tally(&mut self) {
        // One that cannot be looked at any more has ended all the same.
        self.spent.end(usage(self.pid()).ok().flatten());
    }

    /// What its last attempt used.
    pub fn used_by_attempt(&self) -> Used {
        self.spent.by_attempt()
    }

    /// What it has used in all attempts, and what we reaped of what it left behind.
    pub fn used(&self) -> Used {
        match self.adopted() {
            // It may have used that before, or have been reaped by another.
            Some(_) => Used::default(),
            None => self.spent.in_all(self.child.is_none()),
        }
    }

    /// Opens its gate, with a file for its output where it is to have one.
    pub(super) fn let_through(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let output = match self.output.as_mut().map(Output::open).transpose() {
            Ok(output) => output,
            Err(error) => {
                child.shut_gate();
                return Err(io::Error::other(error));
            }
        };
        child.open_gate(output)
    }
}
