//! The lifelines in a machine's directory, by token, and what crashes left half made beside them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::MachineDir;
use crate::error::Error;
use crate::identity::lifeline::{Ends, Feel, Lifeline, LifelineId, feel, whose};
use crate::machine::record::MAX_TOKEN;
use crate::report::escape::escape_path;
use crate::sys::file::{entries, link_in, open_dir, unlinkat};
use crate::sys::rename::{Rename, rename_in};
use crate::sys::retry::retry;

const LIFE: &str = "life.";

/// What lies in a machine's directory beside lock, record and log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The tokens of all lifelines.
    pub tokens: Vec<u64>,
    /// Files that a crash left half made.
    pub scratch: Vec<String>,
}

impl MachineDir {
    /// Makes the lifeline of the run `token`; `None` when that token is not to be had.
    pub fn make_lifeline(&self, token: u64) -> Result<Option<Lifeline>, Error> {
        if token > MAX_TOKEN {
            return Err(Error::State(format!(
                "{} has used up its tokens, which end at {MAX_TOKEN}: somebody wrote such a number \
                 into '{}', or named a lifeline there so; move that directory away",
                self.name,
                escape_path(&self.path)
            )));
        }
        let dir = self.fd.as_fd();
        self.place_lifeline(dir, &lifeline_name(token), Ends::Read, Rename::NoReplace)
    }

    /// Makes the lifeline of the run `token` anew; `None` when another claim swept it half made.
    pub fn remake_lifeline(&self, token: u64) -> Result<Option<Lifeline>, Error> {
        self.place_lifeline(self.fd.as_fd(), &lifeline_name(token), Ends::Read, Rename::Replace)
    }

    /// Makes a lifeline `target` in `dir`, this machine's or one in it; `None` when that name is not
    /// to be had (which one is, that `how` replaces).
    ///
    /// It is made under a dot name and moved when it is taut, so nobody ever sees it slack while
    /// its owner lives.
    pub(super) fn place_lifeline(
        &self,
        dir: BorrowedFd<'_>,
        target: &str,
        ends: Ends,
        how: Rename,
    ) -> Result<Option<Lifeline>, Error> {
        let cannot = |error: io::Error| self.cannot("make", target)(error);
        let hidden = format!(".{target}.{}", std::process::id());
        let remove = || {
            let _ = unlinkat(dir, &hidden); // what stays is swept by a later claim
        };
        let made = match Lifeline::create(dir, &hidden, ends) {
            Err(Errno::EEXIST) => {
                remove(); // left by a process of our PID that crashed here
                Lifeline::create(dir, &hidden, ends)
            }
            made => made,
        };
        let lifeline = match made {
            Ok(lifeline) => lifeline,
            Err(Errno::ENOENT) if self.is_in_place() => return Ok(None), // swept by another claim
            Err(errno) => return Err(cannot(errno.into())),
        };
        let (from, to) = (
            std::ffi::CString::new(hidden.as_str()).map_err(|error| cannot(error.into()))?,
            std::ffi::CString::new(target).map_err(|error| cannot(error.into()))?,
        );
        let moved = match retry(|| rename_in(dir, &from, &to, how)) {
            // A file system without that flag; link(2) replaces nothing either.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                link_in(dir, &*from, &*to).map(|()| remove()).map_err(io::Error::from)
            }
            moved => moved,
        };
        match moved {
            Ok(()) => Ok(Some(lifeline)),
            Err(error) => {
                remove();
                match error.raw_os_error() {
                    Some(libc::EEXIST) => Ok(None),
                    Some(libc::ENOENT) if self.is_in_place() => Ok(None), // swept
                    _ => Err(cannot(error)),
                }
            }
        }
    }

    /// Feels the lifeline of the run `token`.
    pub fn feel(&self, token: u64, expected: Option<&str>) -> Feel {
        feel(self.fd.as_fd(), &lifeline_name(token), expected)
    }

    /// The identity and the owner of the lifeline of the run `token`.
    pub fn whose_lifeline(&self, token: u64) -> Option<(LifelineId, u32)> {
        whose(self.fd.as_fd(), &lifeline_name(token))
    }

    /// The tokens of all lifelines there are, and the names of what crashed processes left half
    /// made.
    pub fn lifelines(&self) -> Result<Listing, Error> {
        let cannot = |errno: Errno| self.cannot("list", "")(errno.into());
        let entries = open_dir(&self.fd).and_then(|mut dir| entries(&mut dir)).map_err(cannot)?;
        let mut listing = Listing { tokens: Vec::new(), scratch: Vec::new() };
        for entry in entries {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if let Some(token) = name.strip_prefix(LIFE) {
                // Not what we would have written: not ours.
                let ours = |token: &u64| *token <= MAX_TOKEN && lifeline_name(*token) == name;
                listing.tokens.extend(token.parse().ok().filter(ours));
            } else if name.starts_with(".record.") || name.starts_with(".life.") {
                listing.scratch.push(name.to_owned());
            }
        }
        Ok(listing)
    }

    /// Unlinks the lifeline of the run `token`.
    pub fn unlink_lifeline(&self, token: u64) {
        self.unlink(&lifeline_name(token));
    }

    /// Unlinks a file that has served its purpose. One that stays does no harm: it is slack, or
    /// nobody's, and swept by a later claim.
    pub fn unlink(&self, name: &str) {
        let _ = unlinkat(&self.fd, name); // see above
    }
}

fn lifeline_name(token: u64) -> String {
    format!("{LIFE}{token}")
}
