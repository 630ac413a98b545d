//! How a child ended, observed without reaping it (waitid(2) with `WNOWAIT`).
//!
//! As long as the zombie is there its PID cannot be given to another process, so a signal sent
//! meanwhile cannot hit a stranger. Observe first, release the machine, reap last.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};

use super::pidfd::PidFd;
use super::retry::call;
use crate::supervise::stops::Change;

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
    Ok(wait_for(libc::P_PIDFD, id, options)?.map(Event::ended))
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
            Ok(Some(Event { child, .. })) if child != job => {
                wait(child, libc::WEXITED | libc::WNOHANG)?;
            }
            // There is no job yet, and this was the last orphan.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            looked => return looked.map(drop),
        }
    }
}

/// Reaps every child that is over; whether there are others.
///
/// Of a reaper of orphans this is a proof, however fast its descendants fork and end: at every moment
/// one of them is its child.
pub fn reap_all() -> io::Result<bool> {
    loop {
        match wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn wait(pid: i32, options: libc::c_int) -> io::Result<Option<Ended>> {
    Ok(look(pid, options)?.map(Event::ended))
}

fn look(pid: i32, options: libc::c_int) -> io::Result<Option<Event>> {
    let id = libc::id_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ECHILD))?;
    wait_for(libc::P_PID, id, options)
}

/// What became of a child.
struct Event {
    child: i32,
    /// `si_code`: `CLD_EXITED` and its like.
    code: libc::c_int,
    /// Its exit status, or the signal.
    status: i32,
}

impl Event {
    fn ended(self) -> Ended {
        match self.code {
            libc::CLD_EXITED => Ended::Exited(self.status),
            _ => Ended::Signaled(self.status),
        }
    }
}

fn wait_for(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<Event>> {
    // SAFETY: siginfo_t is plain data; all zeroes is what "nothing happened" looks like.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    // SAFETY: `info` lives across the call.
    call(|| unsafe { libc::waitid(kind, id, &mut info, options) }.into())?;
    // SAFETY: waitid succeeded, so either nothing was filled in (zeroes) or the SIGCHLD fields.
    let (child, status) = unsafe { child_fields(&info) };
    Ok((child != 0).then_some(Event { child, code: info.si_code, status }))
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

/// Whether the child `pid` was stopped or continued since this was last asked. Of several such events
/// the kernel tells the last.
///
/// A zombie is no child to a waitid(2) that does not ask for ends: one that ended just now, since
/// its end was last asked for, is simply not stopped. Its SIGCHLD is on its way.
pub fn changed(pid: i32) -> io::Result<Option<Change>> {
    match look(pid, libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG) {
        Ok(Some(Event { code: libc::CLD_CONTINUED, .. })) => Ok(Some(Change::Continued)),
        Ok(event) => Ok(event.map(|event| Change::Stopped(event.status))),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the child `pid`, whose stop was told, has not changed since. This consumes nothing.
pub fn is_still_stopped(pid: i32) -> bool {
    let any = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;
    matches!(look(pid, any | libc::WNOHANG | libc::WNOWAIT), Ok(None))
}
