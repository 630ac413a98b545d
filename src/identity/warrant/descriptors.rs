//! What a process has open, as the kernel shows it (`/proc/PID/fd`, `/proc/PID/fdinfo`): nobody can
//! put a descriptor there but the process itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::identity::lifeline::LifelineId;
use crate::identity::process::ProcessId;
use crate::sys::procfs;

/// Whether a process keeps this lifeline: has it open for reading, which its mode forbids to all
/// but its maker. Waiters have its other end open.
pub(super) fn keeps(pid: i32, lifeline: LifelineId) -> io::Result<bool> {
    any(pid, |fd| {
        let is_it = |found: fs::Metadata| LifelineId::new(found.dev(), found.ino()) == lifeline;
        if !fs::metadata(&fd.file).is_ok_and(is_it) {
            return Ok(false);
        }
        Ok(fd.info()?.flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY))
    })
}

/// Whether a process watches this one, which lives, as its supervisor: through a pidfd that is set to
/// non-blocking. Those who only look at a record have pidfds of whomever it names, too, but blocking ones.
pub(super) fn watches(pid: i32, job: &ProcessId) -> io::Result<bool> {
    any(pid, |fd| {
        let is_pidfd = fs::read_link(&fd.file).is_ok_and(|link| {
            link == Path::new("anon_inode:[pidfd]") || link.to_string_lossy().starts_with("pidfd:[")
        });
        if !is_pidfd {
            return Ok(false);
        }
        let has_inode = |inode: u64| fs::metadata(&fd.file).is_ok_and(|found| found.ino() == inode);
        let info = fd.info()?;
        Ok(info.pid == Some(job.pid)
            && info.flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
            && job.pidfd_inode.is_none_or(has_inode))
    })
}

/// One descriptor of another process.
struct Descriptor {
    /// What it is open on, as a link.
    file: String,
    info: String,
}

/// What the kernel says of it.
struct Info {
    flags: Option<libc::c_int>,
    /// The process that it is a pidfd of, as we number it.
    pid: Option<i32>,
}

impl Descriptor {
    fn info(&self) -> io::Result<Info> {
        let info = procfs::read_text(&self.info)?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let flags = field("flags:").and_then(|f| libc::c_int::from_str_radix(f.trim(), 8).ok());
        Ok(Info { flags, pid: field("Pid:").and_then(|pid| pid.trim().parse().ok()) })
    }
}

/// Whether one of the descriptors of a process is like that.
///
/// # Errors
/// `EACCES`: it belongs to another user.
fn any(pid: i32, is_it: impl Fn(&Descriptor) -> io::Result<bool>) -> io::Result<bool> {
    for fd in procfs::names(&format!("/proc/{pid}/fd"))? {
        let fd = fd.to_string_lossy();
        let of = |dir: &str| format!("/proc/{pid}/{dir}/{fd}");
        let descriptor = Descriptor { file: of("fd"), info: of("fdinfo") };
        match is_it(&descriptor) {
            Ok(false) => {}
            // It was closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Ok(false)
}
