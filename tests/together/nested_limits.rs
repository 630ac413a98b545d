//! Where being part of a job ends: in another state directory, without a record, among outsiders who
//! would share.

use rstest::rstest;

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{run, until};

const M1: [&str; 2] = ["-m", "m1"];
const SHARED: [&str; 3] = ["-s", "-m", "m1"];

/// Tokens are times, so runs of two directories may well have the same one.
#[test]
fn the_same_token_in_another_state_directory_is_a_strangers() {
    let [here, there] = [(); 2].map(|()| Troupe::new());
    let held = there.hold("held", &M1);
    here.run(&["-m", "m1", "true"]).exits(0);
    let holds = format!("m1={}@{}", held.token, here.sandbox.dir_id());
    let (here, there) = (here.sandbox.state(), there.sandbox.state());
    // As a job of a run of `here` with the same token would ask.
    let ask = |words: &[&str]| {
        let mut command = std::process::Command::new(support::JOBGUARD);
        command.arg("--state-dir").arg(&there).args(words);
        command.env("JOBGUARD_HOLDS", &holds).env("JOBGUARD_STATE_DIR", &here);
        run(&mut command)
    };
    ask(&["-n", "-m", "m1", "--", "echo", "ran"]).exits(75).says("m1 is held by");
    // Neither is it refused as a part of what it would end.
    ask(&["stop", "m1"]).exits(0).silent();
}

/// From one directory into another and back: what is held in the first is not forgotten, however the
/// other was chosen.
#[rstest]
#[case::by_option("", "--state-dir")]
#[case::by_variable("JOBGUARD_STATE_DIR=", "")]
fn back_in_the_first_directory_it_is_part_of_its_job_again(
    #[case] variable: &str,
    #[case] option: &str,
) {
    let [here, there] = [(); 2].map(|()| Troupe::new());
    let there = there.sandbox.state();
    let here_dir = here.sandbox.state();
    let script = format!(
        "{3}{0} -m m1 {4} -- {1} -n -m m1 --state-dir '{2}' -- echo inner",
        support::JOBGUARD,
        support::JOBGUARD,
        here_dir.display(),
        if variable.is_empty() {
            String::new()
        } else {
            format!("{variable}'{}' ", there.display())
        },
        if option.is_empty() { String::new() } else { format!("{option} '{}'", there.display()) },
    );
    let done = here.run(&["-m", "m1", "--", "sh", "-c", &script]).exits(0).silent();
    assert_eq!(done.stdout(), "inner\n");
}

#[rstest]
#[case::lost(None, 0)]
#[case::torn(Some("{"), 75)]
#[case::of_a_later_release(Some(r#"{"schema":99}"#), 75)]
fn a_record_that_says_nothing_any_more(#[case] record: Option<&str>, #[case] code: i32) {
    let troupe = Troupe::new();
    let mut outer = troupe.hold("outer", &M1);
    std::fs::remove_file(troupe.sandbox.machine("m1").join("record.json")).unwrap();
    if let Some(record) = record {
        troupe.sandbox.plant("m1", record);
    }
    let mut inner = troupe.inside(&outer, "inner", &["-w", "20", "-m", "m1"]);
    let mut inner = Member::start(&mut inner);
    if code == 0 {
        inner.begins();
        inner.let_go();
    }
    let (status, said) = inner.result();
    assert_eq!(
        (status, said.contains("would wait for itself")),
        (Some(code), code == 75),
        "{said}"
    );
    // No outsider takes either case for a free machine.
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    outer.let_go();
    outer.result();
}

/// A reader whose job asks for the machine alone waits for the other readers; those who come later
/// wait behind it.
#[test]
fn outsiders_do_not_slip_past_who_waits_inside() {
    let troupe = Troupe::new();
    let (outer, other) = (troupe.hold("outer", &SHARED), troupe.hold("other", &SHARED));
    let mut upgrade = troupe.queue_inside(&outer, "upgrade", &M1);
    let mut later = troupe.queue("later", &SHARED);
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    other.ends();
    upgrade.begins();
    until("the machine is shared by two", || troupe.tokens("m1").len() == 2);
    upgrade.ends();
    later.begins();
    later.ends();
    outer.ends();
    let may = |all: &[&str]| all.iter().all(|who| *who != "upgrade") || all.len() <= 2;
    troupe.log.together(may);
    let order = troupe.log.order();
    assert_eq!(order[2..], ["upgrade", "later"], "{order:?}");
}
