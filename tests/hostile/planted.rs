//! Everything that can lie where a file of ours should, for every file, every command, every user.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::arena::{Arena, MALLORY, ROOT, VICTIM, give, phantom, record};
use crate::strangers::{TEAM, User};
use crate::support::Done;

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Symlink,
    Dangling,
    Hardlink,
    Fifo,
    ReadFifo,
    FullFifo,
    Socket,
    Directory,
    FullDirectory,
    Device,
}

use Thing::{
    Dangling, Device, Directory, Fifo, FullDirectory, FullFifo, Hardlink, ReadFifo, Socket, Symlink,
};

const THINGS: [Thing; 10] = [
    Symlink,
    Dangling,
    Hardlink,
    Fifo,
    ReadFifo,
    FullFifo,
    Socket,
    Directory,
    FullDirectory,
    Device,
];

/// Where; the state directory itself is `..`, the machine's is `.`.
const PLACES: [&str; 12] = [
    "queue",
    "..",
    ".",
    "lock",
    "record.json",
    "record.damaged",
    "events.jsonl",
    "events.1.jsonl",
    "life.4",
    "life.5",
    ".life.6.7",
    ".record.6.7",
];

/// Every command, and the statuses that are documented for it.
const ASKS: [(&[&str], &[i32]); 12] = [
    (&["-n", "-m", "m1", "echo", "ran"], &[0, 75, 125]),
    (&["status", "m1"], &[0, 1, 3, 4]),
    (&["status", "m1", "--json"], &[0, 1, 3, 4]),
    (&["status", "m1", "--explain"], &[0, 1, 3, 4]),
    (&["info", "m1"], &[0, 1, 3, 4]),
    (&["info", "m1", "--json"], &[0, 1, 3, 4]),
    (&["list"], &[0, 125]),
    (&["list", "--json"], &[0, 125]),
    (&["stop", "m1", "--grace", "0"], &[0, 75, 125]),
    (&["clear", "m1"], &[0, 75, 125]),
    (&["clear", "--all"], &[0, 75, 125]),
    (&["clear", "m1", "--force", "--token", "TOKEN"], &[0, 75, 125]),
];

impl Thing {
    /// Plants it; what is returned keeps it alive.
    fn plant(self, path: &Path, arena: &Arena) -> Vec<File> {
        let fifo = || mknod(path, SFlag::S_IFIFO, Mode::from_bits_truncate(0o666), 0).unwrap();
        let open = |write| {
            let mut options = OpenOptions::new();
            options.read(true).write(write).custom_flags(libc::O_NONBLOCK);
            vec![options.open(path).unwrap()]
        };
        match self {
            Symlink => symlink(arena.canary(), path).unwrap(),
            Dangling => symlink(arena.commons.path("outside/nowhere"), path).unwrap(),
            Hardlink => fs::hard_link(arena.canary(), path).unwrap(),
            Fifo => fifo(),
            ReadFifo | FullFifo => {
                fifo();
                return open(self == FullFifo);
            }
            Socket => drop(UnixListener::bind(path).unwrap()),
            Directory => fs::create_dir(path).unwrap(),
            FullDirectory => fs::create_dir_all(path.join("x/y")).unwrap(),
            Device => {
                let zero = makedev(1, 5);
                mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), zero).unwrap();
            }
        }
        Vec::new()
    }

    fn is_directory(self) -> bool {
        matches!(self, Directory | FullDirectory)
    }
}

/// What the machine's record says before, so that the command comes to the place; and the token
/// that force takes.
fn scene(place: &str) -> (Vec<u8>, &'static str) {
    match place {
        "record.json" => (record(&[]), "0"),
        "record.damaged" => (b"torn".to_vec(), "0"),
        "events.jsonl" | "events.1.jsonl" | "life.5" => (record(&[phantom()]), "5"),
        _ => (record(&[]), "5"),
    }
}

