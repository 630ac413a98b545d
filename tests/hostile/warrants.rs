//! The one way from a record to a process that may be signalled, with real processes and users.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use jobguard::identity::host::{Host, Locality};
use jobguard::identity::process::Kernel;
use jobguard::identity::verdict::{Observer, Subject};
use jobguard::identity::warrant::{Refusal, Role, warrant};
use jobguard::machine::name::MachineName;
use jobguard::machine::state_dir::{Missing, StateDir};
use jobguard::sys::pidfd::PidFd;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rstest::rstest;
use serde_json::{Value, json};

use crate::arena::{Arena, MALLORY, ROOT, VICTIM, holder, record};
use crate::innocents::Innocent;
use crate::strangers::{TEAM, User};
use crate::support::held::waits;
use crate::support::{PATIENCE, Running, Stray, ends, until};

/// A run of somebody on m1.
struct Run {
    arena: Arena,
    supervisor: Running,
    job: Stray,
    /// The job ends with it; kept apart, since a wait for the supervisor would close it.
    _stdin: Option<ChildStdin>,
}

impl Run {
    fn start(user: User, job: &[&str]) -> Self {
        let arena = Arena::new("warrants");
        arena.commons.dir("state/m1", ROOT, TEAM, 0o2775);
        let args = [&["-m", "m1", "--"], job].concat();
        let mut supervisor =
            Running::start(arena.jobguard(user, &args).stdin(Stdio::piped()).stderr(Stdio::null()));
        let job = Stray(supervisor.line().parse().unwrap());
        let _stdin = supervisor.child.stdin.take();
        Self { arena, supervisor, job, _stdin }
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.arena.file("record.json")).unwrap()).unwrap()
    }

    /// Changes what the record says of its holder.
    fn forge(&self, change: impl FnOnce(&mut Value)) {
        let mut record = self.record();
        change(&mut record["holders"][0]);
        fs::write(self.arena.file("record.json"), record.to_string()).unwrap();
    }

    fn lifeline(&self) -> std::path::PathBuf {
        self.arena.file(&format!("life.{}", self.record()["holders"][0]["token"]))
    }

    fn ask_with(&self, role: Role, kernel: Kernel) -> Result<PidFd, Refusal> {
        let state = StateDir::open(&self.arena.state(), Missing::Accept, false).unwrap().unwrap();
        let name = MachineName::parse("m1".as_ref()).unwrap();
        let dir = state.machine(&name, Missing::Accept).unwrap().unwrap();
        let subject = dir.read().unwrap().reading.subjects.remove(0);
        let observer = Observer {
            host: Host::here(None).unwrap(),
            kernel,
            locality: Locality::Local,
            legacy_grace: Duration::ZERO,
        };
        assert!(matches!(subject, Subject::Holder(_) | Subject::Legacy(_)), "{subject:?}");
        warrant(&dir, &subject, role, &observer)
    }

    fn ask(&self, role: Role) -> Result<PidFd, Refusal> {
        self.ask_with(role, Kernel::here())
    }

    #[track_caller]
    fn is_refused(&self, refusal: &Refusal) {
        assert_eq!(self.ask(Role::Job).unwrap_err(), *refusal);
    }
}

const JOB: [&str; 3] = ["sh", "-c", "echo $$; read _"];

#[rstest]
fn the_right_ones_are_signalled_as_root(#[values(ROOT, VICTIM)] user: User) {
    let mut run = Run::start(user, &JOB);
    run.ask(Role::Job).unwrap().signal(Signal::SIGKILL as i32).unwrap();
    assert!(ends(run.job.0, PATIENCE));
    run.supervisor.wait();

    let mut run = Run::start(user, &JOB);
    run.ask(Role::Supervisor).unwrap().signal(Signal::SIGKILL as i32).unwrap();
    run.supervisor.wait();
    // An orphan is known by the token that it was born with.
    assert_eq!(run.ask(Role::Supervisor).unwrap_err(), Refusal::Over);
    run.ask(Role::Job).unwrap().signal(Signal::SIGKILL as i32).unwrap();
    assert!(ends(run.job.0, PATIENCE));
    run.is_refused(&Refusal::Over);
}

/// What a job does to its environment does not matter while its supervisor lives.
#[test]
fn a_job_without_our_environment_as_root() {
    let bare = ["env", "-i", "/bin/sh", "-c", "echo $$; read _"];
    let run = Run::start(VICTIM, &bare);
    run.ask(Role::Job).unwrap();
    run.supervisor.signal(Signal::SIGKILL);
    assert!(ends(run.supervisor.pid(), PATIENCE));
    run.is_refused(&Refusal::Stranger);
}

