//! Shared holders (`-s`) beside each other, in line with everybody else.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::support;
use crate::support::troupe::{Member, Troupe};
use crate::support::{ends, run, until};

/// How long a waiter that does nothing is waited for.
const GRACE: Duration = Duration::from_secs(1);

const READER: [&str; 3] = ["-s", "-m", "m1"];
const WRITER: [&str; 2] = ["-m", "m1"];

/// Readers beside readers, a writer beside nobody.
fn may(all: &[&str]) -> bool {
    all.len() <= 1 || all.iter().all(|who| who.starts_with('r'))
}

#[test]
fn readers_go_beside_each_other_and_a_writer_waits_for_the_last() {
    let troupe = Troupe::new();
    let mut readers: Vec<Member> =
        ["r0", "r1", "r2"].map(|who| troupe.hold(who, &READER)).into_iter().collect();
    let record = troupe.sandbox.record("m1");
    let holders = record["holders"].as_array().unwrap();
    assert!(holders.iter().all(|h| h["mode"] == "shared" && h["parent"].is_null()), "{record}");
    let tokens: Vec<String> = readers.iter().map(|reader| reader.token.clone()).collect();
    assert_eq!(troupe.tokens("m1"), tokens);
    assert_eq!(troupe.lifelines("m1"), tokens);
    let mut writer = troupe.queue("w", &WRITER);
    while let Some(reader) = readers.pop() {
        assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
        reader.ends();
        let left: Vec<String> = readers.iter().map(|reader| reader.token.clone()).collect();
        if !left.is_empty() {
            assert_eq!((troupe.tokens("m1"), troupe.lifelines("m1")), (left.clone(), left));
        }
    }
    writer.begins();
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    assert_eq!(troupe.tokens("m1"), [writer.token.clone()]);
    writer.ends();
    assert_eq!(troupe.log.together(may), (4, 3));
    troupe.run(&["status", "m1"]).exits(3);
}

/// Whoever waits is before whoever comes, whatever both want.
#[test]
fn a_stream_of_readers_starves_no_writer() {
    let troupe = Troupe::new();
    let first = troupe.hold("r-first", &READER);
    let mut writer = troupe.queue("w", &WRITER);
    let mut stream: Vec<Member> = (0..6).map(|n| troupe.queue(&format!("r{n}"), &READER)).collect();
    let mut last = troupe.queue("w-last", &WRITER);
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    first.ends();
    writer.begins();
    writer.ends();
    // All of them, while none lets go.
    stream.iter_mut().for_each(Member::begins);
    assert_eq!(troupe.tokens("m1").len(), 6);
    stream.into_iter().for_each(Member::ends);
    last.begins();
    last.ends();
    assert_eq!(troupe.log.together(may), (9, 6));
    let order = troupe.log.order();
    assert_eq!((&*order[0], &*order[1], &*order[8]), ("r-first", "w", "w-last"), "{order:?}");
}

/// Nobody goes beside a reader as long as a writer waits, stopped or not: it could not have had the
/// machine. When it could have, for a second, the next goes; and those after it wait again.
#[test]
fn a_stopped_writer_is_passed_over_when_it_lets_the_machine_go_by() {
    let troupe = Troupe::new();
    let first = troupe.hold("r0", &READER);
    let mut writer = troupe.queue("w", &WRITER);
    writer.stop();
    let before = Instant::now();
    assert_eq!(troupe.tries(&["-s", "-w", "2.5", "-m", "m1"]), 75);
    assert!(before.elapsed() >= 2 * GRACE);
    let mut second = troupe.queue("r1", &READER);
    let before = Instant::now();
    first.ends();
    second.begins();
    assert!(before.elapsed() >= GRACE, "{:?}", before.elapsed());
    let before = Instant::now();
    assert_eq!(troupe.tries(&["-s", "-n", "-m", "m1"]), 75);
    assert!(before.elapsed() < GRACE, "there is nothing to wait for: {:?}", before.elapsed());
    writer.go_on();
    second.ends();
    writer.begins();
    writer.ends();
    assert_eq!(troupe.log.together(may), (3, 1));
}

