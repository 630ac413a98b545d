//! A soak from its beginning to its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::arena::Arena;
use crate::chaos::{Chaos, Counts};
use crate::checker::Evidence;
use crate::schedule::{MACHINES, Weather};
use crate::support::dice::Dice;
use crate::support::{Done, JOBGUARD, run};

/// The length of a phase.
const PHASE: Duration = Duration::from_secs(5);

/// Within this time after the last attack everybody is over.
const DRAINED: Duration = Duration::from_secs(20);

/// How long the next run may take to get a machine.
const SOON: Duration = Duration::from_secs(3);

/// A disk on which two full event logs of each machine have room.
const DISK: &str = "size=12m,mode=755";

pub struct Soak {
    dir: PathBuf,
    seed: u64,
    sham: bool,
    arena: Arena,
    counts: Counts,
}

impl Soak {
    pub fn new(dir: PathBuf, seed: u64, sham: bool) -> Self {
        let arena = Arena::new(&dir, seed, sham);
        Self { dir, seed, sham, arena, counts: Counts::new() }
    }

    pub fn run(mut self, duration: Duration) {
        // Away from a terminal, if there is one: jobs would share our process group.
        nix::unistd::setsid().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(self.arena.state());
        assert!(mount.status().unwrap().success());
        let phases = (duration.as_secs_f64() / PHASE.as_secs_f64()).round().max(2.0) as u32;
        for number in 0..phases {
            let weather = [Weather::Stops, Weather::Deletions][number as usize % 2];
            let broken = self.phase(number, weather, duration / phases);
            if !broken.is_empty() {
                self.fail(number, &broken);
            }
        }
        self.covered(phases);
    }

    /// One phase, and everything that was wrong with it.
    fn phase(&mut self, number: u32, weather: Weather, length: Duration) -> Vec<String> {
        let dice = Dice::new(self.seed.rotate_left(32) ^ u64::from(number));
        let mut chaos = Chaos::new(dice, weather, &self.dir);
        let until = Instant::now() + length;
        while Instant::now() < until {
            self.arena.refill();
            self.arena.wait(chaos.due().min(until).saturating_duration_since(Instant::now()));
            chaos.act(&self.arena);
            self.arena.reap();
        }
        chaos.relent();
        let mut broken = self.drain();
        let machines = (0..MACHINES).map(|machine| format!("m{machine}"));
        let log = |machine: String| {
            let log = std::fs::read_to_string(self.arena.log(&machine)).unwrap_or_default();
            (machine, log)
        };
        let logs: BTreeMap<String, String> = machines.map(log).collect();
        let outcomes = &self.arena.outcomes;
        let evidence = Evidence { logs: &logs, outcomes, struck: &chaos.struck, weather };
        broken.extend(evidence.check(&mut self.counts));
        for (what, count) in chaos.counts {
            *self.counts.entry(what).or_default() += count;
        }
        if broken.is_empty() {
            logs.keys().for_each(|machine| broken.extend(self.not_free(machine)));
        }
        if broken.is_empty() {
            // What has been judged is not needed again.
            logs.keys().for_each(|m| drop(std::fs::remove_file(self.arena.log(m))));
            std::fs::remove_file(self.dir.join("attacks")).unwrap();
            self.arena.outcomes.clear();
            println!("soak: phase {number}, {weather:?}: {} jobs so far", self.count("jobs begun"));
        }
        broken
    }

    fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Waits until everybody is over.
    fn drain(&mut self) -> Vec<String> {
        let deadline = Instant::now() + DRAINED;
        loop {
            self.arena.reap();
            if self.arena.processes().is_empty() && self.arena.is_empty() {
                return Vec::new();
            }
            if Instant::now() > deadline {
                return vec![format!("stuck: {}", self.arena.describe().unwrap())];
            }
            self.arena.wait(Duration::from_millis(20));
        }
    }

    fn guard(&self, args: &[&str]) -> Done {
        run(self.arena.command(JOBGUARD).args(args))
    }

    /// Why the machine is not as good as new after one more run.
    fn not_free(&self, machine: &str) -> Option<String> {
        let before = Instant::now();
        let wait = format!("{}s", SOON.as_secs());
        let next = self.guard(&["-w", &wait, "-m", machine, "--", "true"]);
        let took = before.elapsed();
        let status = self.guard(&["status", machine]);
        if next.0.status.code() != Some(0) || status.0.status.code() != Some(3) || took > SOON {
            return Some(format!("stuck: {machine}: {next:?} after {took:?}, then {status:?}"));
        }
        let entries = std::fs::read_dir(self.arena.state().join(machine)).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left = names.find(|name| name.starts_with('.') || name.starts_with("life"))?;
        Some(format!("left over on {machine}: {left}"))
    }

    /// Keeps everything, and ends the test.
    fn fail(&self, phase: u32, broken: &[String]) -> ! {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.arena.state()).arg(self.dir.join("state.kept"));
        let copied = copy.status().unwrap();
        let outcomes: Vec<String> =
            self.arena.outcomes.iter().map(|outcome| format!("{outcome:?}\n")).collect();
        std::fs::write(self.dir.join("outcomes"), outcomes.concat()).unwrap();
        let (all, first) = (broken.len(), &broken[..broken.len().min(20)]);
        panic!(
            "seed {}, phase {phase}, state kept: {copied}, {all} broken:\n{}",
            self.seed,
            first.join("\n")
        );
    }

    /// Says what there was, and fails when anything was missing.
    fn covered(&mut self, phases: u32) {
        for machine in 0..MACHINES {
            let path = self.arena.state().join(format!("m{machine}/record.json"));
            let record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            for (reason, count) in record["counters"]["phantoms"].as_object().unwrap() {
                println!("soak: m{machine}, phantoms, {reason}: {count}");
                *self.counts.entry("phantoms cleared").or_default() += count.as_u64().unwrap();
            }
        }
        println!("soak: phases: {phases}");
        for (what, count) in &self.counts {
            println!("soak: {what}: {count}");
        }
        let needed = [
            "jobs ended by themselves",
            "jobs begun beside others, as agreed",
            "jobs killed",
            "supervisors killed",
            "waiters killed",
            "jobs stopped",
            "supervisors stopped",
            "waiters stopped",
            "continued",
            "disk filled",
            "lock files deleted",
            "PIDs rewound",
            "phantoms cleared",
            "outcome: the job's status",
            "outcome: busy, 75",
        ];
        let missing: Vec<_> = needed.iter().filter(|what| self.count(what) == 0).collect();
        assert!(missing.is_empty() || self.sham, "seed {}: no {missing:?}", self.seed);
    }
}
