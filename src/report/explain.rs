//! `status --explain`: the evidence row by row, and the rule that decided.

use super::escape::escape;
use super::human::describe;
use crate::identity::host::{Host, Locality};
use crate::identity::observe::Observed;
use crate::identity::process::{ProcessId, Sighting};
use crate::identity::verdict::{Observer, Subject, Touch, Verdict, View};
use crate::look::Sight;
use crate::machine::record::{HeldBy, Holder};

/// The evidence on every holder.
pub fn explain(sight: &Sight, observer: &Observer) -> String {
    if sight.observed.is_empty() {
        return "  no holder is recorded, and no lifeline is taut\n".to_owned();
    }
    sight.observed.iter().map(|observed| one(observed, observer)).collect()
}

fn one(observed: &Observed, observer: &Observer) -> String {
    let rows = rows(observed, observer);
    rows.iter().map(|(label, text)| format!("  {label:<22}{text}\n")).collect()
}

/// The evidence on one holder, by label.
pub fn rows(observed: &Observed, observer: &Observer) -> Vec<(&'static str, String)> {
    let mut rows = vec![("holder", describe(&observed.subject))];
    match &observed.subject {
        Subject::Holder(holder) => rows.extend(holder_rows(holder, observed, observer)),
        Subject::Legacy(_) => {
            rows.push(("schema", "0: written by another tool".to_owned()));
            rows.push(("PID", found(observed.evidence.job.as_ref())));
            rows.push((
                "legacy grace",
                humantime::format_duration(observer.legacy_grace).to_string(),
            ));
        }
        Subject::Torn(why) | Subject::Unreadable(why) => {
            rows.push(("record", escape(why).into_owned()));
            let before = observed.evidence.torn_before_boot;
            rows.push((
                "file and lifelines",
                if before {
                    "older than this boot, and every lifeline is slack"
                } else {
                    "not proven older than this boot with every lifeline slack"
                }
                .to_owned(),
            ));
        }
        Subject::Newer(schema) => rows.push(("schema", format!("{schema}: this one knows 1"))),
        Subject::Unrecorded(token) => rows.push(("lifeline", format!("life.{token} is taut"))),
    }
    rows.push(("decided by", observed.judgement.rule.to_owned()));
    rows.push(("verdict", verdict(&observed.judgement.verdict)));
    rows
}

fn holder_rows(
    holder: &Holder,
    observed: &Observed,
    observer: &Observer,
) -> Vec<(&'static str, String)> {
    let (then, here, evidence) = (&holder.host, &observer.host, &observed.evidence);
    vec![
        ("boot ID", compare(&then.boot_id, &here.boot_id, |id| escape(id).into_owned())),
        (
            "boot ID genuine",
            format!("recorded {}, here {}", yes(then.boot_id_genuine), yes(here.boot_id_genuine)),
        ),
        ("host ID", if then.same_id(here) { "the same".to_owned() } else { host_ids(then, here) }),
        ("PID namespace", compare(&then.pid_ns, &here.pid_ns, u64::to_string)),
        ("time namespace", compare(&then.time_ns, &here.time_ns, u64::to_string)),
        (
            "file system",
            match observer.locality {
                Locality::Local => "local".to_owned(),
                Locality::Unknown(kind) => format!("not known to be local (type {:#x})", kind.0),
            },
        ),
        (
            "held by",
            match holder.held_by {
                HeldBy::Job => "the job".to_owned(),
                HeldBy::Supervisor => "the supervisor".to_owned(),
            },
        ),
        ("job recorded", recorded(holder.job.as_ref())),
        ("job found", sighted(evidence.view, evidence.job.as_ref())),
        ("supervisor recorded", recorded(holder.supervisor.as_ref())),
        ("supervisor found", sighted(evidence.view, evidence.supervisor.as_ref())),
        (
            "lifeline",
            match &evidence.lifeline {
                Touch::Taut => "taut".to_owned(),
                Touch::Slack => "slack".to_owned(),
                Touch::Unknown(why) => escape(why).into_owned(),
            },
        ),
        ("dies with supervisor", yes(holder.dies_with_supervisor).to_owned()),
    ]
}

fn compare<T: PartialEq>(then: &T, here: &T, show: impl Fn(&T) -> String) -> String {
    if then == here {
        format!("the same ({})", show(here))
    } else {
        format!("recorded {}, here {}", show(then), show(here))
    }
}

fn host_ids(then: &Host, here: &Host) -> String {
    let show = |id: &str| if id.is_empty() { "none".to_owned() } else { escape(id).into_owned() };
    format!("recorded {}, here {}", show(&then.id), show(&here.id))
}

fn recorded(process: Option<&ProcessId>) -> String {
    let Some(process) = process else { return "none".to_owned() };
    let or_none = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
    format!(
        "PID {}, start ticks {}, pidfd inode {}",
        process.pid,
        or_none(process.start_ticks),
        or_none(process.pidfd_inode)
    )
}

fn sighted(view: View, sighting: Option<&Sighting>) -> String {
    match view {
        View::Seen => found(sighting),
        View::Unseen => "its PID means nothing here".to_owned(),
    }
}

fn found(sighting: Option<&Sighting>) -> String {
    match sighting {
        None => "nothing to look for".to_owned(),
        Some(Sighting::Alive) => "alive".to_owned(),
        Some(Sighting::Gone) => "over: no such process, or a zombie".to_owned(),
        Some(Sighting::Reused) => "over: its PID belongs to another process or thread".to_owned(),
        Some(Sighting::Denied(why) | Sighting::Unclear(why)) => escape(why).into_owned(),
    }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Live => "live".to_owned(),
        Verdict::Finishing => "finishing".to_owned(),
        Verdict::Phantom(reason) => format!("phantom: {reason}"),
        Verdict::Unverifiable(reason) => format!("unverifiable: {}", escape(&reason.to_string())),
    }
}

fn yes(fact: bool) -> &'static str {
    if fact { "yes" } else { "no" }
}
