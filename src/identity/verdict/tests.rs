//! Every row of the verdict table, and what must not match it.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::identity::host::Host;
use crate::identity::process::Kernel;
use crate::machine::record::Record;
use crate::sys::wait::Ended;

const BEFORE: Duration = Duration::from_millis(999);

fn host() -> Host {
    Host {
        id: "machine-id".to_owned(),
        name: "lab1".to_owned(),
        boot_id: "boot-1".to_owned(),
        boot_id_genuine: true,
        pid_ns: 11,
        time_ns: 22,
        ..Host::default()
    }
}

fn observer() -> Observer {
    Observer {
        host: host(),
        kernel: Kernel { pidfd: true, pidfd_inode: true, proc: true },
        locality: Locality::Local,
        legacy_grace: Duration::from_secs(300),
    }
}

fn network() -> Locality {
    Locality::Unknown(nix::sys::statfs::NFS_SUPER_MAGIC)
}

fn holder() -> Holder {
    let record: Record = serde_json::from_value(json!({
        "schema": 1, "machine": "m1", "revision": 1, "token": 7,
        "holders": [{
            "token": 7, "mode": "exclusive", "slots": 1, "state": "running", "held_by": "job",
            "job": { "pid": 4242 }, "supervisor": { "pid": 4241 },
            "host": host(), "command": ["x"], "started_at": "2026-11-20T15:30:45.123Z",
        }],
    }))
    .unwrap();
    record.holders.into_iter().next().unwrap()
}

/// Seen from its own namespace: the job and its supervisor.
fn seen(job: Sighting, supervisor: Sighting) -> Evidence {
    Evidence {
        view: View::Seen,
        job: Some(job),
        supervisor: Some(supervisor),
        lifeline: Touch::Slack,
        ..Evidence::none()
    }
}

fn unseen(lifeline: Touch) -> Evidence {
    Evidence { view: View::Unseen, lifeline, ..Evidence::none() }
}

fn unknown() -> Touch {
    Touch::Unknown("missing".to_owned())
}

fn denied() -> Sighting {
    Sighting::Denied("forbidden".to_owned())
}

fn unclear() -> Sighting {
    Sighting::Unclear("another time namespace".to_owned())
}

fn on(holder: Holder, observer: &Observer, evidence: &Evidence) -> Verdict {
    judge(&Subject::Holder(Box::new(holder)), observer, evidence).verdict
}

fn here(holder: Holder, evidence: &Evidence) -> Verdict {
    on(holder, &observer(), evidence)
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Live => "live",
        Verdict::Finishing => "finishing",
        Verdict::Phantom(reason) => reason.code(),
        Verdict::Unverifiable(reason) => reason.code(),
    }
}

/// The rows in which the processes decide: `held_by`, job, supervisor, for how long over.
#[rstest]
#[case::the_job_lives(HeldBy::Job, Sighting::Alive, Sighting::Alive, "live")]
#[case::an_orphan_lives(HeldBy::Job, Sighting::Alive, Sighting::Gone, "live")]
#[case::whoever_supervises(HeldBy::Job, Sighting::Alive, denied(), "live")]
#[case::release_is_due(HeldBy::Job, Sighting::Gone, Sighting::Alive, "finishing")]
#[case::release_is_due_for(HeldBy::Job, Sighting::Reused, Sighting::Alive, "finishing")]
#[case::supervisor_may_live(HeldBy::Job, Sighting::Gone, denied(), "finishing")]
#[case::both_gone(HeldBy::Job, Sighting::Gone, Sighting::Gone, "process_gone")]
#[case::job_gone(HeldBy::Job, Sighting::Gone, Sighting::Reused, "process_gone")]
#[case::job_reused(HeldBy::Job, Sighting::Reused, Sighting::Gone, "pid_reused")]
#[case::both_reused(HeldBy::Job, Sighting::Reused, Sighting::Reused, "pid_reused")]
#[case::denied_job(HeldBy::Job, denied(), Sighting::Gone, "denied")]
#[case::denied_both(HeldBy::Job, denied(), denied(), "denied")]
#[case::unclear_job(HeldBy::Job, unclear(), Sighting::Gone, "unclear")]
#[case::supervisor_holds(HeldBy::Supervisor, Sighting::Gone, Sighting::Alive, "live")]
#[case::its_job_holds(HeldBy::Supervisor, Sighting::Alive, Sighting::Gone, "live")]
#[case::supervisor_gone(HeldBy::Supervisor, Sighting::Gone, Sighting::Gone, "process_gone")]
#[case::supervisor_unclear(HeldBy::Supervisor, Sighting::Gone, unclear(), "unclear")]
#[case::supervisor_denied(HeldBy::Supervisor, Sighting::Gone, denied(), "denied")]
fn processes_decide(
    #[case] held_by: HeldBy,
    #[case] job: Sighting,
    #[case] supervisor: Sighting,
    #[case] expected: &str,
) {
    let holder = Holder { held_by, ..holder() };
    assert_eq!(code(&here(holder, &seen(job, supervisor))), expected);
}

