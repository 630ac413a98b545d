//! Records that name somebody else's process: whatever a command makes of them, nobody is
//! signalled.

use std::fs;
use std::os::unix::fs::MetadataExt;

use jobguard::identity::process::Kernel;
use jobguard::sys::pidfd::PidFd;
use serde_json::{Value, json};

use crate::arena::{Arena, MALLORY, ROOT, VICTIM, ends_soon, holder, record};
use crate::strangers::{BOB, User};
use crate::support::{Running, require_program, until};

/// A process of this user that has nothing to do with us, and keeps the signals that it is sent.
pub(crate) struct Innocent(Running);

impl Innocent {
    pub(crate) fn new(arena: &Arena, user: User) -> Self {
        Self::with(arena, user, &[])
    }

    /// One with these in its environment.
    fn with(arena: &Arena, user: User, environment: &[(&str, String)]) -> Self {
        let mut command = arena.commons.as_user(user, &[], "env");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let innocent =
            Self(Running::new(command.args(["--block-signal", "sleep", "1000"]).spawn().unwrap()));
        let comm = format!("/proc/{}/comm", innocent.pid());
        until("it sleeps", || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n"));
        innocent
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// As a record would have it.
    pub(crate) fn identity(&self) -> Value {
        let pidfd = PidFd::open(self.pid()).unwrap();
        let identity = Kernel::here().identify(self.pid(), Some(&pidfd)).unwrap();
        serde_json::to_value(identity).unwrap()
    }

    /// Asserts that it lives and was sent nothing.
    #[track_caller]
    pub(crate) fn is_unharmed(&self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        assert!(!field("State:").starts_with(['T', 'Z', 'X']), "{status}");
        for pending in ["SigPnd:", "ShdPnd:"] {
            assert_eq!(u64::from_str_radix(&field(pending), 16), Ok(0), "{status}");
        }
    }
}

/// Records, and whether what they name holds the machine.
fn records(innocents: &[Innocent]) -> Vec<(Vec<u8>, bool)> {
    let mut records = Vec::new();
    let mut add = |job: &Value, supervisor: &Value, live| {
        for user in [ROOT, VICTIM, MALLORY] {
            let mut holder = holder(user, job, supervisor, None);
            records.push((record(std::slice::from_ref(&holder)), live));
            holder["adopted"] = json!(true);
            records.push((record(&[holder]), live));
        }
    };
    let nobody = json!({ "pid": 0 });
    for innocent in innocents {
        let right = innocent.identity();
        let mut wrong = right.clone();
        wrong["pidfd_inode"] = json!(1);
        wrong["start_ticks"] = json!(1);
        add(&right, &right, true);
        add(&right, &nobody, true);
        add(&json!({ "pid": innocent.pid() }), &Value::Null, true);
        add(&wrong, &wrong, false);
    }
    for pid in [0, -1, -2, i32::MIN, i32::MAX] {
        add(&json!({ "pid": pid }), &json!({ "pid": pid }), false);
    }
    add(&json!({ "pid": 1 }), &json!({ "pid": 1 }), true);
    // The job is over, and a supervisor that does not release in a second is overtaken.
    let stalled = innocents[0].identity();
    records.push((record(&[holder(VICTIM, &nobody, &stalled, None)]), false));
    records
}

#[test]
fn whom_a_record_names_is_not_signalled_as_root() {
    require_program("strace");
    let arena = Arena::new("records of innocents");
    let innocents = [ROOT, VICTIM, BOB].map(|user| Innocent::new(&arena, user));
    let records = records(&innocents);
    let asks: [(&[&str], i32, i32); 5] = [
        (&["status", "m1"], 0, 1),
        (&["clear", "m1"], 75, 0),
        (&["stop", "m1", "--grace", "0"], 75, 0),
        (&["-n", "-m", "m1", "true"], 75, 0),
        (&["clear", "m1", "--force", "--token", "5"], 0, 0),
    ];
    let trace = arena.commons.path("trace");
    let mut asked = 0;
    for (index, (record, live)) in records.iter().enumerate() {
        for (args, busy, free) in asks {
            arena.furnish(record);
            let user = if index % 2 == 0 { ROOT } else { VICTIM };
            // Root's are traced: whom it signals, if anybody.
            let mut command = arena.jobguard(user, args);
            if user == ROOT {
                command = arena.commons.as_user(ROOT, &[], "strace");
                command.args(["-f", "-A", "-o"]).arg(&trace);
                command.args(["-e", "trace=kill,tkill,tgkill,pidfd_send_signal,pidfd_open"]);
                command.arg(arena.commons.path("jobguard")).args(args);
                command.env("JOBGUARD_STATE_DIR", arena.state());
            }
            ends_soon(&mut command).exits(if *live { busy } else { free });
            innocents.iter().for_each(Innocent::is_unharmed);
            asked += 1;
        }
    }
    let calls = fs::read_to_string(&trace).unwrap();
    // Signal 0 is none: it asks.
    let is_signal = |line: &&str| {
        (line.contains("kill(") && !line.contains(", 0)")) || line.contains("send_signal(")
    };
    assert_eq!(calls.lines().find(is_signal), None);
    let probes = calls.lines().filter(|line| line.contains("pidfd_open(")).count();
    println!(
        "{} records of innocents, {asked} commands, {probes} probes, no signal",
        records.len()
    );
    assert!(records.len() > 50 && probes > 200, "{} records, {probes} probes", records.len());
}

/// A daemon that an earlier run has left, and that was born with its token, is none of a run that is
/// given that token by whoever may write here.
#[test]
fn whom_an_earlier_run_has_left_is_not_ended_as_root() {
    let arena = Arena::new("a token that comes back");
    arena.furnish("");
    let found = fs::metadata(arena.state()).unwrap();
    let holds = format!("m1=5@{}:{}", found.dev(), found.ino());
    let state = arena.state().to_str().unwrap().to_owned();
    let born = [("JOBGUARD_STATE_DIR", state), ("JOBGUARD_HOLDS", holds)];
    let daemons = [ROOT, VICTIM].map(|user| (user, Innocent::with(&arena, user, &born)));
    let decoy = Innocent::new(&arena, MALLORY);
    let over = json!({ "pid": i32::MAX, "start_ticks": 1 });
    for (user, _) in &daemons {
        let mut lie = holder(*user, &over, &decoy.identity(), None);
        lie["held_by"] = json!("supervisor");
        lie["adopts_orphans"] = json!(true);
        arena.furnish(record(&[lie]));
        ends_soon(&mut arena.jobguard(ROOT, &["stop", "m1", "--grace", "0"])).exits(75);
        daemons.iter().for_each(|(_, daemon)| daemon.is_unharmed());
        decoy.is_unharmed();
    }
}