/// How a run must end.
fn run_ends(place: &str, thing: Thing) -> i32 {
    match place {
        "." | ".." if thing.is_directory() => 0,
        "." | ".." | "lock" => 125,
        "record.json" | "record.damaged" => 75,
        "life.4" if matches!(thing, ReadFifo | FullFifo) => 75,
        _ => 0,
    }
}

/// Plants one thing, asks one command, and sees that it ended as documented with one sentence.
fn ask(arena: &Arena, place: &str, thing: Thing, user: User, args: &[&str], codes: &[i32]) {
    let (record, token) = scene(place);
    arena.furnish(record);
    if place == "events.1.jsonl" {
        let log = File::options().write(true).open(arena.file("events.jsonl")).unwrap();
        log.set_len(1 << 20).unwrap();
    }
    let path = match place {
        ".." => arena.state(),
        "." => arena.state().join("m1"),
        file => arena.file(file),
    };
    let moved = path.with_extension("moved");
    if path.symlink_metadata().is_ok() {
        fs::rename(&path, &moved).unwrap();
    }
    let kept = thing.plant(&path, arena);
    match thing {
        Symlink | Dangling | Hardlink => {}
        // The state directory itself is root's, or nobody would trust it.
        _ if thing.is_directory() && place == ".." => give(&path, ROOT, TEAM, 0o2775),
        _ if thing.is_directory() => give(&path, MALLORY, TEAM, 0o2775),
        _ => give(&path, MALLORY, TEAM, 0o666),
    }
    let args: Vec<&str> =
        args.iter().map(|arg| if *arg == "TOKEN" { token } else { arg }).collect();
    let done = arena.ask(user, &args);
    let what = format!("{thing:?} at {place}, {args:?} by {user:?}: {done:?}");
    assert!(codes.contains(&done.code()), "{what}");
    if args.contains(&"-n") {
        assert_eq!(done.code(), run_ends(place, thing), "{what}");
        assert_eq!(done.stdout(), if done.code() == 0 { "ran\n" } else { "" }, "{what}");
    }
    speaks_clearly(&done, &what);
    drop(kept);
    if place == ".." || place == "." {
        match thing.is_directory() {
            true => fs::remove_dir_all(&path).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        fs::rename(&moved, &path).unwrap();
    }
}

/// What failed is said, in a line each: the claim, what it cleared, the release.
#[track_caller]
fn speaks_clearly(done: &Done, what: &str) {
    let stderr = done.stderr();
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("jobguard: ")), "{what}");
    assert!(lines.len() <= 3, "{what}");
    if matches!(done.code(), 4 | 75 | 125) {
        assert!(!lines.is_empty() || !done.stdout().is_empty(), "{what}");
    }
}

#[test]
fn whatever_lies_where_our_files_should_as_root() {
    let begun = Instant::now();
    let mut combos = Vec::new();
    for place in PLACES {
        for thing in THINGS {
            for (args, codes) in ASKS {
                combos.push((place, thing, VICTIM, args, codes));
                // Root asks what can do harm.
                if matches!(args[0], "-n" | "stop" | "clear") {
                    combos.push((place, thing, ROOT, args, codes));
                }
            }
        }
    }
    let total = combos.len();
    let queue = Mutex::new(combos.into_iter());
    let done = Mutex::new(0);
    // Most of their time some of them wait for a second to pass.
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let arena = Arena::new("planted files");
                let before = arena.outside();
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((place, thing, user, args, codes)) = next else { break };
                    ask(&arena, place, thing, user, args, codes);
                    let after = arena.outside();
                    assert_eq!(after, before, "{thing:?} at {place}, {args:?} by {user:?}");
                    *done.lock().unwrap() += 1;
                }
            });
        }
    });
    let covered = done.into_inner().unwrap();
    println!(
        "{} things at {} places: {covered} combinations with commands and users, in {:?}",
        THINGS.len(),
        PLACES.len(),
        begun.elapsed()
    );
    assert_eq!(covered, total);
    assert!(covered >= 1500, "only {covered}");
}
