//! The system calls of an uncontended run, in order, each with its reason: `tests/golden/syscalls.txt`.
//! One more, or one that nobody can give a reason for, fails.
//!
//! What the allocator asks the kernel for moves with every change of the code, so it is only counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "how many")]

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::static_binary::static_jobguard;
use support::{Sandbox, require_program, run};

const HEAD: &str = "\
# The system calls of `jobguard -m m -- true` on a free machine that was used before: those of the
# supervisor, and those of its child up to the job. Who, which call, why. Written by
# `UPDATE_GOLDEN=1 cargo test --test syscalls`, which keeps the reasons; new ones are to be written.
";

/// What the allocator does.
const MEMORY: [&str; 3] = ["brk", "mmap", "munmap"];

/// Where a reason is to be written.
const NO_REASON: &str = "?";

/// Who makes which call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    who: &'static str,
    name: String,
}

#[test]
fn every_system_call_of_a_run_has_its_reason() {
    require_program("strace");
    let (calls, memory) = traced();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/syscalls.txt");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let reasons = reasons(&calls, &parse(&read()));
        std::fs::write(&path, page(&calls, &reasons, memory)).unwrap();
    }
    let golden = parse(&read());
    let named: Vec<Call> = golden.iter().map(|(call, _)| call.clone()).collect();
    println!("{} system calls, and {memory} of the allocator", calls.len());
    let differs = calls.iter().zip(&named).position(|(now, then)| now != then);
    if let Some(at) = differs.or((calls.len() != named.len()).then(|| calls.len().min(named.len())))
    {
        let (now, then) = (calls.get(at), golden.get(at));
        panic!(
            "call {at} of {} is {now:?}; golden, of {}: {then:?}. If that is right: \
             UPDATE_GOLDEN=1, and give a reason",
            calls.len(),
            named.len()
        );
    }
    let bare: Vec<&Call> =
        golden.iter().filter(|(_, why)| why == NO_REASON).map(|(call, _)| call).collect();
    assert!(bare.is_empty(), "these have no reason: {bare:?}");
    let allowed = read().lines().find_map(|line| line.strip_prefix("allocator: ")?.parse().ok());
    assert_eq!(Some(memory), allowed, "calls of the allocator (UPDATE_GOLDEN=1 keeps it)");
}

/// The calls of the third run on a machine, and how many are the allocator's.
fn traced() -> (Vec<Call>, usize) {
    let sandbox = Sandbox::in_tmp();
    let trace = sandbox.path("trace");
    let mut last = None;
    for _ in 0..3 {
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(&trace).arg(static_jobguard()).args(["-m", "m", "--"]);
        command
            .arg("true")
            .env_clear()
            .current_dir("/")
            .env("PATH", "/usr/bin")
            .stdin(Stdio::null());
        last = Some(run(command.env("JOBGUARD_STATE_DIR", sandbox.state())).exits(0).silent());
    }
    drop(last);
    let text = std::fs::read_to_string(&trace).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let supervisor = lines[0].0;
    let mine = |line: &&(&str, &str)| line.0 == supervisor;
    let mut names = names("supervisor", lines.iter().filter(mine).copied());
    let child = names_of_child(lines.iter().filter(|line| !mine(line)).copied());
    names.extend(child);
    let before = names.len();
    names.retain(|call| !MEMORY.contains(&&*call.name));
    let memory = before - names.len();
    (names, memory)
}

/// Up to its exec, with which the job begins.
fn names_of_child<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Call> {
    let mut calls = names("child", lines);
    let exec = calls.iter().position(|call| call.name == "execve").expect("no job began");
    calls.truncate(exec + 1);
    calls
}

fn names<'a>(who: &'static str, lines: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Call> {
    let name = |(_, line): (&str, &str)| {
        let name = line.trim_start().split_once('(')?.0;
        let is_call = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_call.then(|| Call { who, name: name.to_owned() })
    };
    lines.filter_map(name).collect()
}

/// `who name | reason`, a line each.
fn parse(text: &str) -> Vec<(Call, String)> {
    let call = |line: &str| {
        let (call, reason) = line.split_once('|')?;
        let (who, name) = call.trim().split_once(' ')?;
        let who = ["supervisor", "child"].into_iter().find(|known| *known == who)?;
        Some((Call { who, name: name.trim().to_owned() }, reason.trim().to_owned()))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(call).collect()
}

/// The reasons that were given, of the calls that are still there: the longest common subsequence.
fn reasons(calls: &[Call], golden: &[(Call, String)]) -> Vec<String> {
    let mut longest = vec![vec![0_usize; golden.len() + 1]; calls.len() + 1];
    for now in (0..calls.len()).rev() {
        for then in (0..golden.len()).rev() {
            longest[now][then] = if calls[now] == golden[then].0 {
                1 + longest[now + 1][then + 1]
            } else {
                longest[now + 1][then].max(longest[now][then + 1])
            };
        }
    }
    let (mut now, mut then) = (0, 0);
    let mut reasons = Vec::new();
    while now < calls.len() {
        if then < golden.len() && calls[now] == golden[then].0 {
            reasons.push(golden[then].1.clone());
            (now, then) = (now + 1, then + 1);
        } else if then < golden.len() && longest[now][then + 1] >= longest[now + 1][then] {
            then += 1;
        } else {
            reasons.push(NO_REASON.to_owned());
            now += 1;
        }
    }
    reasons
}

fn page(calls: &[Call], reasons: &[String], memory: usize) -> String {
    let mut page = HEAD.to_owned();
    for (call, reason) in calls.iter().zip(reasons) {
        writeln!(page, "{:<10} {:<16} | {reason}", call.who, call.name).unwrap();
    }
    writeln!(page, "allocator: {memory}").unwrap();
    page
}
