//! Holders in PID, time and mount namespaces, seen from every side, alive and dead: from inside, from
//! the namespaces above, from below and from beside, where their PIDs mean nothing.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use serde_json::Value;

use crate::support::{
    Done, JOBGUARD, PATIENCE, Running, Sandbox, ends, require_program, require_root, run,
};

/// How long a slack lifeline takes to be evidence.
const GRACE: Duration = Duration::from_secs(1);

/// `unshare` to a PID namespace that ends with its first process, and shows itself in `/proc`.
const NEW_NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// The words of a command, as one.
fn command(sandbox: &Sandbox, words: &[&str]) -> Command {
    require_root("namespaces");
    require_program(words[0]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    sandbox.confine(&mut command);
    command
}

/// From where a holder is looked at. Its namespace has a parent that is not the kernel's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Inside,
    Parent,
    /// The kernel's first namespace, where all processes are seen.
    Outside,
    /// A namespace below.
    Child,
    /// A sibling.
    Beside,
}

/// A holder in a namespace, two below the first.
struct Holder {
    sandbox: Sandbox,
    /// The outer `unshare`; everything ends with it.
    shell: Running,
    /// Our PIDs: of the first processes of the outer and the inner namespace, supervisor and job.
    outer: i32,
    inner: i32,
    supervisor: i32,
    job: i32,
}

impl Holder {
    fn start(on_supervisor_death: &str) -> Self {
        // The shells are the namespaces' first processes. `/bin/true` makes one reap.
        let inner = r#""$@" -m m1 -- sh -c 'echo held; exec sleep inf'
            while read -r _; do /bin/true; echo reaped; done"#;
        let outer = r#"inner=$1; shift; "$@" sh -c "$inner" "$jobguard" "$jobguard" \
            --on-supervisor-death "$policy"; :"#;
        let sandbox = Sandbox::new();
        let words = [&NEW_NAMESPACE[..], &["sh", "-c", outer, "sh", inner], &NEW_NAMESPACE];
        let mut unshare = command(&sandbox, &words.concat());
        unshare.env("jobguard", JOBGUARD).env("policy", on_supervisor_death);
        let mut shell = Running::start(unshare.stdin(Stdio::piped()));
        assert_eq!(shell.line(), "held");
        let outer = child(shell.pid());
        let inner = child(child(outer));
        let supervisor = child(inner);
        let job = child(supervisor);
        Self { sandbox, shell, outer, inner, supervisor, job }
    }

    fn jobguard(&self, from: From, words: &[&str]) -> Done {
        let (outer, inner) = (self.outer.to_string(), self.inner.to_string());
        let enter = |pid| vec!["nsenter", "--target", pid, "--pid", "--mount"];
        let mut all = match from {
            From::Inside | From::Child => enter(&inner),
            From::Parent | From::Beside => enter(&outer),
            From::Outside => Vec::new(),
        };
        if matches!(from, From::Child | From::Beside) {
            all.extend(NEW_NAMESPACE);
        }
        all.push(JOBGUARD);
        all.extend(words);
        run(&mut command(&self.sandbox, &all))
    }

    fn status(&self, from: From) -> (i32, String) {
        let done = self.jobguard(from, &["status", "m1", "--json"]);
        (done.code(), done.json()["reason"].as_str().unwrap_or_default().to_owned())
    }

    fn try_run(&self, from: From) -> Done {
        self.jobguard(from, &["-n", "-m", "m1", "--", "true"])
    }

    /// Somebody who holds it, for a reason or for want of one.
    #[track_caller]
    fn is_held(&self, from: From, code: i32, reason: &str) {
        assert_eq!(self.status(from), (code, reason.to_owned()));
        self.try_run(from).exits(75);
    }
}

/// The only child of a process, as we number it.
fn child(pid: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap_or_else(|_| panic!("children of {pid}: {children:?}"))
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(ends(pid, PATIENCE));
}