#[test]
fn a_release_that_does_not_come_within_a_second_is_proof() {
    let at = |job_over_for, supervisor| {
        let evidence = Evidence { job_over_for, ..seen(Sighting::Gone, supervisor) };
        here(holder(), &evidence)
    };
    assert_eq!(at(BEFORE, Sighting::Alive), Verdict::Finishing);
    assert_eq!(at(GRACE, Sighting::Alive), Verdict::Phantom(PhantomReason::SupervisorStalled));
    // Whoever cannot be told may be gone as well.
    assert_eq!(at(BEFORE, denied()), Verdict::Finishing);
    assert_eq!(at(GRACE, denied()), Verdict::Phantom(PhantomReason::ProcessGone));
}

/// How an orphan ended is told when it is reaped, which may never be.
#[test]
fn how_it_ended_is_waited_for_a_second() {
    let at = |told, job_over_for| {
        let evidence = Evidence { told, job_over_for, ..seen(Sighting::Gone, Sighting::Gone) };
        here(holder(), &evidence)
    };
    let gone = Verdict::Phantom(PhantomReason::ProcessGone);
    assert_eq!(at(Told::Soon, BEFORE), Verdict::Finishing);
    assert_eq!(at(Told::Soon, GRACE), gone);
    for told in [Told::Nothing, Told::Ended(Ended::Exited(0))] {
        assert_eq!(at(told, BEFORE), gone);
    }
}

#[test]
fn a_stalled_supervisors_taut_lifeline_saves_nobody() {
    let evidence = Evidence {
        lifeline: Touch::Taut,
        job_over_for: GRACE,
        ..seen(Sighting::Gone, Sighting::Alive)
    };
    assert_eq!(here(holder(), &evidence), Verdict::Phantom(PhantomReason::SupervisorStalled));
}

#[test]
fn between_attempts_a_supervisor_holds_without_a_job() {
    let between = |supervisor| {
        let holder = Holder { held_by: HeldBy::Supervisor, job: None, ..holder() };
        let evidence = Evidence { job: None, ..seen(Sighting::Gone, supervisor) };
        code(&here(holder, &evidence))
    };
    assert_eq!(between(Sighting::Alive), "live");
    assert_eq!(between(Sighting::Gone), "process_gone");
    assert_eq!(between(Sighting::Reused), "pid_reused");
    assert_eq!(between(denied()), "denied");
    let nobody = Holder { held_by: HeldBy::Supervisor, job: None, ..holder() };
    let evidence = Evidence { job: None, supervisor: None, ..seen(Sighting::Gone, Sighting::Gone) };
    assert_eq!(code(&here(nobody, &evidence)), "unclear");
}

#[test]
fn a_holder_without_a_recorded_job_proves_nothing() {
    let holder = Holder { job: None, ..holder() };
    let evidence = Evidence { job: None, ..seen(Sighting::Gone, Sighting::Gone) };
    assert_eq!(code(&here(holder, &evidence)), "unclear");
}

