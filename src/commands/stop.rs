//! `jobguard stop NAME`: ends who holds it, and says what it took.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{At, at_machine, clear, leave_word, refuse_own};
use crate::cli::plan::Ask;
use crate::ending::{AFTER_KILL, Ended, Ending, Fate};
use crate::error::Error;
use crate::identity::observe::{Observed, Patience};
use crate::identity::verdict::Verdict;
use crate::look::{Sight, settle, settled_by};
use crate::machine::name::MachineName;
use crate::protocol::Judged;
use crate::protocol::note::Note;
use crate::report::json::{MachineJson, line, subject_json};
use crate::report::{human, output};
use crate::summary::foremost;
use crate::transaction::Transaction;

/// The exit status when somebody holds the machine who was to be ended, or who was not asked for.
const HELD: u8 = 75;

/// Which runs, and how long they may take.
#[derive(Clone, Copy)]
struct Wish {
    /// Only this run; `None`: whoever holds the machine.
    token: Option<u64>,
    /// From TERM to KILL.
    grace: Duration,
}

/// What was done, and the machine afterwards.
struct Stopped {
    runs: Vec<Ended>,
    after: Sight,
}

/// Ends the run `token`, or everybody who holds the machine, and prints what it did.
pub(super) fn stop(
    machine: &MachineName,
    token: Option<u64>,
    grace: Duration,
    ask: &Ask,
) -> Result<u8, Error> {
    let wish = Wish { token, grace };
    let (stopped, path) = at_machine(machine, &ask.settings, |at| stop_holders(at, wish, ask))?;
    let stopped =
        stopped.unwrap_or_else(|| Stopped { runs: Vec::new(), after: Sight::never_used(machine) });
    let chosen = ask.settings.state_dir.as_deref();
    output::answer(&if ask.json {
        line(&StopJson::new(machine, &stopped))?
    } else {
        let lines = stopped.runs.iter().filter_map(|run| what_was_done(machine, run, grace));
        lines.collect::<String>() + &human::status_line(machine, &stopped.after, &path, chosen)
    })?;
    let complaints = complaints(machine, &stopped, token, ask);
    complaints.iter().for_each(output::message);
    Ok(if complaints.is_empty() { 0 } else { HELD })
}

fn stop_holders(at: &At<'_>, wish: Wish, ask: &Ask) -> Result<Stopped, Error> {
    let At { dir, observer, mask, .. } = *at;
    let mut patience = Patience::default();
    let look = |patience: &mut Patience| settle(dir, observer, patience, mask, settled_by());
    let sight = look(&mut patience)?;
    let meant = |found: &&Observed| wish.token.is_none_or(|token| token == found.subject.token());
    refuse_own(at, sight.holding().filter(meant), "it would end itself")?;
    let holding = sight.observed.into_iter().filter(Observed::holds);
    let runs = holding.filter(|found| meant(&found)).map(Judged::from).collect();
    let lock_timeout = ask.settings.lock_timeout;
    let ending = Ending { dir, observer, grace: wish.grace, lock_timeout, mask };
    let runs = ending.end(runs, &mut patience)?;
    note(Transaction::new(dir, observer, &mut patience, ask.settings.lock_timeout), &runs);
    // A supervisor that was killed, or is stopped, leaves a phantom.
    let mut after = look(&mut patience)?;
    if !after.observed.iter().all(Observed::holds)
        && clear::sweep(dir, observer, &mut patience, ask)
    {
        after = look(&mut patience)?;
    }
    Ok(Stopped { runs, after: after.with_queue(dir)? })
}

/// Leaves word in the event log of what was done.
pub(super) fn note(transaction: Transaction<'_>, runs: &[Ended]) {
    let events: Vec<_> = runs.iter().filter_map(Ended::event).collect();
    if !events.is_empty() {
        leave_word(transaction, &mut Note::new(events));
    }
}

/// The line about a run that is gone, if that is our doing.
pub(super) fn what_was_done(machine: &MachineName, run: &Ended, grace: Duration) -> Option<String> {
    let last = run.signals.last().filter(|_| run.fate == Fate::Gone)?;
    let who = human::describe(&run.run.subject);
    let after = match run.signals.len() {
        1 => String::new(),
        _ => format!(" after {}", humantime::format_duration(grace)),
    };
    Some(format!("{machine}: stopped {who} with {}{after}\n", last.name()))
}

/// Why a run still holds the machine.
fn why_not(run: &Ended) -> Option<String> {
    match &run.fate {
        Fate::Gone => None,
        Fate::Refused(refusal) => Some(refusal.to_string()),
        Fate::Holds => {
            let time = humantime::format_duration(AFTER_KILL);
            Some(format!("it is not over {time} after KILL"))
        }
        Fate::Left(count) => {
            let time = humantime::format_duration(AFTER_KILL);
            Some(format!("of its job {} still there {time} after KILL", are(*count)))
        }
    }
}

fn are(count: usize) -> String {
    format!("{} {}", human::processes(count), if count == 1 { "is" } else { "are" })
}

/// What is not as it was asked for, and what to do about it.
fn complaints(
    machine: &MachineName,
    stopped: &Stopped,
    token: Option<u64>,
    ask: &Ask,
) -> Vec<String> {
    let chosen = ask.settings.state_dir.as_deref();
    if let (Some(token), true, Some(other)) =
        (token, stopped.runs.is_empty(), foremost(stopped.after.holding()))
    {
        return vec![format!(
            "{}, and not by the run {token}; nothing was stopped; {}",
            human::held_by(machine, &other.subject, &other.judgement),
            human::next_step(machine, &other.subject, &other.judgement, chosen)
        )];
    }
    stopped.runs.iter().filter_map(|run| complaint(machine, run, chosen)).collect()
}

/// Why a run still holds the machine, and what to do about it.
pub(super) fn complaint(
    machine: &MachineName,
    run: &Ended,
    chosen: Option<&Path>,
) -> Option<String> {
    let why = why_not(run)?;
    let Judged { subject, judgement, .. } = &run.run;
    let next = match judgement.verdict {
        Verdict::Unverifiable(_) => human::next_step(machine, subject, judgement, chosen),
        _ => {
            let wait = human::command(&format!("wait {machine}"), chosen);
            format!("end it yourself where it runs, then: {wait}")
        }
    };
    let held = human::held_by(machine, subject, judgement);
    Some(format!("{held}; it was not stopped: {why}; {next}"))
}

/// The machine as it is now, and what was done to it.
#[derive(Serialize)]
struct StopJson<'a> {
    #[serde(flatten)]
    machine: MachineJson<'a>,
    /// Those that are gone after they were sent `signals`; not those that ended by themselves.
    stopped: Vec<Value>,
    /// Those that still hold it, and `why`.
    refused: Vec<Value>,
}

impl<'a> StopJson<'a> {
    fn new(machine: &'a MachineName, stopped: &'a Stopped) -> Self {
        let object = |run: &Ended| {
            let mut object = subject_json(&run.run.subject, &run.run.judgement);
            let signals: Vec<&str> = run.signals.iter().map(|signal| signal.name()).collect();
            object["signals"] = json!(signals);
            object
        };
        let gone = |run: &&Ended| run.fate == Fate::Gone && !run.signals.is_empty();
        let refused = |run: &Ended| {
            let mut object = object(run);
            object["why"] = json!(why_not(run)?);
            Some(object)
        };
        Self {
            machine: MachineJson::new(machine, &stopped.after),
            stopped: stopped.runs.iter().filter(gone).map(object).collect(),
            refused: stopped.runs.iter().filter_map(refused).collect(),
        }
    }
}
