//! What a run used, as the kernel says, in the record, the event and `info`: against jobs that use a
//! known amount.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};

use crate::strangers;
use crate::strangers::Mounted;
use crate::support;
use crate::support::held::Held;
use crate::support::{JOBGUARD, Sandbox, require_program, run};

const FIELDS: [&str; 5] =
    ["wall_seconds", "cpu_seconds", "max_rss_kib", "disk_read_kib", "disk_written_kib"];

/// Runs a job, and says how the record has it.
#[track_caller]
fn last(sandbox: &Sandbox, job: &[&str]) -> Value {
    run(sandbox.jobguard(["-m", "m1", "--"]).args(job)).exits(0).silent();
    sandbox.record("m1")["last"].clone()
}

fn number(last: &Value, field: &str) -> f64 {
    last[field].as_f64().unwrap_or_else(|| panic!("no {field}: {last}"))
}

/// Burns half a second of CPU time, by its own clock.
const BURN: &str = "import time\nwhile time.process_time() < 0.5: pass";

#[rstest]
#[case::by_itself(&["python3", "-c", BURN])]
#[case::in_a_child_that_it_waits_for(&["sh", "-c", "python3 -c \"$0\"; true", BURN])]
fn cpu_time_is_the_jobs_and_its_childrens(#[case] job: &[&str]) {
    require_program("python3");
    let sandbox = Sandbox::new();
    let last = last(&sandbox, job);
    let (cpu, wall) = (number(&last, "cpu_seconds"), number(&last, "wall_seconds"));
    assert!((0.5..2.0).contains(&cpu), "{last}");
    assert!(wall >= 0.49, "{last}");
}

/// The record has the whole run, the event of an attempt that attempt.
#[test]
fn all_attempts_count() {
    require_program("python3");
    let sandbox = Sandbox::new();
    let burn = format!("{BURN}\nraise SystemExit(1)");
    let options = ["-m", "m1", "--retries", "1", "--retry-delay", "0.5", "--"];
    run(sandbox.jobguard(options).args(["python3", "-c", &burn])).exits(1);
    let events = sandbox.events("m1");
    let [retried, ended] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&retried["event"], &ended["event"]), (&json!("retried"), &json!("ended")));
    let (one, all) = (&retried["run"], &ended["run"]);
    assert!((0.5..1.5).contains(&number(one, "cpu_seconds")), "{one}");
    assert!((0.5 + number(one, "cpu_seconds")..3.0).contains(&number(all, "cpu_seconds")), "{all}");
    assert!(number(all, "wall_seconds") >= 0.5 + number(one, "wall_seconds"), "{all} {one}");
    assert!(number(all, "max_rss_kib") >= number(one, "max_rss_kib"), "{all} {one}");
}

/// What is waited for counts; what is not, or was before us, does not.
#[rstest]
#[case::waited_for(
    "exec \"$0\" -m m1 --leftovers wait -- sh -c 'python3 -c \"$0\" &' \"$1\"",
    true
)]
#[case::before_us("python3 -c \"$1\"; exec \"$0\" -m m1 -- true", false)]
fn leftovers_count_and_other_children_do_not(#[case] script: &str, #[case] counts: bool) {
    require_program("python3");
    let sandbox = Sandbox::new();
    let mut shell = Command::new("sh");
    sandbox.confine(shell.args(["-c", script, JOBGUARD, BURN]));
    run(&mut shell).exits(0).silent();
    let last = &sandbox.record("m1")["last"];
    assert_eq!(number(last, "cpu_seconds") >= 0.5, counts, "{last}");
    assert_eq!(number(last, "max_rss_kib") >= 4096.0, counts, "{last}");
}

#[test]
fn wall_time_is_from_the_beginning_to_the_end_and_sleep_is_no_cpu_time() {
    let sandbox = Sandbox::new();
    let before = Instant::now();
    let mut held = Held::start(&sandbox);
    let held_since = Instant::now();
    support::until("half a second is over", || held_since.elapsed() > Duration::from_millis(500));
    let at_least = held_since.elapsed();
    held.let_go();
    held.supervisor.wait();
    let last = &sandbox.record("m1")["last"];
    let wall = number(last, "wall_seconds");
    assert!((at_least.as_secs_f64()..before.elapsed().as_secs_f64()).contains(&wall), "{last}");
    assert!(number(last, "cpu_seconds") < 0.4, "{last}");
}

#[test]
fn memory_is_the_most_at_once() {
    require_program("python3");
    let sandbox = Sandbox::new();
    let small = number(&last(&sandbox, &["true"]), "max_rss_kib");
    assert!((100.0..20_000.0).contains(&small), "{small}");
    // 100 MiB, and what Python itself takes.
    let job = ["python3", "-c", "x = b'x' * (100 << 20); del x"];
    let most = number(&last(&sandbox, &job), "max_rss_kib");
    assert!((102_400.0..153_600.0).contains(&most), "{most}");
}

