//! The queue: first come, first served, whoever is killed, stopped or gives up meanwhile.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::support;
use crate::support::held::{Held, waits};
use crate::support::{
    PATIENCE, Running, Sandbox, ends, require_program, require_root, run, state, until,
};

/// How long a waiter that does nothing is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// A machine that is held, and those who wait for it; their jobs log their names.
struct Line {
    sandbox: Sandbox,
    held: Held,
    waiters: Vec<Running>,
}

impl Line {
    fn new(count: usize) -> Self {
        let sandbox = Sandbox::new();
        let held = Held::start(&sandbox);
        let mut line = Self { sandbox, held, waiters: Vec::new() };
        (0..count).for_each(|_| line.join(&[]));
        line
    }

    /// One more waiter, with a job that ends at once.
    fn join(&mut self, options: &[&str]) {
        let log = self.sandbox.path("log");
        let script = format!("echo {} >>'{}'", self.waiters.len(), log.display());
        self.join_with(options, &script);
    }

    fn join_with(&mut self, options: &[&str], script: &str) {
        let mut command = self.sandbox.jobguard(options);
        command.args(["-m", "m1", "--", "sh", "-c", script]).stdin(Stdio::piped());
        let waiter = Running::start(&mut command);
        until("it waits", || waits(waiter.pid()));
        self.waiters.push(waiter);
    }

