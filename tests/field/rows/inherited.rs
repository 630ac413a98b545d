//! What the job finds of what its wrapper was started with.

use std::fs::read_to_string;

use crate::support::probe::probe;
use crate::support::{Running, Sandbox, until};
use crate::wrapper::{Wrapper, over};

/// What the job reports, under a wrapper that was started in this state.
fn report(wrapper: Wrapper, state: &[&str]) -> Vec<String> {
    let sandbox = Sandbox::new();
    let file = sandbox.path("report");
    let mut command = wrapper.launch(&sandbox, state);
    command.arg(probe()).arg("report").arg(&file);
    // The wrapper may hang, but the job has written all of it, in one call.
    let wrapper = Running::start(&mut command);
    let read = || read_to_string(&file).unwrap_or_default();
    until("the job reports", || !read().is_empty() || over(wrapper.pid()));
    read().lines().map(str::to_owned).collect()
}

/// A set of signals in the job's status.
fn set(report: &[String], name: &str) -> u64 {
    let line = report.iter().find_map(|line| line.split_once(&format!("{name}:\t")));
    u64::from_str_radix(line.expect("the job reports").1, 16).unwrap()
}

fn compared(had: u64, has: u64) -> String {
    if had == has { "kept" } else { "lost" }.to_owned()
}

fn ignored(wrapper: Wrapper, signal: u32) -> String {
    let set_of = 1 << (signal - 1);
    let found = report(wrapper, &[&format!("ignore={set_of:x}")]);
    compared(set_of, set(&found, "SigIgn"))
}

pub fn hup_ignored(wrapper: Wrapper) -> String {
    ignored(wrapper, 1)
}

pub fn pipe_ignored(wrapper: Wrapper) -> String {
    ignored(wrapper, 13)
}

pub fn chld_ignored(wrapper: Wrapper) -> String {
    ignored(wrapper, 17)
}

pub fn nothing_ignored(wrapper: Wrapper) -> String {
    compared(0, set(&report(wrapper, &[]), "SigIgn"))
}

/// HUP, USR1, TERM and a realtime signal.
pub fn mask(wrapper: Wrapper) -> String {
    let mask = 0x10_0000_4201;
    let found = report(wrapper, &[&format!("mask={mask:x}")]);
    compared(mask, set(&found, "SigBlk"))
}

fn descriptors(report: &[String]) -> Vec<u32> {
    let number = |line: &String| line.strip_prefix("same fd ")?.split(':').next()?.parse().ok();
    report.iter().filter_map(number).collect()
}

pub fn leaked(wrapper: Wrapper) -> String {
    // Whoever started these tests may have left some open.
    let alone = descriptors(&report(Wrapper::Bare, &[]));
    let more = descriptors(&report(wrapper, &[])).into_iter().filter(|fd| !alone.contains(fd));
    let more: Vec<String> = more.map(|fd| fd.to_string()).collect();
    if more.is_empty() { "none".to_owned() } else { more.join(", ") }
}

pub fn closed_stdin(wrapper: Wrapper) -> String {
    let found = descriptors(&report(wrapper, &["close=0"]));
    if found.contains(&0) { "open" } else { "closed" }.to_owned()
}