/// A reader that is stopped lets others go beside one that runs, after its second.
#[test]
fn a_stopped_reader_is_passed_over_beside_another() {
    let troupe = Troupe::new();
    let writer = troupe.hold("w", &WRITER);
    let mut stopped = troupe.queue("r-stopped", &READER);
    stopped.stop();
    let mut others = ["r1", "r2", "r3"].map(|who| troupe.queue(who, &READER));
    let before = Instant::now();
    writer.ends();
    for (n, other) in (1..).zip(&mut others) {
        other.begins();
        println!("reader {n} after {:?}", before.elapsed());
        assert!(before.elapsed() >= GRACE);
    }
    let before = Instant::now();
    assert_eq!(troupe.tries(&["-s", "-n", "-m", "m1"]), 0);
    assert!(before.elapsed() >= GRACE);
    stopped.go_on();
    stopped.begins();
    assert_eq!(troupe.tokens("m1").len(), 4);
    others.into_iter().for_each(Member::ends);
    stopped.ends();
    assert_eq!(troupe.log.together(may), (5, 4));
}

#[test]
fn every_view_shows_all_holders() {
    let troupe = Troupe::new();
    let readers: Vec<Member> =
        ["r0", "r1", "r2"].map(|who| troupe.hold(who, &READER)).into_iter().collect();
    let writer = troupe.queue("w", &WRITER);
    for words in [&["status", "m1", "--json"][..], &["info", "m1", "--json"]] {
        let seen = troupe.run(words).exits(0).silent().json();
        assert_eq!(seen["verdict"], "live");
        let holders = seen["holders"].as_array().unwrap();
        let tokens: Vec<String> = holders.iter().map(|h| h["token"].to_string()).collect();
        assert_eq!(tokens, readers.iter().map(|r| r.token.clone()).collect::<Vec<_>>());
        assert!(holders.iter().all(|h| h["verdict"] == "live" && h["mode"] == "shared"));
    }
    let seen = troupe.run(&["list", "--json"]).exits(0).silent().json();
    assert_eq!(seen[0]["holders"].as_array().unwrap().len(), 3, "{seen}");
    let info = troupe.run(&["info", "m1"]).exits(0).silent().stdout();
    for reader in &readers {
        assert!(info.contains(&reader.job.to_string()), "{info}");
    }
    let status = troupe.run(&["status", "m1"]).exits(0).silent().stdout();
    println!("{status}{}", troupe.run(&["list"]).stdout());
    assert!(status.contains("2 more") || status.matches("PID").count() == 3, "{status}");
    let seen = troupe.run(&["queue", "m1", "--json"]).json();
    assert_eq!(seen["queue"][0]["mode"], "exclusive", "{seen}");
    drop(writer);
    readers.into_iter().for_each(Member::ends);
}

