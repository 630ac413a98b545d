//! Jobs that are tried again, and the machine that is held meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use support::litter::Leash;
use support::{Done, PATIENCE, Running, Sandbox, ends, run, sleeps, until};

/// A job that fails until its last attempt; each adds a line to the file `attempts`.
const NTH: &str =
    r#"echo "$JOBGUARD_TOKEN $JOBGUARD_HOLDS" >>"$0"; [ "$(wc -l <"$0")" -ge "$1" ] || "#;

struct Scene {
    sandbox: Sandbox,
}

impl Scene {
    fn new() -> Self {
        Self { sandbox: Sandbox::new() }
    }

    /// A run with these options of a job that does `failing` in all attempts before the one that
    /// succeeds.
    fn command(&self, options: &str, failing: &str, succeeds: u32) -> Command {
        let mut command = self.sandbox.jobguard(["-m", "m1"]);
        let script = format!("{NTH} {{ {failing}; }}");
        command.args(options.split_whitespace()).args(["--", "sh", "-c", &script]);
        command.arg(self.sandbox.path("attempts")).arg(succeeds.to_string());
        command.stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn run(&self, options: &str, failing: &str, succeeds: u32) -> Done {
        run(&mut self.command(options, failing, succeeds))
    }

    /// What each attempt has seen of its run.
    fn attempts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path("attempts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn state(&self) -> String {
        if !self.sandbox.machine("m1").join("record.json").exists() {
            return "never used".to_owned();
        }
        let record = self.sandbox.record("m1");
        record["holders"][0]["state"].as_str().unwrap_or("free").to_owned()
    }

    /// One that waits for its next attempt, for ever.
    #[track_caller]
    fn between_attempts(&self, options: &str) -> Running {
        let mut command =
            self.command(&format!("--retries 1 --retry-delay 1h {options}"), "exit 7", 9);
        let guard = Running::new(command.spawn().unwrap());
        until("it waits to try again", || self.state() == "retrying" && sleeps(guard.pid()));
        guard
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.sandbox.events("m1").into_iter();
        events.filter(|event| event["event"] == kind).collect()
    }
}

#[test]
fn until_it_succeeds() {
    let scene = Scene::new();
    let done = scene.run("--retries 5 --retry-delay 0.05", "exit 7", 3).exits(0);
    let lines = done.stderr();
    let told: Vec<&str> = lines.lines().filter(|line| line.contains("trying again")).collect();
    assert_eq!(told.len(), 2, "{lines}");
    assert!(told[0].ends_with("trying again in 50ms (1 of 5)"), "{lines}");
    let attempts = scene.attempts();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "{attempts:?}");

    let retried = scene.events("retried");
    let told = |event: &Value| {
        (event["attempt"].clone(), event["run"]["code"].clone(), event["after_ms"].clone())
    };
    let all: Vec<_> = retried.iter().map(told).collect();
    assert_eq!(all, [(1.into(), 7.into(), 50.into()), (2.into(), 7.into(), 50.into())]);
    let ended = scene.events("ended");
    assert_eq!((ended.len(), &ended[0]["run"]["code"]), (1, &0.into()));
    let tokens = retried.iter().chain(&ended).map(|event| event["token"].to_string());
    assert!(tokens.into_iter().all(|token| attempts[0].starts_with(&token)));
    assert_eq!(scene.sandbox.record("m1")["counters"]["runs"], 1);
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(3);
}

#[test]
fn so_often_at_most() {
    let scene = Scene::new();
    scene.run("--retries 2 --retry-delay 0", "exit 7", 9).exits(7);
    assert_eq!(scene.attempts().len(), 3);
    let done = Scene::new().run("--retries 1 --retry-delay 0", "kill -USR1 $$", 9);
    assert_eq!(done.signal(), Some(10));
    Scene::new().run("--retries 0", "exit 7", 9).exits(7).silent();
}

#[rstest]
#[case("1,75", "exit 75", true)]
#[case("1,75", "exit 7", false)]
#[case("70-80", "exit 75", true)]
#[case("1", "kill -HUP $$", false)]
#[case("signal", "kill -HUP $$", true)]
#[case("signal", "exit 129", false)]
#[case("timeout", "exit 124", false)]
#[case("timeout", "exec sleep 60", true)]
#[case("signal", "exec sleep 60", false)]
#[case("signal,timeout", "exec sleep 60", true)]
fn only_on_these(#[case] on: &str, #[case] failing: &str, #[case] again: bool) {
    let scene = Scene::new();
    scene.run(&format!("--retries 1 --retry-delay 0 --timeout 1 --retry-on {on}"), failing, 2);
    assert_eq!(scene.attempts().len(), if again { 2 } else { 1 });
}

