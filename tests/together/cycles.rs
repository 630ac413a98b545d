//! Jobs that wait for what each other holds: who closes the cycle is told, and soon.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{Done, ends, run};

const M1: [&str; 2] = ["-m", "m1"];
const SHARED: [&str; 3] = ["-s", "-m", "m1"];
const A: [&str; 2] = ["-m", "a"];
const B: [&str; 2] = ["-m", "b"];
const C: [&str; 2] = ["-m", "c"];

/// A run inside the job of `outer` is refused, once the cycle was seen for a while.
#[track_caller]
fn refused(troupe: &Troupe, outer: &Member, options: &[&str]) -> Done {
    let before = Instant::now();
    let done = run(&mut troupe.inside(outer, "refused", options)).exits(75).says("close a cycle");
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    done
}

#[test]
fn two_machines() {
    let troupe = Troupe::new();
    let (a, b) = (troupe.hold("a", &A), troupe.hold("b", &B));
    let mut first = troupe.queue_inside(&a, "a-b", &B);
    for options in [&A[..], &["-w", "20", "-m", "a"], &["-s", "-m", "a"]] {
        refused(&troupe, &b, options)
            .says("a is held by")
            .says(&format!("PID {}", a.job))
            .says(&format!("the jobs of a (token {}), b (token {}) would wait", a.token, b.token));
    }
    // One that does not wait closes nothing.
    let done = run(&mut troupe.inside(&b, "x", &["-n", "-m", "a"])).exits(75);
    assert!(!done.stderr().contains("cycle"), "{done:?}");
    run(&mut troupe.inside(&b, "x", &["-E", "9", "-m", "a"])).exits(9).says("close a cycle");
    assert_eq!(troupe.sandbox.record("a")["counters"]["refused"], 5);
    let event = troupe.sandbox.events("a").pop().unwrap();
    assert_eq!((&event["event"], &event["why"]), (&"not_run".into(), &"refused".into()));
    b.ends();
    first.begins();
    first.ends();
    a.ends();
}

#[test]
fn three_machines() {
    let troupe = Troupe::new();
    let (a, b, c) = (troupe.hold("a", &A), troupe.hold("b", &B), troupe.hold("c", &C));
    let mut first = troupe.queue_inside(&a, "a-b", &B);
    let mut second = troupe.queue_inside(&b, "b-c", &C);
    let done = refused(&troupe, &c, &A);
    let done = done.says("a is held by").says(&format!("PID {}", a.job));
    let done = done.says(&format!("b (token {})", b.token));
    done.says(&format!("c (token {}) would wait for each other", c.token));
    c.ends();
    second.begins();
    second.ends();
    b.ends();
    first.begins();
    first.ends();
    a.ends();
}

/// Nobody is refused who would have had his turn.
#[test]
fn waits_that_close_nothing() {
    let troupe = Troupe::new();
    let (a, b, c) = (troupe.hold("a", &A), troupe.hold("b", &B), troupe.hold("c", &C));
    // Outsiders who wait for what we hold, and before us for what we want.
    let mut for_a = troupe.queue("for-a", &A);
    let mut for_b = troupe.queue("for-b", &B);
    let mut for_both = troupe.queue("for-both", &["-m", "a", "-m", "b"]);
    let mut inner = troupe.queue_inside(&a, "a-b", &B);
    let mut sibling = troupe.queue_inside(&a, "a-b-too", &B);
    let mut other = troupe.queue_inside(&c, "c-b", &B);
    let mut chain = troupe.queue_inside(&c, "c-a", &A);
    b.ends();
    for_b.begins();
    for_b.ends();
    for member in [&mut inner, &mut sibling, &mut other] {
        member.begins();
        member.let_go();
        assert_eq!(member.result(), (Some(0), String::new()));
    }
    a.ends();
    for_a.begins();
    for_a.ends();
    for_both.begins();
    for_both.ends();
    chain.begins();
    chain.ends();
    c.ends();
}

/// Who holds or wants several waits for each of them.
#[test]
fn across_several_machines_at_once() {
    let troupe = Troupe::new();
    let (ab, c) = (troupe.hold("ab", &["-m", "a", "-m", "b"]), troupe.hold("c", &C));
    let mut first = troupe.queue_inside(&c, "c-bd", &["-m", "b", "-m", "d"]);
    refused(&troupe, &ab, &C).says("c is held by").says("the jobs of a (token ");
    refused(&troupe, &ab, &["-m", "a", "-m", "c", "-m", "e"]).says("c is held by");
    // Other machines that are free, and its own, it can have.
    let inner = troupe.inside(&ab, "ab-abe", &["-m", "e", "-m", "a", "-m", "b"]);
    let mut inner = Member::start(&mut { inner });
    inner.begins();
    inner.ends();
    ab.ends();
    first.begins();
    first.ends();
    c.ends();
}

/// A reader who waits behind a writer waits for whom that one waits for.
#[test]
fn through_a_queue() {
    let troupe = Troupe::new();
    let (a, b) = (troupe.hold("a", &A), troupe.hold("b", &["-s", "-m", "b"]));
    let mut writer = troupe.queue("writer", &B);
    let mut first = troupe.queue_inside(&b, "b-a", &A);
    refused(&troupe, &a, &["-s", "-m", "b"]).says("b is held by");
    a.ends();
    first.begins();
    first.ends();
    b.ends();
    writer.begins();
    writer.ends();
}

