//! Running the binary as somebody else, and on file systems of one's own. All of it needs root.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{JOBGUARD, Running, require_program, require_root};

/// A user who has no passwd entry, and their group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User(pub u32);

pub const ALICE: User = User(51_001);
pub const BOB: User = User(51_002);
/// A group that both are members of.
pub const TEAM: u32 = 51_900;

/// A place that every user can enter, with a copy of the binary that every user can execute.
pub struct Commons {
    dir: TempDir,
}

impl Commons {
    /// `rig` is the test's name, for the complaint where there is no root.
    #[track_caller]
    pub fn new(rig: &str) -> Self {
        require_root(rig);
        require_program("setpriv");
        let dir = tempfile::Builder::new().prefix("jobguard-").tempdir().unwrap();
        mode(dir.path(), 0o755);
        let commons = Self { dir };
        // Not by ourselves: a child that another test forks meanwhile would have the copy open for
        // writing for a moment, and nobody can execute it then (ETXTBSY).
        let mut install = Command::new("install");
        install.args(["-m", "755", JOBGUARD]).arg(commons.path("jobguard"));
        assert!(install.status().unwrap().success());
        commons
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory in here that belongs to this user and group.
    pub fn dir(&self, name: &str, owner: User, group: u32, bits: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        chown(&path, Some(owner.0), Some(group)).unwrap();
        mode(&path, bits);
        path
    }

    /// A command run by this user, who is in a group of their own and in `groups`. Nothing of
    /// HOME, XDG or jobguard is in its environment.
    pub fn as_user(&self, user: User, groups: &[u32], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", user.0)).arg(format!("--regid={}", user.0));
        if groups.is_empty() {
            command.arg("--clear-groups");
        } else {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            command.arg(format!("--groups={}", groups.join(",")));
        }
        command.arg("--").arg(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("JOBGUARD_") || name.starts_with("XDG_") || name == "HOME" {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).current_dir(self.dir.path());
        command
    }

    /// The binary run by this user, with its state in `state`.
    pub fn jobguard<I, S>(&self, user: User, groups: &[u32], state: &Path, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.as_user(user, groups, self.path("jobguard"));
        command.args(args).env("JOBGUARD_STATE_DIR", state);
        command
    }
}

/// Sets the mode of a file, whatever the umask is.
pub fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// The permission bits of a file.
pub fn bits(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A file system that lives in a mount namespace of its own, and so goes away with the test.
pub struct Mounted {
    keeper: Running,
    at: PathBuf,
}

impl Mounted {
    /// Mounts `kind` with `options` at the existing directory `at`.
    #[track_caller]
    pub fn new(rig: &str, kind: &str, options: &str, at: &Path) -> Self {
        require_root(rig);
        require_program("unshare");
        require_program("nsenter");
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec"]);
        command
            .arg("mount -t \"$1\" -o \"$2\" none \"$3\"; chmod 755 \"$3\"; echo mounted; exec cat");
        command.args(["sh", kind, options]).arg(at).stdin(Stdio::piped());
        let mut keeper = Running::start(&mut command);
        assert_eq!(keeper.line(), "mounted", "cannot mount {kind} with {options}");
        Self { keeper, at: at.to_owned() }
    }

    /// The mounted directory, as it is seen from outside.
    pub fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.pid()));
        root.join(self.at.strip_prefix("/").unwrap()).join(name)
    }

    /// The binary run inside, with its state in the mounted directory.
    pub fn jobguard<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.pid()));
        command.arg(JOBGUARD).args(args);
        command.env("JOBGUARD_STATE_DIR", &self.at).stdin(Stdio::null());
        command
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut rest = std::fs::File::create(self.outside("ballast")).unwrap();
        let full = loop {
            if let Err(error) = std::io::Write::write_all(&mut rest, &[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Makes room again.
    pub fn empty(&self) {
        std::fs::remove_file(self.outside("ballast")).unwrap();
    }
}