/// A file of 8 MiB on a disk, of which nothing is in memory.
fn on_disk(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&vec![1; 8 << 20]).unwrap();
    file.sync_all().unwrap();
    let kind = nix::sys::statfs::fstatfs(&file).unwrap().filesystem_type();
    assert_ne!(kind, nix::sys::statfs::TMPFS_MAGIC, "this rig needs a target directory on a disk");
    path
}

#[test]
fn disks_count_when_they_are_read_and_written() {
    let sandbox = Sandbox::new();
    let path = on_disk("resources-disk");
    let file = path.to_str().unwrap();
    let of = format!("of={file}");
    let wrote = last(&sandbox, &["dd", "status=none", "if=/dev/zero", &of, "bs=1M", "count=8"]);
    assert!((8_192.0..12_000.0).contains(&number(&wrote, "disk_written_kib")), "{wrote}");
    let sync = std::fs::File::open(&path).unwrap();
    sync.sync_all().unwrap();
    nix::fcntl::posix_fadvise(&sync, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .unwrap();
    let read = last(&sandbox, &["dd", "status=none", &format!("if={file}"), "of=/dev/null"]);
    // dd itself may have to be read, too.
    assert!((8_192.0..40_000.0).contains(&number(&read, "disk_read_kib")), "{read}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn it_is_the_same_everywhere() {
    let sandbox = Sandbox::new();
    let last = last(&sandbox, &["true"]);
    for field in FIELDS {
        assert!(number(&last, field) >= 0.0);
    }
    assert_eq!(sandbox.events("m1").last().unwrap()["run"], last);
    for ask in ["status", "info"] {
        let json = run(&mut sandbox.jobguard([ask, "--json", "m1"])).json();
        assert_eq!(json["last"], last);
    }
    let page = run(&mut sandbox.jobguard(["info", "m1"])).exits(3).stdout();
    let line = page.lines().find(|line| line.starts_with("Used:")).expect(&page);
    let wall = format!("{:.2} s in all", number(&last, "wall_seconds"));
    assert!(line.contains(" s CPU, ") && line.contains(&wall), "{line}");
    assert!(line.contains("iB of memory") && line.ends_with(" written"), "{line}");
    // An older record has some of it, or nothing.
    sandbox.plant("m1", include_bytes!("../fixtures/record-1.json"));
    let page = run(&mut sandbox.jobguard(["info", "m1"])).stdout();
    assert!(page.contains("Used:             0.40 s CPU, 1.2 MiB of memory\n"), "{page}");
}

#[test]
fn a_job_that_never_was_used_little_and_one_whose_end_nobody_saw_is_not_known() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("script");
    std::fs::write(&script, "#!/nowhere/at/all\n").unwrap();
    strangers::mode(&script, 0o755);
    run(sandbox.jobguard(["-m", "m1", "--"]).arg(&script)).exits(127);
    let failed = sandbox.record("m1")["last"].clone();
    assert_eq!(failed["ended"], "exec_failed");
    assert!(number(&failed, "cpu_seconds") < 0.4, "{failed}");

    Held::start(&sandbox).kill();
    run(&mut sandbox.jobguard(["clear", "m1"])).exits(0).says("STALE");
    let lost = &sandbox.record("m1")["last"];
    assert_eq!(lost["ended"], "unknown");
    FIELDS.iter().for_each(|field| assert_eq!(lost.get(*field), None));
    let page = run(&mut sandbox.jobguard(["info", "m1"])).exits(3).stdout();
    assert!(!page.contains("Used:"), "{page}");
}

#[test]
fn each_of_several_machines_has_it() {
    let sandbox = Sandbox::new();
    run(&mut sandbox.jobguard(["-m", "a", "-m", "b", "true"])).exits(0).silent();
    let of = |machine: &str| {
        let last = sandbox.record(machine)["last"].clone();
        FIELDS.map(|field| last[field].clone())
    };
    assert_eq!(of("a"), of("b"));
    assert!(!of("a").contains(&json!(null)), "{:?}", of("a"));
}

/// A memory file system has no disk under it.
#[test]
fn what_goes_to_no_disk_does_not_count_as_root() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.state()).unwrap();
    let disk = Mounted::new("tmpfs", "tmpfs", "size=16m,mode=755", &sandbox.state());
    let of = format!("of={}", sandbox.state().join("file").display());
    let job = ["-m", "m1", "dd", "status=none", "if=/dev/zero", &of, "bs=1M", "count=8"];
    run(&mut disk.jobguard(job)).exits(0).silent();
    let record = std::fs::read(disk.outside("m1/record.json")).unwrap();
    let last = &serde_json::from_slice::<Value>(&record).unwrap()["last"];
    assert!(number(last, "disk_written_kib") < 1024.0, "{last}");
}
