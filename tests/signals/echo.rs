//! What the job and its processes send to jobguard is not sent back to the job.

use libc::SIGUSR2;
use rstest::rstest;

use super::support::Sandbox;
use super::support::probe::{Watched, launch};
use super::{GUARD, catchable, settles};

#[rstest]
fn what_the_job_or_its_child_sends_is_not_sent_back(#[values("parent", "child")] sender: &str) {
    let sandbox = Sandbox::new();
    let all: Vec<String> = catchable().map(|signal| format!("{sender}={signal}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // Each child sends one and stays.
    let mut job = Watched::start(&mut launch(&sandbox, &[], &GUARD), &all);
    all.iter().for_each(|_| job.says("sent"));
    settles(job.parent);
    for signal in [SIGUSR2, 64] {
        job.send(signal);
        job.says(&format!("{signal} user"));
    }
    job.end();
}
