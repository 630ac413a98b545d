//! Records that are too much: they are refused fast, in little memory, whoever looks.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use rstest::rstest;
use serde_json::json;

use crate::arena::{Arena, MALLORY, ROOT, VICTIM, ends_soon, give, holder, record};
use crate::strangers::{TEAM, User};
use crate::support::require_program;

/// The address space that must do, in bytes.
const MEMORY: u32 = 512 << 20;

const ASKS: [(User, &[&str], i32); 10] = [
    (VICTIM, &["-n", "-m", "m1", "echo", "ran"], 75),
    (ROOT, &["-n", "-m", "m1", "echo", "ran"], 75),
    (VICTIM, &["status", "m1"], 4),
    (VICTIM, &["status", "m1", "--json", "--explain"], 4),
    (ROOT, &["info", "m1"], 4),
    (ROOT, &["list"], 0),
    (VICTIM, &["stop", "m1"], 75),
    (VICTIM, &["clear", "m1"], 75),
    (VICTIM, &["clear", "m1", "--force", "--token", "0"], 0),
    (ROOT, &["clear", "m1", "--force", "--token", "0"], 0),
];

/// A machine whose record is this file.
struct Giant {
    arena: Arena,
    path: PathBuf,
}

impl Giant {
    fn new(bytes: impl AsRef<[u8]>) -> Self {
        require_program("prlimit");
        let arena = Arena::new("giant records");
        arena.furnish("");
        let path = arena.commons.path("giant");
        fs::write(&path, bytes).unwrap();
        give(&path, MALLORY, TEAM, 0o644);
        Self { arena, path }
    }

    /// Every command answers soon and in bounded memory, and takes it for held; force frees it.
    /// Returned is what was covered.
    fn is_refused(&self, says: &str) -> String {
        let begun = Instant::now();
        let arena = &self.arena;
        for (user, args, code) in ASKS {
            fs::remove_file(arena.file("record.json")).unwrap();
            fs::hard_link(&self.path, arena.file("record.json")).unwrap();
            let asked = arena.jobguard(user, args);
            let mut bounded = Command::new("prlimit");
            bounded.arg(format!("--as={MEMORY}")).arg(asked.get_program()).args(asked.get_args());
            let done = ends_soon(bounded.env("JOBGUARD_STATE_DIR", arena.state()));
            assert_eq!(done.code(), code, "{args:?}: {done:?}");
            if matches!(code, 4 | 75) {
                let said = done.stdout() + &done.stderr();
                assert!(said.contains(says), "{args:?}: no {says:?} in {said}");
            }
        }
        let mib = fs::metadata(&self.path).unwrap().len() >> 20;
        format!("{mib} MiB, {says:?}: {} commands, in {:?}", ASKS.len(), begun.elapsed())
    }
}

#[rstest]
#[case::hole(0)]
#[case::blank(1024)]
fn a_gibibyte_as_root(#[case] filled: usize) {
    let giant = Giant::new("");
    let mut file = fs::File::options().write(true).open(&giant.path).unwrap();
    (0..filled).for_each(|_| file.write_all(&[b' '; 1 << 20]).unwrap());
    let mut whole = record(&[]);
    whole.resize(1 << 10, b' ');
    file.set_len((1 << 30) - (1 << 10)).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&whole).unwrap();
    println!("{}", giant.is_refused("has 1073741824 bytes"));
}

/// As large as a record may be, and a hundred times as large in memory.
#[rstest]
#[case::deep("[".repeat(100_000), "has more in it")]
#[case::objects("[".to_owned() + &"{\"\":0},".repeat(2_300_000), "has more in it")]
#[case::numbers("[".to_owned() + &"0,".repeat(8_000_000), "has more in it")]
#[case::most_numbers("[".to_owned() + &"0,".repeat((1 << 21) - 20), "cannot be parsed")]
#[case::text(format!("\"{}\"", "\\u0000".repeat(2_700_000)), "that of another machine, m2")]
fn a_record_that_grows_as_it_is_parsed_as_root(#[case] bulk: String, #[case] says: &str) {
    let record = String::from_utf8(record(&[])).unwrap().replace("\"m1\"", "\"m2\"");
    let giant = Giant::new(record.replacen('{', &format!("{{\"x\":{bulk},"), 1));
    println!("{}", giant.is_refused(says));
}

#[test]
fn a_million_holders_as_root() {
    let none = String::from_utf8(record(&[])).unwrap();
    let million = vec!["{}"; 1_000_000].join(",");
    let giant = Giant::new(none.replace("[]", &format!("[{million}]")));
    println!("{}", giant.is_refused("has more in it"));
    // In a PID namespace that has to be looked into.
    let mut one = holder(MALLORY, &json!({ "pid": 77 }), &json!({ "pid": 78 }), None);
    one["host"]["pid_ns"] = json!(1);
    let mut whole = |count| {
        let holders = (0..count).map(|token| {
            one["token"] = json!(token);
            one.clone()
        });
        record(&holders.collect::<Vec<_>>())
    };
    let giant = Giant::new(whole(257));
    println!("{}", giant.is_refused("names 257 holders"));
    giant.arena.furnish(whole(256));
    let begun = Instant::now();
    let done = giant.arena.ask(ROOT, &["status", "m1"]).exits(1);
    assert!(done.stdout().contains("and 255 more"), "{done:?}");
    println!("256 holders took {:?}", begun.elapsed());
}
