//! What is kept of runs whose supervisor could not show it.

use std::os::unix::fs::symlink;

use super::quiet::outputs;
use super::*;

/// A quiet run whose supervisor is killed; the job goes on.
fn orphaned(sandbox: &Sandbox, options: &[&str]) -> (Running, Stray, PathBuf) {
    let mut command = sandbox.jobguard(["-m", "m1", "--quiet-unless-fail"]);
    command.args(options).args(["--", "sh", "-c", ECHO]).stdin(Stdio::piped());
    let before = if sandbox.machine("m1").exists() { outputs(sandbox) } else { Vec::new() };
    let mut guard = Running::start(command.stderr(Stdio::piped()));
    let new = || {
        let dir = sandbox.machine("m1");
        let all = if dir.exists() { outputs(sandbox) } else { Vec::new() };
        let new = all.into_iter().find(|name| !before.contains(name))?;
        Some(dir.join(new)).filter(|path| read(path).contains('\n'))
    };
    until("the job is there", || new().is_some());
    let path = new().unwrap();
    let job = Stray(read(&path).trim_end().parse().unwrap());
    let stdin = guard.child.stdin.take();
    guard.signal(Signal::SIGKILL);
    guard.wait();
    guard.child.stdin = stdin;
    (guard, job, path)
}

/// The same, whose job is over, too.
fn lost(sandbox: &Sandbox) -> PathBuf {
    let (mut guard, job, path) = orphaned(sandbox, &[]);
    drop(guard.child.stdin.take());
    assert!(ends(job.0, support::PATIENCE));
    path
}

#[test]
fn output_that_nobody_showed_is_there_and_whoever_clears_says_where() {
    let sandbox = Sandbox::new();
    let (mut guard, job, path) = orphaned(&sandbox, &[]);
    assert_eq!(strangers::bits(&path), 0o600);
    assert_eq!(sandbox.record("m1")["holders"][0]["output"], path.to_str().unwrap());
    let page = run(&mut sandbox.jobguard(["info", "m1"])).exits(0).stdout();
    assert!(page.contains(&format!("Output:           {}\n", path.display())), "{page}");
    let mut stdin = guard.child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"after the kill\n").unwrap();
    drop(stdin);
    assert!(ends(job.0, support::PATIENCE));
    let says = format!("STALE (process not running); its output went to '{}'", path.display());
    run(&mut sandbox.jobguard(["clear", "m1"])).exits(0).says(&says);
    assert_eq!(read(&path), format!("{}\nafter the kill\nend\n", job.0));
    assert_eq!(sandbox.events("m1")[0]["holder"]["output"], path.to_str().unwrap());
}

#[test]
fn of_those_that_were_lost_the_newest_are_kept() {
    let sandbox = Sandbox::new();
    let lost: Vec<PathBuf> = (0..5).map(|_| lost(&sandbox)).collect();
    for _ in 0..2 {
        let words = ["-m", "m1", "--quiet-unless-fail", "true"];
        run(&mut sandbox.jobguard(words)).exits(0);
        let newest = &lost[2..];
        let names = newest.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
        assert_eq!(outputs(&sandbox), names.collect::<Vec<_>>());
        assert!(newest.iter().all(|path| read(path).ends_with("end\n")));
    }
}

/// Its job lives, so somebody will want to read it.
#[test]
fn what_is_still_written_is_never_swept() {
    let sandbox = Sandbox::new();
    let slots = ["--slots", "2"];
    let (mut guard, job, path) = orphaned(&sandbox, &slots);
    for round in 0..4 {
        let words = ["-m", "m1", "--quiet-unless-fail", "--slots", "2", "--"];
        let done = run(sandbox.jobguard(words).args(["sh", "-c", "echo shown; exit 1"]));
        assert_eq!(done.exits(1).stdout(), "shown\n");
        // And those that are newer, and that nobody writes to.
        fs::write(sandbox.machine("m1").join(format!("output.900000000000000{round}")), "")
            .unwrap();
    }
    drop(guard.child.stdin.take());
    assert!(ends(job.0, support::PATIENCE));
    assert!(read(&path).ends_with("end\n"));
}

/// What others put there is not obeyed, followed, or removed for ours.
#[test]
fn planted_files_are_left_alone() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "m1", "true"])).exits(0).silent();
    let dir = sandbox.machine("m1");
    let innocent = sandbox.path("innocent");
    fs::write(&innocent, "kept").unwrap();
    symlink(&innocent, dir.join("output.1")).unwrap();
    fs::hard_link(&innocent, dir.join("output.2")).unwrap();
    mkfifo(&dir.join("output.3"), Mode::S_IRWXU).unwrap();
    fs::create_dir(dir.join("output.4")).unwrap();
    for name in ["output.05", "output.x", "output.", "output.99999999999999999999999"] {
        fs::write(dir.join(name), "").unwrap();
    }
    let before = outputs(&sandbox);
    let words = ["-m", "m1", "--quiet-unless-fail", "--", "sh", "-c", "echo shown; exit 1"];
    for _ in 0..2 {
        assert_eq!(run(&mut sandbox.jobguard(words)).exits(1).silent().stdout(), "shown\n");
    }
    assert_eq!(outputs(&sandbox), before);
    assert_eq!(read(innocent), "kept");
}

#[test]
fn without_room_for_the_file_nothing_runs_and_the_machine_is_free_as_root() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.state()).unwrap();
    // Directories, lock, lifeline, record and log; none for the output.
    let options = "size=1M,nr_inodes=7,mode=755";
    let disk = Mounted::new("tmpfs without inodes", "tmpfs", options, &sandbox.state());
    run(&mut disk.jobguard(["-m", "m1", "true"])).exits(0).silent();
    let words = ["-m", "m1", "--quiet-unless-fail", "sh", "-c", "echo ran >&2"];
    let done = run(&mut disk.jobguard(words)).exits(125);
    let done = done.says("output.").says("No space left on device");
    assert!(!done.stderr().contains("ran\n"), "{}", done.stderr());
    run(&mut disk.jobguard(["-n", "-m", "m1", "true"])).exits(0).silent();
}
