//! The controlling terminal: who owns it, and handing it over.

use std::fs::File;
use std::io;

use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, tcgetpgrp, tcsetpgrp};

use super::policy::Group;
use super::stops::Owner;
use crate::identity::stat::Stat;
use crate::sys::file::open_terminal;

/// Gives the terminal to a process group, if it is our group's: a job that leads its own is then
/// where it would be alone.
///
/// # Errors
/// It is not ours to give, or hung up.
pub fn hand_to(group: i32) -> io::Result<()> {
    let terminal = open_terminal()?;
    if tcgetpgrp(&terminal)? != getpgrp() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // We block TTOU, so this does not stop us even if we have just lost it to somebody else.
    Ok(tcsetpgrp(&terminal, Pid::from_raw(group))?)
}

/// Takes the terminal back from the group of a job that is over. A shell would by itself, but a
/// script that started us would find that it is in the background.
pub fn take_back_from(group: i32) -> io::Result<()> {
    let terminal = open_terminal()?;
    if tcgetpgrp(&terminal)?.as_raw() == group {
        tcsetpgrp(&terminal, getpgrp())?;
    }
    Ok(())
}

/// How the process group of a process relates to ours; `None`: it is over. What the terminal sends to
/// one that it shares with us reaches it without us.
pub fn group_of(pid: i32) -> Option<Group> {
    let group = getpgid(Some(Pid::from_raw(pid))).ok()?;
    Some(if group == getpgrp() { Group::Shared } else { Group::Own })
}

/// Who owns the terminal.
pub fn owner() -> Owner {
    let owner = |terminal: File| tcgetpgrp(terminal);
    match open_terminal().map(owner) {
        Ok(Ok(group)) if group == getpgrp() => Owner::Us,
        Ok(Ok(_)) => Owner::Others,
        // It hung up, or there is no /dev/tty.
        Ok(Err(_)) | Err(_) => Owner::Nobody,
    }
}

/// Whether we lead our session: the kernel tells us alone of a hang-up.
pub fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// Whether somebody above us does job control: a parent of our group's is in another group of our
/// session. Otherwise the group is orphaned; its default stops have no effect.
pub fn has_shell() -> bool {
    /// Deeper trees than this are not followed.
    const MAX_DEPTH: u32 = 64;
    let (group, session) = (getpgrp(), getsid(None));
    let mut parent = getppid();
    for _ in 0..MAX_DEPTH {
        if parent.as_raw() <= 0 || getsid(Some(parent)) != session {
            return false; // of another session, or of another PID namespace
        }
        if getpgid(Some(parent)) != Ok(group) {
            return true;
        }
        let Ok(stat) = Stat::read(parent.as_raw()) else { return true };
        parent = Pid::from_raw(stat.parent);
    }
    true
}
