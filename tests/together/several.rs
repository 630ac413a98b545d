//! Several machines at once (`-m a -m b`): all or nothing.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{run, until};

const BOTH: [&str; 4] = ["-m", "a", "-m", "b"];
const A: [&str; 2] = ["-m", "a"];
const B: [&str; 2] = ["-m", "b"];

/// What the two machines say of their last runs.
fn last(troupe: &Troupe) -> [Value; 2] {
    ["a", "b"].map(|machine| troupe.sandbox.record(machine)["last"].clone())
}

#[test]
fn each_machine_has_a_record_of_its_own() {
    let troupe = Troupe::new();
    let held = troupe.hold("both", &["-m", "b", "-m", "a", "-m", "b"]);
    let tokens: Vec<&str> = held.token.split(',').collect();
    let dir = troupe.sandbox.dir_id();
    assert_eq!(held.holds, format!("a={}@{dir},b={}@{dir}", tokens[0], tokens[1]));
    let environ = std::fs::read(format!("/proc/{}/environ", held.job)).unwrap();
    assert!(environ.split(|b| *b == 0).any(|entry| entry == b"JOBGUARD_MACHINE=a,b"));
    for (machine, token) in ["a", "b"].into_iter().zip(&tokens) {
        assert_eq!(
            (troupe.tokens(machine), troupe.lifelines(machine)),
            (vec![(*token).to_owned()], vec![(*token).to_owned()])
        );
        let record = troupe.sandbox.record(machine);
        assert_eq!(record["holders"][0]["job"]["pid"], held.job);
        troupe.run(&["status", machine]).exits(0);
    }
    // No descriptor of ours is the job's.
    let fds = std::fs::read_dir(format!("/proc/{}/fd", held.job)).unwrap();
    let links: Vec<_> =
        fds.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap_or_default()).collect();
    assert!(links.iter().all(|link| !link.starts_with(troupe.sandbox.state())), "{links:?}");
    let tokens = held.token.clone();
    held.ends();
    for (machine, token) in last(&troupe).iter().zip(tokens.split(',')) {
        assert_eq!((machine["token"].to_string(), &machine["code"]), (token.to_owned(), &0.into()));
    }
    troupe.is_free(&["a", "b"]);
}

/// Tokens are a machine's own: they grow there, whatever the other's are.
#[test]
fn tokens_of_one_machine_are_not_another_s() {
    let troupe = Troupe::new();
    let mut before = [0, 0];
    for round in 0..6 {
        if round % 2 == 0 {
            assert_eq!(troupe.tries(&["-n", "-m", "b"]), 0);
        }
        let held = troupe.hold("both", &BOTH);
        let tokens: Vec<u64> = held.token.split(',').map(|t| t.parse().unwrap()).collect();
        assert!(tokens[0] > before[0] && tokens[1] > before[1], "{tokens:?}, {before:?}");
        before = [tokens[0], tokens[1]];
        held.ends();
    }
}

/// It holds neither as long as it waits for the other, and goes when both are free.
#[test]
fn nothing_is_held_while_another_is_waited_for() {
    let troupe = Troupe::new();
    let (a, b) = (troupe.hold("a", &A), troupe.hold("b", &B));
    let mut both = troupe.queue("both", &BOTH);
    a.ends();
    both.waits();
    // At once: it is not offered first to the one that cannot take it.
    let before = Instant::now();
    let between = troupe.hold("a-between", &A);
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(troupe.tokens("a").len(), 1);
    between.ends();
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 0);
    b.ends();
    both.begins();
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 75);
    assert_eq!(troupe.tries(&["-n", "-m", "b"]), 75);
    both.ends();
    troupe.is_free(&["a", "b"]);
    let may = |all: &[&str]| all.len() <= 1 || !all.contains(&"both");
    assert_eq!(troupe.log.together(may), (4, 2));
}

/// First come, first served, when it is about the same machines.
#[test]
fn those_who_want_the_same_are_served_in_order() {
    const COUNT: usize = 20;
    let troupe = Troupe::new();
    let held = troupe.hold("first", &BOTH);
    let line = |n: usize| if n.is_multiple_of(2) { BOTH } else { ["-m", "b", "-m", "a"] };
    let mut all: Vec<Member> = (0..COUNT).map(|n| troupe.queue(&n.to_string(), &line(n))).collect();
    all.iter_mut().for_each(Member::let_go);
    held.ends();
    for member in &mut all {
        assert_eq!(member.result(), (Some(0), String::new()));
    }
    let expected: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
    assert_eq!(troupe.log.order()[1..], expected);
    assert_eq!(troupe.log.never_two(), COUNT + 1);
    troupe.is_free(&["a", "b"]);
}

#[rstest]
#[case::n(&["-n"], 75, "refused", "b is held by")]
#[case::n_and_status(&["-n", "-E", "9"], 9, "refused", "b is held by")]
#[case::w(&["-w", "0.3"], 75, "timed_out", "(waited 300ms)")]
#[case::skip(&["--on-busy", "skip"], 0, "skipped", "b is held by")]
#[case::reuse(&["--on-busy", "reuse"], 0, "reused", "")]
fn one_of_two_is_busy(
    #[case] options: &[&str],
    #[case] code: i32,
    #[case] why: &str,
    #[case] says: &str,
) {
    let troupe = Troupe::new();
    let held = troupe.hold("b", &B);
    let words: Vec<&str> = options.iter().chain(&BOTH).copied().collect();
    let done = run(&mut troupe.command("never", &words)).exits(code).says(says);
    if why == "reused" {
        assert!(done.stdout().starts_with("b: already running \"sh -c"), "{done:?}");
    }
    assert_eq!(troupe.sandbox.record("b")["counters"][why], 1);
    let event = troupe.sandbox.events("b").pop().unwrap();
    assert_eq!((&event["event"], &event["why"]), (&"not_run".into(), &why.into()));
    // The other was to be had, and has noticed nothing.
    assert_eq!(troupe.sandbox.events("a").len(), 0);
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 0);
    assert_eq!(troupe.sandbox.record("a")["counters"]["runs"], 1);
    held.ends();
    troupe.is_free(&["a", "b"]);
    assert_eq!(troupe.log.order(), ["b"]);
}

