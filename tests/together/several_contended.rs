//! Several machines at once, under contention and while their lock files are deleted.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{PATIENCE, Running, until};

const BOTH: [&str; 4] = ["-m", "a", "-m", "b"];

/// Names of machines that are joined by hyphens are disjoint.
fn may(all: &[&str]) -> bool {
    let machines: Vec<&str> = all
        .iter()
        .flat_map(|who| who.split('-'))
        .filter(|word| ["a", "b", "c"].contains(word))
        .collect();
    machines.len() == machines.iter().collect::<BTreeSet<_>>().len()
}

/// Sets that overlap in every way, again and again: no two of a machine at once, and no deadlock.
#[rstest]
#[case::exclusive(&[])]
#[case::and_some_give_up(&["-w", "0.5"])]
fn sixty_contend_for_sets_that_overlap(#[case] options: &[&str]) {
    const SETS: [&[&str]; 7] =
        [&["a", "b"], &["b", "c"], &["c", "a"], &["a"], &["b"], &["c"], &["c", "b", "a"]];
    let troupe = Troupe::new();
    let begun = Instant::now();
    let mut all: Vec<Running> = (0..60)
        .map(|n| {
            let set = SETS[(n * 5 + n / 7) % SETS.len()];
            let mut command = troupe.sandbox.jobguard(options);
            command
                .args(set.iter().flat_map(|machine| ["-m", machine]))
                .arg("--")
                .args(troupe.log.job_as(&set.join("-"), "sleep 0.01"));
            Running::start(&mut command)
        })
        .collect();
    let mut ran = 0;
    for contender in &mut all {
        match contender.wait().code() {
            Some(0) => ran += 1,
            Some(75) if !options.is_empty() => {}
            code => panic!("{code:?}"),
        }
    }
    let (count, most) = troupe.log.together(may);
    println!("{options:?}: {count} ran, {most} at once, in {:?}", begun.elapsed());
    assert_eq!(count, ran);
    assert!(count == 60 || !options.is_empty());
    assert!(begun.elapsed() < PATIENCE);
    troupe.is_free(&["a", "b", "c"]);
}

/// The lock file of one is deleted while it is held, waited for, and let go.
#[test]
fn the_lock_of_one_is_deleted() {
    let troupe = Troupe::new();
    let delete = |machine: &str| {
        std::fs::remove_file(troupe.sandbox.machine(machine).join("lock")).unwrap();
    };
    let held = troupe.hold("both", &BOTH);
    delete("b");
    let mut next = troupe.queue("next", &BOTH);
    assert_eq!(troupe.tries(&["-n", "-m", "b"]), 75);
    delete("a");
    held.ends();
    next.begins();
    assert_eq!(troupe.tries(&["-n", "-m", "b"]), 75);
    delete("a");
    delete("b");
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 75);
    next.ends();
    troupe.is_free(&["a", "b"]);
    assert_eq!(troupe.log.never_two(), 2);
}

/// Again and again, beside contenders for both and for each.
#[test]
fn twenty_whose_lock_files_are_deleted_again_and_again() {
    let troupe = Troupe::new();
    let mut all: Vec<Running> = (0..20)
        .map(|n| {
            let set: &[&str] = [&["a", "b"][..], &["a"], &["b"], &["b", "c"]][n % 4];
            let mut command = troupe.sandbox.jobguard(["-w", "25"]);
            command
                .args(set.iter().flat_map(|machine| ["-m", machine]))
                .arg("--")
                .args(troupe.log.job_as(&set.join("-"), "sleep 0.01"));
            Running::start(command.stderr(Stdio::null()))
        })
        .collect();
    let (mut deleted, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(1)
        && all.iter().any(|one| !support::ends(one.pid(), Duration::ZERO))
    {
        for machine in ["a", "b"] {
            let lock = troupe.sandbox.machine(machine).join("lock");
            deleted += u32::from(std::fs::remove_file(lock).is_ok());
        }
    }
    println!("lock files were deleted {deleted} times");
    assert!(deleted > 20);
    for contender in &mut all {
        assert_eq!(contender.wait().code(), Some(0));
    }
    println!("all were over after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "who was overtaken has lost his place");
    assert_eq!(troupe.log.together(may).0, 20);
    troupe.is_free(&["a", "b"]);
}

/// Whoever waits for another machine does not keep this one from those behind him, however many he
/// and his like are: they are through at once, not after a second for each.
#[test]
fn who_waits_elsewhere_is_not_waited_for() {
    let troupe = Troupe::new();
    let (b, a) = (troupe.hold("b", &["-m", "b"]), troupe.hold("a", &["-m", "a"]));
    let mut both = [(); 3].map(|()| troupe.queue("both", &["-m", "a", "-m", "b"]));
    let mut plain = [(); 2].map(|()| troupe.queue("a", &["-m", "a"]));
    let before = Instant::now();
    a.ends();
    for member in &mut plain {
        member.begins();
        member.let_go();
        assert_eq!(member.result().0, Some(0));
    }
    for _ in 0..3 {
        assert_eq!(troupe.tries(&["-n", "-m", "a"]), 0);
    }
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(troupe.tries(&["-n", "-m", "a", "-m", "b"]), 75);
    b.ends();
    for member in &mut both {
        member.begins();
        member.let_go();
        assert_eq!(member.result().0, Some(0));
    }
    troupe.is_free(&["a", "b"]);
}

/// A machine lock that somebody keeps for ever stops the runs that need it, and no others.
#[test]
fn a_lock_that_is_kept_stops_no_other_machine() {
    let troupe = Troupe::new();
    let held = troupe.hold("a", &["-m", "a"]);
    assert_eq!(troupe.tries(&["-n", "-m", "b"]), 0);
    let lock = File::options().write(true).open(troupe.sandbox.machine("b").join("lock")).unwrap();
    lock.lock().unwrap();
    let options = ["--lock-timeout", "2", "-m", "a", "-m", "b"];
    let mut both = [(); 2].map(|()| Member::start(&mut troupe.command("both", &options)));
    until("they wait for the lock", || both.iter().all(|member| threads(member.guard.pid()) > 1));
    let before = Instant::now();
    held.ends();
    assert_eq!(troupe.tries(&["-n", "-m", "a"]), 0);
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    for member in &mut both {
        let (code, said) = member.result();
        assert_eq!(code, Some(125));
        assert!(said.contains("b: cannot take the machine lock: "), "{said}");
    }
    lock.unlock().unwrap();
    troupe.is_free(&["a", "b"]);
}

fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}
