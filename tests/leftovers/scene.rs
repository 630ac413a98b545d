//! A run whose job leaves something behind.

use std::process::{Command, Stdio};

use crate::support::litter::Leash;
use crate::support::{Done, Running, Sandbox, run};

pub struct Scene {
    pub sandbox: Sandbox,
    pub leash: Leash,
}

/// A run under way, and those whom its job left, as they said.
pub struct Left {
    pub run: Running,
    pub pids: Vec<i32>,
}

impl Scene {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        let leash = Leash::new(&sandbox);
        Self { sandbox, leash }
    }

    /// jobguard on `m1` with these options, separated by spaces, and this litter for a job.
    pub fn command(&self, options: &str, litter: &str) -> Command {
        let mut command = self.sandbox.jobguard(["-m", "m1"]);
        command.args(options.split_whitespace()).arg("--").args(self.leash.job(litter));
        command.stderr(Stdio::piped());
        command
    }

    /// The same, once `count` of them have begun.
    #[track_caller]
    pub fn start(&mut self, options: &str, litter: &str, count: usize) -> Left {
        let command = self.command(options, litter);
        self.started(command, count)
    }

    #[track_caller]
    pub fn started(&mut self, mut command: Command, count: usize) -> Left {
        let mut run = Running::start(&mut command);
        let pids = (0..count).map(|_| run.line().parse().expect("a PID")).collect();
        self.leash.is_taken();
        Left { run, pids }
    }

    /// Any of our commands, to its end.
    #[track_caller]
    pub fn asks(&self, words: &str) -> Done {
        run(&mut self.sandbox.jobguard(words.split_whitespace()))
    }

    /// Where the run is in its life, by its record.
    pub fn state(&self) -> String {
        if !self.sandbox.machine("m1").join("record.json").exists() {
            return "never used".to_owned();
        }
        let record = self.sandbox.record("m1");
        record["holders"][0]["state"].as_str().unwrap_or("free").to_owned()
    }

    /// Those whom the record says are left.
    pub fn recorded(&self) -> Vec<i64> {
        let record = self.sandbox.record("m1");
        let left = record["holders"][0]["leftovers"].as_array().cloned().unwrap_or_default();
        left.iter().map(|one| one["pid"].as_i64().unwrap()).collect()
    }
}

impl Left {
    /// The exit status and what was said.
    #[track_caller]
    pub fn result(&mut self) -> (Option<i32>, String) {
        let status = self.run.wait();
        let said = self.run.child.stderr.take();
        (status.code(), said.map(|pipe| std::io::read_to_string(pipe).unwrap()).unwrap_or_default())
    }
}