    /// The order in which jobs ran.
    fn order(&self) -> Vec<usize> {
        let log = fs::read_to_string(self.sandbox.path("log")).unwrap_or_default();
        log.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn stop(&self, index: usize) {
        self.waiters[index].signal(Signal::SIGSTOP);
        until("it is stopped", || state(self.waiters[index].pid()) == Some('T'));
    }

    fn go_on(&self, index: usize) {
        self.waiters[index].signal(Signal::SIGCONT);
    }

    fn all_succeed(&mut self) {
        for waiter in &mut self.waiters {
            assert!(waiter.wait().success());
        }
    }

    /// What is left of the queue.
    fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sandbox.machine("m1").join("queue"));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

#[test]
fn two_hundred_are_served_in_the_order_in_which_they_came() {
    const COUNT: usize = 200;
    let mut line = Line::new(COUNT);
    let begun = Instant::now();
    line.held.let_go();
    line.all_succeed();
    println!("{COUNT} waiters served in {:?}", begun.elapsed());
    assert_eq!(line.order(), (0..COUNT).collect::<Vec<_>>());
    assert_eq!(line.leftovers(), [""; 0]);
    let counters = &line.sandbox.record("m1")["counters"];
    assert_eq!((&counters["runs"], &counters["contended"]), (&201.into(), &200.into()));
}

/// How often a process has left a processor.
fn switches(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |line: &str| line.split_ascii_whitespace().last()?.parse::<u64>().ok();
    status.lines().filter(|line| line.contains("ctxt_switches")).filter_map(of).sum()
}

/// Whoever wakes up has left its processor once more by the time it sleeps again.
#[rstest]
fn a_release_wakes_three_at_most(#[values(1, 3, 10, 100)] count: usize) {
    let mut line = Line::new(0);
    line.join_with(&[], "echo mine; read _; exit 0");
    (1..count).for_each(|_| line.join(&[]));
    let all = |line: &Line| -> Vec<u64> {
        line.waiters.iter().map(|waiter| switches(waiter.pid())).collect()
    };
    let before = all(&line);
    line.held.let_go();
    assert_eq!(line.waiters[0].line(), "mine");
    let woken = || all(&line).iter().zip(&before).filter(|(now, then)| now > then).count();
    // Those who are to be woken are: the third learns that it is the second now.
    until("all who wake up have", || woken() >= count.min(3));
    until("they sleep", || line.waiters[1..].iter().all(|waiter| waits(waiter.pid())));
    assert!(!ends(line.waiters[0].pid(), Duration::from_millis(200)));
    println!("{count} waiters: {} woken", woken());
    assert_eq!(woken(), count.min(3));
    drop(line);
}

/// The head has its turn, keeps its place, and gets the machine before everybody who came later.
#[test]
fn a_head_that_is_stopped_is_passed_over_and_keeps_its_place() {
    let mut line = Line::new(1);
    line.stop(0);
    let log = line.sandbox.path("log");
    line.join_with(&[], &format!("echo mine; read _; echo 1 >>'{}'", log.display()));
    line.join(&[]);
    let before = Instant::now();
    line.held.let_go();
    assert_eq!(line.waiters[1].line(), "mine");
    assert!(before.elapsed() >= GRACE, "{:?}", before.elapsed());
    line.go_on(0);
    until("the head waits again", || waits(line.waiters[0].pid()));
    line.waiters[1].signal(Signal::SIGTERM);
    line.waiters[1].wait();
    line.waiters[0].wait();
    line.waiters[2].wait();
    assert_eq!(line.order(), [0, 2]);
    assert_eq!(line.leftovers(), [""; 0]);
}

/// Nobody waits for two who are stopped, either.
#[test]
fn the_third_passes_two_who_are_stopped() {
    let mut line = Line::new(3);
    line.stop(0);
    line.stop(1);
    // It looks once a minute; a second one arrives, and wakes nobody.
    line.held.let_go();
    line.join(&["-w", "30"]);
    line.go_on(1);
    for index in [1, 2, 3] {
        assert!(line.waiters[index].wait().success());
    }
    line.go_on(0);
    assert!(line.waiters[0].wait().success());
    let mut order = line.order();
    assert_eq!(order.len(), 4);
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn the_rest_keep_their_order_when_others_are_killed() {
    const COUNT: usize = 40;
    let mut line = Line::new(COUNT);
    // Every one whose bit is set; the same in each run, and none of it special.
    let killed = |index: usize| (0x9_D2C5_63B8_u64 >> (index % 36)) & 1 == 1;
    for index in (0..COUNT).rev().filter(|index| killed(*index)) {
        line.waiters[index].child.kill().unwrap();
        line.waiters[index].wait();
    }
    let survivors: Vec<usize> = (0..COUNT).filter(|index| !killed(*index)).collect();
    let begun = Instant::now();
    line.held.let_go();
    for index in &survivors {
        assert!(line.waiters[*index].wait().success());
    }
    println!(
        "{} of {COUNT} killed, the rest served in {:?}",
        COUNT - survivors.len(),
        begun.elapsed()
    );
    assert_eq!(line.order(), survivors);
    assert!(begun.elapsed() < PATIENCE / 2, "somebody waited for the dead");
    // The last of the dead have nobody behind them: whoever comes next sweeps them.
    run(&mut line.sandbox.jobguard(["-m", "m1", "--", "true"])).exits(0).silent();
    assert_eq!(line.leftovers(), [""; 0]);
}

#[test]
fn who_gives_up_leaves_nothing() {
    let mut line = Line::new(0);
    for _ in 0..3 {
        line.join(&["-w", "0.3"]);
    }
    for waiter in &mut line.waiters {
        assert_eq!(waiter.wait().code(), Some(75));
    }
    assert_eq!(line.leftovers(), [""; 0]);
    line.join(&[]);
    line.waiters[3].signal(Signal::SIGTERM);
    line.waiters[3].wait();
    line.join(&[]);
    line.held.let_go();
    assert!(line.waiters[4].wait().success());
    assert_eq!(line.order(), [4]);
    assert_eq!(line.leftovers(), [""; 0]);
}

/// Who does not wait gives a waiter the time to take a free machine, and no more.
#[rstest]
fn a_stopped_waiter_keeps_nobody_from_a_free_machine(
    #[values("fail", "skip", "reuse")] policy: &str,
) {
    let mut line = Line::new(1);
    line.stop(0);
    line.held.let_go();
    assert_eq!(line.held.supervisor.wait().code(), Some(support::held::STATUS));
    let before = Instant::now();
    let mut tried = line.sandbox.jobguard(["--on-busy", policy, "-m", "m1", "--", "echo", "ran"]);
    let tried = run(&mut tried).exits(0).silent();
    assert_eq!(tried.stdout(), "ran\n");
    assert!(before.elapsed() >= GRACE, "{:?}", before.elapsed());
    line.go_on(0);
    line.all_succeed();
}

/// Whose ticket was removed queues anew, and takes nobody else's with it.
#[test]
fn a_place_that_was_removed_is_no_place() {
    let mut line = Line::new(2);
    let queue = line.sandbox.machine("m1").join("queue");
    fs::remove_dir_all(&queue).unwrap();
    (0..3).for_each(|_| line.join(&[]));
    // The first, whose number another has by now, gives up. That wakes the second, which queues anew.
    line.waiters[0].signal(Signal::SIGTERM);
    line.waiters[0].wait();
    let numbers = || line.leftovers().iter().filter(|name| !name.contains('.')).count();
    until("the three are there, and the second has queued anew", || numbers() == 4);
    line.held.let_go();
    for index in 1..5 {
        assert!(line.waiters[index].wait().success());
    }
    assert_eq!(line.order(), [2, 3, 4, 1]);
    assert_eq!(line.leftovers(), [""; 0]);
}

/// Not a single system call in ten seconds, whatever its place is.
#[test]
fn an_idle_waiter_makes_no_call() {
    require_root("tracing");
    require_program("strace");
    let line = Line::new(4);
    let traces: Vec<_> = (0..4)
        .map(|index| {
            let trace = line.sandbox.path(&format!("trace.{index}"));
            let mut strace = std::process::Command::new("strace");
            strace.args(["-o", trace.to_str().unwrap(), "-p"]);
            strace.arg(line.waiters[index].pid().to_string());
            strace.stderr(Stdio::null());
            (Running::new(strace.spawn().unwrap()), trace)
        })
        .collect();
    let attached = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("TracerPid:\t0\n")
    };
    until("they are traced", || line.waiters.iter().all(|waiter| attached(waiter.pid())));
    // The one that was interrupted by the tracer is shown as made again.
    let calls = |trace| fs::read_to_string(trace).unwrap_or_default().lines().count();
    until("the traces have begun", || traces.iter().all(|(_, trace)| calls(trace) > 0));
    let before: Vec<usize> = traces.iter().map(|(_, trace)| calls(trace)).collect();
    assert!(!ends(line.held.job.0, Duration::from_secs(10)));
    let after: Vec<usize> = traces.iter().map(|(_, trace)| calls(trace)).collect();
    assert_eq!(after, before);
}

/// Whoever may write there can plant a ticket that says anything; a terminal obeys none of it.
#[test]
fn a_planted_ticket_is_shown_safely() {
    let sandbox = Sandbox::new();
    let _held = Held::start(&sandbox);
    let queue = sandbox.machine("m1").join("queue");
    fs::create_dir(&queue).unwrap();
    nix::unistd::mkfifo(&queue.join("5"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader =
        fs::File::options().read(true).write(true).open(queue.join("5")).expect("it is taut");
    let evil = "\u{1b}[2J\u{9b}\u{202e}";
    let ticket = serde_json::json!({
        "schema": 1, "mode": "exclusive", "slots": 1, "pid": 1, "host": evil,
        "command": [evil], "user": evil, "since": evil,
    });
    fs::write(queue.join("5.json"), ticket.to_string()).unwrap();
    fs::write(queue.join("no number"), "").unwrap();
    for words in [&["queue", "m1"][..], &["queue", "m1", "--json"], &["info", "m1"], &["list"]] {
        let done = run(&mut sandbox.jobguard(words)).exits(0).silent();
        let unsafe_one = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!done.stdout().contains(unsafe_one), "{done:?}");
    }
    let seen = run(&mut sandbox.jobguard(["queue", "m1", "--json"])).json();
    assert_eq!(seen["queue"][0]["command"][0], evil);
    assert_eq!(seen["queue"][0]["position"], 1);
    // Half a ticket is somebody all the same.
    fs::write(queue.join("5.json"), "{").unwrap();
    let done = run(&mut sandbox.jobguard(["queue", "m1"])).exits(0).silent();
    assert!(done.stdout().contains("; 1 waiting\nPOSITION"), "{done:?}");
}