/// Somebody's process is not given away by the run that the same user has here.
#[test]
fn another_process_of_the_same_user_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let innocent = Innocent::new(&run.arena, VICTIM);
    let identity = innocent.identity();
    run.forge(|holder| holder["job"] = identity.clone());
    run.is_refused(&Refusal::Stranger);
    run.forge(|holder| holder["supervisor"] = identity.clone());
    assert_eq!(run.ask(Role::Supervisor).unwrap_err(), Refusal::Stranger);
    let parent = std::process::id().cast_signed();
    let parent = Kernel::here().identify(parent, Some(&PidFd::open(parent).unwrap())).unwrap();
    run.forge(|holder| holder["supervisor"] = serde_json::to_value(parent).unwrap());
    run.is_refused(&Refusal::Stranger);
    // Nor by a lifeline of another machine, moved here.
    let here = run.arena.file("life.99");
    fs::rename(run.lifeline(), here).unwrap();
    run.forge(|holder| holder["token"] = json!(99));
    run.is_refused(&Refusal::Stranger);
    innocent.is_unharmed();
}

fn identity(pid: i32) -> Value {
    let identity = Kernel::here().identify(pid, Some(&PidFd::open(pid).unwrap())).unwrap();
    serde_json::to_value(identity).unwrap()
}

/// Those who wait for a run feel its lifeline, all the time: they have its other end.
#[test]
fn a_waiter_of_the_same_user_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let waiter = Running::new(run.arena.jobguard(VICTIM, &["-m", "m1", "true"]).spawn().unwrap());
    until("it waits", || waits(waiter.pid()));
    run.forge(|holder| holder["supervisor"] = identity(waiter.pid()));
    assert_eq!(run.ask(Role::Supervisor).unwrap_err(), Refusal::Stranger);
}

/// A log that somebody opens may have been a lifeline, put there under its name.
#[test]
fn who_writes_to_the_lifeline_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let script = "exec 3>>\"$0\"; sleep 1000 & echo $!; wait";
    let mut daemon = run.arena.commons.as_user(VICTIM, &[TEAM], "sh");
    let mut daemon = Running::start(daemon.args(["-c", script]).arg(run.lifeline()));
    let child = Stray(daemon.line().parse().unwrap());
    run.forge(|holder| {
        holder["supervisor"] = identity(daemon.pid());
        holder["job"] = identity(child.0);
    });
    assert_eq!(run.ask(Role::Supervisor).unwrap_err(), Refusal::Stranger);
    run.is_refused(&Refusal::Stranger);
}

/// The same machine and token in a directory that nobody else may enter is another run.
#[test]
fn a_job_of_another_state_directory_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let private = run.arena.commons.dir("private", VICTIM, VICTIM.0, 0o700);
    let words = [&["-m", "m1", "--"][..], &JOB].concat();
    let mut elsewhere = run.arena.commons.jobguard(VICTIM, &[], &private, words);
    let mut elsewhere = Running::start(elsewhere.stdin(Stdio::piped()));
    let job = Stray(elsewhere.line().parse().unwrap());
    let record: Value =
        serde_json::from_slice(&fs::read(private.join("m1/record.json")).unwrap()).unwrap();
    let token = record["holders"][0]["token"].clone();
    fs::rename(run.lifeline(), run.arena.file(&format!("life.{token}"))).unwrap();
    run.forge(|holder| {
        holder["token"] = token.clone();
        holder["job"] = identity(job.0);
    });
    run.is_refused(&Refusal::Stranger);
}

#[test]
fn a_process_of_another_user_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let innocent = Innocent::new(&run.arena, ROOT);
    run.forge(|holder| holder["job"] = innocent.identity());
    run.is_refused(&Refusal::User { recorded: VICTIM.0, found: vec![0; 4] });
    run.forge(|holder| holder["uid"] = json!(0));
    run.is_refused(&Refusal::Owner { recorded: 0, found: VICTIM.0 });
    innocent.is_unharmed();
}

#[test]
fn another_lifeline_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let (lifeline, moved) = (run.lifeline(), run.arena.file("moved"));
    fs::rename(&lifeline, &moved).unwrap();
    run.is_refused(&Refusal::Lifeline);
    symlink(&moved, &lifeline).unwrap();
    run.is_refused(&Refusal::Lifeline);
    fs::remove_file(&lifeline).unwrap();
    mkfifo(&lifeline, Mode::S_IRWXU).unwrap();
    run.is_refused(&Refusal::Lifeline);
    fs::remove_file(&lifeline).unwrap();
    fs::rename(&moved, &lifeline).unwrap();
    run.ask(Role::Job).unwrap();
    chown(&lifeline, Some(MALLORY.0), None).unwrap();
    run.is_refused(&Refusal::Owner { recorded: VICTIM.0, found: MALLORY.0 });
}