#[rstest]
fn a_holder_seen_from(
    #[values(From::Inside, From::Parent, From::Outside, From::Child, From::Beside)] from: From,
    #[values("kill", "keep")] on_supervisor_death: &str,
) {
    let mut holder = Holder::start(on_supervisor_death);
    holder.is_held(from, 0, "");

    end(holder.supervisor);
    // Where its processes are seen; elsewhere only its lifeline is felt.
    let sees = matches!(from, From::Inside | From::Parent | From::Outside);
    if on_supervisor_death == "keep" {
        match sees {
            true => holder.is_held(from, 0, ""),
            false => holder.is_held(from, 4, "other_namespace"),
        }
        end(holder.job);
    }
    assert!(ends(holder.job, PATIENCE));
    writeln!(holder.shell.child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(holder.shell.line(), "reaped");

    let reason = match (from, on_supervisor_death) {
        (From::Inside | From::Outside, _) => "process_gone",
        // A parent sees the living, but "not found" proves something only to the first namespace.
        (_, "kill") => "supervisor_gone",
        _ => {
            let why = if from == From::Parent { "unclear" } else { "other_namespace" };
            holder.is_held(from, 4, why);
            holder.jobguard(from, &["clear", "m1"]).exits(75);
            holder.try_run(From::Inside).exits(0);
            return;
        }
    };
    let before = Instant::now();
    assert_eq!(holder.status(from), (1, reason.to_owned()));
    assert_eq!(before.elapsed() >= GRACE, reason == "supervisor_gone", "{:?}", before.elapsed());
    holder.try_run(from).exits(0).says("cleared");
    assert_eq!(holder.status(from), (3, String::new()));
}

/// jobguard as the first process of a container that is killed and started again, beside the one
/// before or below it: the PIDs are the same each time, and often the namespace's inode number is.
#[rstest]
fn a_container_that_is_restarted_clears_what_it_left(#[values(1, 2)] depth: usize) {
    const RESTARTS: u32 = 3;
    let sandbox = Sandbox::new();
    let job = ["-w", "5", "-m", "m1", "--", "sh", "-c", "echo begun; exec sleep inf"];
    let start = |depth: usize| {
        let words = [NEW_NAMESPACE.repeat(depth), vec![JOBGUARD], job.to_vec()];
        let mut container = Running::start(&mut command(&sandbox, &words.concat()));
        assert_eq!(container.line(), "begun");
        assert_eq!(sandbox.record("m1")["holders"][0]["supervisor"]["pid"], 1);
        container
    };
    for round in 0..RESTARTS {
        // Beside the one before, or below its parent.
        drop(start(if round % 2 == 0 { 1 } else { depth }));
    }
    // Nobody has to know anything about a holder that is cleared by itself a second later.
    let words = [&NEW_NAMESPACE[..], &[JOBGUARD, "-n", "-m", "m1", "--", "true"]].concat();
    let next = run(&mut command(&sandbox, &words)).exits(0).says("supervisor gone");
    assert!(!next.stderr().contains("--force"), "{}", next.stderr());
    let phantoms = &sandbox.record("m1")["counters"]["phantoms"];
    println!("{RESTARTS} restarts, depth {depth}; cleared: {phantoms}");
    let cleared: u64 = phantoms.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(cleared, u64::from(RESTARTS));
}

/// A container as systemd-nspawn makes them: PID, mount, UTS and IPC namespaces, a machine ID of its
/// own, and a file bound over the boot ID, a new one at each start. The state directory is shared.
struct Nspawn<'a> {
    sandbox: &'a Sandbox,
    starts: u32,
}

impl Nspawn<'_> {
    fn start(&mut self, words: &[&str]) -> Command {
        self.starts += 1;
        let boot_id = self.sandbox.path(&format!("boot_id.{}", self.starts));
        let digit = self.starts.to_string();
        let text = format!("{}-1111-4111-8111-111111111111\n", digit.repeat(8));
        std::fs::write(&boot_id, text).unwrap();
        let machine_id = self.sandbox.path("machine-id");
        std::fs::write(&machine_id, "0123456789abcdef0123456789abcdef\n").unwrap();
        let script = "mount --bind \"$boot_id\" /proc/sys/kernel/random/boot_id \
            && mount --bind \"$machine_id\" /etc/machine-id && hostname container && exec \"$@\"";
        let all = [&NEW_NAMESPACE[..], &["--uts", "--ipc", "sh", "-c", script, "sh", JOBGUARD]];
        let mut command = command(self.sandbox, &[all.concat(), words.to_vec()].concat());
        command.env("boot_id", boot_id).env("machine_id", machine_id);
        command
    }
}

