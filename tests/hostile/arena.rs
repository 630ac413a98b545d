//! Where they meet: a state directory that belongs to root and that a group shares, a victim in that
//! group, a file of theirs outside, and Mallory, who may write to the directory as well.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobguard::identity::host::Host;
use serde_json::{Value, json};

use crate::strangers::{ALICE, Commons, TEAM, User, mode};
use crate::support::{Done, Running, run};

pub(crate) const VICTIM: User = ALICE;
pub(crate) const MALLORY: User = User(51_003);
pub(crate) const ROOT: User = User(0);

/// Whatever was planted, every command is over by then.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Arena {
    pub(crate) commons: Commons,
}

impl Arena {
    #[track_caller]
    pub(crate) fn new(rig: &str) -> Self {
        let arena = Self { commons: Commons::new(rig) };
        arena.commons.dir("state", ROOT, TEAM, 0o2775);
        arena.commons.dir("outside", VICTIM, VICTIM.0, 0o700);
        fs::write(arena.canary(), "precious").unwrap();
        give(&arena.canary(), VICTIM, VICTIM.0, 0o600);
        arena
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.commons.path("state")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.state().join("m1").join(name)
    }

    /// A file that nobody may touch.
    pub(crate) fn canary(&self) -> PathBuf {
        self.commons.path("outside/canary")
    }

    /// Makes machine `m1` anew: Mallory's, shared, used before, with this record.
    pub(crate) fn furnish(&self, record: impl AsRef<[u8]>) {
        let machine = self.state().join("m1");
        if machine.exists() {
            fs::remove_dir_all(&machine).unwrap();
        }
        fs::create_dir(&machine).unwrap();
        give(&machine, MALLORY, TEAM, 0o2775);
        for (name, bytes, bits) in [
            ("lock", &b""[..], 0o660),
            ("record.json", record.as_ref(), 0o664),
            ("events.jsonl", b"", 0o664),
        ] {
            fs::write(self.file(name), bytes).unwrap();
            give(&self.file(name), MALLORY, TEAM, bits);
        }
    }

    /// jobguard, run by a member of the group, or by root, who is none.
    pub(crate) fn jobguard(&self, user: User, args: &[&str]) -> Command {
        let groups: &[u32] = if user == ROOT { &[] } else { &[TEAM] };
        self.commons.jobguard(user, groups, &self.state(), args)
    }

    /// The same to its end, which comes soon.
    #[track_caller]
    pub(crate) fn ask(&self, user: User, args: &[&str]) -> Done {
        ends_soon(&mut self.jobguard(user, args))
    }

    /// What the canary is like, and what lies beside it.
    pub(crate) fn outside(&self) -> (Vec<u8>, [i64; 5], usize) {
        let meta = fs::metadata(self.canary()).unwrap();
        let numbers = [meta.mode().into(), meta.uid().into(), meta.gid().into()];
        let [mode, uid, gid] = numbers;
        let stamp = [mode, uid, gid, meta.mtime(), meta.mtime_nsec()];
        let beside = fs::read_dir(self.commons.path("outside")).unwrap().count();
        (fs::read(self.canary()).unwrap(), stamp, beside)
    }
}

/// Runs a command to its end; it says so when that does not come soon.
#[track_caller]
pub(crate) fn ends_soon(command: &mut Command) -> Done {
    let begun = Instant::now();
    let done = run(command);
    assert!(begun.elapsed() < SOON, "{command:?} took {:?}", begun.elapsed());
    assert!(!done.stderr().contains("panicked"), "{done:?}");
    done
}

pub(crate) fn give(path: &Path, user: User, group: u32, bits: u32) {
    chown(path, Some(user.0), Some(group)).unwrap();
    mode(path, bits);
}

/// A record of m1 with these holders.
pub(crate) fn record(holders: &[Value]) -> Vec<u8> {
    let record = json!({
        "schema": 1, "machine": "m1", "revision": 5, "token": 5, "holders": holders,
    });
    serde_json::to_vec(&record).unwrap()
}

/// A holder, here and now: its job and its supervisor as they are recorded.
pub(crate) fn holder(user: User, job: &Value, supervisor: &Value, lifeline: Option<&str>) -> Value {
    json!({
        "token": 5, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
        "host": Host::here(None).unwrap(), "command": ["x"], "started_at": "t", "uid": user.0,
        "job": job, "supervisor": supervisor, "lifeline": lifeline,
    })
}

/// A holder that is over.
pub(crate) fn phantom() -> Value {
    holder(MALLORY, &json!({ "pid": 0 }), &json!({ "pid": 0 }), None)
}

/// A mount namespace in which the users have names.
pub(crate) struct Names(Running);

impl Names {
    pub(crate) fn new(arena: &Arena) -> Self {
        let line = |name, id| format!("{name}:x:{id}:{id}::/nonexistent:/bin/false\n");
        let known: String = [("root", 0), ("victim", VICTIM.0), ("mallory", MALLORY.0)]
            .map(|(n, i)| line(n, i))
            .concat();
        let passwd = arena.commons.path("passwd");
        fs::write(&passwd, known).unwrap();
        mode(&passwd, 0o644);
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec"]);
        command.arg("mount --bind \"$0\" /etc/passwd; echo known; exec cat").arg(passwd);
        let mut keeper = Running::start(command.stdin(Stdio::piped()));
        assert_eq!(keeper.line(), "known");
        Self(keeper)
    }

    /// The same command, where the names are known.
    pub(crate) fn among(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.0.pid()));
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}
