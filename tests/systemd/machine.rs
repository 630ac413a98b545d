//! A machine of its own whose PID 1 is a real systemd: namespaces on an overlay of the host's root.
//! Nothing of it outlives the test; what is under `/rig` in it survives its reboots.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{
    Done, JOBGUARD, PATIENCE, Running, ends, require_program, require_root, run, until,
};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// The machine, booted or not.
pub struct Machine {
    boot: Option<Boot>,
    kept: TempDir,
    boots: u32,
}

/// One boot of it.
struct Boot {
    /// `boot.sh`, which ends everything when its standard input ends.
    keeper: Running,
    /// systemd, as we number it.
    init: i32,
    /// Where the keeper mounts the root, in a mount namespace of its own.
    _upper: TempDir,
}

/// Ends the machine as a power cut does.
impl Drop for Boot {
    fn drop(&mut self) {
        drop(self.keeper.child.stdin.take());
        let gone = ends(self.keeper.pid(), PATIENCE);
        if !gone && !std::thread::panicking() {
            panic!("the systemd with PID {} did not end", self.init);
        }
    }
}

fn temporary(what: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("jobguard-{what}-")).tempdir().unwrap()
}

impl Machine {
    /// A machine that is still off.
    #[track_caller]
    pub fn new() -> Self {
        require_root("systemd as PID 1");
        let programs = ["unshare", "nsenter", "setpriv", "mount", "cc", SYSTEMD, "systemctl"];
        programs.into_iter().for_each(require_program);
        let kept = temporary("rig");
        for name in ["bin", "state", "journal", "units/basic.target.wants"] {
            std::fs::create_dir_all(kept.path().join(name)).unwrap();
        }
        // Not by ourselves: a child that another test forks meanwhile would have them open for
        // writing for a moment, and nobody can execute them then (ETXTBSY).
        let mut install = Command::new("install");
        install.arg(JOBGUARD).arg(job()).arg(kept.path().join("bin"));
        assert!(install.status().unwrap().success());
        Self { boot: None, kept, boots: 0 }
    }

    /// A machine that runs.
    #[track_caller]
    pub fn booted() -> Self {
        let mut machine = Self::new();
        machine.boot();
        machine
    }

    /// Boots it, or cuts its power and boots it again.
    #[track_caller]
    pub fn boot(&mut self) {
        self.boot = None;
        self.boots += 1;
        let upper = temporary("root");
        let name = self.kept.path().file_name().unwrap().to_str().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot.sh");
        let mut keeper = Command::new("unshare");
        keeper.args(["--mount", "sh"]).arg(script).arg(upper.path()).arg(self.kept.path());
        keeper.arg(format!("{name}.{}", self.boots)).env_remove("LD_LIBRARY_PATH");
        let mut keeper = Running::start(keeper.stdin(Stdio::piped()));
        let unshare = keeper.line();
        assert!(unshare.parse::<i32>().is_ok(), "no namespaces: {unshare:?}");
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let mut init = 0;
        until("systemd is PID 1", || {
            let children = std::fs::read_to_string(&children).unwrap_or_default();
            init = children.trim().parse().unwrap_or(0);
            std::fs::read_link(format!("/proc/{init}/exe"))
                .is_ok_and(|exe| exe.ends_with("systemd"))
        });
        let boot = self.boot.insert(Boot { keeper, init, _upper: upper });
        let up = |state: &str| ["running", "degraded"].contains(&state.trim());
        until("systemd has booted", || {
            up(&run(&mut boot.command("systemctl", &["is-system-running"])).stdout())
        });
    }

    /// What is `/rig/NAME` inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    fn boot_of(&self) -> &Boot {
        self.boot.as_ref().expect("it is off")
    }

    /// A command inside.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        self.boot_of().command(program, args)
    }

    /// Runs a command inside.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> Done {
        run(&mut self.command(program, args))
    }

    /// `systemctl`, which must succeed.
    #[track_caller]
    pub fn systemctl(&self, args: &[&str]) -> Done {
        self.run("systemctl", args).exits(0)
    }

    /// Installs a unit, which survives reboots.
    #[track_caller]
    pub fn install(&self, name: &str, text: &str) {
        std::fs::write(self.path("units").join(name), text).unwrap();
        if let Some(boot) = &self.boot {
            let etc = format!("/proc/{}/root/etc/systemd/system", boot.init);
            std::fs::write(Path::new(&etc).join(name), text).unwrap();
            self.systemctl(&["daemon-reload"]);
        }
    }

    /// Has a unit started at every boot.
    pub fn enable(&self, name: &str) {
        let wants = self.path("units/basic.target.wants");
        symlink(format!("../{name}"), wants.join(name)).unwrap();
    }

    /// What systemd knows of a unit.
    #[track_caller]
    pub fn show(&self, unit: &str) -> Unit {
        let text = self.systemctl(&["show", "--all", unit]).stdout();
        let split = |line: &str| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        Unit(text.lines().filter_map(split).collect())
    }

    /// Its PID namespace, whose number nobody else gets as long as this is open.
    pub fn pid_namespace(&self) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/ns/pid", self.boot_of().init)).unwrap()
    }

    /// What the journal has of a unit, a message a line.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.run("journalctl", &["--sync"]).exits(0);
        self.run("journalctl", &["--unit", unit, "--output", "cat"]).exits(0).stdout()
    }
}

impl Boot {
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--all", "--", program]).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command
    }
}

/// The properties of a unit.
#[derive(Debug)]
pub struct Unit(BTreeMap<String, String>);

impl Unit {
    pub fn get(&self, property: &str) -> &str {
        self.0.get(property).unwrap_or_else(|| panic!("no {property}: {self:?}"))
    }

    /// `active (running)`, as `systemctl status` says it.
    pub fn state(&self) -> String {
        format!("{} ({})", self.get("ActiveState"), self.get("SubState"))
    }
}

/// The job that the services run, compiled.
fn job() -> &'static Path {
    static JOB: OnceLock<PathBuf> = OnceLock::new();
    JOB.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
        std::fs::create_dir_all(&place).unwrap();
        let job = place.join("job");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/job.c");
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-O1", "-o"]).arg(&job).arg(source);
        assert!(cc.status().unwrap().success(), "the job does not compile");
        job
    })
}