/// What cannot be executed now will not be in a second.
#[rstest]
#[case("/dev/null", 126)]
#[case("./script", 127)] // its interpreter is missing
fn never_what_cannot_be_executed(#[case] program: &str, #[case] code: i32) {
    let scene = Scene::new();
    let script = scene.sandbox.path("script");
    support::probe::executable(&script, "#!/nowhere\n");
    let mut command =
        scene.sandbox.jobguard(["-m", "m1", "--retries", "3", "--retry-delay", "60", "--"]);
    run(command.arg(program).current_dir(script.parent().unwrap())).exits(code);
    assert_eq!(scene.events("retried").len(), 0);
}

/// The delays are kept, at least, and not exceeded by much; each attempt has the whole time limit.
#[rstest]
#[case("--retries 3 --retry-delay 0.3", 900)]
#[case("--retries 3 --retry-delay 0.2 --retry-backoff", 1400)]
#[case("--retries 1", 1000)]
fn delays(#[case] options: &str, #[case] at_least: u64) {
    let scene = Scene::new();
    let begun = Instant::now();
    scene.run(options, "exit 7", 9).exits(7);
    let (took, at_least) = (begun.elapsed(), Duration::from_millis(at_least));
    assert!(took >= at_least && took < at_least + Duration::from_secs(5), "{took:?}");
}

/// Nobody gets in between, and everybody is told why.
#[test]
fn the_machine_is_held() {
    let scene = Scene::new();
    let guard = scene.between_attempts("");
    let status = run(&mut scene.sandbox.jobguard(["status", "m1", "--json"])).exits(0).json();
    assert_eq!(
        (&status["verdict"], &status["holders"][0]["state"]),
        (&"live".into(), &"retrying".into())
    );
    let line = run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(0).stdout();
    assert!(line.contains("again"), "{line}");
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(75);
    drop(guard);
}

/// A waiter is served after the last attempt, not after the first.
#[test]
fn a_waiter_waits_for_all_attempts() {
    let scene = Scene::new();
    let log = support::job_log::JobLog::new(&scene.sandbox, "log");
    let mut command =
        scene.sandbox.jobguard(["-m", "m1", "--retries", "3", "--retry-delay", "0.3", "--"]);
    let failing = log.job_as("again", "trap 'exit 7' EXIT");
    let mut run = Running::new(command.args(failing).stderr(Stdio::null()).spawn().unwrap());
    until("it tries again", || scene.state() == "retrying");
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--"]);
    let mut waiter = Running::new(command.args(log.job_as("waiter", ":")).spawn().unwrap());
    assert_eq!(run.wait().code(), Some(7));
    assert!(waiter.wait().success());
    log.never_two();
    let order = log.order();
    assert_eq!(order, ["again", "again", "again", "again", "waiter"]);
}

/// What says that all is to end ends the run, between two attempts as within one.
#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGINT)]
#[case(Signal::SIGHUP)]
fn a_signal_ends_the_run(#[case] signal: Signal) {
    let scene = Scene::new();
    let mut guard = scene.between_attempts("");
    guard.signal(signal);
    assert_eq!(guard.wait().signal(), Some(signal as i32));
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(3);

    let scene = Scene::new();
    let job = "trap 'exit 5' TERM INT HUP; echo up; while :; do sleep 0.05; done";
    let mut guard = Running::start(&mut scene.command("--retries 3 --retry-delay 0", job, 9));
    assert_eq!(guard.line(), "up");
    guard.signal(signal);
    assert_eq!(guard.wait().code(), Some(5));
    assert_eq!(scene.attempts().len(), 1);
}

/// One that is ignored, as by nohup(1), ends nothing.
#[test]
fn an_ignored_signal_ends_nothing() {
    let scene = Scene::new();
    let inner = scene.command("--retries 1 --retry-delay 2", "exit 7", 2);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    scene.sandbox.confine(&mut command);
    let mut guard = Running::new(command.stderr(Stdio::null()).spawn().unwrap());
    until("it waits to try again", || scene.state() == "retrying" && sleeps(guard.pid()));
    guard.signal(Signal::SIGHUP);
    assert_eq!(guard.wait().code(), Some(0));
    assert_eq!(scene.attempts().len(), 2);
}

/// `stop` and a replacement mean the run, whatever it does just now.
#[rstest]
fn stopped(
    #[values(&["stop", "m1"], &["-m", "m1", "--on-busy", "replace", "--", "true"])] how: &[&str],
    #[values(true, false)] between: bool,
) {
    let scene = Scene::new();
    let mut guard = if between {
        scene.between_attempts("")
    } else {
        let mut command = scene.command("--retries 9 --retry-delay 0", "exec sleep 60", 99);
        Running::new(command.spawn().unwrap())
    };
    until("it has begun", || scene.attempts().len() == 1);
    run(&mut scene.sandbox.jobguard(how)).exits(0);
    assert_eq!(guard.wait().signal(), Some(Signal::SIGTERM as i32));
    assert_eq!(scene.attempts().len(), 1);
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(3);
}

