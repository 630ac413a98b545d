//! The words on the screen: every refusal names the machine, the holder, the reason and what to
//! type next.

use std::path::Path;

use super::escape::{escape, escape_os, escape_path, quote};
use crate::identity::verdict::{Judgement, Subject, Verdict};
use crate::look::Sight;
use crate::machine::argument::Argument;
use crate::machine::name::MachineName;
use crate::machine::record::{Ending, Holder, LastRun, MAX_SLOTS, Mode, State};
use crate::machine::ticket::Ticket;
use crate::protocol::Judged;
use crate::summary::{Summary, summarize};
use crate::sys::wait::Ended;

/// What runs, as people call it: its name, else its command line.
pub fn title(holder: &Holder) -> String {
    named(holder.name.as_ref(), &holder.command)
}

/// What will run, as people call it.
pub fn ticket_title(ticket: &Ticket) -> String {
    named(ticket.name.as_ref(), &ticket.command)
}

fn named(name: Option<&Argument>, command: &[Argument]) -> String {
    name.map_or_else(|| command_line(command), |name| escape_os(&name.0))
}

/// A command line as one would type it.
pub fn command_line(command: &[Argument]) -> String {
    command.iter().map(|word| quote(&word.0)).collect::<Vec<_>>().join(" ")
}

/// A subject in one phrase: what it runs, its PID, its user, since when.
pub fn describe(subject: &Subject) -> String {
    let unknown = |title: &str, facts: &[Option<String>]| {
        let facts: Vec<&str> = facts.iter().flatten().map(String::as_str).collect();
        if facts.is_empty() { title.to_owned() } else { format!("{title} ({})", facts.join(", ")) }
    };
    match subject {
        Subject::Holder(holder) => {
            let facts = [
                holder.job.as_ref().map(|job| format!("PID {}", job.pid)),
                Some(format!("user {}", user(holder))),
                Some(format!("since {}", escape(&holder.started_at))),
                holder.adopted.then(|| "adopted".to_owned()),
                state(holder),
                sharing(holder),
                holder.parent.map(|outer| format!("part of run {outer}")),
            ];
            unknown(&format!("\"{}\"", title(holder)), &facts)
        }
        Subject::Legacy(legacy) => {
            let job = legacy.job.as_deref().unwrap_or("unknown job");
            let facts = [
                legacy.job_pid.map(|pid| format!("PID {pid}")),
                legacy.job_timestamp.map(|time| format!("since {}", at(time))),
            ];
            unknown(&format!("\"{}\"", escape(job)), &facts)
        }
        Subject::Unrecorded(token) => {
            format!("a run that no record names (token {token}; its record or lock was deleted)")
        }
        Subject::Torn(_) | Subject::Newer(_) | Subject::Unreadable(_) => "unknown job".to_owned(),
    }
}

/// What a holder does that does not just run.
fn state(holder: &Holder) -> Option<String> {
    match holder.state {
        State::Claiming | State::Running => None,
        State::Stopping => Some("stopping".to_owned()),
        State::Retrying => Some("waiting to try again".to_owned()),
        State::Draining => Some(format!("job over, {} left", processes(holder.leftovers.len()))),
    }
}

/// So many processes.
pub fn processes(count: usize) -> String {
    if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
}

/// How a holder shares its machine, if it does.
pub(super) fn sharing(holder: &Holder) -> Option<String> {
    match (holder.mode, holder.slots) {
        (Mode::Exclusive, 0..=1) => None,
        (Mode::Exclusive, slots) => Some(format!("one of {slots} at most")),
        (Mode::Shared, MAX_SLOTS..) => Some("shared".to_owned()),
        (Mode::Shared, slots) => Some(format!("shared by {slots} at most")),
    }
}

/// The user of a holder: the name, else the number.
pub fn user(holder: &Holder) -> String {
    user_name(holder.user.as_deref(), holder.uid)
}

/// A user: the name, else the number.
pub fn user_name(name: Option<&str>, uid: u32) -> String {
    name.map_or_else(|| uid.to_string(), |name| escape(name).into_owned())
}

/// A time of schema 0, as RFC 3339.
pub(super) fn at(unix_seconds: i64) -> String {
    u64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| {
            std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
        })
        // Beyond the year 9999 there is no RFC 3339.
        .filter(|_| unix_seconds < 253_402_300_800)
        .map_or_else(
            || format!("Unix second {unix_seconds}"),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
}

/// Who holds a machine, for a refusal.
pub fn held_by(machine: &MachineName, subject: &Subject, judgement: &Judgement) -> String {
    let who = describe(subject);
    match &judgement.verdict {
        Verdict::Unverifiable(reason) => {
            format!(
                "{machine} is held by {who}, which cannot be verified: {}",
                escape(&reason.to_string())
            )
        }
        Verdict::Live | Verdict::Finishing | Verdict::Phantom(_) => {
            format!("{machine} is held by {who}")
        }
    }
}