#[test]
fn an_nspawn_container_holds_what_it_holds_and_clears_what_it_left() {
    let sandbox = Sandbox::new();
    let mut nspawn = Nspawn { sandbox: &sandbox, starts: 0 };
    let status = |command: &mut Command| {
        let done = run(command);
        (done.code(), done.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    let job = ["-w", "5", "-m", "m1", "--", "sh", "-c", "echo begun; exec sleep inf"];
    for round in 0..3 {
        let mut container = Running::start(&mut nspawn.start(&job));
        assert_eq!(container.line(), "begun");
        let host = &sandbox.record("m1")["holders"][0]["host"];
        assert_eq!(host["name"], "container");
        assert_eq!(host["boot_id_genuine"], false);
        assert_eq!(host["boot_id"].as_str().unwrap().len(), 36);
        // Nobody can tell that this is the same kernel, and nobody frees it.
        let asks = ["status", "m1", "--json"];
        let tries = ["-n", "-m", "m1", "--", "true"];
        assert_eq!(status(&mut sandbox.jobguard(asks)).0, 4);
        assert_eq!(status(&mut nspawn.start(&asks)).0, 4);
        run(&mut sandbox.jobguard(tries)).exits(75);
        run(&mut nspawn.start(&tries)).exits(75);
        let first = child(container.pid());
        drop(container);
        assert!(ends(first, PATIENCE));
        // Its lifeline is slack and its job died with it: that holds on any kernel of this disk.
        let seen = match round {
            0 => status(&mut sandbox.jobguard(asks)),
            _ => status(&mut nspawn.start(&asks)),
        };
        assert_eq!(seen, (1, "supervisor_gone".to_owned()));
        // The next round's container clears it, and the host the last one's.
    }
    run(&mut sandbox.jobguard(["-n", "-m", "m1", "--", "true"])).exits(0).says("supervisor gone");
    assert_eq!(sandbox.record("m1")["counters"]["phantoms"]["supervisor_gone"], 3);
}

/// In another time namespace the same process has another start time. Pidfd inodes do not mind.
#[rstest]
fn a_holder_whose_clock_is_another(#[values(true, false)] holder_inside: bool) {
    let sandbox = Sandbox::new();
    let shifted = ["unshare", "--time", "--boottime", "1000000", "--fork", "--kill-child"];
    let jobguard = |inside: bool, words: &[&str]| {
        let shift = if inside { &shifted[..] } else { &[] };
        command(&sandbox, &[shift, &[JOBGUARD], words].concat())
    };
    let job = ["-m", "m1", "--", "sh", "-c", "echo $$; read _; exec sleep inf"];
    let mut holder = Running::start(jobguard(holder_inside, &job).stdin(Stdio::piped()));
    let job: i32 = holder.line().parse().unwrap();
    let recorded = sandbox.record("m1");
    let ticks = recorded["holders"][0]["job"]["start_ticks"].as_u64().unwrap();
    let seen_here = jobguard::identity::stat::Stat::read(job).unwrap().start_ticks;
    assert_eq!(ticks != seen_here, holder_inside, "the shift is real");

    let status =
        || -> Value { run(&mut jobguard(!holder_inside, &["status", "m1", "--json"])).json() };
    assert_eq!(status()["verdict"], "live");
    run(&mut jobguard(!holder_inside, &["-n", "-m", "m1", "--", "true"])).exits(75);
    writeln!(holder.child.stdin.as_mut().unwrap()).unwrap();
    drop(holder);
    let supervisor = recorded["holders"][0]["supervisor"]["pid"].as_i64().unwrap() as i32;
    for pid in [supervisor, job] {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // it may be over already
        assert!(ends(pid, PATIENCE));
    }
    assert_eq!(status()["reason"], "process_gone");
    run(&mut jobguard(!holder_inside, &["-n", "-m", "m1", "--", "true"])).exits(0);
}
