//! How many instructions jobguard takes, against what it took before: `tests/golden/instructions.txt`.
//! Time on a shared machine is noise; this is not, to a tenth of a percent.
//!
//! Counted by callgrind, since virtual machines have no hardware counters for `perf stat`. It follows
//! the supervisor, not the job. The valgrind of Debian 12 knows no pidfd_open(2) and answers ENOSYS,
//! so what is counted is the way that is gone on kernels without pidfds; stepping through the real
//! one with ptrace(2) gave 6 % less, but that takes a minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "the numbers")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::held::Held;
use support::static_binary::static_jobguard;
use support::{Sandbox, require_program, run};

/// What may come on top: another compiler or another valgrind, but no new habit.
const TOLERANCE: f64 = 0.06;

const HEAD: &str = "\
# The instructions of jobguard, as tests/budget counts them: the static release build under callgrind.
# After a change that is worth it: UPDATE_GOLDEN=1 cargo test --test budget
";

#[test]
fn nothing_takes_more_instructions_than_it_did() {
    require_program("valgrind");
    let counted = BTreeMap::from([
        ("run", uncontended(&["-m", "m"])),
        ("run of two machines", uncontended(&["-m", "m", "-m", "n"])),
        ("status", status()),
    ]);
    let version = valgrind_version();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut text = format!("{HEAD}valgrind: {version}\n");
        counted.iter().for_each(|(what, count)| writeln!(text, "{what}: {count}").unwrap());
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let golden: BTreeMap<&str, &str> = golden.lines().filter_map(|l| l.split_once(": ")).collect();
    println!("{version}; the budget is by {}", golden["valgrind"]);
    for (what, count) in &counted {
        let budget: u64 = golden[what].parse().unwrap();
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let change = *count as f64 / budget as f64 - 1.0;
        println!("{what}: {count} instructions, {:+.2} % of {budget}", change * 100.0);
        assert!(change < TOLERANCE, "{what}: {count} instructions, not {budget}: why so many?");
        if change < -TOLERANCE {
            println!("{what}: well done, now UPDATE_GOLDEN=1 keeps it");
        }
    }
}

/// A run of `true` on machines that are free, and were used before.
fn uncontended(machines: &[&str]) -> u64 {
    let sandbox = Sandbox::in_tmp();
    let words: Vec<&str> = machines.iter().chain(&["--", "/usr/bin/true"]).copied().collect();
    for _ in 0..2 {
        run(Command::new(static_jobguard())
            .args(&words)
            .env_clear()
            .current_dir("/")
            .env(STATE, sandbox.state()))
        .exits(0)
        .silent();
    }
    count(&sandbox, &words, 0)
}

/// Asking for a machine that is held.
fn status() -> u64 {
    let sandbox = Sandbox::in_tmp();
    let _held = Held::start(&sandbox);
    count(&sandbox, &["status", "m1"], 0)
}

const STATE: &str = "JOBGUARD_STATE_DIR";

/// The instructions of one jobguard, with nothing of this machine in its environment.
fn count(sandbox: &Sandbox, words: &[&str], code: i32) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(static_jobguard()).args(words);
    command
        .env_clear()
        .current_dir("/")
        .env(STATE, sandbox.state())
        .env("PATH", "/usr/bin")
        .stdin(Stdio::null());
    let said = run(&mut command).exits(code).stderr();
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    line.unwrap_or_else(|| panic!("callgrind counted nothing: {said}")).1.trim().parse().unwrap()
}

fn valgrind_version() -> String {
    run(Command::new("valgrind").arg("--version")).exits(0).stdout().trim().to_owned()
}