/// How many wait before us: `, with 3 before us`; nothing when we are next.
pub fn queue_before(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(", with {count} before us"),
    }
}

/// What to do about somebody who holds a machine: nothing against one who is proven alive.
pub fn next_step(
    machine: &MachineName,
    subject: &Subject,
    judgement: &Judgement,
    chosen: Option<&Path>,
) -> String {
    match (&judgement.verdict, subject) {
        (Verdict::Finishing, _) => "its end is due any moment: try again".to_owned(),
        (Verdict::Live, Subject::Holder(_)) => {
            let words = format!("stop {machine} --token {}", subject.token());
            format!("it is alive: wait for it, or end it: {}", command(&words, chosen))
        }
        (_, Subject::Newer(_)) => "use the version that wrote it".to_owned(),
        _ => {
            let words = format!("clear {machine} --force --token {}", subject.token());
            format!("if you know it is over: {}", command(&words, chosen))
        }
    }
}

/// A command of ours to type: it names the state directory `chosen` with `--state-dir`, without
/// which it would be about another machine of the same name.
pub fn command(words: &str, chosen: Option<&Path>) -> String {
    match chosen {
        None => format!("jobguard {words}"),
        Some(dir) => format!("jobguard {words} --state-dir {}", quote(dir.as_os_str())),
    }
}

/// The line about a phantom that was cleared: the job, its PID, when it started, the proof, and where
/// its output is if nobody showed it.
pub fn cleared(machine: &MachineName, judged: &Judged) -> String {
    let who = describe(&judged.subject);
    let output = match &judged.subject {
        Subject::Holder(holder) => holder.output.as_ref(),
        _ => None,
    };
    let output = output.map(|path| format!("; its output went to '{}'", escape_os(&path.0)));
    let output = output.unwrap_or_default();
    match &judged.judgement.verdict {
        Verdict::Phantom(reason) => {
            let ended = match judged.ended {
                Some(Ended::Exited(code)) => format!("; it exited {code}"),
                Some(Ended::Signaled(signal)) => format!("; it was killed by signal {signal}"),
                Some(Ended::Unseen) | None => String::new(),
            };
            format!("{machine}: cleared {who}: STALE ({reason}){ended}{output}")
        }
        Verdict::Live | Verdict::Finishing | Verdict::Unverifiable(_) => {
            format!("{machine}: cleared {who} by force{output}")
        }
    }
}

/// The line of `status`.
///
/// `state_dir` is where the machine is, `chosen` that directory where `--state-dir` named it.
pub fn status_line(
    machine: &MachineName,
    sight: &Sight,
    state_dir: &Path,
    chosen: Option<&Path>,
) -> String {
    let observed = match summarize(sight) {
        Summary::Held(observed) => observed,
        Summary::Free => {
            let history = match &sight.record.last {
                Some(last) => format!("last run {}", last_run(last)),
                None => format!("never used, in {}", escape_path(state_dir)),
            };
            return format!("{machine}: free ({history})\n");
        }
    };
    let who = describe(&observed.subject);
    let mut more = match sight.observed.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    if !sight.queue.is_empty() {
        more.push_str(&format!("; {} waiting", sight.queue.len()));
    }
    match &observed.judgement.verdict {
        Verdict::Live => format!("{machine}: running {who}{more}\n"),
        Verdict::Finishing => format!("{machine}: finishing {who}{more}\n"),
        Verdict::Phantom(reason) => {
            format!("{machine}: STALE ({reason}) {who}{more}; the next run clears it\n")
        }
        Verdict::Unverifiable(reason) => format!(
            "{machine}: held by {who}{more}, which cannot be verified: {}; {}\n",
            escape(&reason.to_string()),
            next_step(machine, &observed.subject, &observed.judgement, chosen)
        ),
    }
}

/// How a run ended, and when, in a few words.
pub fn last_run(last: &LastRun) -> String {
    format!("{} at {}", how_it_ended(last), escape(&last.ended_at))
}

/// How a run ended, in a few words.
pub fn how_it_ended(last: &LastRun) -> String {
    match (last.ended, last.code) {
        (Ending::Exited, Some(code)) => format!("exited {code}"),
        (Ending::Exited, None) => "exited".to_owned(),
        (Ending::Signaled, Some(signal)) => format!("was killed by signal {signal}"),
        (Ending::Signaled, None) => "was killed by a signal".to_owned(),
        (Ending::TimedOut, _) => "timed out".to_owned(),
        (Ending::ExecFailed, _) => "could not be executed".to_owned(),
        (Ending::Lost, _) => "was lost".to_owned(),
        (Ending::Unknown, _) => "ended unseen".to_owned(),
    }
}