#[test]
fn a_job_that_changed_its_user_as_root() {
    let as_victim = format!("--reuid={}", VICTIM.0);
    let run = Run::start(ROOT, &["setpriv", &as_victim, "--clear-groups", "sh", "-c", JOB[2]]);
    run.is_refused(&Refusal::User { recorded: 0, found: vec![VICTIM.0; 4] });
    run.ask(Role::Supervisor).unwrap();
}

#[test]
fn what_proves_too_little_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let kernel = |pidfd, proc| Kernel { pidfd, pidfd_inode: pidfd, proc };
    let asked = |pidfd, proc| run.ask_with(Role::Job, kernel(pidfd, proc)).unwrap_err();
    assert_eq!(asked(false, true), Refusal::NoHandle);
    assert_eq!(asked(true, false), Refusal::NoHandle);
    run.ask_with(Role::Job, Kernel { pidfd_inode: false, ..Kernel::here() }).unwrap();
    let right = run.record();
    for (at, value, refusal) in [
        ("/job/pid", json!(-1), Refusal::NoProcess),
        ("/job/start_ticks", Value::Null, Refusal::NoProcess),
        ("/job/start_ticks", json!(1), Refusal::Another),
        ("/job/pidfd_inode", json!(1), Refusal::Another),
        ("/job", Value::Null, Refusal::NoProcess),
        ("/host/boot_id", json!("other"), Refusal::Elsewhere),
        ("/host/pid_ns", json!(1), Refusal::Elsewhere),
        ("/lifeline", Value::Null, Refusal::Lifeline),
    ] {
        run.forge(|holder| *holder.pointer_mut(at).unwrap() = value);
        run.is_refused(&refusal);
        fs::write(run.arena.file("record.json"), right.to_string()).unwrap();
    }
    let legacy = json!({ "job": "x", "job_pid": run.job.0 });
    fs::write(run.arena.file("record.json"), legacy.to_string()).unwrap();
    run.is_refused(&Refusal::NoProcess);
}

fn adopted(user: User, job: &Value, supervisor: &Value, lifeline: &str) -> Vec<u8> {
    let mut holder = holder(user, job, supervisor, Some(lifeline));
    holder["adopted"] = json!(true);
    record(&[holder])
}

/// A record that claims an adoption gives away nobody: whoever keeps the lifeline must watch that very
/// process, and as its supervisor does.
#[test]
fn whom_nobody_adopted_as_root() {
    let run = Run::start(VICTIM, &JOB);
    let innocent = Innocent::new(&run.arena, VICTIM);
    run.forge(|holder| {
        holder["adopted"] = json!(true);
        holder["job"] = innocent.identity();
    });
    run.is_refused(&Refusal::Stranger);
    // Its own child needs no such proof, and is not root's for having none.
    run.forge(|holder| holder["job"] = identity(run.job.0));
    run.ask(Role::Job).unwrap();
    innocent.is_unharmed();
}

/// We keep a lifeline here, as root, and look at an innocent, as all do who read a record that names one.
/// That is no supervision; what adopts says so itself, with the pidfd.
#[rstest]
fn whom_a_supervisor_only_looks_at_as_root(#[values(ROOT, VICTIM)] user: User) {
    let run = Run::start(VICTIM, &JOB);
    // No children of ours: those would be of the run.
    let stranger = || {
        let mut command = run.arena.commons.as_user(user, &[], "sh");
        let mut shell = Running::start(command.args(["-c", "sleep 1000 >/dev/null & echo $!"]));
        let stranger = Stray(shell.line().parse().unwrap());
        shell.wait();
        let comm = format!("/proc/{}/comm", stranger.0);
        until("it sleeps", || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n"));
        stranger
    };
    let (innocent, other) = (stranger(), stranger());
    let lifeline = run.arena.file("life.5");
    mkfifo(&lifeline, Mode::S_IRWXU).unwrap();
    let read = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let _kept = nix::fcntl::open(&lifeline, read, Mode::empty()).unwrap();
    let found = fs::metadata(&lifeline).unwrap();
    let lifeline = format!("{}:{}", found.dev(), found.ino());
    let us = identity(std::process::id().cast_signed());
    let write = |job: &Stray| {
        let record = adopted(ROOT, &identity(job.0), &us, &lifeline);
        fs::write(run.arena.file("record.json"), record).unwrap();
    };
    // While the record only looked as if we had adopted it, a process of another user is refused for that.
    let refusal = match user {
        ROOT => Refusal::Stranger,
        _ => Refusal::User { recorded: 0, found: vec![user.0; 4] },
    };
    write(&innocent);
    run.is_refused(&refusal);
    let watched = PidFd::open(innocent.0).unwrap();
    run.is_refused(&refusal);
    watched.set_nonblocking().unwrap();
    run.ask(Role::Job).unwrap();
    // Nobody else, and not without the record's word.
    write(&other);
    run.is_refused(&refusal);
    write(&innocent);
    run.forge(|holder| holder["adopted"] = json!(false));
    run.is_refused(&refusal);
}
