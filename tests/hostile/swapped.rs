//! Directories and files swapped between their opening and their use: at every system call, and at
//! random.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jobguard::sys::rename::{Rename, rename_in};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use rstest::rstest;

use crate::arena::{ends_soon, phantom, record};
use crate::still::{Still, still_tree};
use crate::strangers::mode;
use crate::support::strace::{Point, points, strike_all, struck, traced, tracee};
use crate::support::{PATIENCE, Running, Sandbox, ends, require_program, require_root, until};

/// What is swapped for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swap {
    /// The state directory for a link to one outside.
    State,
    /// The machine's directory for a link to one outside.
    Machine,
    /// Every file of the machine for a link to a file outside.
    Links,
    /// … for another name of that file.
    Names,
    /// … for a file that was moved here from outside.
    Moved,
}

/// A shared state directory whose machine m1 has a phantom, and a directory outside that looks the
/// same, but lacks a machine.
struct Stage {
    sandbox: Sandbox,
}

impl Stage {
    fn set() -> Self {
        let sandbox = Sandbox::new();
        for dir in [sandbox.state(), sandbox.path("outside")] {
            fs::create_dir_all(dir.join("m1")).unwrap();
            mode(&dir, 0o2775);
            mode(&dir.join("m1"), 0o2775);
            fs::write(dir.join("m1/record.json"), record(&[phantom()])).unwrap();
            for name in ["lock", "events.jsonl", ".record.1.1", "precious"] {
                fs::write(dir.join("m1").join(name), "precious").unwrap();
                mode(&dir.join("m1").join(name), 0o600);
            }
            for name in ["life.5", "life.4", ".life.3.1"] {
                mkfifo(&dir.join("m1").join(name), Mode::S_IWUSR).unwrap();
            }
        }
        fs::create_dir(sandbox.state().join("m2")).unwrap();
        Self { sandbox }
    }

    /// Swaps; returned are the files that were moved.
    fn swap(&self, swap: Swap) -> Vec<File> {
        let (state, outside) = (self.sandbox.state(), self.sandbox.path("outside"));
        let mut moved = Vec::new();
        match swap {
            Swap::State => {
                fs::rename(&state, self.sandbox.path("away")).unwrap();
                symlink(&outside, &state).unwrap();
            }
            Swap::Machine => {
                fs::rename(state.join("m1"), state.join("away")).unwrap();
                symlink(outside.join("m1"), state.join("m1")).unwrap();
            }
            Swap::Links | Swap::Names | Swap::Moved => {
                let files = fs::read_dir(state.join("m1")).unwrap();
                let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
                for file in files {
                    fs::remove_file(&file).unwrap();
                    let precious = outside.join("m1/precious");
                    match swap {
                        Swap::Links => symlink(&precious, &file).unwrap(),
                        Swap::Names => fs::hard_link(&precious, &file).unwrap(),
                        _ => {
                            let own = self.sandbox.path("own");
                            fs::write(&own, "precious").unwrap();
                            mode(&own, 0o600);
                            moved.push(File::open(&own).unwrap());
                            fs::rename(&own, &file).unwrap();
                        }
                    }
                }
            }
        }
        moved
    }

    /// What is outside; another name of a file changes its change time alone.
    fn outside(&self, swap: Swap) -> BTreeMap<PathBuf, Still> {
        let mut tree = still_tree(&self.sandbox.path("outside"));
        if swap == Swap::Names {
            tree.retain(|path, _| !path.ends_with("precious"));
        }
        tree
    }

