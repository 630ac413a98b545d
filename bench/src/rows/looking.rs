//! The commands that only look.

use std::fs;
use std::path::Path;

use crate::launch::{Launch, Started};
use crate::peers::find;
use crate::proc::job;
use crate::race::{Candidate, race};
use crate::report::{Report, Row};
use crate::rig::Rig;

pub fn measure(rig: &Rig, report: &mut Report) {
    status(rig, report);
    list(rig, report);
}

fn status(rig: &Rig, report: &mut Report) {
    let scratch = rig.scratch(&rig.tmpfs);
    let state = scratch.path().join("state");
    rig.guarded(&state, "free", &["true"]).timed();
    let held = rig.guarded(&state, "held", &["sleep", "1000"]).start();
    job(held.pid, "sleep");
    let of = |machine: &str| Candidate::new(machine, rig.jobguard(&state, &["status", machine]));
    let mut free = of("free");
    free.code = 3;
    let least = Candidate::new("true", Launch::new(&[rig.tool("true")], &[]));
    let times = race(vec![free, of("held"), least], rig.times(1000));
    let what = "`status` of a held machine ÷ starting a static `true`";
    report.rows.push(Row::ratio("status_held", what, times.ratio("held", "true")).at_most(1.3));
    let what = "`status` of a free machine ÷ starting a static `true`";
    report.rows.push(Row::ratio("status_free", what, times.ratio("free", "true")).at_most(1.3));
}

fn list(rig: &Rig, report: &mut Report) {
    let machines = if rig.quick { 1000 } else { 10_000 };
    let scratch = rig.scratch(&rig.tmpfs);
    let town = Town::build(rig, &scratch.path().join("state"), machines, machines / 100);
    let list = Candidate::new("list", rig.jobguard(&town.state, &["list"]));
    let cat = Candidate::new("cat", town.cat());
    let times = race(vec![list, cat], rig.times(30));
    let what =
        format!("`list` of {machines} machines, {} held, ÷ `cat` of all records", machines / 100);
    report.rows.push(Row::ratio("list", what, times.ratio("list", "cat")).at_most(2.0));
}

/// Many machines that were used, of which some are held.
pub struct Town {
    pub state: std::path::PathBuf,
    records: Vec<String>,
    /// They hold their machines until this is dropped.
    _held: Vec<Started>,
}

impl Town {
    pub fn build(rig: &Rig, state: &Path, machines: usize, held: usize) -> Self {
        let name = |number: usize| format!("m{number:05}");
        rig.guarded(state, &name(0), &["true"]).timed();
        let model = state.join(name(0));
        for number in 1..machines {
            copy_machine(&model, &name(0), &state.join(name(number)), &name(number));
        }
        // Spread evenly among them.
        let hold = |index: usize| {
            let machine = name(index * machines / held);
            rig.guarded(state, &machine, &["sleep", "1000"]).start()
        };
        let held: Vec<Started> = (0..held).map(hold).collect();
        for held in &held {
            job(held.pid, "sleep");
        }
        let record = |number| state.join(name(number)).join("record.json").display().to_string();
        Self { state: state.to_owned(), records: (0..machines).map(record).collect(), _held: held }
    }

    /// All records through one process.
    pub fn cat(&self) -> Launch {
        let cat = find("cat").expect("there is no cat").display().to_string();
        let words: Vec<&str> =
            [cat.as_str()].into_iter().chain(self.records.iter().map(String::as_str)).collect();
        Launch::new(&words, &[])
    }
}

/// Another machine that has been through the same.
fn copy_machine(from: &Path, name: &str, to: &Path, new_name: &str) {
    fs::create_dir(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("a machine") {
        let path = entry.expect("a file").path();
        let new = to.join(path.file_name().expect("a file's name"));
        fs::copy(&path, &new).expect("a copy");
        if new.ends_with("record.json") {
            let text = fs::read_to_string(&path).expect("a record");
            fs::write(&new, text.replace(&format!("\"{name}\""), &format!("\"{new_name}\"")))
                .expect("a record");
        }
    }
}
