//! Units that race for a machine: at boot, across power cuts, against a timer and against people.

use std::process::Stdio;
use std::time::Instant;

use rstest::rstest;

use crate::judge::Judge;
use crate::machine::Machine;
use crate::service;
use crate::support::{Running, until};

/// How often the power is cut.
const BOOTS: usize = 4;

/// Two units want one machine at boot: one runs and the other waits. The power is cut, and nothing of
/// the boot before is in the way of the next: its PIDs mean nothing, but its kernel is the same.
///
/// The kernel mostly gives the new PID namespace the number of the old one, unless somebody holds that:
/// then the PIDs can be looked up, and are others'. Under another number a job that dies with its
/// supervisor is cleared by its lifeline, and one that does not needs somebody who knows better.
#[rstest]
fn two_units_race_at_boot(
    #[values("kill", "keep")] on_supervisor_death: &str,
    #[values(true, false)] another_number: bool,
) {
    let mut machine = Machine::new();
    let judge = Judge::new(&machine, "shared");
    let options = format!("-m shared -w 60s --on-supervisor-death {on_supervisor_death}");
    for unit in ["one.service", "two.service"] {
        let command = format!("/rig/bin/jobguard {options} -- {}", judge.job("slow", 20));
        machine.install(unit, &service(&command, &["Type=exec"]));
        machine.enable(unit);
    }
    let began = Instant::now();
    let mut namespaces = Vec::new();
    let mut forced = 0;
    for round in 0..BOOTS {
        machine.boot();
        if another_number {
            namespaces.push(machine.pid_namespace());
        }
        let jobguard = |words: &[&str]| machine.run("/rig/bin/jobguard", words);
        let status = jobguard(&["status", "shared", "--json"]).json();
        if round > 0 && status["verdict"] == "unverifiable" {
            forced += 1;
            assert_eq!(status["reason"], "other_namespace");
            assert_eq!(judge.tally().begun, 2 * round, "that was a guess");
            let token = status["holders"][0]["token"].to_string();
            // Those who wait look again once a minute: they cannot see that somebody was cleared.
            machine.systemctl(&["stop", "one", "two"]);
            jobguard(&["clear", "shared", "--force", "--token", &token]).exits(0);
            machine.systemctl(&["start", "one", "two"]);
        }
        judge.until_begun(2 * round + 1);
        for unit in ["one", "two"] {
            until("both are up", || machine.show(unit).state() == "active (running)");
        }
        machine.run("kill", &[&judge.last().unwrap().to_string()]).exits(0);
        judge.until_begun(2 * round + 2);
    }
    let tally = judge.never_two();
    let info = machine.run("/rig/bin/jobguard", &["info", "shared", "--json"]).json();
    let phantoms = &info["counters"]["phantoms"];
    let count = |reason: &str| phantoms[reason].as_u64().unwrap_or(0) as usize;
    let by_pid = count("process_gone") + count("pid_reused");
    let by_lifeline = count("supervisor_gone");
    println!(
        "{on_supervisor_death}: {BOOTS} boots in {:?}: {tally:?}, cleared {phantoms}, {forced} forced",
        began.elapsed()
    );
    assert_eq!((tally.begun, tally.ended), (2 * BOOTS, BOOTS));
    assert_eq!(by_pid + by_lifeline + forced, BOOTS - 1, "{phantoms}");
    assert!(!another_number || by_pid == 0, "{phantoms}");
    let never = if on_supervisor_death == "kill" { forced } else { by_lifeline };
    assert_eq!(never, 0, "{phantoms}");
}

/// How many runs are started by hand beside the timer's.
const BY_HAND: usize = 20;

/// A timer skips the rounds in which somebody is at it, and who comes by hand waits.
#[test]
fn a_timer_and_runs_by_hand_never_overlap() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sync");
    let job = judge.job("quick", 15);
    let oneshot =
        service(&format!("/rig/bin/jobguard -m sync -n -E 0 -- {job}"), &["Type=oneshot"]);
    machine.install("sync.service", &oneshot);
    let timer = "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=10ms\nAccuracySec=1ms\n";
    machine.install("sync.timer", timer);
    machine.systemctl(&["start", "sync.timer"]);
    judge.until_begun(1);
    let by_hand = format!("-w 20s -m sync -- {job}");
    let by_hand: Vec<&str> = by_hand.split(' ').collect();
    for _ in 0..BY_HAND / 2 {
        let mut two = [(); 2].map(|()| {
            let mut command = machine.command("/rig/bin/jobguard", &by_hand);
            Running::new(command.stdout(Stdio::null()).spawn().unwrap())
        });
        // The same unit that is running already, which systemd merges, or one more start of it.
        machine.systemctl(&["start", "sync.service"]);
        two.iter_mut().for_each(|run| assert_eq!(run.wait().code(), Some(0)));
    }
    machine.systemctl(&["stop", "sync.timer"]);
    until("the last round is over", || machine.show("sync").state() == "inactive (dead)");
    let tally = judge.never_two();
    let journal = machine.journal("sync");
    let skips = journal.lines().filter(|line| line.contains("sync is held by")).count();
    println!("{BY_HAND} runs by hand beside a timer, {skips} rounds skipped: {tally:?}");
    assert_eq!(tally.begun, tally.ended);
    assert!(tally.begun > BY_HAND, "the timer never came to run");
    assert!(!journal.contains("Failed"), "{journal}");
}
