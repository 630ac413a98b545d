//! The machine lock in hands that do not let go: there is a deadline, a sentence that names who it
//! is, and a release that gives up.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

use crate::arena::{Arena, MALLORY, Names, ROOT, SOON, VICTIM, ends_soon, phantom, record};
use crate::strangers::{TEAM, User};
use crate::support::strace::tracee;
use crate::support::{Running, require_program, until};

const DEADLINE: Duration = Duration::from_millis(500);

/// A process of Mallory's that has something of m1 in its hands until it is killed.
fn grip(arena: &Arena, names: &Names, program: &str, args: &[&str]) -> Running {
    require_program(program);
    let mut command = arena.commons.as_user(MALLORY, &[TEAM], program);
    let mut thief = Running::start(
        names
            .among(command.args(args).env("M1", arena.file("")).env("PATH", "/usr/bin:/bin"))
            .stdin(Stdio::piped()),
    );
    assert_eq!(thief.line(), "locked");
    thief
}

/// A stranger in the group, who locks the file.
fn stranger(arena: &Arena, names: &Names) -> Running {
    let lock = arena.file("lock");
    let hold = ["--close", lock.to_str().unwrap(), "sh", "-c", "echo locked; exec cat"];
    grip(arena, names, "flock", &hold)
}

/// Everybody who must have the lock gives up within the deadline and says this; who looks does not
/// notice.
fn all_give_up(arena: &Arena, names: &Names, says: &str) -> usize {
    let ask = |user: User, args: &[&str]| {
        let args = [&["--lock-timeout", "0.5"], args].concat();
        ends_soon(&mut names.among(&arena.jobguard(user, &args)))
    };
    let mut asked = 0;
    for user in [VICTIM, ROOT] {
        for args in [&["-n", "-m", "m1", "echo", "ran"][..], &["clear", "m1"], &["clear", "--all"]]
        {
            let begun = Instant::now();
            let done = ask(user, args).exits(125).says(says).says("500ms");
            assert_eq!(
                (done.stdout().as_str(), done.stderr().lines().count()),
                ("", 1),
                "{done:?}"
            );
            let took = begun.elapsed();
            assert!(took >= DEADLINE && took < DEADLINE + Duration::from_secs(2), "{took:?}");
            asked += 1;
        }
        for (args, code) in [(&["status", "m1"][..], 1), (&["info", "m1"], 1), (&["list"], 0)] {
            ask(user, args).exits(code).silent();
            asked += 1;
        }
    }
    asked
}

#[test]
fn by_a_stranger_in_the_group_as_root() {
    let arena = Arena::new("a stranger with the lock");
    let names = Names::new(&arena);
    arena.furnish(record(&[phantom()]));
    let thief = stranger(&arena, &names);
    let owner = format!("PID {} (flock) of user mallory has held it for more than", thief.pid());
    println!("a stranger: {} commands", all_give_up(&arena, &names, &owner));
    drop(thief);
    arena.ask(VICTIM, &["-n", "-m", "m1", "true"]).exits(0).says("STALE");
}

/// A jobguard that was stopped while it held the lock.
#[test]
fn by_a_stopped_claimer_as_root() {
    require_program("strace");
    let arena = Arena::new("a stopped claimer");
    let names = Names::new(&arena);
    arena.furnish(record(&[phantom()]));
    let own = arena.commons.dir("mallorys", MALLORY, MALLORY.0, 0o755);
    let mut command = arena.commons.as_user(MALLORY, &[TEAM], "strace");
    command.arg("-o").arg(own.join("trace")).args(["-e", "inject=flock:signal=STOP:when=1"]);
    command.arg(arena.commons.path("jobguard")).args(["-m", "m1", "echo", "ran"]);
    command.env("JOBGUARD_STATE_DIR", arena.state());
    let mut claimer = Running::start(names.among(&command).stderr(Stdio::null()));
    until("it is stopped", || {
        let trace = std::fs::read_to_string(own.join("trace"));
        trace.is_ok_and(|trace| trace.contains("stopped by SIGSTOP"))
    });
    let stopped = tracee(&claimer).expect("a process that is traced");
    let owner = format!("PID {stopped} (jobguard) of user mallory has held it for more than");
    println!("a stopped claimer: {} commands", all_give_up(&arena, &names, &owner));
    kill(Pid::from_raw(stopped), Signal::SIGCONT).unwrap();
    assert_eq!(claimer.line(), "ran");
    assert!(claimer.wait().success());
    arena.ask(VICTIM, &["status", "m1"]).exits(3);
}

