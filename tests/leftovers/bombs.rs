//! Jobs that fork while they are being ended. Each in a PID namespace of its own, under a limit.
//!
//! A comet forks a successor and ends at once, so that whoever lists processes sees none of it. Not tried,
//! since it is not promised: a comet with a new session for each hop, when nobody adopts its orphans.

use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rstest::rstest;

use crate::strangers::Commons;
use crate::support::litter::{Leash, litter};
use crate::support::{Running, require_program};

/// Whether its control group can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cgroup {
    There,
    Hidden,
}
use Cgroup::{Hidden, There};

/// Runs a script as the first process of a namespace; `$guard` is jobguard on the machine `m1`, `$job`
/// this litter, which is up and about when `is_up` returns. The last line that it says is returned,
/// once nobody of the litter is left: the namespace, and so all in it, goes on until then.
#[track_caller]
fn ends_all(cgroup: Cgroup, user: u32, job: &str, script: &str) -> String {
    // One at a time: beside two of them nobody else gets anything done in the time that is given.
    static BOMB: Mutex<()> = Mutex::new(());
    let _alone = BOMB.lock().unwrap_or_else(PoisonError::into_inner);
    let commons = Commons::new("fork bombs");
    require_program("unshare");
    let mut leash = Leash::at(commons.path("leash"));
    let state = commons.path("state");
    let job = leash.job(job).join(" ");
    let copy = commons.path("litter");
    assert!(
        std::process::Command::new("install")
            .args(["-m", "755", litter()])
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    let job = job.replace(litter(), copy.to_str().unwrap());
    let hide = if cgroup == Hidden { "mount -t tmpfs none /sys/fs/cgroup;" } else { "" };
    let prelude = format!(
        r#"{hide} install -d -m 2775 -g {user} "$JOBGUARD_STATE_DIR"; mkfifo up
        as="setpriv --reuid={user} --regid={user} --clear-groups"; jobguard={guard}
        job='{job}'; guard="$as $jobguard -m m1"
        up() {{ read -r word <up; echo "$word"; }}
        begin() {{ "$@" >up & run=$!; up; }}
        {script}"#,
        guard = commons.path("jobguard").display(),
    );
    let mut command = commons.as_user(crate::strangers::User(0), &[], "unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "sh", "-c"]);
    command.arg(prelude + "\necho over; read _").env("JOBGUARD_STATE_DIR", state);
    command.stdin(Stdio::piped()).stderr(Stdio::inherit());
    let mut namespace = Running::start(&mut command);
    let up = namespace.line();
    assert!(up == "flying" || up == "full", "{up:?}");
    leash.is_taken();
    let (mut last, mut line) = (String::new(), namespace.line());
    while line != "over" {
        assert!(namespace.child.try_wait().unwrap().is_none(), "it was over early: {last}");
        last = std::mem::replace(&mut line, namespace.line());
    }
    assert!(leash.is_let_go(Duration::from_secs(1)), "somebody is left: {last}");
    last
}

/// Of a job that is over, and of one that overran.
#[rstest]
fn leftovers_kill(
    #[values(There, Hidden)] cgroup: Cgroup,
    #[values("comet deaf", "comet deaf setsid", "comet deaf setsid clean twice")] job: &str,
) {
    let script = "begin $guard --leftovers kill -k 0.2 -- $job; wait $run; echo $?";
    assert_eq!(ends_all(cgroup, 0, job, script), "0");
}

#[rstest]
#[case("kill", There, "comet deaf stay")]
#[case("kill", Hidden, "comet deaf stay")]
#[case("kill", Hidden, "comet deaf stay setsid")]
#[case("wait", There, "comet deaf stay")]
#[case("wait", There, "comet deaf stay setsid clean twice")]
#[case("leave", There, "comet deaf stay")]
fn timeout(#[case] leftovers: &str, #[case] cgroup: Cgroup, #[case] job: &str) {
    let script = format!(
        "begin $guard --leftovers {leftovers} --timeout 2 -k 0.2 -- $job; wait $run; echo $?"
    );
    assert_eq!(ends_all(cgroup, 0, job, &script), "124");
}

#[rstest]
#[case("kill", There, "comet deaf stay")]
#[case("kill", Hidden, "comet deaf stay setsid")]
#[case("wait", Hidden, "comet deaf stay")]
#[case("wait", Hidden, "comet deaf stay setsid")]
#[case("wait", Hidden, "comet deaf setsid clean")]
#[case("leave", Hidden, "comet deaf stay")]
fn stop_and_replace(
    #[case] leftovers: &str,
    #[case] cgroup: Cgroup,
    #[case] job: &str,
    #[values("stop m1 --grace 0.2", "-m m1 --on-busy replace -k 0.2 -- true")] how: &str,
) {
    let script = format!("begin $guard --leftovers {leftovers} -- $job; $jobguard {how}; echo $?");
    assert_eq!(ends_all(cgroup, 0, job, &script), "0");
}

/// A user's bomb, bounded by how many processes they may have; without root's powers to end it.
#[rstest]
#[case(53_001, "bomb deaf stay nproc=40", "--leftovers kill -k 0.2 --timeout 3", "wait $run")]
#[case(53_002, "bomb deaf nproc=40", "--leftovers kill -k 0.2", "wait $run")]
#[case(53_003, "bomb deaf stay setsid nproc=40", "--timeout 3 -k 0.2", "wait $run")]
#[case(53_004, "bomb deaf stay setsid nproc=40", "", "$as $jobguard stop m1 --grace 0.2")]
#[case(
    53_005,
    "bomb deaf setsid clean nproc=40",
    "--leftovers wait",
    "$jobguard stop m1 --grace 0.2"
)]
fn of_a_user(#[case] user: u32, #[case] job: &str, #[case] options: &str, #[case] end: &str) {
    let script = format!("begin $guard {options} -- $job; {end}; echo $?");
    let code = ends_all(Hidden, user, job, &script);
    // The job itself gets little time to act on TERM beside all these, and may take KILL.
    let expected: &[&str] = if options.contains("timeout") { &["124", "137"] } else { &["0"] };
    assert!(expected.contains(&code.as_str()), "{code}");
}
