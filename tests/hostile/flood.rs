//! More files than anybody needs: the time they take is bounded, and so are the descriptors.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::arena::{Arena, VICTIM, ends_soon, record};
use crate::strangers::mode;
use crate::support::Done;

/// With so many files there is nothing to be said against a few seconds.
fn timed(arena: &Arena, args: &[&str]) -> (Done, Duration) {
    let begun = Instant::now();
    let done = ends_soon(&mut arena.jobguard(VICTIM, args));
    (done, begun.elapsed())
}

#[test]
fn of_slack_lifelines_and_half_made_files_as_root() {
    const MANY: u64 = 25_000;
    let arena = Arena::new("a flood of slack files");
    arena.furnish(record(&[]));
    for n in 0..MANY {
        let lifeline = arena.file(&format!("life.{n}"));
        mkfifo(&lifeline, Mode::S_IWUSR).unwrap();
        mode(&lifeline, 0o222);
        for name in [format!(".life.{n}.1"), format!(".record.{n}.1"), format!("junk{n}")] {
            File::create(arena.file(&name)).unwrap();
        }
    }
    let (done, look) = timed(&arena, &["status", "m1"]);
    done.exits(3);
    let (done, list) = timed(&arena, &["list"]);
    done.exits(0);
    let (done, run) = timed(&arena, &["-n", "-m", "m1", "echo", "ran"]);
    assert_eq!(done.exits(0).silent().stdout(), "ran\n");
    let left = fs::read_dir(arena.file("")).unwrap().count() as u64;
    assert!((MANY..MANY + 9).contains(&left), "{left} files are left");
    println!("{} files: status {look:?}, list {list:?}, run {run:?}", 4 * MANY);
}

/// One FIFO with a reader, under many names: each holds the machine.
#[test]
fn of_taut_lifelines_as_root() {
    const MANY: u64 = 20_000;
    let arena = Arena::new("a flood of taut lifelines");
    arena.furnish(record(&[]));
    let first = arena.file("life.1");
    mkfifo(&first, Mode::from_bits_truncate(0o222)).unwrap();
    mode(&first, 0o222);
    (2..=MANY).for_each(|n| fs::hard_link(&first, arena.file(&format!("life.{n}"))).unwrap());
    let _reader =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&first).unwrap();
    let (done, look) = timed(&arena, &["status", "m1"]);
    assert!(done.exits(0).stdout().contains(&format!("and {} more", MANY - 1)));
    let (done, run) = timed(&arena, &["-n", "-m", "m1", "echo", "ran"]);
    assert_eq!(done.exits(75).says("a run that no record names").stdout(), "");
    let (done, wait) = timed(&arena, &["-w", "1.5", "-m", "m1", "echo", "ran"]);
    done.exits(75).says("(waited 1s 500ms)");
    println!("{MANY} taut lifelines: status {look:?}, run {run:?}, waiting 1.5 s {wait:?}");
}

/// Whatever token we would take next is there already.
#[test]
fn of_tokens_as_root() {
    let arena = Arena::new("a flood of tokens");
    arena.furnish(record(&[]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let ahead = 40_000;
    for token in now..now + ahead {
        mkfifo(&arena.file(&format!("life.{token}")), Mode::S_IRWXU).unwrap();
    }
    let (done, took) = timed(&arena, &["-n", "-m", "m1", "echo", "ran"]);
    assert_eq!(done.exits(125).says("somebody plants them").stdout(), "");
    println!("{ahead} tokens in the way: {took:?}");
}
