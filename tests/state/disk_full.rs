//! A state directory on a file system that is full.

use std::process::Stdio;

use crate::strangers::Mounted;
use crate::support::{Running, Sandbox, run};

fn tiny(sandbox: &Sandbox) -> Mounted {
    std::fs::create_dir(sandbox.state()).unwrap();
    Mounted::new("tiny tmpfs", "tmpfs", "size=64k,mode=755", &sandbox.state())
}

/// What crashes and failures would leave in a machine's directory.
fn left_over(disk: &Mounted) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(disk.outside("m1")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') || name.starts_with("life")).collect()
}

#[test]
fn a_claim_on_a_full_disk_fails_and_leaves_nothing_as_root() {
    let sandbox = Sandbox::new();
    let disk = tiny(&sandbox);
    for _ in 0..2 {
        disk.fill();
        for _ in 0..2 {
            let done = run(&mut disk.jobguard(["-m", "m1", "echo", "ran"])).exits(125);
            assert_eq!(done.stdout(), "");
            done.says("m1/").says("No space left on device");
            assert_eq!(left_over(&disk), [""; 0]);
        }
        run(&mut disk.jobguard(["status", "m1"])).exits(3).silent();
        disk.empty();
        let done = run(&mut disk.jobguard(["-m", "m1", "echo", "ran"])).exits(0).silent();
        assert_eq!(done.stdout(), "ran\n");
    }
}

#[test]
fn a_disk_without_inodes_is_full_too_as_root() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.state()).unwrap();
    // The directories themselves, then lock, lifeline and record, one after another.
    for inodes in 1..=5 {
        let options = format!("size=1M,nr_inodes={inodes},mode=755");
        let disk = Mounted::new("tmpfs without inodes", "tmpfs", &options, &sandbox.state());
        let done = run(&mut disk.jobguard(["-m", "m1", "echo", "ran"]));
        if done.0.status.success() {
            assert_eq!(done.stdout(), "ran\n");
            continue;
        }
        assert_eq!(done.stdout(), "");
        done.exits(125).says("No space left on device");
        assert_eq!(left_over(&disk), [""; 0], "{inodes} inodes");
    }
}

#[test]
fn a_disk_that_fills_up_under_a_job_costs_nothing_but_a_phantom_as_root() {
    let sandbox = Sandbox::new();
    let disk = tiny(&sandbox);
    let job = "echo up; read x; exit 7";
    let mut command = disk.jobguard(["-m", "m1", "sh", "-c", job]);
    let mut held = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(held.line(), "up");
    disk.fill();
    drop(held.child.stdin.take());
    assert_eq!(held.wait().code(), Some(7));
    let mut said = String::new();
    let mut stderr = held.child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert!(said.contains("m1: cannot be released"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");

    let status = run(&mut disk.jobguard(["status", "m1"])).exits(1).silent();
    assert!(status.stdout().contains("STALE (process not running)"), "{}", status.stdout());
    // Still full: nothing can be recorded, so nothing runs.
    run(&mut disk.jobguard(["-m", "m1", "true"])).exits(125).says("No space left on device");
    run(&mut disk.jobguard(["clear", "m1"])).exits(125).says("No space left on device");
    run(&mut disk.jobguard(["status", "m1"])).exits(1).silent();
    disk.empty();
    run(&mut disk.jobguard(["-m", "m1", "true"])).exits(0).says("m1: cleared \"sh -c");
    assert_eq!(left_over(&disk), [""; 0]);
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.machine("m1").join("events.jsonl")).unwrap();
    let done = run(&mut sandbox.jobguard(["-m", "m1", "echo", "ran"])).exits(0);
    assert_eq!(done.stdout(), "ran\n");
    done.says("events.jsonl").says("Is a directory");
    run(&mut sandbox.jobguard(["status", "m1"])).exits(3).silent();
}
