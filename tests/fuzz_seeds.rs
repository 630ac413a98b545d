//! The fuzzer's seeds, on stable: every file in `fuzz/seeds`, whole and cut off anywhere, through
//! the properties that the fuzzer checks. `scripts/fuzz` looks for new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{UnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use properties::{Check, TARGETS};
use rstest::rstest;

fn fuzz(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(what)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn property(target: &str) -> Check {
    TARGETS.iter().find(|(name, _)| *name == target).unwrap().1
}

/// Runs a property, and says on which input it does not hold.
fn holds(what: &str, check: impl FnOnce() + UnwindSafe) {
    assert!(catch_unwind(check).is_ok(), "{what}: the property above does not hold");
}

#[rstest]
#[case("record")]
#[case("events")]
#[case("stat")]
#[case("machine_name")]
fn every_seed_holds(#[case] target: &str) {
    let check = property(target);
    let (mut seeds, mut inputs) = (0, 0);
    for file in files(&fuzz("seeds").join(target)) {
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.len() <= 4096, "{} is too large for a seed", file.display());
        for cut in (0..=bytes.len()).rev() {
            let what = format!("{}, {cut} bytes of it", file.display());
            holds(&what, || check(&bytes[..cut]));
            inputs += 1;
        }
        seeds += 1;
    }
    println!("{target}: {seeds} seeds, {inputs} inputs");
    assert!(seeds > 0 && inputs > seeds, "nothing was covered");
}

/// A target without seeds, or seeds without a target, would be covered by nobody.
#[test]
fn every_target_has_seeds_and_a_fuzzer() {
    let named = |dir: &str| -> BTreeSet<String> {
        let stem = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&fuzz(dir)).iter().map(stem).collect()
    };
    let targets = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(named("seeds"), targets);
    assert_eq!(named("fuzz_targets"), targets);
}
