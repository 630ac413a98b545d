//! Where the job's output goes, when not where ours does: `--log`, `--quiet-unless-fail`.
//!
//! The job writes to the file itself, so nothing is lost with its supervisor, and a full disk is the
//! job's own to see. The file is opened when the machines are ours and their locks given back: a slow disk
//! keeps nobody waiting who would not wait for the job as well. It is passed through the gate.
//!
//! What is shown only on failure lies in a file that has a name, which the record says, until the end: of
//! the log, or of a file in the machine's directory.

mod log;
mod rotation;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::cli::args::output::LogPlan;
use crate::cli::plan::RunPlan;
use crate::error::{Error, plain};
use crate::machine::name::MachineName;
use crate::machine::state_dir::{Missing, StateDir};
use crate::machine::store::MachineDir;
use crate::report::escape::escape_path;
use crate::report::output;
use crate::sys::file::fstat;
use crate::sys::signal::SignalSet;
use crate::transaction::misled;

/// The file that a job writes to.
#[derive(Debug)]
pub struct Output {
    place: Place,
    machines: Vec<MachineName>,
    only_on_failure: bool,
    /// As it is recorded.
    path: PathBuf,
    token: u64,
    opened: Option<Opened>,
}

#[derive(Debug)]
enum Place {
    Log(LogPlan),
    /// A file of this run's own, in this machine's directory.
    Own(MachineDir),
}

#[derive(Debug)]
struct Opened {
    /// The job's; we keep it open: our own file is locked through it as long as anybody has it.
    writer: File,
    /// What is to be shown, and where it begins.
    reader: Option<(File, u64)>,
}

impl Output {
    /// The file of a run that was planned so, if it needs one.
    ///
    /// # Errors
    /// When it can be seen already that it will not be had.
    pub fn plan(plan: &RunPlan, state: &StateDir) -> Result<Option<Self>, Error> {
        let only_on_failure = plan.output.quiet_unless_fail;
        let place = match &plan.output.log {
            Some(log) => {
                log::check(log, &plan.machines, only_on_failure)?;
                Place::Log(log.clone())
            }
            None if only_on_failure => {
                let dir = state.machine(&plan.machines[0], Missing::Create)?;
                Place::Own(dir.ok_or_else(misled)?)
            }
            None => return Ok(None),
        };
        let (machines, path) = (plan.machines.clone(), PathBuf::new());
        Ok(Some(Self { place, machines, only_on_failure, path, token: 0, opened: None }))
    }

    /// Learns which run it is for, and says where it will be. Another attempt of a run goes on where the
    /// last one wrote.
    pub fn is_for(&mut self, tokens: &[u64], time: &str) -> &Path {
        if self.opened.is_none() {
            self.token = tokens.first().copied().unwrap_or_default();
            self.path = match &self.place {
                Place::Log(log) => log::absolute(log.name.of_run(&self.machines, tokens, time)),
                Place::Own(dir) => dir.output_path(self.token),
            };
        }
        &self.path
    }

    /// Opens it, for the job.
    pub fn open(&mut self) -> Result<BorrowedFd<'_>, Error> {
        if self.opened.is_none() {
            self.opened = Some(match &self.place {
                Place::Log(plan) => {
                    let (writer, reader) = log::open(&self.path, plan, self.only_on_failure)?;
                    Opened { writer, reader }
                }
                Place::Own(dir) => {
                    dir.sweep_outputs();
                    let (writer, reader) = dir.make_output(self.token)?;
                    Opened { writer, reader: Some((reader, 0)) }
                }
            });
        }
        self.opened.as_ref().map(|opened| opened.writer.as_fd()).ok_or_else(misled)
    }

    /// Shows what is to be shown of a run that is over, and removes a file of its own. The machine must
    /// have been given back: who reads us may be slow. `mask` is the signal mask that we inherited.
    pub fn end(self, failed: bool, mask: SignalSet) {
        let shown = match self.opened.as_ref().and_then(|opened| opened.reader.as_ref()) {
            Some((file, from)) if failed => show(file, *from, mask),
            _ => Ok(()),
        };
        match (shown, &self.place) {
            (Err(error), _) => {
                let (path, why) = (escape_path(&self.path), plain(&error));
                output::message(format!("cannot show the job's output: {why}: it is in '{path}'"));
            }
            (Ok(()), Place::Own(dir)) => dir.remove_output(self.token),
            (Ok(()), Place::Log(_)) => {}
        }
    }
}

/// Copies what is in the file now to standard output: who outlived the job may write to it for ever.
///
/// Meanwhile signals do what they would do to cat(1), but for those that came before: they were the
/// job's.
fn show(file: &File, from: u64, mask: SignalSet) -> io::Result<()> {
    let length = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
    // A log that somebody cut off has begun anew.
    let from = if length < from { 0 } else { from };
    let pending = SignalSet::pending()?;
    let ours = SignalSet(mask.0 | pending.0).with(libc::SIGPIPE).set_mask()?;
    let shown = output::copy(file, from..length);
    ours.set_mask()?;
    shown
}
