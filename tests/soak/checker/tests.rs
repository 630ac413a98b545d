//! The judge is believed only because it finds what is wrong.

use rstest::rstest;

use super::*;
use crate::schedule::Contender;

/// Three contenders that ended as their jobs did, on one machine.
fn outcomes() -> Vec<Outcome> {
    let outcome = |number| {
        let plan = Contender::new(0, number);
        let contender = Contender { wait_ms: None, hasty: false, keep: true, status: 7, ..plan };
        Outcome { contender, ended: Ended::Exited(7), said: String::new(), begun: 1, over: 90 }
    };
    (0..3).map(outcome).collect()
}

const GOOD: &str = "start 0 5 10 alone\nend 0 5 20 alone\nstart 1 5 30 alone\nend 1 5 40 alone\n\
                    start 2 6 50 alone\nend 2 6 60 alone\n";

fn verdict(log: &str, outcomes: &[Outcome], struck: &Struck) -> String {
    let logs = BTreeMap::from([("m0".to_owned(), log.to_owned())]);
    let evidence = Evidence { logs: &logs, outcomes, struck, weather: Weather::Deletions };
    evidence.check(&mut Counts::new()).join("\n")
}

#[test]
fn a_good_run_is_good() {
    assert_eq!(verdict(GOOD, &outcomes(), &Struck::default()), "");
}

#[rstest]
#[case::in_the_log(
    "end 0 5 20 alone\nstart 1 5 30 alone",
    "start 1 5 30 alone\nend 0 5 20 alone",
    "overlap"
)]
#[case::by_the_clock("start 1 5 30", "start 1 5 19", "overlap")]
#[case::by_the_witness("start 1 5 30 alone", "start 1 5 30 crowded", "overlap")]
#[case::of_one_in_between("end 0 5 20", "end 0 5 51", "overlap")]
#[case::no_end("end 1 5 40 alone\n", "", "lost job")]
#[case::no_end_but_a_status("end 1 5 40 alone\n", "", "no end of the job, but a status")]
#[case::twice("end 1 5 40 alone", "end 1 5 40 alone\nstart 1 5 41 alone", "ran twice")]
#[case::never("start 1 5 30 alone\nend 1 5 40 alone\n", "", "nothing explains it")]
#[case::nobodys(
    "start 1 5 30 alone\nend 1 5 40 alone\n",
    "start 9 5 30 alone\nend 9 5 40 alone\n",
    "a job of nobody"
)]
#[case::garbled("end 1", "e 1", "ran twice")]
#[case::torn("end 2 6 60 alone", "end 2", "not a line")]
fn a_log_that_is_wrong(#[case] what: &str, #[case] with: &str, #[case] said: &str) {
    assert!(GOOD.contains(what));
    let verdict = verdict(&GOOD.replace(what, with), &outcomes(), &Struck::default());
    assert!(verdict.contains(said), "{verdict}");
}

/// Three jobs at once, of these modes.
#[rstest]
#[case::readers(["s", "s", "s"], true)]
#[case::slots(["n", "n", "n"], false)]
#[case::a_writer_last(["s", "s", "x"], false)]
#[case::a_writer_first(["x", "s", "s"], false)]
#[case::a_slot_beside_a_reader(["s", "n", "x"], false)]
fn who_may_be_there_together(#[case] modes: [&str; 3], #[case] good: bool) {
    let lines = |what: &str, from: u64| -> String {
        let line = |(n, mode)| format!("{what} {n} 5 {} alone {mode}\n", from + n);
        (0..).zip(modes).map(line).collect()
    };
    let log = lines("start", 10) + &lines("end", 20);
    assert_eq!(verdict(&log, &outcomes(), &Struck::default()).is_empty(), good);
    // Two slots at a time are as many as there may be.
    let log = "start 0 5 10 alone n\nstart 1 5 11 alone n\nend 0 5 12 alone n\n\
               start 2 6 13 alone n\nend 1 5 14 alone n\nend 2 6 15 alone n\n";
    assert_eq!(verdict(log, &outcomes(), &Struck::default()), "");
}

#[rstest]
#[case::another_status(Ended::Exited(8), "not the status")]
#[case::success(Ended::Exited(0), "not the status")]
#[case::killed_by_nobody(Ended::Signaled(9), "nothing explains it")]
#[case::another_signal(Ended::Signaled(11), "nothing explains it")]
fn an_outcome_that_is_wrong(#[case] ended: Ended, #[case] why: &str) {
    let mut outcomes = outcomes();
    outcomes[1].ended = ended;
    let verdict = verdict(GOOD, &outcomes, &Struck::default());
    assert!(verdict.contains(why), "{verdict}");
}

/// Contenders that ran no job.
#[rstest]
#[case(75, "", false)]
#[case(125, "cannot create x: No space left on device", false)]
#[case(125, "cannot take the machine lock", false)]
#[case(0, "", false)]
#[case(101, "panicked", false)]
#[case(75, "", true)]
#[case(125, "cannot create x: No space left on device", true)]
#[case(125, "cannot take the machine lock", true)]
fn no_job_and_why(#[case] code: i32, #[case] said: &str, #[case] excused: bool) {
    let mut outcomes = outcomes();
    outcomes[1].ended = Ended::Exited(code);
    outcomes[1].said = said.to_owned();
    let mut struck = Struck::default();
    if excused {
        outcomes[1].contender.wait_ms = Some(0);
        outcomes[1].contender.hasty = true;
        struck.full.push((89, 95));
    }
    let log = GOOD.replace("start 1 5 30 alone\nend 1 5 40 alone\n", "");
    assert_eq!(verdict(&log, &outcomes, &struck).is_empty(), excused);
}

/// A job without an end ended some time after SIGKILL was sent.
#[rstest]
#[case::job_killed(None, Some(25), true, true)]
#[case::job_killed_after_the_next_began(None, Some(31), true, false)]
#[case::dies_with_its_supervisor(Some(25), None, false, true)]
#[case::supervisor_killed_too_late(Some(31), None, false, false)]
#[case::outlives_its_supervisor(Some(25), None, true, false)]
fn a_job_without_an_end(
    #[case] guard: Option<u64>,
    #[case] job: Option<u64>,
    #[case] keep: bool,
    #[case] good: bool,
) {
    let mut outcomes = outcomes();
    outcomes[0].contender.keep = keep;
    outcomes[0].ended = Ended::Signaled(9);
    let struck = Struck {
        guards: guard.map(|at| (0, at)).into_iter().collect(),
        jobs: job.map(|at| (0, at)).into_iter().collect(),
        full: Vec::new(),
    };
    let log = GOOD.replace("end 0 5 20 alone\n", "");
    assert_eq!(verdict(&log, &outcomes, &struck).is_empty(), good);
}
