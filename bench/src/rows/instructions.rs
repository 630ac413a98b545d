//! What does not depend on who else uses the machine: instructions, system calls, bytes.

use std::process::{Command, Stdio};

use crate::peers::find;
use crate::report::{Report, Row, Unit};
use crate::rig::Rig;

const MIB: f64 = 1024.0;

pub fn measure(rig: &Rig, report: &mut Report) {
    let size = std::fs::metadata(&rig.jobguard).expect("the binary").len().div_ceil(1024);
    let row = Row::number("binary", "static binary, default features", Unit::KiB, size as f64);
    report.rows.push(row.at_most(2.0 * MIB));

    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    for _ in 0..2 {
        rig.guarded(&state, "m", &["true"]).timed();
    }
    let under = |tool: &str, options: &[&str]| {
        let mut command = Command::new(find(tool).unwrap_or_else(|| panic!("{tool} is missing")));
        command.args(options).arg(&rig.jobguard).args(["-m", "m", "--", "/usr/bin/true"]);
        command.env_clear().env("PATH", "/usr/bin").env("JOBGUARD_STATE_DIR", &state);
        command.stdin(Stdio::null()).output().expect("it was found")
    };
    let said = under("valgrind", &["--tool=callgrind", "--callgrind-out-file=/dev/null"]).stderr;
    let said = String::from_utf8_lossy(&said);
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    let count = count.and_then(|(_, count)| count.trim().parse().ok());
    let count = count.unwrap_or_else(|| panic!("callgrind counted nothing: {said}"));
    let what = "instructions of a run (callgrind)";
    report.rows.push(Row::number("instructions", what, Unit::Count, count));

    let trace = scratch.path().join("trace");
    under("strace", &["-o", &trace.display().to_string()]);
    let calls = std::fs::read_to_string(&trace).expect("a trace").lines().count();
    let what = "system calls of a run's supervisor";
    // The last line tells the end.
    report.rows.push(Row::number("syscalls", what, Unit::Count, calls as f64 - 1.0));
}
