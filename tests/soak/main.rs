//! The chaos soak: contenders that are replaced for ever, an attacker, and a judge who believes
//! only the jobs themselves. `scripts/soak 10m` runs it for longer.
//!
//! Everything lives in a PID namespace of its own, so nothing survives it, and with its state on a
//! small file system that can be filled. Time is divided into phases; after each one everybody is
//! let go, and every machine must come free. A phase either stops processes or deletes lock files,
//! never both: see [`schedule::Weather`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

mod arena;
mod chaos;
mod checker;
mod phases;
mod schedule;
#[path = "../support/mod.rs"]
mod support;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use phases::Soak;
use support::{Running, require_program, require_root};
use tempfile::TempDir;

/// How long, as on jobguard's command line; 20 s unless told.
const DURATION: &str = "JOBGUARD_SOAK_DURATION";
/// The seed; from the clock unless told.
const SEED: &str = "JOBGUARD_SOAK_SEED";
/// The directory of a soak; set inside its namespace only.
const ARENA: &str = "JOBGUARD_SOAK_ARENA";
/// Set where the contenders go without jobguard.
const SHAM: &str = "JOBGUARD_SOAK_SHAM";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Runs the test of this name once more, as the first process of namespaces of its own. Returns
/// whether it passed, and what it said.
fn enclosed(test: &str, dir: &Path, variables: &[(&str, String)]) -> (bool, String) {
    require_root("a PID namespace");
    let programs = ["unshare", "setpriv", "mount", "cc", "cp"];
    programs.into_iter().for_each(require_program);
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount", "--mount-proc", "sh", "-c", r#"exec "$@" 2>&1"#, "sh"]);
    command.arg(this).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ARENA, dir).envs(variables.iter().map(|(name, value)| (name, value)));
    let mut inner =
        Running::new(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    for line in std::io::BufReader::new(inner.child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The harness says "test ... " before the first one.
        if let Some((_, line)) = line.split_once("soak: ") {
            println!("{line}");
        }
        said += &line;
        said.push('\n');
    }
    (inner.wait().success(), said)
}

/// A place for a soak, with its job.
fn place() -> TempDir {
    let dir = tempfile::Builder::new().prefix("jobguard-soak-").tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak/job.c");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-O1", "-o"]).arg(dir.path().join("job")).arg(source);
    assert!(cc.status().unwrap().success(), "the job does not compile");
    std::fs::create_dir(dir.path().join("state")).unwrap();
    dir
}

fn inner(dir: &str) {
    let duration = variable(DURATION).unwrap_or_else(|| "20".to_owned());
    let duration = jobguard::cli::duration::parse(&duration).unwrap();
    let seed = variable(SEED).unwrap().parse().unwrap();
    Soak::new(PathBuf::from(dir), seed, variable(SHAM).is_some()).run(duration);
}

fn clock_seed() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (since.as_millis() % 1_000_000_000).to_string()
}

#[test]
fn soak_as_root() {
    if let Some(dir) = variable(ARENA) {
        return inner(&dir);
    }
    let seed = variable(SEED).unwrap_or_else(clock_seed);
    let dir = place();
    println!("seed {seed}");
    let (passed, said) = enclosed("soak_as_root", dir.path(), &[(SEED, seed.clone())]);
    if !passed {
        let kept = dir.keep();
        panic!("{said}\nseed {seed}; state, logs and attacks are kept in {}", kept.display());
    }
}

/// The judge's own test: the same contenders without jobguard.
#[test]
fn without_jobguard_the_soak_fails_as_root() {
    if let Some(dir) = variable(ARENA) {
        return inner(&dir);
    }
    let dir = place();
    let how = [(SEED, "1".to_owned()), (SHAM, "1".to_owned()), (DURATION, "1".to_owned())];
    let test = "without_jobguard_the_soak_fails_as_root";
    let (passed, said) = enclosed(test, dir.path(), &how);
    assert!(!passed && said.contains("overlap on m"), "no overlap was found: {said}");
    assert!(said.contains("began beside") && said.contains("began before"), "{said}");
}
