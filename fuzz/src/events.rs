//! The event log: whatever a crash left in it, what is appended can be read, and nothing is lost.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jobguard::machine::argument::Argument;
use jobguard::machine::events::{Event, FILE, ROTATED, What, Why, append};
use jobguard::machine::record::{Ending, LastRun, Leftover};
use jobguard::machine::used::Used;
use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};

use super::draw::Draw;

/// From this size on the next event goes into a new file.
const ROTATE_AT: u64 = 1 << 20;

/// The input is the log as it was found, and what the events tell is made of the same bytes.
pub fn check(input: &[u8]) {
    let mut draw = Draw::from(input);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join(FILE);
    if draw.below(8) > 0 {
        fs::write(&log, input).unwrap();
    }
    let size = ROTATE_AT - draw.number() % 2;
    if draw.below(16) == 0 {
        // Nothing but a hole follows.
        File::options().create(true).append(true).open(&log).unwrap().set_len(size).unwrap();
    }
    nothing_is_lost(dir.path(), &events(input, &mut draw));
    // The next one crashes, or the machine does, while it writes.
    let whole = fs::read(&log).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n');
    let from = last_line.map_or(0, |newline| newline + 1);
    let cut = from + draw.below(whole.len() - from);
    fs::write(&log, &whole[..cut]).unwrap();
    nothing_is_lost(dir.path(), &events(input, &mut draw));
}

/// Appends these events, and reads them, and what was there before.
fn nothing_is_lost(dir: &Path, events: &[Event]) {
    let read = |file: &str| fs::read(dir.join(file)).unwrap_or_default();
    let (before, older) = (read(FILE), read(ROTATED));
    let mode = Mode::from_bits_truncate(0o644);
    append(File::open(dir).unwrap().as_fd(), events, mode).unwrap();
    let after = read(FILE);
    let rotates = before.len() as u64 >= ROTATE_AT;
    assert!(read(ROTATED) == if rotates { &*before } else { &*older }, "the older log changed");
    let kept = if rotates { &[][..] } else { &before };
    let added = after.strip_prefix(kept).expect("what was in the log changed");
    assert!(added.ends_with(b"\n"), "the last line is torn");
    // A reader takes the log line by line, and passes over what is no event.
    let lines: Vec<&[u8]> = added.trim_ascii_start().trim_ascii_end().split(is_newline).collect();
    let torn = added.iter().take_while(|byte| is_newline(byte)).count();
    assert_eq!(torn, usize::from(!kept.is_empty() && !kept.ends_with(b"\n")), "a torn line");
    assert_eq!(lines.len(), events.len());
    events.iter().zip(lines).for_each(|(event, line)| is_told(event, line));
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}

