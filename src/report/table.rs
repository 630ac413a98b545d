//! The tables of `list` and `queue`.

use std::io::Write;

use super::escape::escape;
use super::human::{at, ticket_title, title, user, user_name};
use crate::error::Error;
use crate::identity::observe::Observed;
use crate::identity::verdict::{Subject, Verdict};
use crate::look::{Queued, Sight};
use crate::machine::name::MachineName;

/// The table of `list`: a line for each holder, and for each machine that has none.
pub fn table(rows: &[(MachineName, Sight)]) -> Result<String, Error> {
    let mut text = "MACHINE\tSTATE\tJOB\tPID\tSINCE\tUSER\tWAITING\n".to_owned();
    for (machine, sight) in rows {
        let free = || vec![["free", "-", "-", "-", "-"].map(str::to_owned)];
        let held: Vec<[String; 5]> = sight.observed.iter().map(columns).collect();
        let waiting = sight.queue.len();
        for [state, job, pid, since, user] in if held.is_empty() { free() } else { held } {
            text.push_str(&format!(
                "{machine}\t{state}\t{job}\t{pid}\t{since}\t{user}\t{waiting}\n"
            ));
        }
    }
    lay_out(&text)
}

/// The table of `queue`; nothing when nobody waits.
pub fn queue(queue: &[Queued]) -> Result<String, Error> {
    if queue.is_empty() {
        return Ok(String::new());
    }
    let mut text = "POSITION\tJOB\tPID\tSINCE\tUSER\n".to_owned();
    for queued in queue {
        let [job, pid, since, user] = match &queued.ticket {
            Some(ticket) => [
                ticket_title(ticket),
                ticket.pid.to_string(),
                escape(&ticket.since).into_owned(),
                user_name(ticket.user.as_deref(), ticket.uid),
            ],
            None => ["-", "-", "-", "-"].map(str::to_owned),
        };
        let position = place(queued);
        text.push_str(&format!("{position}\t{job}\t{pid}\t{since}\t{user}\n"));
    }
    lay_out(&text)
}

/// Its position, and in whose job.
fn place(queued: &Queued) -> String {
    let within = queued.id.within.map(|outer| format!(" within {outer}"));
    format!("{}{}", queued.position, within.unwrap_or_default())
}

fn lay_out(text: &str) -> Result<String, Error> {
    let mut table = tabwriter::TabWriter::new(Vec::new()).minwidth(0).padding(2);
    let cannot = || Error::io("lay out the table");
    table.write_all(text.as_bytes()).map_err(cannot())?;
    table.flush().map_err(cannot())?;
    let bytes =
        table.into_inner().map_err(|error| cannot()(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn columns(observed: &Observed) -> [String; 5] {
    let state = match &observed.judgement.verdict {
        Verdict::Live => "running",
        Verdict::Finishing => "finishing",
        Verdict::Phantom(_) => "phantom [STALE]",
        Verdict::Unverifiable(_) => "unverifiable",
    };
    let none = || "-".to_owned();
    let [job, pid, since, user] = match &observed.subject {
        Subject::Holder(holder) => [
            title(holder),
            holder.job.as_ref().map_or_else(none, |job| job.pid.to_string()),
            escape(&holder.started_at).into_owned(),
            user(holder),
        ],
        Subject::Legacy(legacy) => [
            legacy.job.as_deref().map_or_else(none, |job| escape(job).into_owned()),
            legacy.job_pid.map_or_else(none, |pid| pid.to_string()),
            legacy.job_timestamp.map_or_else(none, at),
            none(),
        ],
        Subject::Torn(_) | Subject::Newer(_) | Subject::Unreadable(_) | Subject::Unrecorded(_) => {
            [none(), none(), none(), none()]
        }
    };
    [state.to_owned(), job, pid, since, user]
}