/// Whatever else does not match.
#[rstest]
#[case::another_namespace(unseen(Touch::Taut))]
#[case::denied(Evidence { lifeline: Touch::Taut, ..seen(denied(), denied()) })]
#[case::unclear(Evidence { lifeline: Touch::Taut, ..seen(unclear(), Sighting::Gone) })]
fn a_taut_lifeline_of_the_same_kernel_is_alive(#[case] evidence: Evidence) {
    assert_eq!(here(holder(), &evidence), Verdict::Live);
    let dies = Holder { dies_with_supervisor: true, ..holder() };
    assert_eq!(here(dies, &evidence), Verdict::Live);
}

#[test]
fn a_taut_lifeline_of_another_kernel_means_nothing() {
    let mut holder = holder();
    holder.host.boot_id = "boot-0".to_owned();
    assert_eq!(code(&here(holder, &unseen(Touch::Taut))), "rebooted");
}

#[test]
fn a_slack_lifeline_is_proof_after_a_second_where_the_job_dies_with_its_supervisor() {
    let dies = || Holder { dies_with_supervisor: true, ..holder() };
    let slack_for = |slack_for| Evidence { slack_for, ..unseen(Touch::Slack) };
    assert_eq!(here(dies(), &slack_for(BEFORE)), Verdict::Finishing);
    let gone = Verdict::Phantom(PhantomReason::SupervisorGone);
    assert_eq!(here(dies(), &slack_for(GRACE)), gone);
    // On a local file system the kernel's ID need not match: containers fake it.
    let mut elsewhere = dies();
    elsewhere.host.boot_id = "faked".to_owned();
    elsewhere.host.boot_id_genuine = false;
    assert_eq!(here(elsewhere.clone(), &slack_for(GRACE)), gone);
    // On any other, a FIFO of another kernel is always slack.
    let remote = Observer { locality: network(), ..observer() };
    assert_eq!(code(&on(elsewhere, &remote, &slack_for(GRACE))), "unclear");
    assert_eq!(on(dies(), &remote, &slack_for(GRACE)), gone);
}

#[test]
fn a_slack_lifeline_is_no_proof_where_the_job_outlives_its_supervisor() {
    let evidence = Evidence { slack_for: GRACE, ..unseen(Touch::Slack) };
    assert_eq!(code(&here(holder(), &evidence)), "other_namespace");
}

#[test]
fn a_job_that_is_seen_alive_outweighs_a_slack_lifeline() {
    let dies = Holder { dies_with_supervisor: true, ..holder() };
    let evidence = Evidence { slack_for: GRACE, ..seen(Sighting::Alive, Sighting::Gone) };
    assert_eq!(here(dies, &evidence), Verdict::Live);
}

/// Boot ID recorded and genuine, ours genuine, host ID recorded and ours, file system.
#[rstest]
#[case::local(true, true, "a", "b", Locality::Local, "rebooted")]
#[case::local_without_ids(true, true, "", "", Locality::Local, "rebooted")]
#[case::same_host(true, true, "a", "a", network(), "rebooted")]
#[case::other_host(true, true, "a", "b", network(), "foreign_host")]
#[case::missing_ids_equal_nothing(true, true, "", "", network(), "foreign_host")]
#[case::theirs_is_faked(false, true, "a", "a", Locality::Local, "unclear")]
#[case::ours_is_faked(true, false, "a", "a", Locality::Local, "unclear")]
#[case::faked_elsewhere(false, true, "a", "b", Locality::Local, "foreign_host")]
fn another_boot(
    #[case] theirs: bool,
    #[case] ours: bool,
    #[case] their_id: &str,
    #[case] our_id: &str,
    #[case] locality: Locality,
    #[case] expected: &str,
) {
    let mut holder = holder();
    holder.host.boot_id = "boot-0".to_owned();
    holder.host.boot_id_genuine = theirs;
    holder.host.id = their_id.to_owned();
    let mut observer = Observer { locality, ..observer() };
    observer.host.boot_id_genuine = ours;
    observer.host.id = our_id.to_owned();
    for lifeline in [Touch::Slack, unknown()] {
        assert_eq!(code(&on(holder.clone(), &observer, &unseen(lifeline))), expected);
    }
}

