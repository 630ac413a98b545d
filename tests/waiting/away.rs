//! Who waits, and is not to be waited for: away for another machine, inside a run that is over, or for
//! the same as somebody else of his job.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::troupe::{Member, Troupe};
use crate::support::{run, until};

const A: [&str; 2] = ["-m", "a"];
const B: [&str; 2] = ["-m", "b"];
const C: [&str; 2] = ["-m", "c"];
const BOTH: [&str; 4] = ["-m", "a", "-m", "b"];

fn waiting(troupe: &Troupe, machine: &str) -> usize {
    let seen = troupe.run(&["queue", machine, "--json"]).json();
    seen["queue"].as_array().unwrap().len()
}

/// Whoever is away waits all the same, and is counted, and replaced.
#[test]
fn max_pending_counts_those_who_are_away() {
    let troupe = Troupe::new();
    let (a, b) = (troupe.hold("a", &A), troupe.hold("b", &B));
    let both = [(); 3].map(|()| troupe.queue("both", &BOTH));
    until("they are away from b", || {
        let queue = std::fs::read_dir(troupe.sandbox.machine("b").join("queue")).unwrap();
        let names = queue.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".away")).count() == 3
    });
    let mut limited = troupe.sandbox.jobguard(["--max-pending", "2", "-w", "20", "-m", "b"]);
    run(limited.args(["--", "true"])).exits(75).says("--max-pending 2");
    let newest = troupe.queue("newest", &["--max-pending", "1", "-m", "b"]);
    for mut member in both {
        let (code, said) = member.result();
        assert_eq!(code, Some(75), "{said}");
        assert!(said.contains("a newer run took our place"), "{said}");
    }
    assert_eq!((waiting(&troupe, "a"), waiting(&troupe, "b")), (0, 1));
    b.ends();
    let mut newest = newest;
    newest.begins();
    newest.ends();
    a.ends();
    troupe.is_free(&["a", "b"]);
}

/// One who is away blocks nobody, and so is no part of a cycle.
#[test]
fn a_cycle_does_not_lead_through_those_who_are_away() {
    let troupe = Troupe::new();
    let first = troupe.hold("first", &["-m", "0"]);
    let reader = troupe.hold("reader", &["-s", "-m", "a"]);
    let mut away = troupe.queue("away", &["-m", "0", "-m", "a"]);
    let (d, c) = (troupe.hold("d", &["-m", "d"]), troupe.hold("c", &C));
    let mut inner = troupe.queue_inside(&c, "inner", &["-s", "-m", "a", "-m", "d"]);
    let mut other = troupe.queue_inside(&reader, "other", &C);
    d.ends();
    inner.begins();
    inner.ends();
    c.ends();
    other.begins();
    other.ends();
    reader.ends();
    first.ends();
    away.begins();
    away.ends();
}

/// Two runs of one job that wait for the same: neither takes the other for the one to blame.
#[test]
fn two_of_one_job_close_a_cycle() {
    for _ in 0..4 {
        let troupe = Troupe::new();
        let (a, c) = (troupe.hold("a", &A), troupe.hold("c", &C));
        let mut first = troupe.queue_inside(&c, "first", &A);
        let before = Instant::now();
        let mut two = [(); 2].map(|()| Member::start(&mut troupe.inside(&a, "two", &C)));
        let ends = two.each_mut().map(|member| member.result().0);
        assert_eq!(ends, [Some(75); 2]);
        assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
        a.ends();
        first.begins();
        first.ends();
        c.ends();
    }
}

#[test]
fn stopped_insiders_of_a_run_that_is_over_keep_nobody_out() {
    let troupe = Troupe::new();
    let outer = troupe.hold("outer", &A);
    let mut inner = Member::start(&mut troupe.inside(&outer, "inner", &A));
    inner.begins();
    let inside = [(); 2].map(|()| troupe.queue_inside(&outer, "inside", &A));
    inside.iter().for_each(|member| member.guard.signal(Signal::SIGSTOP));
    let mut outsiders = [(); 3].map(|()| troupe.queue("outsider", &A));
    outer.ends();
    let before = Instant::now();
    inner.ends();
    for member in &mut outsiders {
        member.begins();
        member.let_go();
        assert_eq!(member.result().0, Some(0));
    }
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    for mut member in inside {
        member.go_on();
        member.begins();
        member.let_go();
        assert_eq!(member.result().0, Some(0));
    }
    troupe.is_free(&["a"]);
}
