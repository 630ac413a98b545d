//! Only an orphan is taken over, and nothing of its run is lost.

use rstest::rstest;

use super::*;
use crate::identity::verdict::PhantomReason;
use crate::protocol::fixtures::{act, end, gone, holder, logged, put, seen};

fn process(pid: i32, ticks: u64, inode: Option<u64>) -> ProcessId {
    ProcessId { pid, start_ticks: Some(ticks), pidfd_inode: inode, ..ProcessId::default() }
}

/// What the fixtures record, with a job and a supervisor to compare.
fn recorded(verdict: Verdict, is_orphan: bool, change: impl Fn(&mut Holder)) -> Answer {
    let Answer::Seen(mut seen) = seen(&[(6, Verdict::Live), (7, verdict)]) else { panic!("seen") };
    let run = &mut seen.record.holders[1];
    run.job = Some(process(42, 5, Some(90)));
    run.supervisor = Some(process(41, 4, Some(89)));
    run.lifeline = Some("1:1".to_owned());
    change(run);
    seen.judged[1].subject = Subject::Holder(Box::new(run.clone()));
    seen.judged[1].is_orphan = is_orphan;
    Answer::Seen(seen)
}

fn ours(pid: i32, ticks: u64, inode: Option<u64>) -> Holder {
    let supervisor = Some(process(50, 9, Some(99)));
    Holder { job: Some(process(pid, ticks, inode)), supervisor, uid: 3, ..holder(0) }
}

fn reading(ours: Holder) -> TakeOver {
    let mut take = TakeOver::new(ours);
    assert_eq!(act(&mut take, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut take, Answer::Done), Act::Read);
    take
}

fn ends(mut take: TakeOver) -> Outcome {
    assert_eq!(act(&mut take, Answer::Done), Act::Unlock);
    end(&mut take, Answer::Done)
}

#[test]
fn an_orphan_gets_another_supervisor_and_keeps_its_token() {
    let mut take = reading(ours(42, 5, Some(90)));
    let orphan = || recorded(Verdict::Live, true, |run| run.dies_with_supervisor = true);
    assert_eq!(act(&mut take, orphan()), Act::RemakeLifeline(7));
    let record = put(act(&mut take, Answer::Made("1:2".to_owned())));
    let run = &record.holders[1];
    assert_eq!((record.revision, record.holders.len(), run.token), (6, 2, 7));
    assert_eq!((run.adopted, run.dies_with_supervisor, run.uid), (true, false, 3));
    assert_eq!(run.lifeline.as_deref(), Some("1:2"));
    assert_eq!(run.supervisor.as_ref().map(|s| s.pid), Some(50));
    assert!(!record.holders[0].adopted);
    // A rewrite in between, and the lifeline is the one that we have.
    assert_eq!(act(&mut take, Answer::Changed), Act::Read);
    put(act(&mut take, orphan()));
    assert_eq!(logged(act(&mut take, Answer::Done)), 1);
    let Outcome::Done(run) = ends(take) else { panic!("not done") };
    assert_eq!(run.lifeline.as_deref(), Some("1:2"));
}

#[test]
fn one_that_is_to_end_is_still_to_end() {
    let mut take = reading(ours(42, 5, Some(90)));
    act(&mut take, recorded(Verdict::Live, true, |run| run.state = State::Stopping));
    let record = put(act(&mut take, Answer::Made("1:2".to_owned())));
    assert_eq!(record.holders[1].state, State::Stopping);
}

/// What was found there comes first, then who asks: job's PID, ticks, inode.
#[rstest]
#[case::supervised(Verdict::Live, false, (42, 5, Some(90)), true)]
#[case::a_supervisor(Verdict::Live, false, (41, 4, Some(89)), true)]
#[case::not_seen(Verdict::Finishing, true, (42, 5, Some(90)), true)]
#[case::over(gone(), true, (42, 5, Some(90)), false)]
#[case::stalled(Verdict::Phantom(PhantomReason::SupervisorStalled), false, (42, 5, Some(90)), false)]
#[case::another_inode(Verdict::Live, true, (42, 5, Some(91)), false)]
#[case::another_time(Verdict::Live, true, (42, 6, None), false)]
#[case::another_pid(Verdict::Live, true, (43, 5, None), false)]
fn nobody_else_is_touched(
    #[case] verdict: Verdict,
    #[case] is_orphan: bool,
    #[case] (pid, ticks, inode): (i32, u64, Option<u64>),
    #[case] is_supervised: bool,
) {
    let mut take = reading(ours(pid, ticks, inode));
    assert_eq!(act(&mut take, recorded(verdict, is_orphan, |_| {})), Act::Unlock);
    match end(&mut take, Answer::Done) {
        Outcome::Supervised(judged) => assert!(is_supervised && judged.subject.token() == 7),
        Outcome::NotThere => assert!(!is_supervised),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_of_another_boot_is_another() {
    let mut take = reading(ours(42, 5, Some(90)));
    let elsewhere = recorded(Verdict::Live, true, |run| run.host.boot_id = "c".to_owned());
    assert_eq!(act(&mut take, elsewhere), Act::Unlock);
    assert_eq!(end(&mut take, Answer::Done), Outcome::NotThere);
}

/// Who was faster, under another lock file, keeps the run.
#[test]
fn a_lifeline_that_was_made_in_vain_goes() {
    let mut take = reading(ours(42, 5, Some(90)));
    act(&mut take, recorded(Verdict::Live, true, |_| {}));
    put(act(&mut take, Answer::Made("1:2".to_owned())));
    assert_eq!(act(&mut take, Answer::Changed), Act::Read);
    assert_eq!(act(&mut take, recorded(Verdict::Live, false, |_| {})), Act::DropLifeline);
    assert!(matches!(ends(take), Outcome::Supervised(_)));
}
