//! What the scenarios ask of a guest again and again.

use std::time::Instant;

use serde_json::Value;

use crate::support::Done;
use crate::vm::Vm;

/// What `status` answers: the exit code, the verdict, the reason.
pub type Answer = (i32, String, String);

/// An [`Answer`] to compare with.
pub fn answer(code: i32, verdict: &str, reason: &str) -> Answer {
    (code, verdict.to_owned(), reason.to_owned())
}

impl Vm<'_> {
    /// Has a run hold the machine until it is killed, and returns its record once it has begun.
    #[track_caller]
    pub fn hold(&mut self, machine: &str) -> Value {
        self.run(&format!(
            "fifo=$(mktemp -u); mkfifo $fifo
             jobguard -m {machine} -- sh -c 'echo begun >$0; exec sleep 1000000' $fifo \
                 >/dev/null 2>&1 &
             read -r _ <$fifo"
        ))
        .exits(0)
        .silent();
        self.record(machine)["holders"][0].clone()
    }

    /// The record of a machine.
    #[track_caller]
    pub fn record(&mut self, machine: &str) -> Value {
        self.run(&format!("cat /disk/state/{machine}/record.json")).exits(0).json()
    }

    #[track_caller]
    pub fn status(&mut self, machine: &str) -> Answer {
        let done = self.run(&format!("jobguard status {machine} --json"));
        let seen = done.json();
        let text = |name: &str| seen[name].as_str().unwrap_or("").to_owned();
        (done.code(), text("verdict"), text("reason"))
    }

    /// The next run goes through without help, and says this on stderr.
    #[track_caller]
    pub fn goes_through(&mut self, machine: &str, says: &str) {
        let done = self.run(&format!("jobguard -n -m {machine} -- echo ran")).exits(0).says(says);
        assert_eq!(done.stdout(), "ran\n");
        assert_eq!(done.stderr().lines().count(), 1, "{done:?}");
    }

    /// The machine is held for everybody.
    #[track_caller]
    pub fn is_held(&mut self, machine: &str) {
        let done = self.run(&format!("jobguard -n -m {machine} -- echo ran")).exits(75);
        assert_eq!(done.stdout(), "");
    }

    /// How often phantoms of this machine were cleared for this reason, by the event log and by the
    /// counters, which must agree.
    #[track_caller]
    pub fn cleared(&mut self, machine: &str, reason: &str) -> u64 {
        let counted = self.record(machine)["counters"]["phantoms"][reason].as_u64().unwrap_or(0);
        let logged = self
            .events(machine)
            .into_iter()
            .filter(|event| event["event"] == "phantom_cleared" && event["reason"] == reason);
        assert_eq!(logged.count() as u64, counted, "{machine}: {reason}");
        counted
    }

    /// The event log of a machine, without the lines that a power loss tore.
    #[track_caller]
    pub fn events(&mut self, machine: &str) -> Vec<Value> {
        let log = self.run(&format!("cat /disk/state/{machine}/events.jsonl"));
        log.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Asks until the answer is 0: of what no descriptor announces.
    #[track_caller]
    pub fn until(&mut self, condition: &str) -> Done {
        let deadline = Instant::now() + crate::vm::PATIENCE;
        loop {
            let done = self.run(condition);
            if done.code() == 0 {
                return done;
            }
            assert!(Instant::now() < deadline, "never: {condition}");
            nix::poll::poll(&mut [], nix::poll::PollTimeout::from(20_u8)).unwrap();
        }
    }

    /// Kills processes of the guest, and waits until nobody has their PIDs.
    #[track_caller]
    pub fn kill(&mut self, pids: &[i64]) {
        let pids: Vec<String> = pids.iter().map(i64::to_string).collect();
        let pids = pids.join(" ");
        self.run(&format!("kill -KILL {pids}"));
        self.until(&format!("for pid in {pids}; do [ ! -e /proc/$pid ] || exit 1; done"));
    }
}

/// The PIDs of a holder: its job's and its supervisor's.
pub fn pids(holder: &Value) -> (i64, i64) {
    let pid = |who: &str| holder[who]["pid"].as_i64().unwrap();
    (pid("job"), pid("supervisor"))
}

/// Gives a PID to a process that sleeps. The kernel hands out the next after the last, to its own
/// threads, too: so it may take more than one try.
pub fn occupy(pid: i64) -> String {
    format!(
        "for _ in 1 2 3 4 5 6 7 8 9; do
             echo {} >/proc/sys/kernel/ns_last_pid
             sleep 1000000 >/dev/null 2>&1 &
             [ $! != {pid} ] || exit 0
             kill -KILL $!
         done
         echo \"missed: $! is not {pid}\" >&2
         exit 1",
        pid - 1
    )
}
