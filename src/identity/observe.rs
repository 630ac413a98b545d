//! Gathers the evidence about one subject: looks for its processes, feels its lifeline.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::host::Locality;
use super::inside::Inside;
use super::lifeline::Feel;
use super::process::{Look, ProcessId, Sighting};
use super::verdict::{Evidence, Judgement, Observer, Subject, Touch, Verdict, View, judge};
use crate::machine::record::Holder;
use crate::machine::store::MachineDir;
use crate::machine::store::sidecar::Snapshot;
use crate::protocol::want::Standing;
use crate::sys::pidfd::PidFd;

mod witness;

use witness::Witness;
pub use witness::told;

/// A subject, what was found out about it, and the verdict.
#[derive(Debug)]
pub struct Observed {
    /// Whom it is about.
    pub subject: Subject,
    /// What was found.
    pub evidence: Evidence,
    /// What that makes it.
    pub judgement: Judgement,
    /// What to wait on for a change.
    pub handles: Handles,
}

impl Observed {
    /// What decides who may go beside it.
    pub fn standing(&self) -> Standing<'_> {
        (&self.subject, &self.judgement.verdict)
    }
}

/// Descriptors that speak up when something about a subject changes.
#[derive(Debug, Default)]
pub struct Handles {
    /// The write end of its lifeline: errs when its owner lets go.
    pub lifeline: Option<OwnedFd>,
    /// Its processes that run: readable when they are over.
    pub processes: Vec<Arc<PidFd>>,
    /// Its job that is over, and not reaped yet: hung up when it is.
    pub unreaped: Option<Arc<PidFd>>,
}

impl Handles {
    /// Beyond so many subjects no more is kept than it takes: there may be more than descriptors.
    pub const MAX_KEPT: usize = 64;
}

/// What one observer has seen of a machine over time: since when a release is overdue, and which jobs
/// ran.
///
/// Clocks of files and records decide nothing; only what this process saw itself counts.
#[derive(Debug, Default)]
pub struct Patience {
    since: BTreeMap<(u64, Sign), Instant>,
    witness: Witness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    JobOver,
    Slack,
}

impl Patience {
    /// The same, with nothing left open: there may be more machines than descriptors.
    #[must_use]
    pub fn without_handles(self) -> Self {
        Self { witness: Witness::default(), ..self }
    }

    /// For how long `sign` has been shown by the run `token` without a break.
    fn shown_for(&mut self, token: u64, sign: Sign, shown: bool) -> Duration {
        if !shown {
            self.since.remove(&(token, sign));
            return Duration::ZERO;
        }
        let now = Instant::now();
        now.duration_since(*self.since.entry((token, sign)).or_insert(now))
    }
}

/// Observes every subject of a snapshot, now.
pub fn observe_all(
    dir: &MachineDir,
    snapshot: &Snapshot,
    observer: &Observer,
    patience: &mut Patience,
) -> Vec<Observed> {
    let subjects = &snapshot.reading.subjects;
    patience.witness.forget_all_but(subjects);
    subjects
        .iter()
        .enumerate()
        .map(|(index, subject)| {
            let mut evidence = Evidence::none();
            let mut handles = Handles::default();
            match subject {
                Subject::Holder(holder) => {
                    let witness = &mut patience.witness;
                    look_at_holder(dir, holder, observer, witness, &mut evidence, &mut handles);
                    let over = evidence.job.as_ref().is_some_and(|job| job.is_over());
                    let slack = evidence.lifeline == Touch::Slack;
                    evidence.job_over_for = patience.shown_for(holder.token, Sign::JobOver, over);
                    evidence.slack_for = patience.shown_for(holder.token, Sign::Slack, slack);
                }
                Subject::Legacy(legacy) => {
                    evidence.now = unix_seconds();
                    if let Some(pid) = legacy.job_pid {
                        let look = observer.kernel.look_for(&ProcessId::bare(pid), true);
                        handles.processes.extend(look.handle.map(Arc::new));
                        evidence.job = Some(look.sighting);
                    }
                }
                Subject::Torn(_) => {
                    evidence.torn_before_boot = torn_before_boot(dir, snapshot, observer);
                }
                Subject::Newer(_) | Subject::Unreadable(_) | Subject::Unrecorded(_) => {}
            }
            let judgement = judge(subject, observer, &evidence);
            if index >= Handles::MAX_KEPT && handles.lifeline.is_some() {
                handles.processes.clear();
            }
            Observed { subject: subject.clone(), evidence, judgement, handles }
        })
        .collect()
}

