//! What jobs say of themselves: a log of their own, and their environment in `/proc`. Overlap is
//! judged by these, never by what jobguard wrote.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Sandbox;

/// A log to which jobs append a line when they start and one when they end.
pub struct JobLog {
    path: PathBuf,
}

impl JobLog {
    pub fn new(sandbox: &Sandbox, name: &str) -> Self {
        Self { path: sandbox.path(name) }
    }

    /// The command line of a job that logs its start, does `work` (shell code) and logs its end.
    /// `$$` is its PID in the log; dash opens with `O_APPEND` and writes a line in one call.
    pub fn job(&self, work: &str) -> Vec<String> {
        self.job_as("", work)
    }

    /// The same for a job that is told from others by `who`.
    pub fn job_as(&self, who: &str, work: &str) -> Vec<String> {
        let script = format!("echo start $$ {who} >>\"$0\"; {work}; echo end $$ {who} >>\"$0\"");
        let path = self.path.to_str().unwrap().to_owned();
        ["sh", "-c", &script].map(str::to_owned).into_iter().chain([path]).collect()
    }

    fn lines(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let split = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
        text.lines().map(|line| split(line).expect("'start PID' or 'end PID'")).collect()
    }

    /// How many jobs have started.
    pub fn starts(&self) -> usize {
        self.lines().iter().filter(|(what, _)| what == "start").count()
    }

    /// Asserts that no job started before the one before it had ended, and that all have ended.
    /// Returns how many there were.
    #[track_caller]
    pub fn never_two(&self) -> usize {
        let lines = self.lines();
        for pair in lines.chunks(2) {
            let whole = matches!(pair, [(start, a), (end, b)]
                if start == "start" && end == "end" && a == b);
            assert!(whole, "two jobs overlapped, or one did not end: {lines:?}");
        }
        lines.len() / 2
    }
}

impl JobLog {
    /// Asserts that at no time others ran together than `may` be, and that all have ended. Returns
    /// how many there were, and how many at a time at most.
    #[track_caller]
    pub fn together(&self, may: impl Fn(&[&str]) -> bool) -> (usize, usize) {
        let (mut running, mut count, mut most) = (Vec::<(String, String)>::new(), 0, 0);
        for (what, job) in self.lines() {
            let (pid, who) = job.split_once(' ').unwrap_or((&job, ""));
            if what == "start" {
                running.push((pid.to_owned(), who.to_owned()));
                count += 1;
            } else {
                running.retain(|(other, _)| other != pid);
            }
            most = most.max(running.len());
            let all: Vec<&str> = running.iter().map(|(_, who)| who.as_str()).collect();
            assert!(may(&all), "at once: {running:?}");
        }
        assert!(running.is_empty(), "these did not end: {running:?}");
        (count, most)
    }

    /// Who has started, in order.
    pub fn order(&self) -> Vec<String> {
        let who = |job: &str| job.split_once(' ').map_or("", |(_, who)| who).to_owned();
        self.lines().iter().filter(|(what, _)| what == "start").map(|(_, job)| who(job)).collect()
    }
}

/// The processes of a sandbox, found by their environment; whoever is left is killed on drop.
pub struct Inhabitants<'a>(pub &'a Sandbox);

impl Inhabitants<'_> {
    /// PIDs, and their parents', of the jobs that have begun and their descendants: the token is
    /// in a process's environment from its exec on, and not before.
    pub fn jobs(&self) -> BTreeMap<i32, i32> {
        self.having("JOBGUARD_TOKEN=")
    }

    fn having(&self, variable: &str) -> BTreeMap<i32, i32> {
        let state = format!("JOBGUARD_STATE_DIR={}", self.0.state().display());
        let pids = std::fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            let has = |text: &str| variables.clone().any(|v| v.starts_with(text.as_bytes()));
            has(variable) && variables.any(|v| v == state.as_bytes())
        };
        pids.filter(ours).filter_map(|pid| Some((pid, parent(pid)?))).collect()
    }

    /// Asserts that no job runs but the one that the record names.
    #[track_caller]
    pub fn all_recorded(&self, machine: &str) {
        let recorded = |pid: i32| {
            let path = self.0.machine(machine).join("record.json");
            let Ok(bytes) = std::fs::read(path) else { return false };
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let holders = record["holders"].as_array().unwrap();
            holders.iter().any(|holder| holder["job"]["pid"] == pid)
        };
        for (pid, parent) in self.jobs() {
            let known = recorded(pid) || recorded(parent);
            assert!(known || super::state(pid).is_none(), "the job {pid} runs unrecorded");
        }
    }
}

impl Drop for Inhabitants<'_> {
    fn drop(&mut self) {
        for pid in self.having("").into_keys() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // already over is fine
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
