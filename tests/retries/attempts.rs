//! How often, after what and when; and that nobody gets in between.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

use crate::scene::Scene;
use crate::support::litter::Leash;
use crate::support::{self, Running, run, until};

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
