//! What systemd is told: who runs, who waits, and when a service is up. And what it is asked: the unit.

use std::process::Stdio;

use rstest::rstest;

use crate::judge::Judge;
use crate::machine::Machine;
use crate::service;
use crate::support::probe::executable;
use crate::support::{Running, until};

/// Somebody at a terminal who has the machine `sched`, until they are killed.
fn somebody(machine: &Machine, judge: &Judge) -> Running {
    let words = format!("-m sched -- {}", judge.job("slow", 0));
    let words: Vec<&str> = words.split(' ').collect();
    let mut command = machine.command("/rig/bin/jobguard", &words);
    let holder = Running::new(command.stdout(Stdio::null()).spawn().unwrap());
    judge.until_begun(1);
    holder
}

/// A start that queues longer than it may take: systemd is told, and waits as well.
#[rstest]
#[case::told("/rig/bin/jobguard", true)]
#[case::not_told("/usr/bin/env -u NOTIFY_SOCKET /rig/bin/jobguard", false)]
fn a_start_may_queue_longer_than_its_time_limit(#[case] jobguard: &str, #[case] told: bool) {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let mut holder = somebody(&machine, &judge);
    let command = format!("{jobguard} -m sched --notify ready -- {}", judge.job("slow", 0));
    let more = ["Type=notify", "TimeoutStartSec=1500ms"];
    machine.install("sched.service", &service(&command, &more));
    machine.systemctl(&["start", "--no-block", "sched"]);
    if told {
        let waits = "waiting: sched is held by \"/rig/bin/job ";
        until("systemd knows that it waits", || {
            machine.show("sched").get("StatusText").starts_with(waits)
        });
        // Time itself is what is measured: the limit passes.
        let begun: u64 =
            machine.show("sched").get("InactiveExitTimestampMonotonic").parse().unwrap();
        let uptime = || machine.run("cat", &["/proc/uptime"]).stdout();
        let now = || uptime().split(' ').next().unwrap().parse::<f64>().unwrap() * 1e6;
        until("the limit has passed", || now() > begun as f64 + 2e6);
        assert_eq!(machine.show("sched").state(), "activating (start)");
        machine.run("kill", &[&judge.last().unwrap().to_string()]).exits(0);
        machine.systemctl(&["start", "sched"]);
        let unit = machine.show("sched");
        assert_eq!(unit.state(), "active (running)");
        assert!(unit.get("StatusText").starts_with("running \"/rig/bin/job "), "{unit:?}");
        assert_eq!(judge.never_two().begun, 2);
    } else {
        until("it was too late", || machine.show("sched").state() == "failed (failed)");
        assert_eq!(machine.show("sched").get("Result"), "timeout");
        machine.run("kill", &[&judge.last().unwrap().to_string()]).exits(0);
    }
    holder.wait();
}

/// `systemctl start` itself fails: with the busy status when the wait was over, and with that of a
/// program that turns out not to be executable.
#[test]
fn who_is_not_ready_has_not_started() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let mut holder = somebody(&machine, &judge);
    let job = judge.job("slow", 0);
    executable(&machine.path("script"), "#!/no/such/interpreter\n");
    for (name, command, status) in [("sched", job.as_str(), "75"), ("other", "/rig/script", "127")]
    {
        let command = format!("/rig/bin/jobguard -m {name} -w 200ms --notify ready -- {command}");
        let unit = format!("{name}.service");
        machine.install(&unit, &service(&command, &["Type=notify"]));
        machine.run("systemctl", &["start", &unit]).exits(1);
        let unit = machine.show(&unit);
        assert_eq!((unit.get("Result"), unit.get("ExecMainStatus")), ("exit-code", status));
    }
    assert_eq!(judge.never_two().begun, 1);
    machine.run("kill", &[&judge.last().unwrap().to_string()]).exits(0);
    holder.wait();
}