/// Whoever waits in a line behind somebody who waits for us waits for us, too.
#[test]
fn behind_a_stranger() {
    let troupe = Troupe::new();
    let (a, b) = (troupe.hold("a", &A), troupe.hold("b", &B));
    let mut stranger = troupe.queue("stranger", &A);
    let mut behind = troupe.queue_inside(&b, "b-a", &A);
    refused(&troupe, &a, &B);
    a.ends();
    stranger.begins();
    stranger.ends();
    behind.begins();
    behind.ends();
    b.ends();
}

/// With several slots each, nobody waits for one holder alone; but here all of them wait.
#[test]
fn round_all_slots() {
    let troupe = Troupe::new();
    let (a, b) = (["--slots", "2", "-m", "a"], ["--slots", "2", "-m", "b"]);
    let [a1, a2, b1, b2] = [a, a, b, b].map(|options| troupe.hold("outer", &options));
    let mut waiters = [(&a1, &b), (&a2, &b), (&b1, &a)]
        .map(|(outer, options)| troupe.queue_inside(outer, "inner", options));
    refused(&troupe, &b2, &a).says("a is held by").says("the jobs of a (token ");
    b2.ends();
    for waiter in &mut waiters[..2] {
        waiter.begins();
        waiter.let_go();
        assert_eq!(waiter.result(), (Some(0), String::new()));
    }
    a1.ends();
    waiters[2].begins();
    waiters[2].let_go();
    a2.ends();
    waiters[2].result();
    b1.ends();
}

/// One of two slots is held by somebody who waits for us; the other comes free.
#[test]
fn a_slot_that_comes_free_closes_no_cycle() {
    let troupe = Troupe::new();
    let slot = ["--slots", "2", "-m", "b"];
    let (a, b1, b2) = (troupe.hold("a", &A), troupe.hold("b1", &slot), troupe.hold("b2", &slot));
    let mut waits_for_a = troupe.queue_inside(&b1, "b1-a", &A);
    let mut inner = troupe.queue_inside(&a, "a-b", &slot);
    b2.ends();
    inner.begins();
    inner.ends();
    a.ends();
    waits_for_a.begins();
    waits_for_a.ends();
    b1.ends();
}

/// When both close it at once, one or both are refused, and nobody waits for ever.
#[test]
fn two_at_the_same_moment() {
    let mut both = 0;
    for _ in 0..8 {
        let troupe = Troupe::new();
        let holders = [troupe.hold("a", &A), troupe.hold("b", &B)];
        let inner = [(0, &B), (1, &A)].map(|(n, wanted)| {
            let mut command = troupe.inside(&holders[n], "inner", wanted);
            Member::start(command.stdin(Stdio::null()))
        });
        both += u32::from(one_gives_way(holders, inner));
        troupe.log.together(|all| all.len() <= 3);
    }
    println!("both were refused in {both} of 8");
}

/// Of two who wait for each other one is refused; then his outer run ends, and the other goes on.
/// Says whether both were refused.
#[track_caller]
fn one_gives_way(holders: [Member; 2], mut inner: [Member; 2]) -> bool {
    let is_over = |member: &Member| ends(member.guard.pid(), Duration::ZERO);
    support::until("one is refused", || inner.iter().any(is_over));
    let first = inner.iter().position(is_over).unwrap();
    let (code, said) = inner[first].result();
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("close a cycle"), "{said}");
    let mut holders = holders.map(Some);
    holders[first].take().unwrap().ends();
    let (code, said) = inner[1 - first].result();
    assert!([Some(0), Some(75)].contains(&code), "{said}");
    holders[1 - first].take().unwrap().ends();
    code == Some(75)
}

/// Two readers, each of whose jobs wants the machine for itself: neither could ever have it.
#[test]
fn two_readers_who_want_to_be_writers() {
    let troupe = Troupe::new();
    let (one, two) = (troupe.hold("r1", &SHARED), troupe.hold("r2", &SHARED));
    let mut first = troupe.queue_inside(&one, "w1", &M1);
    let before = Instant::now();
    let refused = run(&mut troupe.inside(&two, "w2", &M1)).exits(75).says("close a cycle");
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    let refused = refused.says(&format!("m1 (token {})", two.token));
    refused.says(&format!("PID {}", one.job));
    two.ends();
    first.begins();
    assert_eq!(troupe.sandbox.record("m1")["holders"][1]["parent"].to_string(), one.token);
    first.ends();
    one.ends();
    let event = &troupe.sandbox.events("m1")[0];
    assert_eq!((&event["event"], &event["why"]), (&"not_run".into(), &"refused".into()));
}

/// The same, from both at once.
#[test]
fn two_readers_who_want_to_be_writers_at_the_same_moment() {
    let mut both = 0;
    for _ in 0..8 {
        let troupe = Troupe::new();
        let holders = [troupe.hold("r1", &SHARED), troupe.hold("r2", &SHARED)];
        let inner = [0, 1].map(|n| {
            let mut command = troupe.inside(&holders[n], "w", &M1);
            Member::start(command.stdin(Stdio::null()))
        });
        both += u32::from(one_gives_way(holders, inner));
        troupe.log.together(|all| !all.contains(&"w") || all.len() == 2);
    }
    println!("both were refused in {both} of 8");
}

/// A reader whose job wants the machine for itself waits for the other readers, if they don't.
#[test]
fn one_reader_who_wants_to_be_a_writer() {
    let troupe = Troupe::new();
    let (one, two) = (troupe.hold("r1", &SHARED), troupe.hold("r2", &SHARED));
    let mut inner = troupe.queue_inside(&one, "w1", &M1);
    let deeper = Member::start(&mut troupe.inside(&two, "r3", &SHARED));
    deeper.ends();
    two.ends();
    inner.begins();
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    inner.ends();
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 0);
    one.ends();
}