#[test]
fn what_cannot_be_executed_is_released_everywhere() {
    let troupe = Troupe::new();
    let broken = troupe.sandbox.path("broken");
    support::probe::executable(&broken, "#!/no/such/interpreter\n");
    let run = |path: &std::path::Path| {
        let words = ["-m", "a", "-m", "b", "--"];
        run(troupe.sandbox.jobguard(words).arg(path))
    };
    run(&broken).exits(127);
    for last in last(&troupe) {
        assert_eq!(last["ended"], "exec_failed");
    }
    troupe.is_free(&["a", "b"]);
}

/// The supervisor is killed: its job holds both; then it is over, and both are cleared.
#[test]
fn the_supervisor_is_killed() {
    let troupe = Troupe::new();
    let mut held = troupe.hold("both", &BOTH);
    held.orphan();
    for machine in ["a", "b"] {
        troupe.run(&["status", machine]).exits(0);
        assert_eq!(troupe.tries(&["-n", "-m", machine]), 75);
    }
    let mut next = troupe.queue("next", &BOTH);
    held.let_go();
    next.begins();
    next.let_go();
    let (code, said) = next.result();
    assert_eq!(code, Some(0));
    let cleared: Vec<&str> = said.lines().collect();
    assert_eq!(cleared.len(), 2, "{said}");
    assert!(cleared[0].contains("a:") && cleared[1].contains("b:"), "{said}");
    for machine in ["a", "b"] {
        assert_eq!(troupe.sandbox.record(machine)["counters"]["phantoms"]["process_gone"], 1);
    }
    troupe.is_free(&["a", "b"]);
    assert_eq!(troupe.log.never_two(), 2);
}

/// One phantom of two: the other machine is another's by now.
#[test]
fn a_phantom_is_cleared_where_the_other_is_busy() {
    let troupe = Troupe::new();
    let mut held = troupe.hold("both", &BOTH);
    held.kill();
    let b = troupe.command("b", &B);
    let mut b = Member::start(&mut { b });
    b.begins();
    let done = run(&mut troupe.command("x", &["-n", "-m", "a", "-m", "b"])).exits(75);
    let done = done.says("b is held by");
    done.says("a: cleared").says(&held.job.to_string());
    assert_eq!(troupe.tokens("a"), [""; 0]);
    let event = troupe.sandbox.events("a").pop().unwrap();
    assert_eq!(event["event"], "phantom_cleared");
    b.let_go();
    b.result();
    troupe.is_free(&["a", "b"]);
}

/// What cannot be verified is held, and so are both; the other machine is left as it was.
#[test]
fn one_of_two_cannot_be_verified() {
    let troupe = Troupe::new();
    assert_eq!(troupe.tries(&["-n", "-m", "b"]), 0);
    let held = troupe.hold("b", &B);
    let mut record = troupe.sandbox.record("b");
    held.ends();
    record["holders"][0]["host"]["id"] = "0123456789abcdef0123456789abcdef".into();
    record["holders"][0]["host"]["boot_id"] = "00000000-0000-4000-8000-000000000000".into();
    record["holders"][0]["host"]["boot_id_genuine"] = false.into();
    troupe.sandbox.plant("b", record.to_string());
    let done = run(&mut troupe.command("x", &["-n", "-m", "a", "-m", "b"])).exits(75);
    done.says("b is held by").says("cannot be verified").says("clear b --force --token");
    assert_eq!(troupe.sandbox.record("b"), record);
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 0);
    let token = record["holders"][0]["token"].to_string();
    troupe.run(&["clear", "b", "--force", "--token", &token]).exits(0);
    troupe.is_free(&["a", "b"]);
}

/// It shares what it is asked to share, all of it.
#[test]
fn readers_of_both() {
    let troupe = Troupe::new();
    let (one, two) =
        (troupe.hold("r", &["-s", "-m", "a", "-m", "b"]), troupe.hold("r", &["-s", "-m", "b"]));
    let three = troupe.hold("r", &["-s", "-m", "b", "-m", "a"]);
    assert_eq!((troupe.tokens("a").len(), troupe.tokens("b").len()), (2, 3));
    let mut writer = troupe.queue("w", &BOTH);
    three.ends();
    one.ends();
    two.ends();
    writer.begins();
    writer.ends();
    troupe.is_free(&["a", "b"]);
}

/// Whoever goes away leaves both queues, and whoever is behind him goes on at once.
#[rstest]
fn who_gives_up_leaves_both_queues(#[values(Signal::SIGTERM, Signal::SIGKILL)] signal: Signal) {
    let troupe = Troupe::new();
    let b = troupe.hold("b", &B);
    let both = troupe.queue("both", &BOTH);
    let waiting = |machine: &str| {
        let seen = troupe.run(&["queue", machine, "--json"]).json();
        seen["queue"].as_array().unwrap().len()
    };
    assert_eq!((waiting("a"), waiting("b")), (1, 1));
    let mut behind = troupe.queue("behind", &B);
    both.guard.signal(signal);
    until("it is gone", || (waiting("a"), waiting("b")) == (0, 1));
    let before = Instant::now();
    b.ends();
    behind.begins();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    behind.ends();
    troupe.is_free(&["a", "b"]);
    assert!(!troupe.sandbox.machine("b").join("queue").exists());
}
