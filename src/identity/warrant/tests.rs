//! Every row: one that disagrees is enough.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::machine::record::Record;

const VICTIM: u32 = 1000;

fn host() -> Host {
    Host { boot_id: "boot-1".to_owned(), pid_ns: 11, time_ns: 22, ..Host::default() }
}

fn holder() -> Holder {
    let record: Record = serde_json::from_value(json!({
        "schema": 1, "machine": "m1", "revision": 1, "token": 7,
        "holders": [{
            "token": 7, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
            "job": { "pid": 42, "start_ticks": 5, "pidfd_inode": 6 },
            "supervisor": { "pid": 41, "start_ticks": 5 },
            "lifeline": "1:2", "uid": VICTIM,
            "host": host(), "command": ["x"], "started_at": "t",
        }],
    }))
    .unwrap();
    record.holders.into_iter().next().unwrap()
}

fn found() -> Findings {
    Findings {
        sighting: Sighting::Alive,
        start_ticks: Some(5),
        uids: vec![VICTIM; 4],
        lifeline: Some((LifelineId::new(1, 2), VICTIM)),
        bond: Some(Bond::Own),
    }
}

fn asked(change: impl Fn(&mut Holder, &mut Findings)) -> Result<(), Refusal> {
    let (mut holder, mut found) = (holder(), found());
    change(&mut holder, &mut found);
    agree(&holder, Role::Job, &host(), &found)
}

#[test]
fn all_agree() {
    assert_eq!(asked(|_, _| {}), Ok(()));
    assert_eq!(agree(&holder(), Role::Supervisor, &host(), &found()), Ok(()));
    // Start ticks of another time namespace say nothing; the inode decided.
    let shifted = |h: &mut Holder, f: &mut Findings| (h.host.time_ns, f.start_ticks) = (1, Some(9));
    assert_eq!(asked(shifted), Ok(()));
}

#[rstest]
#[case::none(|h: &mut Holder| h.job = None, Refusal::NoProcess)]
#[case::zero(|h: &mut Holder| h.job.as_mut().unwrap().pid = 0, Refusal::NoProcess)]
#[case::everybody(|h: &mut Holder| h.job.as_mut().unwrap().pid = -1, Refusal::NoProcess)]
#[case::group(|h: &mut Holder| h.job.as_mut().unwrap().pid = -42, Refusal::NoProcess)]
#[case::bare(
    |h: &mut Holder| {
        let job = h.job.as_mut().unwrap();
        (job.start_ticks, job.pidfd_inode) = (None, Some(6));
    },
    Refusal::NoProcess
)]
#[case::boot(|h: &mut Holder| h.host.boot_id = "boot-2".to_owned(), Refusal::Elsewhere)]
#[case::no_boot(|h: &mut Holder| h.host.boot_id = String::new(), Refusal::Elsewhere)]
#[case::namespace(|h: &mut Holder| h.host.pid_ns = 12, Refusal::Elsewhere)]
#[case::no_namespace(|h: &mut Holder| h.host.pid_ns = 0, Refusal::Elsewhere)]
#[case::ticks(|h: &mut Holder| h.job.as_mut().unwrap().start_ticks = Some(4), Refusal::Another)]
#[case::uid(|h: &mut Holder| h.uid = 0, Refusal::User { recorded: 0, found: vec![VICTIM; 4] })]
#[case::no_lifeline(|h: &mut Holder| h.lifeline = None, Refusal::Lifeline)]
#[case::lifeline(|h: &mut Holder| h.lifeline = Some("1:3".to_owned()), Refusal::Lifeline)]
fn a_record_that_does_not_agree(#[case] change: fn(&mut Holder), #[case] refusal: Refusal) {
    assert_eq!(asked(|holder, _| change(holder)), Err(refusal));
}

#[rstest]
#[case::gone(|f: &mut Findings| f.sighting = Sighting::Gone, Refusal::Over)]
#[case::reused(|f: &mut Findings| f.sighting = Sighting::Reused, Refusal::Another)]
#[case::denied(
    |f: &mut Findings| f.sighting = Sighting::Denied("no".to_owned()),
    Refusal::Unclear("no".to_owned())
)]
#[case::no_ticks(|f: &mut Findings| f.start_ticks = None, Refusal::Another)]
#[case::setuid(
    |f: &mut Findings| f.uids = vec![VICTIM, 0, 0, 0],
    Refusal::User { recorded: VICTIM, found: vec![VICTIM, 0, 0, 0] }
)]
#[case::dropped(
    |f: &mut Findings| f.uids[2] = 0,
    Refusal::User { recorded: VICTIM, found: vec![VICTIM, VICTIM, 0, VICTIM] }
)]
#[case::hidden(
    |f: &mut Findings| f.uids.clear(),
    Refusal::User { recorded: VICTIM, found: vec![] }
)]
#[case::missing(|f: &mut Findings| f.lifeline = None, Refusal::Lifeline)]
#[case::planted(
    |f: &mut Findings| f.lifeline = Some((LifelineId::new(1, 2), 0)),
    Refusal::Owner { recorded: VICTIM, found: 0 }
)]
#[case::stranger(|f: &mut Findings| f.bond = Some(Bond::Stranger), Refusal::Stranger)]
#[case::not_ours(|f: &mut Findings| f.bond = None, Refusal::Forbidden { uid: VICTIM })]
fn what_was_found_does_not_agree(#[case] change: fn(&mut Findings), #[case] refusal: Refusal) {
    assert_eq!(asked(|_, found| change(found)), Err(refusal.clone()));
    assert!(!refusal.to_string().is_empty());
}

/// Root's supervisor may have anybody's process, and nobody else's may.
#[rstest]
#[case::own(VICTIM, Some(Bond::Adopted), Ok(()))]
#[case::roots(0, Some(Bond::Adopted), Ok(()))]
#[case::roots_child(0, Some(Bond::Own), Err(Refusal::User { recorded: 0, found: vec![VICTIM; 4] }))]
#[case::nobody_knows(0, None, Err(Refusal::User { recorded: 0, found: vec![VICTIM; 4] }))]
#[case::another(7, Some(Bond::Adopted), Err(Refusal::User { recorded: 7, found: vec![VICTIM; 4] }))]
fn an_adopted_process(
    #[case] supervisor: u32,
    #[case] bond: Option<Bond>,
    #[case] agreed: Result<(), Refusal>,
) {
    let told = asked(|holder, found| {
        holder.uid = supervisor;
        found.lifeline = Some((LifelineId::new(1, 2), supervisor));
        found.bond = bond;
    });
    assert_eq!(told, agreed);
    let hidden = asked(|holder, found| {
        (holder.uid, found.bond) = (0, Some(Bond::Adopted));
        found.uids.clear();
    });
    assert_eq!(hidden, Err(Refusal::User { recorded: 0, found: vec![] }));
}
