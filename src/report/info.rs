//! The page of `info`: everything that is known about a machine.

use std::path::Path;

use super::escape::{escape, escape_os, escape_path};
use super::human::{
    at, command_line, describe, last_run, sharing, ticket_title, title, user, user_name,
};
use crate::identity::observe::Observed;
use crate::identity::process::ProcessId;
use crate::identity::verdict::{Subject, Verdict};
use crate::look::Sight;
use crate::machine::name::MachineName;
use crate::machine::record::{Holder, State};
use crate::report::resources::used;

/// The page.
pub fn info(machine: &MachineName, sight: &Sight, state_dir: &Path) -> String {
    let mut page = Page::default();
    page.line("Machine", machine.as_str());
    page.line("State directory", &escape_path(state_dir));
    if sight.observed.is_empty() {
        page.line("Running job", "none");
    }
    for observed in &sight.observed {
        holder_lines(&mut page, observed);
    }
    for queued in &sight.queue {
        let who = queued.ticket.as_ref().map_or("unknown".to_owned(), |ticket| {
            let user = user_name(ticket.user.as_deref(), ticket.uid);
            let (job, since) = (ticket_title(ticket), escape(&ticket.since));
            let within = queued.id.within.map(|outer| format!(", within {outer}"));
            let within = within.unwrap_or_default();
            format!("\"{job}\" (PID {}, user {user}, since {since}{within})", ticket.pid)
        });
        page.line(&format!("Waiting, {}", queued.position), &who);
    }
    page.line("Last run", &sight.record.last.as_ref().map_or("none".to_owned(), last_run));
    if let Some(used) = sight.record.last.as_ref().and_then(|last| used(&last.used)) {
        page.line("Used", &used);
    }
    let counters = &sight.record.counters;
    page.line("Runs", &format!("{} ({} had to wait)", counters.runs, counters.contended));
    let gone = [
        ("skipped", counters.skipped),
        ("reused another", counters.reused),
        ("refused", counters.refused),
        ("timed out", counters.timed_out),
        ("replaced", counters.replaced),
    ];
    let gone: Vec<String> = gone
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(how, count)| format!("{how} {count}"))
        .collect();
    if !gone.is_empty() {
        page.line("Did not run", &gone.join(", "));
    }
    let phantoms: Vec<String> = counters
        .phantoms
        .iter()
        .map(|(reason, count)| format!("{} {count}", escape(reason)))
        .collect();
    let phantoms = if phantoms.is_empty() { "none".to_owned() } else { phantoms.join(", ") };
    page.line("Phantoms cleared", &phantoms);
    page.0
}

fn holder_lines(page: &mut Page, observed: &Observed) {
    let status = match &observed.judgement.verdict {
        Verdict::Live => match &observed.subject {
            Subject::Holder(holder) => state_of(holder).to_owned(),
            _ => "running".to_owned(),
        },
        Verdict::Finishing => "finishing".to_owned(),
        Verdict::Phantom(reason) => format!("STALE ({reason})"),
        Verdict::Unverifiable(reason) => {
            format!("UNVERIFIABLE ({})", escape(&reason.to_string()))
        }
    };
    match &observed.subject {
        Subject::Holder(holder) => {
            page.line("Running job", &title(holder));
            page.line("Job PID", &pid(holder.job.as_ref()));
            page.line("Job started", &escape(&holder.started_at));
            page.line("Job status", &status);
            for left in &holder.leftovers {
                page.line("Left running", &format!("{} (PID {})", escape(&left.name), left.pid));
            }
            page.line("Command", &command_line(&holder.command));
            if let Some(cwd) = &holder.cwd {
                page.line("Directory", &escape_os(&cwd.0));
            }
            if let Some(output) = &holder.output {
                page.line("Output", &escape_os(&output.0));
            }
            page.line("User", &user(holder));
            let adopted = if holder.adopted { " (adopted the job)" } else { "" };
            page.line("Supervisor PID", &(pid(holder.supervisor.as_ref()) + adopted));
            let host = &holder.host;
            page.line("Host", &format!("{} (boot {})", escape(&host.name), escape(&host.boot_id)));
            let context = &holder.context;
            for (label, value) in
                [("Systemd unit", &context.systemd_unit), ("Invocation ID", &context.invocation_id)]
            {
                if let Some(value) = value {
                    page.line(label, &escape(value));
                }
            }
            if let Some(sharing) = sharing(holder) {
                page.line("Held", &sharing);
            }
            page.line("Token", &holder.token.to_string());
            if let Some(outer) = holder.parent {
                page.line("Part of run", &outer.to_string());
            }
        }
        Subject::Legacy(legacy) => {
            let none = || "unknown".to_owned();
            page.line("Running job", &escape(legacy.job.as_deref().unwrap_or("unknown")));
            page.line("Job PID", &legacy.job_pid.map_or_else(none, |pid| pid.to_string()));
            page.line("Job started", &legacy.job_timestamp.map_or_else(none, at));
            page.line("Job status", &status);
        }
        Subject::Torn(_) | Subject::Newer(_) | Subject::Unreadable(_) | Subject::Unrecorded(_) => {
            page.line("Running job", &describe(&observed.subject));
            page.line("Job status", &status);
        }
    }
}

/// Where a run is that is alive.
fn state_of(holder: &Holder) -> &'static str {
    match holder.state {
        State::Claiming | State::Running => "running",
        State::Stopping => "stopping",
        State::Retrying => "waiting to try again",
        State::Draining => "draining (its job is over, other processes of it are not)",
    }
}

fn pid(process: Option<&ProcessId>) -> String {
    process.map_or_else(|| "unknown".to_owned(), |process| process.pid.to_string())
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, label: &str, value: &str) {
        let label = format!("{label}:");
        self.0.push_str(&format!("{label:<18}{value}\n"));
    }
}
