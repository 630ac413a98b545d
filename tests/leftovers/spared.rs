//! Who is left alone: whatever is not the job's; and everybody, by default.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rstest::rstest;

use crate::scene::Scene;
use crate::strangers::{ALICE, BOB, Commons, TEAM, User};
use crate::support::litter::{Leash, litter};
use crate::support::{Done, JOBGUARD, Running, ends, require_program, run};

/// By default they hold nothing; an event names those in the job's own group.
#[test]
fn leave() {
    let mut scene = Scene::new();
    let mut left = scene.start("--leftovers leave", "sit n=2 exit=7", 2);
    assert_eq!(left.result(), (Some(7), String::new()));
    scene.asks("-m m1 -n -- true").exits(0).silent();
    assert!(!scene.leash.is_let_go(Duration::ZERO));
    let events = scene.sandbox.events("m1");
    let event = events.iter().find(|event| event["event"] == "left_running").unwrap();
    let mut named: Vec<i64> = event["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["pid"].as_i64().unwrap())
        .collect();
    named.sort_unstable();
    left.pids.sort_unstable();
    assert_eq!(named, left.pids.iter().copied().map(i64::from).collect::<Vec<_>>());
}

/// Nobody is, nobody is named: not those in sessions of their own, which would cost a search.
#[test]
fn leave_nobody() {
    let mut scene = Scene::new();
    scene.start("", "sit setsid", 1).run.wait();
    let events = scene.sandbox.events("m1");
    assert!(events.iter().all(|event| event["event"] != "left_running"), "{events:?}");
}

/// Children that jobguard had before are nobody's business, nor is what these leave behind; the
/// job's own are found by their environment then.
#[rstest]
#[case("--leftovers kill -k 0.2")]
#[case("--leftovers wait")]
#[case("--timeout 0.5 -k 0.2 --leftovers kill")]
fn children_from_before(#[case] options: &str) {
    let scene = Scene::new();
    let mut innocent = Leash::at(scene.sandbox.path("innocent"));
    let litter = litter();
    // A child, and one of a child that will be over, and one that comes while the job runs.
    let script = format!(
        "{litter} sit {0} setsid clean quiet & (sleep 0.1; {litter} sit {0} setsid clean quiet) &
         {litter} sit {0} stay quiet & exec {JOBGUARD} -m m1 {options} -- sh -c \
         'sleep 0.3; (setsid sleep inf &); echo up; [ -z \"$1\" ] || exec sleep inf' sh {1}",
        innocent.path().display(),
        if options.contains("timeout") { "stay" } else { "" }
    );
    let mut sh = Command::new("sh");
    scene.sandbox.confine(sh.args(["-c", &script]));
    let mut guard = Running::start(&mut sh);
    assert_eq!(guard.line(), "up");
    innocent.is_taken();
    if options.ends_with("wait") {
        crate::support::until("it drains", || scene.state() == "draining");
        assert_eq!(scene.recorded().len(), 1, "{}", scene.sandbox.record("m1"));
        scene.asks("stop m1").exits(0);
    }
    guard.wait();
    assert!(!innocent.is_let_go(Duration::ZERO), "innocents were ended");
    let rest = scene.asks("stop m1"); // nobody is there
    rest.exits(0);
}

/// The job does not become a reaper of orphans by ours being one.
#[rstest]
#[case("leave")]
#[case("wait")]
#[case("kill")]
fn the_job_adopts_nobody(#[case] leftovers: &str) {
    let scene = Scene::new();
    require_program("python3");
    let ask = "import ctypes; n = ctypes.c_int(7); c = ctypes.CDLL(None); c.prctl(37, ctypes.byref(n)); print(n.value)";
    let done = run(&mut scene.sandbox.jobguard([
        "-m",
        "m1",
        "--leftovers",
        leftovers,
        "--",
        "python3",
        "-c",
        ask,
    ]));
    assert_eq!(done.stdout(), "0\n");
}

/// Alice's run, whose job left a process that is Bob's, as of a setuid program.
struct Foreign {
    commons: Commons,
    leash: Leash,
    guard: Running,
    state: PathBuf,
}

impl Foreign {
    fn start(leftovers: &str, option: &str, then: &str) -> Self {
        let commons = Commons::new("another user's process in the tree");
        let state = commons.dir("state", ALICE, TEAM, 0o2775);
        let mut leash = Leash::at(commons.path("leash"));
        let setuid = commons.path("litter");
        let mut install = Command::new("install");
        assert!(install.args(["-m", "4755", litter()]).arg(&setuid).status().unwrap().success());
        // The job itself is Alice's.
        let job = format!("\"$@\"; {then}");
        let grace = if leftovers == "kill" { vec!["-k", "0.2"] } else { vec![] };
        let options = ["-m", "m1", "--leftovers", leftovers, "--", "sh", "-c", &job, "sh"];
        let mut command = commons.jobguard(ALICE, &[TEAM], &state, grace.iter().chain(&options));
        command.arg(setuid).arg("sit").arg(leash.path());
        command.args(["setsid", &format!("uid={}", BOB.0), option]).stderr(Stdio::piped());
        let mut guard = Running::start(&mut command);
        let bobs: i32 = guard.line().parse().unwrap();
        assert_eq!(jobguard::identity::mark::uids(bobs).unwrap(), [BOB.0; 4]);
        leash.is_taken();
        Self { commons, leash, guard, state }
    }

    fn stop(&self, user: User) -> Done {
        let words = ["stop", "m1", "--grace", "0.2"];
        run(&mut self.commons.jobguard(user, &[TEAM], &self.state, words))
    }

    fn record(&self) -> String {
        std::fs::read_to_string(self.state.join("m1/record.json")).unwrap()
    }
}

const ROOT: User = User(0);

/// Alice ends what is hers and is told of the rest; Bob may end nothing, and nothing changes; root
/// ends all.
#[rstest]
#[case("wait", "quit", true)]
#[case("leave", "stay", false)] // that it is of the job is only seen while its parent lives
fn another_users_process(#[case] leftovers: &str, #[case] option: &str, #[case] holds: bool) {
    let mut foreign = Foreign::start(leftovers, option, "exec sleep inf");
    foreign.stop(BOB).exits(75).says("it was not stopped");
    assert!(foreign.record().contains(r#""state":"running""#), "{}", foreign.record());

    let left = foreign.stop(ALICE).exits(75);
    let why =
        if holds { "it is not over 5s after KILL" } else { "of its job 1 process is still there" };
    assert!(left.stderr().contains(why), "{}", left.stderr());
    assert!(!foreign.leash.is_let_go(Duration::ZERO));
    if holds {
        foreign.stop(ROOT).exits(0);
        assert!(foreign.leash.is_let_go(Duration::ZERO));
    }
    foreign.guard.wait();
}

/// `kill` that cannot: the machine is held until they are over.
#[test]
fn leftovers_that_may_not_be_killed() {
    let mut foreign = Foreign::start("kill", "quit", "exit 7");
    assert!(!ends(foreign.guard.pid(), Duration::from_secs(7)), "it gave up");
    assert!(foreign.record().contains("draining"));
    foreign.stop(ROOT).exits(0);
    assert!(foreign.leash.is_let_go(Duration::ZERO));
    assert_eq!(foreign.guard.wait().code(), Some(7));
}