/// Whoever is over goes by himself: his job and his lifeline, and nobody else's.
#[rstest]
#[case::another_reader(&["-s"], 0)]
#[case::a_writer(&["-n"], 75)]
fn a_phantom_among_readers_is_cleared_alone(#[case] next: &[&str], #[case] code: i32) {
    let troupe = Troupe::new();
    let mut readers = ["r0", "r1", "r2"].map(|who| troupe.hold(who, &READER));
    readers[1].kill();
    let info = troupe.run(&["info", "m1", "--json"]).exits(0).json();
    let verdicts: Vec<&str> = info["holders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["live", "phantom", "live"]);
    let words: Vec<&str> = next.iter().copied().chain(["-m", "m1"]).collect();
    let done = run(troupe.sandbox.jobguard(&words).args(["--", "true"])).exits(code);
    let pid = readers[1].job.to_string();
    let cleared: Vec<String> =
        done.stderr().lines().filter(|l| l.contains(&pid)).map(str::to_owned).collect();
    assert_eq!(cleared.len(), 1, "{done:?}");
    let left = [readers[0].token.clone(), readers[2].token.clone()];
    assert_eq!((troupe.tokens("m1"), troupe.lifelines("m1")), (left.to_vec(), left.to_vec()));
    let events = troupe.sandbox.events("m1");
    let phantoms: Vec<_> = events.iter().filter(|e| e["event"] == "phantom_cleared").collect();
    assert_eq!(phantoms.len(), 1);
    assert_eq!(phantoms[0]["token"].to_string(), readers[1].token);
    assert_eq!(troupe.sandbox.record("m1")["counters"]["phantoms"]["process_gone"], 1);
    let [first, _, third] = readers;
    first.ends();
    third.ends();
    troupe.run(&["status", "m1"]).exits(3);
}

/// The lifeline of a reader whose supervisor was killed is slack; he holds the machine all the same.
#[test]
fn an_orphaned_reader_counts_and_keeps_its_lifeline() {
    let troupe = Troupe::new();
    let mut orphan = troupe.hold("r-orphan", &READER);
    let other = troupe.hold("r1", &READER);
    orphan.orphan();
    let third = troupe.hold("r2", &READER);
    let mut all = vec![orphan.token.clone(), other.token.clone(), third.token.clone()];
    all.sort_unstable();
    assert_eq!(troupe.lifelines("m1"), all);
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    assert_eq!(troupe.lifelines("m1"), all);
    other.ends();
    third.ends();
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    assert_eq!(troupe.tries(&["-n", "-s", "--slots", "1", "-m", "m1"]), 75);
    let mut writer = troupe.queue("w", &WRITER);
    orphan.let_go();
    writer.begins();
    assert!(ends(orphan.job, Duration::ZERO));
    writer.let_go();
    let (code, said) = writer.result();
    assert_eq!(code, Some(0));
    assert!(said.contains(&format!("PID {}", orphan.job)), "{said}");
    assert_eq!(troupe.lifelines("m1"), [""; 0]);
    assert_eq!(troupe.log.together(may).0, 4);
}

/// A job whose supervisor is stopped is over all the same: a second later for a writer, at once for
/// a reader. What the supervisor does when it goes on harms nobody.
#[test]
fn a_stalled_supervisor_among_readers() {
    let troupe = Troupe::new();
    let mut stalled = troupe.hold("r-stalled", &READER);
    let other = troupe.hold("r1", &READER);
    let mut writer = troupe.queue("w", &WRITER);
    stalled.stop();
    stalled.let_go();
    until("its job is over", || {
        ends(stalled.job, Duration::ZERO) || support::state(stalled.job) == Some('Z')
    });
    let before = Instant::now();
    other.ends();
    writer.begins();
    assert!(before.elapsed() < 3 * GRACE, "{:?}", before.elapsed());
    stalled.go_on();
    let (code, said) = stalled.result();
    assert_eq!(code, Some(0));
    assert!(said.contains("was not in the record any more"), "{said}");
    assert_eq!(troupe.tokens("m1"), [writer.token.clone()]);
    assert_eq!(troupe.lifelines("m1"), [writer.token.clone()]);
    writer.let_go();
    assert_eq!(writer.result().0, Some(0));
    assert_eq!(troupe.log.together(may), (3, 2));
}

/// The lock file is deleted beside readers, then the record, too: who holds the machine still does.
#[test]
fn a_deleted_lock_file_beside_readers() {
    let troupe = Troupe::new();
    let mut readers = vec![troupe.hold("r0", &READER), troupe.hold("r1", &READER)];
    let file = |name: &str| troupe.sandbox.machine("m1").join(name);
    std::fs::remove_file(file("lock")).unwrap();
    assert_eq!(troupe.tries(&["-n", "-m", "m1"]), 75);
    readers.push(troupe.hold("r2", &READER));
    assert_eq!(troupe.tokens("m1").len(), 3);
    std::fs::remove_file(file("lock")).unwrap();
    readers.remove(0).ends();
    assert_eq!(troupe.tokens("m1").len(), 2);
    std::fs::remove_file(file("lock")).unwrap();
    std::fs::remove_file(file("record.json")).unwrap();
    // Nobody knows any more what they agreed to.
    assert_eq!(troupe.tries(&["-n", "-s", "-m", "m1"]), 75);
    let mut reader = troupe.queue("r3", &READER);
    for mut old in readers {
        old.let_go();
        assert_eq!(old.result().0, Some(0));
    }
    reader.begins();
    reader.ends();
    assert_eq!(troupe.log.together(may), (4, 3));
    assert_eq!(troupe.lifelines("m1"), [""; 0]);
}

/// A reader that is killed while it waits is passed over at once, and so is one that gives up.
#[test]
fn who_leaves_the_line_holds_up_nobody() {
    let troupe = Troupe::new();
    let first = troupe.hold("r0", &READER);
    let writer = troupe.queue("w", &WRITER);
    let mut reader = troupe.queue("r1", &READER);
    let mut last = troupe.queue("w-last", &WRITER);
    let before = Instant::now();
    writer.guard.signal(Signal::SIGKILL);
    reader.begins();
    assert!(before.elapsed() < GRACE, "{:?}", before.elapsed());
    first.ends();
    reader.ends();
    last.begins();
    last.ends();
    assert_eq!(troupe.log.together(may), (3, 2));
}
