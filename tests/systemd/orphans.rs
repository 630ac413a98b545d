//! Jobs whose supervisor was killed and that systemd leaves alone (`KillMode=process`): the next
//! start waits for them, and never runs beside them.

use std::time::Instant;

use rstest::rstest;

use crate::judge::Judge;
use crate::machine::Machine;
use crate::service;
use crate::support::until;

/// How often a supervisor is killed over its job.
const KILLS: usize = 10;

/// A service whose job survives its supervisor, as it does by default outside containers.
fn survivor(job: &str, options: &str, more: &[&str]) -> String {
    let keep = "--on-supervisor-death keep";
    let command = format!("/rig/bin/jobguard -m sched {keep} {options} -- {job}");
    service(&command, &[&["KillMode=process"], more].concat())
}

/// Waits until the unit's main process sleeps in its wait for the machine.
fn until_it_waits(machine: &Machine) {
    until("the new jobguard waits in poll", || {
        let pid = machine.show("sched").get("MainPID").to_owned();
        let read = |file: &str| machine.run("cat", &[&format!("/proc/{pid}/{file}")]).stdout();
        let call = libc::SYS_ppoll.to_string();
        pid != "0" && read("comm").trim() == "jobguard" && read("syscall").starts_with(&call)
    });
}

#[test]
fn a_restarted_service_waits_for_the_job_that_its_supervisor_left() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let unit = survivor(&judge.job("slow", 50), "-w 10s", &["Restart=always", "RestartSec=0"]);
    machine.install("sched.service", &unit);
    machine.systemctl(&["start", "sched"]);
    let began = Instant::now();
    for round in 1..=KILLS {
        judge.until_begun(round);
        let job = judge.last().unwrap().to_string();
        machine.systemctl(&["kill", "--kill-who", "main", "--signal", "KILL", "sched"]);
        until("systemd has begun again", || {
            machine.show("sched").get("NRestarts") == round.to_string()
        });
        until_it_waits(&machine);
        assert_eq!(machine.show("sched").state(), "active (running)");
        assert_eq!(judge.tally().begun, round, "it runs beside the job that is left");
        machine.run("kill", &[&job]).exits(0);
    }
    judge.until_begun(KILLS + 1);
    let tally = judge.never_two();
    println!("{KILLS} supervisors killed in {:?}: {tally:?}", began.elapsed());
    assert_eq!((tally.ended, tally.terms), (KILLS, KILLS));
    let journal = machine.journal("sched");
    let cleared = journal.lines().filter(|line| line.contains("process not running")).count();
    assert_eq!(cleared, KILLS, "{journal}");
}

/// Its wait over, a start fails, or was not to count as a failure; the job that is left is as it was.
#[rstest]
#[case::failed(&[], "failed (failed)", "exit-code")]
#[case::success(&["SuccessExitStatus=75"], "inactive (dead)", "success")]
#[case::no_retry(&["Restart=always", "RestartPreventExitStatus=75"], "failed (failed)", "exit-code")]
#[case::exec(&["Type=exec"], "failed (failed)", "exit-code")]
fn the_wait_is_bounded(#[case] more: &[&str], #[case] state: &str, #[case] result: &str) {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let more = [&["TimeoutStopSec=100ms"], more].concat();
    machine.install("sched.service", &survivor(&judge.job("deaf", 0), "-w 300ms", &more));
    machine.systemctl(&["start", "sched"]);
    judge.until_begun(1);
    // systemd kills the supervisor when its patience is over, and nobody else.
    machine.systemctl(&["restart", "sched"]);
    until("the wait is over", || machine.show("sched").state() == state);
    let unit = machine.show("sched");
    assert_eq!((unit.get("ExecMainStatus"), unit.get("Result")), ("75", result));
    let journal = machine.journal("sched");
    assert!(journal.contains("(waited 300ms)"), "{journal}");
    assert_eq!(judge.tally().begun, 1);
    // Whoever ends it, the next start succeeds.
    machine.run("kill", &["-KILL", &judge.last().unwrap().to_string()]).exits(0);
    machine.systemctl(&["start", "sched"]);
    judge.until_begun(2);
    judge.never_two();
}

/// `RestartForceExitStatus=75`: systemd tries until the machine is free.
#[test]
fn systemd_may_do_the_waiting() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let more = ["RestartForceExitStatus=75", "RestartSec=50ms"];
    machine.install("sched.service", &survivor(&judge.job("slow", 50), "-n", &more));
    machine.systemctl(&["start", "sched"]);
    judge.until_begun(1);
    let job = judge.last().unwrap().to_string();
    machine.systemctl(&["kill", "--kill-who", "main", "--signal", "KILL", "sched"]);
    until("the unit has failed", || machine.show("sched").state() == "failed (failed)");
    machine.systemctl(&["start", "sched"]);
    let tries = || machine.show("sched").get("NRestarts").parse::<usize>().unwrap();
    until("systemd has tried again and again", || tries() >= 3);
    machine.run("kill", &[&job]).exits(0);
    judge.until_begun(2);
    assert_eq!(machine.show("sched").state(), "active (running)");
    judge.never_two();
    println!("{} tries by systemd", tries());
}

/// In a container the kernel ends the job with its supervisor, and nobody has to wait.
#[test]
fn a_job_that_dies_with_its_supervisor_is_cleared_at_once() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let command = format!("/rig/bin/jobguard -m sched -w 10s -- {}", judge.job("deaf", 0));
    let more = ["KillMode=process", "Restart=always", "RestartSec=0"];
    machine.install("sched.service", &service(&command, &more));
    machine.systemctl(&["start", "sched"]);
    for round in 1..=KILLS {
        judge.until_begun(round);
        machine.systemctl(&["kill", "--kill-who", "main", "--signal", "KILL", "sched"]);
    }
    judge.until_begun(KILLS + 1);
    assert_eq!(judge.never_two().ended, 0);
}