/// Between two attempts there is nobody but the supervisor: without it the machine is free at once.
#[test]
fn its_supervisor_is_killed_between_attempts() {
    let scene = Scene::new();
    let mut guard = scene.between_attempts("");
    guard.signal(Signal::SIGKILL);
    guard.wait();
    let begun = Instant::now();
    run(&mut scene.sandbox.jobguard(["status", "m1"])).exits(1);
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(0).says("STALE");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Within the second attempt it is as in the first: the job goes on, and holds the machine.
#[test]
fn its_supervisor_is_killed_in_the_second_attempt() {
    let scene = Scene::new();
    let script = r#"echo $$; [ -e "$0" ] && exec sleep 60; : >"$0"; exit 7"#;
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--retries", "1", "--retry-delay", "0"]);
    command.args(["--", "sh", "-c", script]).arg(scene.sandbox.path("second"));
    let mut guard = Running::start(command.stderr(Stdio::null()));
    let first: i32 = guard.line().parse().unwrap();
    let second = support::Stray(guard.line().parse().unwrap());
    assert_ne!(first, second.0);
    guard.signal(Signal::SIGKILL);
    guard.wait();
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(75);
    let pid = second.0;
    drop(second);
    assert!(ends(pid, PATIENCE));
    run(&mut scene.sandbox.jobguard(["-m", "m1", "-n", "--", "true"])).exits(0);
}

#[test]
fn of_several_machines() {
    let scene = Scene::new();
    scene.run("-m m2 --retries 5 --retry-delay 0.05", "exit 7", 3).exits(0);
    let attempts = scene.attempts();
    assert_eq!(attempts.len(), 3);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]), "{attempts:?}");
    for machine in ["m1", "m2"] {
        let events = scene.sandbox.events(machine);
        let retried = events.iter().filter(|event| event["event"] == "retried");
        assert_eq!(retried.count(), 2, "{machine}");
        run(&mut scene.sandbox.jobguard(["status", machine])).exits(3);
    }
}

/// A machine that was cleared by force is not used again, and the run says so.
#[test]
fn a_machine_that_was_taken_away() {
    let scene = Scene::new();
    let mut command = scene.command("--retries 1 --retry-delay 2", "exit 7", 2);
    let mut guard = Running::new(command.spawn().unwrap());
    until("it waits to try again", || scene.state() == "retrying" && sleeps(guard.pid()));
    let token = scene.sandbox.record("m1")["holders"][0]["token"].to_string();
    run(&mut scene.sandbox.jobguard(["clear", "m1", "--force", "--token", &token])).exits(0);
    assert_eq!(guard.wait().code(), Some(7));
    assert_eq!(scene.attempts().len(), 1);
    let said = std::io::read_to_string(guard.child.stderr.take().unwrap()).unwrap();
    assert!(said.contains("cleared by force"), "{said}");
}

/// What an attempt leaves behind is over before the next begins, where that is asked for.
#[rstest]
#[case("--leftovers kill -k 0.2", "setsid twice clean deaf", 7)]
#[case("--timeout 1 -k 0.2", "deaf stay", 124)]
#[case("--timeout 1 -k 0.2 --leftovers kill", "setsid twice clean deaf stay", 124)]
fn leftovers_of_an_attempt(#[case] options: &str, #[case] litter: &str, #[case] code: i32) {
    let scene = Scene::new();
    let leash = Leash::new(&scene.sandbox);
    let job = leash.job(&format!("sit {litter} exit=7"));
    // A lock that each of them holds, as long as it lives.
    let script = r#"exec 9>"$0"; flock -n 9 || exit 99; echo up; exec "$@""#;
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--retries", "2", "--retry-delay", "0"]);
    command.args(options.split_whitespace()).args(["--", "sh", "-c", script]);
    command.arg(scene.sandbox.path("flock")).args(job);
    let done = run(&mut command);
    assert_eq!(done.stdout().matches("up").count(), 3, "{done:?}");
    done.exits(code);
}

/// With `wait` the next attempt waits for them; what says that all is to end, meanwhile, ends all.
#[test]
fn a_signal_while_leftovers_are_waited_for() {
    let scene = Scene::new();
    let mut leash = Leash::new(&scene.sandbox);
    let mut command = scene.sandbox.jobguard(["-m", "m1", "--retries", "3", "--retry-delay", "0"]);
    command.args(["--leftovers", "wait", "--"]).args(leash.job("sit setsid exit=7"));
    let mut guard = Running::start(command.stderr(Stdio::null()));
    guard.line();
    leash.is_taken();
    until("it drains", || scene.state() == "draining" && sleeps(guard.pid()));
    guard.signal(Signal::SIGTERM);
    assert_eq!(guard.wait().code(), Some(7));
    assert_eq!(scene.events("retried").len(), 0);
    assert!(leash.is_let_go(Duration::ZERO));
}