/// Who locks a new file each time before the old one is let go could keep us for ever.
#[test]
fn by_one_lock_file_after_the_other_as_root() {
    let arena = Arena::new("a relay of locks");
    let names = Names::new(&arena);
    arena.furnish(record(&[phantom()]));
    let relay = "import fcntl, os, time\n\
        os.umask(0)\n\
        os.chdir(os.environ['M1'])\n\
        held = None\n\
        while True:\n\
        \x20   next = os.open('next', os.O_RDWR | os.O_CREAT, 0o660)\n\
        \x20   fcntl.flock(next, fcntl.LOCK_EX)\n\
        \x20   os.rename('next', 'lock')\n\
        \x20   if held is None: print('locked', flush=True)\n\
        \x20   else: os.close(held)\n\
        \x20   held = next\n\
        \x20   time.sleep(0.1)\n";
    let thief = grip(&arena, &names, "python3", &["-c", relay]);
    println!("a relay: {} commands", all_give_up(&arena, &names, "cannot take the machine lock"));
    drop(thief);
    arena.ask(VICTIM, &["-n", "-m", "m1", "true"]).exits(0);
}

/// The release does not get the lock: the job's status counts, and the phantom goes by itself.
#[rstest]
fn at_the_release_as_root(#[values(VICTIM, ROOT)] user: User) {
    let arena = Arena::new("a release without the lock");
    let names = Names::new(&arena);
    arena.furnish(record(&[]));
    let args = ["--lock-timeout", "0.5", "-m", "m1", "sh", "-c", "echo up; read _; exit 7"];
    let command = arena.jobguard(user, &args);
    let mut holder =
        Running::start(names.among(&command).stdin(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(holder.line(), "up");
    let thief = stranger(&arena, &names);
    let begun = Instant::now();
    drop(holder.child.stdin.take());
    assert_eq!(holder.wait().code(), Some(7));
    assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let mut said = String::new();
    holder.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let owner = format!("PID {} (flock) of user mallory", thief.pid());
    assert!(said.contains("m1: cannot be released, the next run will clear it"), "{said}");
    assert!(said.contains(&owner) && said.lines().count() == 1, "{said}");
    let done = arena.ask(VICTIM, &["status", "m1"]).exits(1);
    assert!(done.stdout().contains("STALE (process not running)"), "{done:?}");
    drop(thief);
    arena.ask(VICTIM, &["-n", "-m", "m1", "true"]).exits(0).says("STALE (process not running)");
    arena.ask(VICTIM, &["status", "m1"]).exits(3).silent();
}

/// An open of a file with a lease on it may block for 45 seconds (fcntl(2), `F_SETLEASE`).
#[rstest]
#[case::lock("lock", 125, 3)]
#[case::record("record.json", 75, 4)]
#[case::log("events.jsonl", 0, 3)]
fn by_a_lease_as_root(#[case] name: &str, #[case] run: i32, #[case] status: i32) {
    let arena = Arena::new("a lease");
    let names = Names::new(&arena);
    arena.furnish(record(&[]));
    let lease = "import fcntl, os, signal, sys\n\
        signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
        file = open(os.environ['M1'] + sys.argv[1], 'r+')\n\
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
        print('locked', flush=True)\n\
        sys.stdin.read()\n";
    let _thief = grip(&arena, &names, "python3", &["-c", lease, name]);
    let ask = |user: User, args: &[&str]| ends_soon(&mut arena.jobguard(user, args));
    for user in [VICTIM, ROOT] {
        ask(user, &["status", "m1"]).exits(status);
        ask(user, &["list"]).exits(0);
        let done = ask(user, &["-n", "-m", "m1", "echo", "ran"]).exits(run);
        assert_eq!(done.stderr().lines().count(), 1, "{done:?}");
    }
}