/// A job that speaks for itself is heard where systemd listens to more than the main process, which is
/// jobguard; its words stand.
#[rstest]
#[case::all("all", "20s", true)]
#[case::main("main", "2s", false)]
#[case::exec("exec", "2s", false)]
fn the_jobs_own_words(#[case] access: &str, #[case] limit: &str, #[case] heard: bool) {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let job = judge.job("slow", 0);
    let say = "systemd-notify --ready --status=mine";
    let command = format!("/rig/bin/jobguard -m sched -- /bin/sh -c '{say}; exec {job}'");
    let access = format!("NotifyAccess={access}");
    let limit = format!("TimeoutStartSec={limit}");
    let more = ["Type=notify", &limit, &access];
    machine.install("sched.service", &service(&command, &more));
    let started = machine.run("systemctl", &["start", "sched"]);
    let unit = machine.show("sched");
    if heard {
        started.exits(0);
        assert_eq!((unit.state().as_str(), unit.get("StatusText")), ("active (running)", "mine"));
    } else {
        started.exits(1);
        assert_eq!(unit.get("Result"), "timeout");
        let journal = machine.journal("sched");
        assert!(journal.contains("reception only permitted for main PID"), "{journal}");
    }
}

#[test]
fn unit_and_invocation_are_recorded() {
    let machine = Machine::booted();
    let judge = Judge::new(&machine, "sched");
    let command = format!("/rig/bin/jobguard -m sched -- {}", judge.job("slow", 0));
    machine.install("sched@.service", &service(&command, &[]));
    machine.systemctl(&["start", "sched@x"]);
    judge.until_begun(1);
    let info = |name: &str| machine.run("/rig/bin/jobguard", &["info", name, "--json"]).json();
    let context = &info("sched")["holders"][0]["context"];
    assert_eq!(context["systemd_unit"], "sched@x.service");
    assert_eq!(context["invocation_id"], machine.show("sched@x").get("InvocationID"));
    let page = machine.run("/rig/bin/jobguard", &["info", "sched"]).stdout();
    assert!(page.contains("Systemd unit:     sched@x.service\n"), "{page}");

    let ask = "/rig/bin/jobguard info scoped --json";
    let words =
        ["--scope", "--quiet", "--unit=mine", "/rig/bin/jobguard", "-m", "scoped", "sh", "-c"];
    let done = machine.run("systemd-run", &[&words[..], &[ask]].concat());
    assert_eq!(done.exits(0).json()["holders"][0]["context"]["systemd_unit"], "mine.scope");
    // Nobody's: we came from outside.
    let words = ["-m", "outside", "sh", "-c", "/rig/bin/jobguard info outside --json"];
    let done = machine.run("/rig/bin/jobguard", &words).exits(0);
    assert_eq!(done.json()["holders"][0]["context"]["systemd_unit"], serde_json::Value::Null);
}

/// The first unit in the README, as it stands there.
#[test]
fn the_readmes_unit_works() {
    const RESTARTS: usize = 3; // systemd allows five starts in ten seconds
    let readme = include_str!("../../README.md");
    let unit = readme.split("```ini\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut machine = Machine::new();
    let judge = Judge::new(&machine, "readme");
    let script = format!("#!/bin/sh\nexec {}\n", judge.job("slow", 300));
    executable(&machine.path("bin/scheduler"), &script);
    machine.install("scheduler.service", unit);
    machine.boot();
    machine.systemctl(&["start", "scheduler"]);
    for round in 1..=RESTARTS {
        judge.until_begun(round);
        machine.systemctl(&["restart", "scheduler"]);
        assert_eq!(machine.show("scheduler").state(), "active (running)");
    }
    // Somebody else's fault.
    machine.systemctl(&["kill", "--signal", "KILL", "scheduler"]);
    judge.until_begun(RESTARTS + 2);
    until("it runs again", || machine.show("scheduler").state() == "active (running)");
    machine.systemctl(&["stop", "scheduler"]);
    let tally = judge.never_two();
    assert_eq!((tally.begun, tally.ended, tally.terms), (RESTARTS + 2, RESTARTS + 1, RESTARTS + 1));
    println!("the README's unit: {tally:?}");
}
