//! Which machine, which boot, which namespaces.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::sys::file::{file_system, open};
use crate::sys::retry::retry;

/// Where a holder runs, as recorded, or where we are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Host {
    /// `/etc/machine-id`, or what `--host-id` says; empty when there is none, and then it equals
    /// nothing.
    #[serde(default)]
    pub id: String,
    /// The node name, for people.
    #[serde(default)]
    pub name: String,
    /// `/proc/sys/kernel/random/boot_id`: a new one at every boot; empty when it can't be read.
    pub boot_id: String,
    /// The boot ID was read from the real procfs. Containers bind-mount another file there.
    #[serde(default)]
    pub boot_id_genuine: bool,
    /// The inode of `/proc/self/ns/pid`; 0 when it can't be read.
    #[serde(default)]
    pub pid_ns: u64,
    /// The inode of `/proc/self/ns/time`; 0 when it can't be read or there are none (before 5.6).
    #[serde(default)]
    pub time_ns: u64,
    /// Fields of a later version, kept.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The inode of the first PID namespace of a kernel (`PROC_PID_INIT_INO`, linux/proc_ns.h).
pub const INITIAL_PID_NS: u64 = 0xEFFF_FFFC;

impl Host {
    /// The host we are on; `id` overrides the machine ID.
    ///
    /// What is not there, or hidden from us, stays empty, and then proves nothing about anybody.
    ///
    /// # Errors
    /// What is there and cannot be read now (`EMFILE`, `ENOMEM`, `EIO`): a record without it could
    /// never be judged.
    pub fn here(id: Option<&str>) -> io::Result<Self> {
        let (boot_id, boot_id_genuine) = if_shown(boot_id())?;
        Ok(Self {
            id: match id {
                Some(id) => id.to_owned(),
                None => if_shown(machine_id())?,
            },
            name: nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            boot_id,
            boot_id_genuine,
            pid_ns: if_shown(namespace("pid"))?,
            time_ns: if_shown(namespace("time"))?,
            unknown: Map::new(),
        })
    }

    /// Whether both run under one boot of one kernel.
    pub fn same_kernel(&self, other: &Self) -> bool {
        !self.boot_id.is_empty() && self.boot_id == other.boot_id
    }

    /// Whether both have the same, known machine ID.
    pub fn same_id(&self, other: &Self) -> bool {
        !self.id.is_empty() && self.id == other.id
    }
}

/// The machine ID; images that are to get one at their first boot say "uninitialized"
/// (machine-id(5)).
fn machine_id() -> io::Result<String> {
    // What is no text is no ID.
    let id = String::from_utf8(fs::read("/etc/machine-id")?).unwrap_or_default();
    Ok(Some(id.trim()).filter(|id| *id != "uninitialized").unwrap_or_default().to_owned())
}

/// What was found; the default where there is nothing, or we are not to see it.
fn if_shown<T: Default>(found: io::Result<T>) -> io::Result<T> {
    match found {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::EISDIR | libc::ELOOP)
            ) =>
        {
            Ok(T::default())
        }
        found => found,
    }
}

fn boot_id() -> io::Result<(String, bool)> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let file = fs::File::from(open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC)?);
    let genuine = file_system(&file)? == PROC_SUPER_MAGIC;
    let mut id = Vec::with_capacity(64);
    file.take(u64::MAX).read_to_end(&mut id)?; // without asking for its size, which is told as 0
    Ok((String::from_utf8_lossy(&id).trim().to_owned(), genuine))
}

fn namespace(kind: &str) -> io::Result<u64> {
    Ok(retry(|| fs::metadata(format!("/proc/self/ns/{kind}")))?.ino())
}

/// What is known of the file system that a state directory lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locality {
    /// Only one kernel can have it mounted.
    Local,
    /// Other kernels may have it mounted, or nobody knows; the value is its type.
    Unknown(FsType),
}

impl Locality {
    /// Tells from the file system's magic number (statfs(2)).
    ///
    /// Only what is known to be local counts as local: FUSE and virtiofs share one number, and may
    /// be anything.
    pub fn of(kind: FsType) -> Self {
        const LOCAL: [FsType; 13] = [
            FsType(0xEF53),      // ext2, ext3, ext4
            FsType(0x5846_5342), // xfs
            FsType(0x9123_683E), // btrfs
            FsType(0xCA45_1A4E), // bcachefs
            FsType(0xF2F5_2010), // f2fs
            FsType(0x2FC1_2FC1), // zfs
            FsType(0x0102_1994), // tmpfs
            FsType(0x8584_58F6), // ramfs
            FsType(0x794C_7630), // overlayfs
            FsType(0x3153_464A), // jfs
            FsType(0x5265_4973), // reiserfs
            FsType(0x3434),      // nilfs2
            FsType(0x2405_1905), // ubifs
        ];
        if LOCAL.contains(&kind) { Self::Local } else { Self::Unknown(kind) }
    }
}