/// The line says all that the event does.
fn is_told(event: &Event, line: &[u8]) {
    let told: Value = serde_json::from_slice(line).unwrap();
    let Event { time, machine, token, what } = event;
    assert_eq!((&told["time"], &told["machine"]), (&json!(time), &json!(machine)));
    assert_eq!(told["token"], json!(token));
    let read = |key: &str| told[key].clone();
    match what {
        What::Ended { run, command } => {
            assert_eq!(told["event"], "ended");
            assert_eq!(&serde_json::from_value::<LastRun>(read("run")).unwrap(), run);
            assert_eq!(&serde_json::from_value::<Vec<Argument>>(read("command")).unwrap(), command);
        }
        What::EndedUnrecorded { run } => {
            assert_eq!(told["event"], "ended_unrecorded");
            assert_eq!(&serde_json::from_value::<LastRun>(read("run")).unwrap(), run);
        }
        What::Retried { attempt, run, after_ms, command } => {
            assert_eq!((read("event"), read("attempt")), (json!("retried"), json!(attempt)));
            assert_eq!(read("after_ms"), json!(after_ms));
            assert_eq!(&serde_json::from_value::<LastRun>(read("run")).unwrap(), run);
            assert_eq!(&serde_json::from_value::<Vec<Argument>>(read("command")).unwrap(), command);
        }
        What::StillRunning { after_ms, command } => {
            assert_eq!(
                (read("event"), read("after_ms")),
                (json!("still_running"), json!(after_ms))
            );
            assert_eq!(&serde_json::from_value::<Vec<Argument>>(read("command")).unwrap(), command);
        }
        What::LeftRunning { processes } => {
            assert_eq!(told["event"], "left_running");
            assert_eq!(read("processes"), json!(processes));
        }
        What::NotRun { why, command } => {
            assert_eq!((read("event"), read("why")), (json!("not_run"), json!(why)));
            assert_eq!(&serde_json::from_value::<Vec<Argument>>(read("command")).unwrap(), command);
        }
        What::PhantomCleared { reason, proof, ended, code, holder } => {
            assert_eq!(told["event"], "phantom_cleared");
            assert_eq!((read("ended"), read("code")), (json!(ended), json!(code)));
            assert_eq!((read("reason"), read("proof")), (json!(reason), json!(proof)));
            assert_eq!(&told["holder"], holder);
        }
        What::Stopped { signals, uid, holder } => {
            assert_eq!(told["event"], "stopped");
            assert_eq!((read("signals"), read("uid")), (json!(signals), json!(uid)));
            assert_eq!(&told["holder"], holder);
        }
        What::TakenOver { uid, holder } => {
            assert_eq!((read("event"), read("uid")), (json!("taken_over"), json!(uid)));
            assert_eq!(&told["holder"], holder);
        }
        What::ForceCleared { verdict, uid, holder } => {
            assert_eq!(told["event"], "force_cleared");
            assert_eq!((read("verdict"), read("uid")), (json!(verdict), json!(uid)));
            assert_eq!(&told["holder"], holder);
        }
    }
}

/// One event of each kind, in any order, some of them missing; at least one.
fn events(input: &[u8], draw: &mut Draw) -> Vec<Event> {
    let text = || String::from_utf8_lossy(input).into_owned();
    let words = input.split(|byte| *byte == b' ').map(OsStr::from_bytes);
    // The last line that is JSON: the seeds are logs, with holders in them.
    let mut values = input.split(is_newline).filter_map(|line| serde_json::from_slice(line).ok());
    let holder: Value = values.next_back().unwrap_or(Value::Null);
    let run = LastRun {
        token: draw.magnitude(),
        ended: Ending::Signaled,
        code: Some(9),
        started_at: Some(text()),
        ended_at: "2026-11-20T15:30:45.123Z".to_owned(),
        used: Used::default(),
        unknown: Map::new(),
    };
    let words: Vec<Argument> = words.map(Argument::from).collect();
    let mut kinds = vec![
        What::Ended { run: run.clone(), command: words.clone() },
        What::NotRun { why: Why::Skipped, command: words.clone() },
        What::StillRunning { after_ms: draw.magnitude(), command: words.clone() },
        What::LeftRunning {
            processes: vec![Leftover { pid: -1, name: text(), unknown: Map::new() }],
        },
        What::EndedUnrecorded { run: run.clone() },
        What::Retried { attempt: 1, run, after_ms: draw.magnitude(), command: words },
        What::PhantomCleared {
            reason: text(),
            proof: text(),
            ended: Ending::Exited,
            code: [None, Some(0)][draw.below(2)],
            holder: holder.clone(),
        },
        What::TakenOver { uid: 0, holder: holder.clone() },
        What::ForceCleared { verdict: text(), uid: u32::MAX, holder: holder.clone() },
        What::Stopped { signals: vec![text()], uid: 0, holder },
    ];
    let mut events = Vec::new();
    for _ in 0..=draw.below(kinds.len()) {
        events.push(Event {
            time: text(),
            machine: "m1".to_owned(),
            token: draw.magnitude(),
            what: kinds.swap_remove(draw.below(kinds.len())),
        });
    }
    events
}