#[test]
fn a_boot_id_that_cannot_be_read_equals_nothing_and_differs_from_nothing() {
    let mut blind = observer();
    blind.host.boot_id = String::new();
    assert_eq!(code(&on(holder(), &blind, &unseen(Touch::Taut))), "unclear");
    let mut nameless = holder();
    nameless.host.boot_id = String::new();
    assert_eq!(code(&on(nameless.clone(), &blind, &unseen(Touch::Taut))), "unclear");
    assert_eq!(code(&here(nameless, &unseen(Touch::Slack))), "unclear");
}

#[test]
fn a_foreign_host_id_under_the_same_kernel_is_a_container() {
    let mut holder = holder();
    holder.host.id = "container".to_owned();
    holder.host.pid_ns = 99;
    assert_eq!(code(&here(holder, &unseen(unknown()))), "other_namespace");
}

fn legacy(job_pid: Option<i32>, job_timestamp: Option<i64>) -> Subject {
    Subject::Legacy(Legacy { job: Some("run test-job".to_owned()), job_pid, job_timestamp })
}

#[rstest]
#[case::alive(Sighting::Alive, "live")]
#[case::dead(Sighting::Gone, "process_gone")]
#[case::a_thread(Sighting::Reused, "process_gone")]
#[case::denied(denied(), "denied")]
#[case::unclear(unclear(), "unclear")]
fn schema_0_with_a_pid(#[case] job: Sighting, #[case] expected: &str) {
    let evidence = Evidence { job: Some(job), now: 1_000_000, ..Evidence::none() };
    let judged = judge(&legacy(Some(4242), Some(1)), &observer(), &evidence);
    assert_eq!(code(&judged.verdict), expected);
}

#[rstest]
#[case::older(Some(1_000_000 - 301), "legacy_expired")]
#[case::as_old_as_the_grace(Some(1_000_000 - 300), "live")]
#[case::now(Some(1_000_000), "live")]
#[case::from_the_future(Some(1_000_001), "from_the_future")]
#[case::from_before_1970(Some(i64::MIN), "legacy_expired")]
#[case::from_the_far_future(Some(i64::MAX), "from_the_future")]
#[case::without_a_time(None, "unclear")]
fn schema_0_without_a_pid(#[case] job_timestamp: Option<i64>, #[case] expected: &str) {
    let evidence = Evidence { now: 1_000_000, ..Evidence::none() };
    let judged = judge(&legacy(None, job_timestamp), &observer(), &evidence);
    assert_eq!(code(&judged.verdict), expected);
}

#[test]
fn a_damaged_record_frees_a_machine_only_when_a_power_loss_tore_it() {
    let torn = Subject::Torn("no JSON".to_owned());
    let evidence = |torn_before_boot| Evidence { torn_before_boot, ..Evidence::none() };
    let judged = |subject, before| judge(subject, &observer(), &evidence(before)).verdict;
    assert_eq!(judged(&torn, true), Verdict::Phantom(PhantomReason::TornByPowerLoss));
    assert_eq!(code(&judged(&torn, false)), "unreadable");
    // What could not even be read was not torn.
    let unreadable = Subject::Unreadable("a FIFO".to_owned());
    assert_eq!(code(&judged(&unreadable, true)), "unreadable");
}

#[test]
fn a_later_schema_is_left_alone_and_says_so() {
    let judged = judge(&Subject::Newer(2), &observer(), &Evidence::none());
    let Verdict::Unverifiable(reason) = judged.verdict else { panic!("{judged:?}") };
    assert!(reason.to_string().contains("schema 2"), "{reason}");
}

#[test]
fn a_taut_lifeline_that_nobody_names_is_a_live_holder() {
    let judged = judge(&Subject::Unrecorded(9), &observer(), &Evidence::none());
    assert_eq!(judged.verdict, Verdict::Live);
}