    /// Stops a command after the point, swaps, and lets it go on.
    fn survives(&self, point: &Point, swap: Swap, line: &[String]) {
        let before = self.outside(swap);
        let mut command = struck(&self.sandbox, point, "signal=STOP", line);
        command.env_remove("LD_LIBRARY_PATH").stderr(std::process::Stdio::piped());
        let mut struck = Running::start(&mut command);
        let trace = self.sandbox.path("trace");
        until("it is stopped", || {
            let stopped =
                fs::read_to_string(&trace).is_ok_and(|t| t.contains("stopped by SIGSTOP"));
            stopped || ends(struck.pid(), Duration::ZERO)
        });
        let stopped = tracee(&struck).expect("a process that is traced");
        let moved = self.swap(swap);
        kill(Pid::from_raw(stopped), Signal::SIGCONT).unwrap();
        assert!(ends(struck.pid(), PATIENCE), "{swap:?} after {point}: it hangs");
        let code = struck.wait().code();
        let said: Vec<String> = std::iter::repeat_with(|| struck.line()).take(9).collect();
        let all = line != ["list"] || said.iter().any(|line| line.starts_with("m2"));
        assert!(all, "{swap:?} after {point}: {said:?}");
        assert!(
            [0, 1, 3, 4, 75, 125].map(Some).contains(&code),
            "{swap:?} after {point}: {code:?}"
        );
        assert_eq!(self.outside(swap), before, "{swap:?} after {point}");
        let precious = File::open(self.sandbox.path("outside/m1/precious")).unwrap();
        for mut file in moved.into_iter().chain([precious]) {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let bits = file.metadata().unwrap().mode() & 0o7777;
            assert_eq!(bits, 0o600, "{swap:?} after {point}: {bits:o}");
            assert!(text.starts_with("precious"), "{swap:?} after {point}: {text}");
        }
    }
}

/// The points right before a call that is given a name: no other can be misled.
fn misleading(points: &[Point]) -> Vec<Point> {
    let calls = ["open", "newfstatat", "statx", "rename", "unlink", "link", "mknod", "mkdir"];
    let takes_name = |point: &Point| calls.iter().any(|call| point.name.starts_with(call));
    points.windows(2).filter(|pair| takes_name(&pair[1])).map(|pair| pair[0].clone()).collect()
}

#[rstest]
#[case::run(&["-n", "-m", "m1", "true"], &[Swap::State, Swap::Machine, Swap::Links, Swap::Names, Swap::Moved])]
#[case::clear(&["clear", "m1"], &[Swap::Machine, Swap::Names, Swap::Moved])]
#[case::list(&["list"], &[Swap::State, Swap::Machine])]
fn at_every_system_call_as_root(#[case] line: &[&str], #[case] swaps: &[Swap]) {
    require_root("swapped directories");
    require_program("strace");
    let begun = Instant::now();
    let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let stage = Stage::set();
    // Cargo's; the loader would look through all of it.
    ends_soon(traced(&stage.sandbox, &line).env_remove("LD_LIBRARY_PATH")).exits(0);
    let points = misleading(&points(&stage.sandbox, "O_NOFOLLOW"));
    for swap in swaps {
        strike_all(&points, |point| {
            Stage::set().survives(point, *swap, &line);
            true
        });
    }
    let (calls, kinds) = (points.len(), swaps.len());
    println!("{line:?}: {kinds} swaps after each of {calls} calls, in {:?}", begun.elapsed());
    assert!(calls >= 10, "only {calls} calls");
}

#[test]
fn at_random_as_root() {
    require_root("swapped directories");
    let stage = Stage::set();
    let state = stage.sandbox.state();
    symlink(stage.sandbox.path("outside/m1"), state.join("m3")).unwrap();
    let before = stage.outside(Swap::State);
    let (over, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut asked = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = File::open(&state).unwrap();
            while !over.load(Ordering::Relaxed) {
                rename_in(dir.as_fd(), c"m1", c"m3", Rename::Exchange).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            for args in [&["-n", "-m", "m1", "true"][..], &["clear", "--all"], &["list"]] {
                let done = ends_soon(&mut stage.sandbox.jobguard(args));
                assert!([0, 75, 125].contains(&done.code()), "{done:?}");
                asked += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(stage.outside(Swap::State), before);
    let swaps = swaps.into_inner();
    println!("{asked} commands while a directory was swapped {swaps} times");
    assert!(asked > 30 && swaps > 1000, "{asked} commands, {swaps} swaps");
}
