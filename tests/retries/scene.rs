//! A job that fails, and may be tried again.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Done, Running, Sandbox, run, sleeps, until};

/// A job that fails until its last attempt; each adds a line to the file `attempts`.
const NTH: &str =
    r#"echo "$JOBGUARD_TOKEN $JOBGUARD_HOLDS" >>"$0"; [ "$(wc -l <"$0")" -ge "$1" ] || "#;

pub struct Scene {
    pub sandbox: Sandbox,
}

impl Scene {
    pub fn new() -> Self {
        Self { sandbox: Sandbox::new() }
    }

    /// A run with these options of a job that does `failing` in all attempts before the one that
    /// succeeds.
    pub fn command(&self, options: &str, failing: &str, succeeds: u32) -> Command {
        let mut command = self.sandbox.jobguard(["-m", "m1"]);
        let script = format!("{NTH} {{ {failing}; }}");
        command.args(options.split_whitespace()).args(["--", "sh", "-c", &script]);
        command.arg(self.sandbox.path("attempts")).arg(succeeds.to_string());
        command.stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn run(&self, options: &str, failing: &str, succeeds: u32) -> Done {
        run(&mut self.command(options, failing, succeeds))
    }

    /// What each attempt has seen of its run.
    pub fn attempts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.sandbox.path("attempts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn state(&self) -> String {
        if !self.sandbox.machine("m1").join("record.json").exists() {
            return "never used".to_owned();
        }
        let record = self.sandbox.record("m1");
        record["holders"][0]["state"].as_str().unwrap_or("free").to_owned()
    }

    /// One that waits for its next attempt, for ever.
    #[track_caller]
    pub fn between_attempts(&self, options: &str) -> Running {
        let mut command =
            self.command(&format!("--retries 1 --retry-delay 1h {options}"), "exit 7", 9);
        let guard = Running::new(command.spawn().unwrap());
        until("it waits to try again", || self.state() == "retrying" && sleeps(guard.pid()));
        guard
    }

    pub fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.sandbox.events("m1").into_iter();
        events.filter(|event| event["event"] == kind).collect()
    }
}