/// Observes the lifeline of a run that the record does not name; `None` when nobody holds it.
pub fn observe_unrecorded(dir: &MachineDir, token: u64, observer: &Observer) -> Option<Observed> {
    let mut handles = Handles::default();
    match dir.feel(token, None) {
        Feel::Taut(writer) => handles.lifeline = Some(writer),
        Feel::Unknown(_) => {} // not proven slack
        Feel::Slack | Feel::Missing => return None,
    }
    let (subject, evidence) = (Subject::Unrecorded(token), Evidence::none());
    let judgement = judge(&subject, observer, &evidence);
    Some(Observed { subject, evidence, judgement, handles })
}

fn look_at_holder(
    dir: &MachineDir,
    holder: &Holder,
    observer: &Observer,
    witness: &mut Witness,
    evidence: &mut Evidence,
    handles: &mut Handles,
) {
    let (here, kernel) = (&observer.host, observer.kernel);
    let same_time = here.time_ns == holder.host.time_ns;
    let mut sight_both = |look: &dyn Fn(&ProcessId) -> Look| {
        evidence.view = View::Seen;
        if let Some(job) = &holder.job {
            let Look { sighting, handle } = look(job);
            if sighting.is_over() {
                (evidence.told, handles.unreaped) = witness.ask(holder.token, job);
            }
            let handle = handle.map(|handle| witness.keep(holder.token, job, handle));
            handles.processes.extend(handle);
            evidence.job = Some(sighting);
        }
        if let Some(supervisor) = &holder.supervisor {
            let Look { sighting, handle } = look(supervisor);
            handles.processes.extend(handle.map(Arc::new));
            evidence.supervisor = Some(sighting);
        }
    };
    if holder.host.same_kernel(here) {
        if here.pid_ns != 0 && holder.host.pid_ns == here.pid_ns {
            sight_both(&|recorded| kernel.look_for(recorded, same_time));
        } else {
            let both = [&holder.job, &holder.supervisor].into_iter().flatten();
            let wanted: Vec<i32> = both.map(|process| process.pid).collect();
            if let Some(inside) = Inside::look(holder.host.pid_ns, &wanted, here, kernel) {
                sight_both(&|recorded| inside.look_for(recorded, kernel, same_time));
            }
        }
    }
    evidence.lifeline = match dir.feel(holder.token, holder.lifeline.as_deref()) {
        Feel::Taut(writer) => {
            handles.lifeline = Some(writer);
            Touch::Taut
        }
        Feel::Slack => Touch::Slack,
        Feel::Missing => Touch::Unknown("its lifeline is missing".to_owned()),
        Feel::Unknown(why) => Touch::Unknown(why),
    };
}

/// Whether a damaged record is older than this boot, and nobody holds a lifeline: a power loss
/// tore it, and ended whoever it named. Only where no other kernel could have written it.
///
/// Its age is told by a clock that may have been set since. So nobody may have put a record in place
/// under this boot either, by the note that everybody makes of that. Where that note names an earlier
/// boot, what clocks lose over a reboot is made up for: some know whole seconds only.
fn torn_before_boot(dir: &MachineDir, snapshot: &Snapshot, observer: &Observer) -> bool {
    /// The inode of the first time namespace (`PROC_TIME_INIT_INO`, linux/proc_ns.h): elsewhere
    /// the time since boot is shifted.
    const INITIAL_TIME_NS: u64 = 0xEFFF_FFFA;
    /// Seconds: a clock of whole ones, our own rounding, and one that was a little fast before.
    const LEEWAY: i64 = 3;
    if observer.locality != Locality::Local
        || ![0, INITIAL_TIME_NS].contains(&observer.host.time_ns)
    {
        return false;
    }
    let here = &observer.host;
    let Ok(noted) = dir.noted_boot() else { return false };
    if !here.boot_id_genuine || noted.as_ref() == Some(&here.boot_id) {
        return false;
    }
    let leeway = if noted.is_some() { LEEWAY } else { 0 };
    let Ok(listing) = dir.lifelines() else { return false };
    let slack = |token: &u64| matches!(dir.feel(*token, None), Feel::Slack | Feel::Missing);
    let Ok(up) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return false };
    let booted = unix_seconds().saturating_sub(up.tv_sec());
    snapshot.modified.is_some_and(|modified| modified < booted + leeway)
        && listing.tokens.iter().all(slack)
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Observed {
    /// Whether it holds the machine, provably or for want of proof.
    pub fn holds(&self) -> bool {
        !matches!(self.judgement.verdict, Verdict::Phantom(_))
    }

    /// Whether its supervisor is provably over.
    pub fn is_orphan(&self) -> bool {
        self.evidence.supervisor.as_ref().is_some_and(Sighting::is_over)
    }
}

impl ProcessId {
    /// A process of which nothing but the PID was recorded.
    fn bare(pid: i32) -> Self {
        Self { pid, start_ticks: None, pidfd_inode: None, unknown: serde_json::Map::new() }
    }
}
