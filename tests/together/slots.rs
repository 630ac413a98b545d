//! Slots (`--slots`): as many at once as all have agreed to, and a crowd of all kinds.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::support;
use crate::support::troupe::{Member, Troupe};

/// Each is a holder or the newcomer, by its options.
#[rstest]
#[case::alone(&[], "--slots 1", true)]
#[case::second(&["--slots 2"], "--slots 2", true)]
#[case::third(&["--slots 2", "--slots 2"], "--slots 2", false)]
#[case::newcomer_has_not_agreed(&["--slots 2"], "", false)]
#[case::newcomer_agrees_to_fewer(&["--slots 3", "--slots 3"], "--slots 2", false)]
#[case::holder_has_not_agreed(&[""], "--slots 5", false)]
#[case::a_holder_agreed_to_fewer(&["--slots 3", "--slots 2"], "--slots 3", false)]
#[case::all_have_agreed_to_another_number(&["--slots 4", "--slots 3"], "--slots 5", true)]
#[case::slot_beside_a_reader(&["-s"], "--slots 5", false)]
#[case::reader_beside_a_slot(&["--slots 5"], "-s", false)]
#[case::readers_may_be_few(&["-s --slots 2", "-s"], "-s", false)]
#[case::readers_are_few(&["-s --slots 3", "-s"], "-s", true)]
#[case::a_reader_wants_few(&["-s", "-s"], "-s --slots 2", false)]
fn a_slot_is_what_all_have_agreed_to(
    #[case] holders: &[&str],
    #[case] newcomer: &str,
    #[case] goes: bool,
) {
    let troupe = Troupe::new();
    let held: Vec<Member> = holders
        .iter()
        .map(|holder| {
            let words: Vec<&str> = holder.split_whitespace().chain(["-m", "m1"]).collect();
            troupe.hold("h", &words)
        })
        .collect();
    let words: Vec<&str> = newcomer.split_whitespace().chain(["-n", "-m", "m1"]).collect();
    assert_eq!(troupe.tries(&words), if goes { 0 } else { 75 });
    assert_eq!(troupe.tokens("m1").len(), holders.len());
    held.into_iter().for_each(Member::ends);
}

/// So many at a time, and never one more; whoever is not served waits, and nobody is lost.
#[rstest]
fn twenty_contend_for_a_few_slots(#[values(1, 2, 3, 7)] slots: usize) {
    const COUNT: usize = 20;
    let troupe = Troupe::new();
    let number = slots.to_string();
    let job = format!("sleep {}", 0.05 * slots as f64); // the same for all together
    let line: Vec<String> = troupe.log.job_as("s", &job);
    let mut all: Vec<support::Running> = (0..COUNT)
        .map(|_| {
            let mut command = troupe.sandbox.jobguard(["--slots", &number, "-m", "m1", "--"]);
            support::Running::start(command.args(&line))
        })
        .collect();
    for contender in &mut all {
        assert!(contender.wait().success());
    }
    let (count, most) = troupe.log.together(|all| all.len() <= slots);
    println!("{slots} slots: {most} at a time at most");
    assert_eq!((count, most), (COUNT, slots));
    let counters = troupe.sandbox.record("m1")["counters"].clone();
    assert_eq!((&counters["runs"], &counters["phantoms"]), (&20.into(), &serde_json::json!({})));
}

/// Readers, writers and slots all at once: nobody goes beside whom it must not.
#[test]
fn a_mixed_crowd() {
    let troupe = Troupe::new();
    let kinds: [(&str, &[&str]); 3] = [("r", &["-s"]), ("w", &[]), ("s", &["--slots", "2"])];
    let mut all: Vec<support::Running> = (0..45)
        .map(|n| {
            let (who, options) = kinds[(n * n + n / 7) % 3];
            let mut command = troupe.sandbox.jobguard(options);
            command.args(["-m", "m1", "--"]).args(troupe.log.job_as(who, "sleep 0.02"));
            support::Running::start(&mut command)
        })
        .collect();
    for contender in &mut all {
        assert!(contender.wait().success());
    }
    let may = |all: &[&str]| match all {
        [] | [_] => true,
        ["s", "s"] => true,
        all => all.iter().all(|who| *who == "r"),
    };
    println!("a mixed crowd: {:?}", troupe.log.together(may));
    assert_eq!(troupe.log.together(may).0, 45);
    troupe.run(&["status", "m1"]).exits(3);
}

/// Many at once, again and again: who looks while another's claim is under way takes that one for
/// somebody unknown, and must look again.
#[test]
fn no_reader_of_many_is_left_behind() {
    for _ in 0..25 {
        let troupe = Troupe::new();
        let writer = troupe.hold("w", &["-m", "m1"]);
        let mut stream: Vec<Member> =
            (0..12).map(|n| troupe.queue(&format!("r{n}"), &["-s", "-m", "m1"])).collect();
        writer.ends();
        let before = Instant::now();
        stream.iter_mut().for_each(Member::begins);
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
        stream.into_iter().for_each(Member::ends);
    }
}
