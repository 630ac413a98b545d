//! The ways in which systemd can be told to start and to end a service.

use rstest::rstest;

use crate::judge::Judge;
use crate::machine::Machine;
use crate::service;

/// How often each variant is restarted.
const RESTARTS: usize = 3;

/// With `control-group` systemd sends TERM to the job as well, and jobguard forwards its own: they
/// are one signal when they come together.
#[rstest]
#[case::control_group("control-group", 1..=2)]
#[case::mixed("mixed", 1..=1)]
#[case::process("process", 1..=1)]
fn every_type_restarts(
    #[case] kill_mode: &str,
    #[case] terms_of_one_stop: std::ops::RangeInclusive<usize>,
) {
    let machine = Machine::booted();
    let mut restarts = 0;
    for (kind, options) in [("simple", ""), ("exec", ""), ("notify", "--notify ready")] {
        let name = format!("{kind}-{kill_mode}");
        let judge = Judge::new(&machine, &name);
        let job = judge.job("slow", 20);
        let command = format!("/rig/bin/jobguard -m {name} -w 10s {options} -- {job}");
        let (kind, kill_mode) = (format!("Type={kind}"), format!("KillMode={kill_mode}"));
        machine.install(&format!("{name}.service"), &service(&command, &[&kind, &kill_mode]));
        machine.systemctl(&["start", &name]);
        for round in 1..=RESTARTS {
            judge.until_begun(round);
            machine.systemctl(&["restart", &name]);
            assert_eq!(machine.show(&name).state(), "active (running)", "{kind} {kill_mode}");
            restarts += 1;
        }
        judge.until_begun(RESTARTS + 1);
        machine.systemctl(&["stop", &name]);
        let tally = judge.never_two();
        assert_eq!(tally.ended, RESTARTS + 1);
        let fewest = terms_of_one_stop.start() * tally.ended;
        assert!(
            (fewest..=terms_of_one_stop.end() * tally.ended).contains(&tally.terms),
            "{tally:?}"
        );
        let unit = machine.show(&name);
        assert_eq!((unit.state().as_str(), unit.get("Result")), ("inactive (dead)", "success"));
        println!("{kind} {kill_mode}: {tally:?}");
    }
    assert_eq!(restarts, 3 * RESTARTS);
}
