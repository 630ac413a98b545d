//! The order of the acts, and where each surprise leads.

use rstest::rstest;

use super::*;
use crate::protocol::fixtures::{NOW_MS, act, end, gone, holder, logged, put, seen};

fn felt(taut: &[u64], slack: &[u64]) -> Answer {
    Answer::Felt(Felt { taut: taut.to_vec(), slack: slack.to_vec() })
}

fn born() -> Answer {
    Answer::Born(Box::new(holder(0)))
}

/// A claim that has felt this queue, and reads.
fn reading(request: Request, queue: Queue) -> Claim {
    let mut claim = Claim::new("m1", request);
    assert_eq!(act(&mut claim, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut claim, Answer::Done), Act::FeelQueue(request.ticket));
    assert_eq!(act(&mut claim, Answer::Queue(queue)), Act::Read);
    claim
}

/// A claim that has read this and goes for the machine; it has made its lifeline.
fn going(answer: Answer) -> Claim {
    let mut claim = reading(Request::default(), Queue::default());
    assert_eq!(act(&mut claim, answer), Act::MakeLifeline(NOW_MS));
    assert_eq!(act(&mut claim, Answer::Done), Act::FeelOthers);
    claim
}

/// The same, up to the fork.
fn forking(answer: Answer) -> Claim {
    let mut claim = going(answer);
    assert_eq!(act(&mut claim, felt(&[], &[3])), Act::ReadAgain);
    assert_eq!(act(&mut claim, Answer::Done), Act::Sweep(vec![3]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Fork(NOW_MS));
    claim
}

#[test]
fn nothing_of_the_job_runs_before_the_record_is_in_place() {
    let mut claim = forking(seen(&[]));
    let record = put(act(&mut claim, born()));
    assert_eq!((record.revision, record.token), (6, NOW_MS));
    assert_eq!(record.holders[0].token, NOW_MS);
    assert_eq!((record.counters.runs, record.counters.contended), (1, 0));
    assert_eq!(logged(act(&mut claim, Answer::Done)), 0);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlink(vec![]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
    assert_eq!(act(&mut claim, Answer::Done), Act::OpenGate);
    let outcome = end(&mut claim, Answer::Done);
    assert_eq!(outcome, Outcome::Granted { token: NOW_MS, cleared: vec![] });
}

#[test]
fn a_phantoms_lifeline_goes_after_the_record_that_named_it() {
    let mut claim = forking(seen(&[(7, gone())]));
    let record = put(act(&mut claim, born()));
    assert_eq!(record.holders.iter().map(|h| h.token).collect::<Vec<_>>(), [NOW_MS]);
    assert_eq!(record.counters.phantoms["process_gone"], 1);
    assert_eq!(record.last.unwrap().token, 7);
    assert_eq!(logged(act(&mut claim, Answer::Done)), 1);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlink(vec![7]));
}

#[test]
fn a_held_machine_is_left_as_it_is() {
    for verdict in [Verdict::Live, Verdict::Finishing] {
        let mut claim = reading(Request::default(), Queue::default());
        assert_eq!(act(&mut claim, seen(&[(7, verdict)])), Act::Unlock);
        let Outcome::Busy { holders, cleared } = end(&mut claim, Answer::Done) else {
            panic!("not busy");
        };
        assert_eq!((holders[0].subject.token(), cleared.len()), (7, 0));
    }
}

#[test]
fn beside_a_live_holder_phantoms_are_cleared_all_the_same() {
    let mut claim = reading(Request::default(), Queue::default());
    let record = put(act(&mut claim, seen(&[(7, gone()), (8, Verdict::Live)])));
    assert_eq!(record.holders[0].token, 8);
    assert_eq!(record.counters.runs, 0);
    assert_eq!(logged(act(&mut claim, Answer::Done)), 1);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlink(vec![7]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
    assert!(matches!(end(&mut claim, Answer::Done), Outcome::Busy { .. }));
}

#[test]
fn a_taut_lifeline_that_nobody_names_is_yielded_to() {
    let mut claim = going(seen(&[(7, gone())]));
    assert_eq!(act(&mut claim, felt(&[9], &[])), Act::DropLifeline);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
    let Outcome::Busy { holders, cleared } = end(&mut claim, Answer::Done) else {
        panic!("not busy");
    };
    assert_eq!(holders[0].subject, Subject::Unrecorded(9));
    assert_eq!(cleared, []); // the record was not rewritten
}

#[test]
fn a_phantoms_own_lifeline_may_be_taut() {
    // Its supervisor is stalled: the record decides, and names it.
    let mut claim = going(seen(&[(7, gone())]));
    assert_eq!(act(&mut claim, felt(&[7], &[3])), Act::ReadAgain);
    assert_eq!(act(&mut claim, Answer::Done), Act::Sweep(vec![3]));
}

#[test]
fn a_record_that_changed_meanwhile_starts_the_claim_over() {
    let mut claim = going(seen(&[]));
    assert_eq!(act(&mut claim, felt(&[], &[])), Act::ReadAgain);
    assert_eq!(act(&mut claim, Answer::Changed), Act::DropLifeline);
    assert_eq!(act(&mut claim, Answer::Done), Act::Read);
}

#[test]
fn a_claim_that_is_overtaken_at_the_last_moment_ends_its_child() {
    let mut claim = forking(seen(&[]));
    put(act(&mut claim, born()));
    assert_eq!(act(&mut claim, Answer::Changed), Act::Abandon);
    assert_eq!(act(&mut claim, Answer::Done), Act::DropLifeline);
    assert_eq!(act(&mut claim, Answer::Done), Act::Read);
    assert_eq!(act(&mut claim, seen(&[(7, Verdict::Live)])), Act::Unlock);
}

#[test]
fn a_token_is_never_given_twice() {
    // Above the record's, also when the clock stepped back.
    let mut claim = reading(Request::default(), Queue::default());
    assert_eq!(act(&mut claim, seen(&[(5000, gone())])), Act::MakeLifeline(5001));
    // Above every lifeline there is, also when the record was lost.
    assert_eq!(act(&mut claim, Answer::Taken), Act::MakeLifeline(5002));
    assert_eq!(act(&mut claim, Answer::Done), Act::FeelOthers);
    assert_eq!(act(&mut claim, felt(&[], &[6000, 5001])), Act::DropLifeline);
    assert_eq!(act(&mut claim, Answer::Done), Act::MakeLifeline(6001));
}

#[test]
fn a_wrong_answer_ends_the_claim() {
    let mut claim = Claim::new("m1", Request::default());
    assert_eq!(act(&mut claim, Answer::Begin), Act::Lock);
    assert_eq!(end(&mut claim, Answer::Taken), Outcome::Misled);
    assert_eq!(end(&mut claim, Answer::Done), Outcome::Misled);
}

const WAITS: Request = Request { contended: false, queues: true, ticket: None, passes: 0 };
const LAST: Request = Request { contended: true, queues: true, ticket: Some(9), passes: 0 };

fn queue(waiting: &[u64]) -> Queue {
    Queue { waiting: waiting.to_vec(), gone: Vec::new() }
}

#[rstest]
#[case::held(&[], &[(7, Verdict::Live)])]
#[case::not_our_turn(&[4], &[])]
fn who_has_to_wait_lines_up_once(#[case] before: &[u64], #[case] holders: &[(u64, Verdict)]) {
    let mut claim = reading(WAITS, queue(before));
    assert_eq!(act(&mut claim, seen(holders)), Act::Enqueue);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
    assert!(matches!(end(&mut claim, Answer::Done), Outcome::Busy { .. }));
    let mut again = reading(LAST, queue(before));
    assert_eq!(act(&mut again, seen(holders)), Act::Unlock);
    let mut impatient = reading(Request::default(), queue(before));
    assert_eq!(act(&mut impatient, seen(holders)), Act::Unlock);
}

#[test]
fn nobody_waits_for_those_who_are_gone() {
    let mut claim = Claim::new("m1", WAITS);
    act(&mut claim, Answer::Begin);
    act(&mut claim, Answer::Done);
    let felt = Queue { waiting: vec![], gone: vec![3, 4] };
    assert_eq!(act(&mut claim, Answer::Queue(felt)), Act::SweepQueue(vec![3, 4]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Read);
    assert_eq!(act(&mut claim, seen(&[])), Act::MakeLifeline(NOW_MS));
}

#[rstest]
#[case(&[3], 1, true)]
#[case(&[3, 4], 2, true)]
#[case(&[3, 4], 1, false)]
fn who_let_a_free_machine_go_by_is_passed_over(
    #[case] before: &[u64],
    #[case] passes: usize,
    #[case] ours: bool,
) {
    let mut claim = reading(Request { passes, ..LAST }, queue(before));
    let next = act(&mut claim, seen(&[]));
    assert_eq!(next, if ours { Act::MakeLifeline(NOW_MS) } else { Act::Unlock });
}

#[test]
fn the_ticket_goes_after_the_record_is_in_place() {
    let mut claim = reading(LAST, queue(&[]));
    act(&mut claim, seen(&[]));
    act(&mut claim, Answer::Done);
    act(&mut claim, felt(&[], &[]));
    act(&mut claim, Answer::Done);
    act(&mut claim, Answer::Done);
    let record = put(act(&mut claim, born()));
    assert_eq!(record.counters.contended, 1);
    assert_eq!(logged(act(&mut claim, Answer::Done)), 0);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlink(vec![]));
    assert_eq!(act(&mut claim, Answer::Done), Act::LeaveQueue);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
}
