//! The machine lock: an flock(2) held only while a record is read, decided on and rewritten.
//!
//! It is held for microseconds, so a wait for it is no wait for a job: whoever keeps it for
//! seconds was stopped in between, or means harm. Hence the deadline.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid, User};

use crate::report::escape::{escape, escape_os};
use crate::sys::procfs;
use crate::sys::retry::retry;

/// A held machine lock.
///
/// Dropping it closes the file. The lock belongs to the open file, which a child forked meanwhile
/// shares until it closes its copy, so [`MachineLock::release`] unlocks explicitly.
#[derive(Debug)]
pub struct MachineLock(Arc<File>);

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Asked {
    /// We hold it.
    Taken(MachineLock),
    /// The deadline is over; this is the file.
    TimedOut(Arc<File>),
}

/// Takes the lock on `file`, waiting `deadline` at most.
///
/// A contended flock can be bounded in two ways: a signal that interrupts it, or a thread that is
/// left behind in it. Signals are blocked here and belong to the job, so it is a thread; if the
/// deadline passes it stays in the system call until this process ends, which is soon.
pub fn take(file: File, deadline: Duration) -> io::Result<Asked> {
    let file = Arc::new(file);
    match retry(|| file.try_lock()) {
        Ok(()) => return Ok(Asked::Taken(MachineLock(file))),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (sender, receiver) = mpsc::channel();
    let waiter = retry(|| {
        let (contended, sender) = (Arc::clone(&file), sender.clone());
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let result = retry(|| contended.lock());
            drop(contended);
            let _ = sender.send(result); // nobody listens any more: the deadline is over
        })
    })?;
    match receiver.recv_timeout(deadline) {
        Ok(result) => {
            // A fork must find this process with one thread.
            let _ = waiter.join(); // it has sent its result, so it did not panic
            result.map(|()| Asked::Taken(MachineLock(file)))
        }
        Err(_) => Ok(Asked::TimedOut(file)),
    }
}

/// Takes the lock on `file` if nobody has it.
pub fn try_take(file: File) -> io::Result<Option<MachineLock>> {
    match retry(|| file.try_lock()) {
        Ok(()) => Ok(Some(MachineLock(Arc::new(file)))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Bytes of stack for a thread that makes one system call.
const STACK: usize = 64 * 1024;

impl MachineLock {
    /// The locked file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Notes in the file that the record was written under this boot, which a record that is
    /// damaged cannot tell. Once a boot it must reach the disk, since the next boot goes by it: then
    /// what is to be flushed is returned, for nobody should wait for a disk with the lock in hand.
    ///
    /// A boot ID that is not genuine says nothing to others, and is noted as no boot's.
    pub fn note_boot(&self, boot_id: &str, genuine: bool) -> io::Result<Option<Unflushed>> {
        let note = if genuine { boot_id.as_bytes() } else { &[b'?'; BOOT_ID] };
        if read_note(&self.0)? == note {
            return Ok(None);
        }
        self.0.write_all_at(note, 0)?;
        Ok(genuine.then(|| Unflushed(Arc::clone(&self.0))))
    }

    /// Unlocks, whoever else may hold a copy of the descriptor.
    pub fn release(self) {
        let _ = self.0.unlock(); // closing it, right after, unlocks as well
    }
}

/// A note that has not reached the disk.
#[derive(Debug)]
pub struct Unflushed(Arc<File>);

impl Unflushed {
    /// Waits until it has.
    pub fn flush(self) -> io::Result<()> {
        retry(|| self.0.sync_data())
    }
}

/// The boot ID that was noted in the file of a machine lock; `None` when that is none: nobody made a
/// note yet, or whoever did could not tell, or it was lost with the power.
pub fn noted_boot(file: &File) -> io::Result<Option<String>> {
    let note = String::from_utf8(read_note(file)?).unwrap_or_default();
    let is_id = note.len() == BOOT_ID && note.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    Ok(Some(note).filter(|_| is_id))
}

fn read_note(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; BOOT_ID];
    let length = retry(|| file.read_at(&mut bytes, 0))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Bytes of a boot ID: a UUID with its dashes.
const BOOT_ID: usize = 36;

/// Who holds the lock on the file with this device and inode, as `/proc/locks` shows it.
pub fn owner(file: &File) -> Option<String> {
    let found = file.metadata().ok()?;
    let (major, minor) = (nix::libc::major(found.dev()), nix::libc::minor(found.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", found.ino());
    let locks = procfs::read_text("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4242 fe:01:1048633 0 EOF; a waiter's line has "->" after "1:".
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, file, ..] if file == wanted => Some(pid.to_owned()),
            _ => None,
        }
    })?;
    // A process may call itself anything.
    let command = procfs::read(&format!("/proc/{pid}/comm")).unwrap_or_default();
    // The lock outlives who took it while a child of theirs has the file open.
    if pid.parse().is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)) {
        return Some(format!("a process that got it from PID {pid}, which is over,"));
    }
    let command = command.strip_suffix(b"\n").unwrap_or(&command);
    let user = user(&pid).map(|user| format!(" of user {user}")).unwrap_or_default();
    Some(match command {
        b"" => format!("PID {pid}{user}"),
        command => format!("PID {pid} ({}){user}", escape_os(OsStr::from_bytes(command))),
    })
}

/// The user of a process: the name, else the number.
fn user(pid: &str) -> Option<String> {
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(known.map_or_else(|| uid.to_string(), |user| escape(&user.name).into_owned()))
}
