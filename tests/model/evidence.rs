//! What a process sees when it reads the record in an imagined world: the product's own `judge`
//! decides, on evidence that the world supplies.

use std::sync::OnceLock;
use std::time::Duration;

use jobguard::identity::host::{Host, Locality};
use jobguard::identity::process::{Kernel, Sighting};
use jobguard::identity::verdict::{Evidence, GRACE, Observer, Subject, Touch, View, judge};
use jobguard::machine::record::{HeldBy, Holder, Record};
use jobguard::protocol::{Judged, Seen};

use crate::mutant::{Broken, Mutant};
use crate::world::{JobState, NAMES, World};

/// The holder that process `index` records for its child `job`.
pub fn holder(job: usize, index: usize, world: &World, broken: Broken) -> Holder {
    static BLANK: OnceLock<Holder> = OnceLock::new();
    let blank = BLANK.get_or_init(|| {
        serde_json::from_value(serde_json::json!({
            "token": 0, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
            "job": { "pid": 0 }, "supervisor": { "pid": 0 },
            "host": { "boot_id": "", "boot_id_genuine": true, "pid_ns": 1 },
            "command": [], "started_at": "",
        }))
        .unwrap()
    });
    let mut holder = blank.clone();
    holder.host.boot_id = boot_id(world.boot);
    holder.dies_with_supervisor = world.contained;
    if world.processes[index].role.tries_again() && !broken.by(Mutant::HoldByTheJob) {
        holder.held_by = HeldBy::Supervisor;
    }
    let number = |number: usize| i32::try_from(number).unwrap();
    holder.job.as_mut().unwrap().pid = number(job);
    holder.supervisor.as_mut().unwrap().pid = number(index);
    holder
}

fn boot_id(boot: u8) -> String {
    format!("boot {boot}")
}

/// The child that a holder names.
pub fn job_of(holder: &Holder) -> usize {
    usize::try_from(holder.job.as_ref().unwrap().pid).unwrap()
}

/// The ways in which the record of a machine may be seen and judged now, and how many stalls are left then:
/// whether a release is overdue is up to the observer's patience.
pub fn judged(world: &World, machine: usize, broken: Broken) -> Vec<(Seen, u8)> {
    let record = world.machines[machine].record.clone();
    let record = record.unwrap_or_else(|| Record::new(NAMES[machine]));
    let seen_after = |waited| {
        let judge = |holder: &Holder| judged_after(world, machine, holder, waited, broken);
        let judged = record.holders.iter().map(judge).collect();
        Seen { record: record.clone(), judged, now: String::new(), now_ms: 1 }
    };
    let stalls = world.faults.stalls;
    let in_time = seen_after(GRACE / 2);
    let late = seen_after(GRACE);
    // In containers nobody stalls: a second of slackness is all that there is to go by.
    let differ = (stalls > 0 || world.contained) && late != in_time;
    let late = differ.then(|| (late, if world.contained { stalls } else { stalls - 1 }));
    [(in_time, stalls)].into_iter().chain(late).collect()
}

fn judged_after(
    world: &World,
    machine: usize,
    holder: &Holder,
    waited: Duration,
    broken: Broken,
) -> Judged {
    let observer = Observer {
        host: Host {
            boot_id: boot_id(world.boot),
            boot_id_genuine: true,
            pid_ns: if world.contained { 2 } else { 1 },
            ..Host::default()
        },
        kernel: Kernel { pidfd: true, pidfd_inode: true, proc: true },
        locality: Locality::Local,
        legacy_grace: GRACE,
    };
    let job = &world.jobs[job_of(holder)];
    let supervisor = &world.processes[job.parent];
    let lifeline = match world.machines[machine].lifelines.get(&holder.token) {
        Some(Some(_)) => Touch::Taut,
        Some(None) => Touch::Slack,
        None => Touch::Unknown("missing".to_owned()),
    };
    // What PDEATHSIG kills is over long before anybody has seen its lifeline slack for the grace.
    let patient = job.state == JobState::Over || broken.by(Mutant::ShortGrace);
    let slack_for = if patient { waited } else { waited.min(GRACE / 2) };
    let evidence = Evidence {
        view: View::Seen,
        job: Some(match job.state {
            JobState::Over if job.reused => Sighting::Reused,
            JobState::Over => Sighting::Gone,
            JobState::Gated | JobState::Shut | JobState::Running | JobState::Doomed => {
                Sighting::Alive
            }
        }),
        supervisor: Some(if supervisor.is_alive() { Sighting::Alive } else { Sighting::Gone }),
        lifeline,
        job_over_for: waited,
        ..Evidence::none()
    };
    let evidence = match world.contained {
        true => Evidence { lifeline: evidence.lifeline, slack_for, ..Evidence::none() },
        false => evidence,
    };
    let subject = Subject::Holder(Box::new(holder.clone()));
    let judgement = judge(&subject, &observer, &evidence);
    Judged::new(subject, judgement)
}
