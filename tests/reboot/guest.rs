//! What a guest is made of: a kernel, a file system in memory, and a disk that outlives it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::static_binary::{self, static_jobguard};
use crate::support::{require_program, run};

/// A kernel to boot, by the name of its Debian metapackage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Linux 6.1: a process is its PID and the tick that it started in.
    WithoutInodes,
    /// Linux 6.12: each pidfd has an inode, unique for one boot.
    WithInodes,
}

impl Kernel {
    fn package(self) -> &'static str {
        match self {
            Self::WithoutInodes => "linux-image-cloud-amd64",
            Self::WithInodes => "linux-image-6.12-cloud-amd64",
        }
    }

    pub fn has_inodes(self) -> bool {
        self == Self::WithInodes
    }
}

/// All that a guest is made of; it goes with the test.
pub struct Guest {
    dir: TempDir,
    kernel: Kernel,
}

impl Guest {
    /// With an empty disk.
    pub fn new(kernel: Kernel) -> Self {
        ["qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "setpriv"]
            .into_iter()
            .for_each(require_program);
        static_binary::prepare();
        let dir = tempfile::Builder::new().prefix("jobguard-").tempdir().unwrap();
        let guest = Self { dir, kernel };
        guest.pack();
        fs::File::create(guest.disk()).unwrap().set_len(32 << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(guest.disk())).exits(0);
        guest
    }

    pub fn vmlinuz(&self) -> PathBuf {
        self.fetched().join("vmlinuz")
    }

    pub fn initramfs(&self) -> PathBuf {
        self.dir.path().join("initramfs")
    }

    pub fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// What the kernel had to say.
    pub fn console(&self) -> PathBuf {
        self.dir.path().join("console")
    }

    fn fetched(&self) -> PathBuf {
        project().join("target/guest").join(self.kernel.package())
    }

    /// Packs busybox, the kernel's modules, jobguard and the first process into an initramfs.
    fn pack(&self) {
        let root = self.dir.path().join("root");
        for empty in ["bin", "modules", "dev", "proc", "sys", "disk", "tmp"] {
            fs::create_dir_all(root.join(empty)).unwrap();
        }
        let busybox = run(Command::new("sh").args(["-c", "command -v busybox"])).exits(0).stdout();
        fs::copy(busybox.trim_end(), root.join("bin/busybox")).unwrap();
        let jobguard = static_jobguard();
        fs::copy(jobguard, root.join("bin/jobguard")).unwrap();
        fs::write(root.join("init"), include_str!("init")).unwrap();
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        for file in fs::read_dir(self.fetched()).unwrap().map(Result::unwrap) {
            if file.path().extension().is_some_and(|extension| extension == "ko") {
                fs::copy(file.path(), root.join("modules").join(file.file_name())).unwrap();
            }
        }
        let script = "find . | cpio --quiet -o -H newc >../initramfs";
        run(Command::new("sh").args(["-c", script]).current_dir(root)).exits(0).silent();
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
