//! How many may wait (`--max-pending`): who comes too late is refused, and of one the last stays.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use rstest::rstest;

use crate::support::held::waits;
use crate::support::troupe::{Member, Troupe};
use crate::support::{ends, run, until};

const M1: [&str; 2] = ["-m", "m1"];
const LAST: [&str; 4] = ["--max-pending", "1", "-m", "m1"];

/// How a run ended whose place was taken.
#[track_caller]
fn was_replaced(member: &mut Member, code: i32) {
    let (status, said) = member.result();
    assert_eq!(status, Some(code), "{said}");
    assert!(said.starts_with("jobguard: m1 is "), "{said}");
    assert!(said.contains(", and a newer run took our place in its queue"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// How often who went away without having had the machine did so for this reason, by the record and
/// by the log.
fn went_away(troupe: &Troupe, why: &str) -> (u64, usize) {
    let events = troupe.sandbox.events("m1");
    let logged = events.iter().filter(|e| e["event"] == "not_run" && e["why"] == why).count();
    (troupe.sandbox.record("m1")["counters"][why].as_u64().unwrap_or(0), logged)
}

#[rstest]
#[case::two(2, &[], 75)]
#[case::three(3, &["-E", "9"], 9)]
#[case::and_would_wait_for_long(2, &["-w", "20"], 75)]
fn who_comes_too_late_is_refused(#[case] most: usize, #[case] options: &[&str], #[case] code: i32) {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let number = most.to_string();
    let line = ["--max-pending", &number, "-m", "m1"];
    let waiters: Vec<Member> =
        (0..most).map(|n| troupe.queue(&n.to_string(), if n == 0 { &M1 } else { &line })).collect();
    let words: Vec<&str> = options.iter().chain(&line).copied().collect();
    let refused = run(&mut troupe.command("refused", &words)).exits(code).says("m1 is held by ");
    refused.says(&format!(", and {most} wait for it already (--max-pending {number}); see "));
    assert_eq!(went_away(&troupe, "refused"), (1, 1));
    // Who is there, and who has set no such limit, stays.
    let last = troupe.queue("last", &M1);
    held.ends();
    for mut waiter in waiters.into_iter().chain([last]) {
        waiter.begins();
        waiter.ends();
    }
    assert!(!troupe.log.order().contains(&"refused".to_owned()));
    assert_eq!(troupe.log.never_two(), most + 2);
}

#[rstest]
#[case(&[], 75)]
#[case(&["-E", "9"], 9)]
#[case(&["-w", "20"], 75)]
fn the_last_takes_the_place_of_whoever_waits(#[case] options: &[&str], #[case] code: i32) {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let words: Vec<&str> = options.iter().chain(&LAST).copied().collect();
    let mut pending = troupe.queue("pending", &words);
    let mut newer = troupe.queue("newer", &LAST);
    was_replaced(&mut pending, code);
    assert_eq!(went_away(&troupe, "replaced"), (1, 1));
    let event = troupe.sandbox.events("m1").pop().unwrap();
    assert_eq!(event["token"].to_string(), held.token);
    assert_eq!(event["command"][0], "sh");
    held.ends();
    newer.begins();
    newer.ends();
    assert_eq!(troupe.log.order(), ["held", "newer"]);
    assert_eq!(troupe.sandbox.record("m1")["counters"]["runs"], 2);
    troupe.is_free(&["m1"]);
}

#[test]
fn of_ten_in_a_row_the_last_runs() {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let mut pending: Vec<Member> = (0..10).map(|n| troupe.queue(&format!("{n}"), &LAST)).collect();
    let mut last = pending.pop().unwrap();
    pending.iter_mut().for_each(|member| was_replaced(member, 75));
    assert_eq!(went_away(&troupe, "replaced"), (9, 9));
    held.ends();
    last.begins();
    last.ends();
    assert_eq!(troupe.log.order(), ["held", "9"]);
    troupe.is_free(&["m1"]);
}

/// At once: one of them, and whoever of them found nobody waiting and the machine free.
#[test]
fn of_ten_at_once_one_runs() {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let all: Vec<Member> =
        (0..10).map(|n| Member::start(&mut troupe.command(&n.to_string(), &LAST))).collect();
    let waits_or_is_over =
        |m: &&Member| waits(m.guard.pid()) || ends(m.guard.pid(), Duration::ZERO);
    let is_over = |m: &&Member| ends(m.guard.pid(), Duration::ZERO);
    until("one is left", || {
        all.iter().filter(is_over).count() == 9 && all.iter().all(|m| waits_or_is_over(&m))
    });
    held.ends();
    let mut ran = 0;
    for mut member in all {
        member.let_go();
        match member.result() {
            (Some(0), said) => {
                assert_eq!(said, "");
                ran += 1;
            }
            (code, said) => assert!(code == Some(75) && said.contains("took our place"), "{said}"),
        }
    }
    assert_eq!(ran, 1);
    assert_eq!(went_away(&troupe, "replaced"), (9, 9));
    assert_eq!(troupe.log.never_two(), 2);
}

/// One that is stopped cannot refuse, nor run when it goes on.
#[test]
fn a_pending_run_that_is_stopped_is_replaced() {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let mut stopped = troupe.queue("stopped", &LAST);
    stopped.stop();
    let mut newer = troupe.queue("newer", &LAST);
    held.ends();
    newer.begins();
    newer.ends();
    troupe.is_free(&["m1"]);
    stopped.go_on();
    let (code, said) = stopped.result();
    assert_eq!(code, Some(75));
    assert!(said.contains("a newer run took our place in its queue"), "{said}");
    assert_eq!(went_away(&troupe, "replaced"), (1, 1));
    assert_eq!(troupe.log.order(), ["held", "newer"]);
}

/// A machine that is free is had at once, and nobody is replaced by whoever need not wait.
#[test]
fn nobody_is_replaced_without_need() {
    let troupe = Troupe::new();
    for _ in 0..3 {
        assert_eq!(troupe.tries(&LAST), 0);
    }
    let first = troupe.hold("r", &["-s", "-m", "m1"]);
    let second = troupe.hold("r", &["-s", "--max-pending", "1", "-m", "m1"]);
    let mut pending = troupe.queue("pending", &LAST);
    assert_eq!(troupe.tries(&["-s", "-n", "-m", "m1"]), 75);
    first.ends();
    second.ends();
    pending.begins();
    pending.ends();
    assert_eq!(went_away(&troupe, "replaced"), (0, 0));
}

/// Not a single context switch.
fn switches(pid: i32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
    lines.map(str::to_owned).collect()
}

/// Anybody may write into a lifeline: that alone means nothing. And feeling it wakes nobody.
#[test]
fn a_stray_byte_takes_nobodys_place() {
    let troupe = Troupe::new();
    let held = troupe.hold("held", &M1);
    let mut waiters = ["0", "1"].map(|who| troupe.queue(who, &M1));
    let queue = troupe.sandbox.machine("m1").join("queue");
    let before = waiters.each_ref().map(|waiter| switches(waiter.guard.pid()));
    for _ in 0..20 {
        for words in [&["queue", "m1"][..], &["info", "m1"], &["status", "m1"]] {
            troupe.run(words).exits(0).silent();
        }
        assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
        for number in ["1", "2"] {
            drop(File::options().write(true).open(queue.join(number)).unwrap());
        }
    }
    assert_eq!(waiters.each_ref().map(|waiter| switches(waiter.guard.pid())), before);
    // One byte, some, and as many as there is room for.
    for count in [1, 10, 1 << 20] {
        let flags = nix::libc::O_NONBLOCK;
        let mut options = File::options();
        let options = std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
        let mut lifeline = options.write(true).open(queue.join("1")).unwrap();
        let _ = lifeline.write_all(&vec![b'!'; count]); // until it is full
        drop(lifeline);
        until("it is taken out", || {
            let path = queue.join("1");
            let fd = File::options().read(true).write(true).open(path).unwrap();
            let mut fds = [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&fd),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 0
        });
        until("it waits again", || waits(waiters[0].guard.pid()));
    }
    assert_ne!(switches(waiters[0].guard.pid()), before[0]);
    let rested = switches(waiters[0].guard.pid());
    assert!(!ends(held.job, Duration::from_secs(2)));
    assert_eq!(switches(waiters[0].guard.pid()), rested, "it does not sleep any more");
    held.ends();
    for waiter in &mut waiters {
        waiter.begins();
        waiter.let_go();
        assert_eq!(waiter.result(), (Some(0), String::new()));
    }
    assert_eq!(troupe.log.order(), ["held", "0", "1"]);
}

/// Whoever waits inside a job is in another queue.
#[test]
fn outsiders_and_insiders_do_not_replace_each_other() {
    let troupe = Troupe::new();
    let outer = troupe.hold("outer", &M1);
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &M1));
    inner.begins();
    let mut waits_inside = troupe.queue_inside(&outer, "waits-inside", &LAST);
    let mut outsider = troupe.queue("outsider", &LAST);
    let mut newer_outsider = troupe.queue("newer-outsider", &LAST);
    was_replaced(&mut outsider, 75);
    let mut newer_inside = troupe.queue_inside(&outer, "newer-inside", &LAST);
    was_replaced(&mut waits_inside, 75);
    inner.ends();
    newer_inside.begins();
    newer_inside.ends();
    outer.ends();
    newer_outsider.begins();
    newer_outsider.ends();
    let order = ["outer", "inner", "newer-inside", "newer-outsider"];
    assert_eq!(troupe.log.order(), order);
}

/// Who is replaced on one of his machines leaves the queues of all.
#[test]
fn one_of_two_machines() {
    let troupe = Troupe::new();
    let (held, other) = (troupe.hold("held", &M1), troupe.hold("other", &["-m", "m2"]));
    let mut both = troupe.queue("both", &["-m", "m1", "-m", "m2"]);
    let mut newer = troupe.queue("newer", &LAST);
    was_replaced(&mut both, 75);
    let queue = troupe.run(&["queue", "m2", "--json"]).json();
    assert_eq!(queue["queue"], serde_json::json!([]));
    held.ends();
    newer.begins();
    newer.ends();
    other.ends();
    assert_eq!(went_away(&troupe, "replaced"), (1, 1));
    troupe.is_free(&["m1", "m2"]);
}
