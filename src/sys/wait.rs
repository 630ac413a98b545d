//! How a child ended, observed without reaping it (waitid(2) with `WNOWAIT`).
//!
//! As long as the zombie is there its PID cannot be given to another process, so a signal sent
//! meanwhile cannot hit a stranger. Observe first, release the machine, reap last.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use super::pidfd::PidFd;
use super::retry::call;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It exited with this status, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It was no child of ours, and the kernel did not tell.
    Unseen,
}

impl Ended {
    /// What a wait status says (wait(2)); its flag for a core dump aside.
    pub fn of_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(status >> 8 & 0xff),
            signal => Self::Signaled(signal),
        }
    }
}

/// How the child `pid` ended, if it has; it stays a zombie.
pub fn peek(pid: i32) -> io::Result<Option<Ended>> {
    wait(pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// How the child with this pidfd ended, if it has; it stays a zombie.
///
/// # Errors
/// `ECHILD`: it is no child of ours.
pub fn peek_through(pidfd: &PidFd) -> io::Result<Option<Ended>> {
    wait_through(pidfd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Reaps the child with this pidfd, if it is over.
///
/// # Errors
/// `ECHILD`: it is no child of ours.
pub fn reap_through(pidfd: &PidFd) -> io::Result<Option<Ended>> {
    wait_through(pidfd, libc::WEXITED | libc::WNOHANG)
}

fn wait_through(pidfd: &PidFd, options: libc::c_int) -> io::Result<Option<Ended>> {
    let id = pidfd.as_fd().as_raw_fd().cast_unsigned();
    Ok(wait_for(libc::P_PIDFD, id, options)?.map(|(_, ended)| ended))
}

/// Waits for the child `pid` to end; it stays a zombie.
pub fn await_end(pid: i32) -> io::Result<Ended> {
    loop {
        if let Some(ended) = wait(pid, libc::WEXITED | libc::WNOWAIT)? {
            return Ok(ended);
        }
    }
}

/// Waits for the child `pid` to end, and reaps it.
pub fn reap(pid: i32) -> io::Result<Option<Ended>> {
    wait(pid, libc::WEXITED)
}

/// Reaps every child that is over but `job`: PID 1 gets all orphans of its namespace.
///
/// Stops at the job's zombie, if that is what the kernel shows first: then all is over anyway.
pub fn reap_others(job: i32) -> io::Result<()> {
    loop {
        let look = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match wait_for(libc::P_ALL, 0, look) {
            Ok(Some((orphan, _))) if orphan != job => {
                wait(orphan, libc::WEXITED | libc::WNOHANG)?;
            }
            // There is no job yet, and this was the last orphan.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            looked => return looked.map(drop),
        }
    }
}

/// Reaps every child that is over.
pub fn reap_all() -> io::Result<()> {
    loop {
        match wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn wait(pid: i32, options: libc::c_int) -> io::Result<Option<Ended>> {
    let id = libc::id_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ECHILD))?;
    Ok(wait_for(libc::P_PID, id, options)?.map(|(_, ended)| ended))
}

/// Which child it was, and what became of it.
fn wait_for(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<(i32, Ended)>> {
    // SAFETY: siginfo_t is plain data; all zeroes is what "nothing happened" looks like.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: `info` lives across the call.
    call(|| unsafe { libc::waitid(kind, id, &mut info, options) }.into())?;
    // SAFETY: waitid succeeded, so either nothing was filled in (zeroes) or the SIGCHLD fields.
    let (child, status) = unsafe { child_fields(&info) };
    Ok(match info.si_code {
        _ if child == 0 => None,
        libc::CLD_EXITED => Some((child, Ended::Exited(status))),
        _ => Some((child, Ended::Signaled(status))),
    })
}

/// The PID and status of a siginfo about a child.
///
/// # Safety
/// `info` was filled in by waitid(2), or is all zeroes.
unsafe fn child_fields(info: &libc::siginfo_t) -> (i32, i32) {
    // SAFETY: the caller says that the fields of SIGCHLD are the ones in use.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    (pid, status)
}

/// The signal that stopped the child `pid`, if one did since this was last asked.
///
/// A zombie is no child to a waitid(2) that does not ask for ends: one that ended just now, since
/// its end was last asked for, is simply not stopped. Its SIGCHLD is on its way.
pub fn stopped_by(pid: i32) -> io::Result<Option<i32>> {
    match wait(pid, libc::WSTOPPED | libc::WNOHANG) {
        Ok(Some(Ended::Signaled(signal))) => Ok(Some(signal)),
        Ok(Some(Ended::Exited(_) | Ended::Unseen) | None) => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}
