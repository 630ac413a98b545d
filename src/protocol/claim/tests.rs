//! The order of the acts, and where each surprise leads.

use rstest::rstest;

use super::*;
use crate::machine::ticket::{Spot, TicketId};
use crate::protocol::Felt;
use crate::protocol::fixtures::{NOW_MS, act, end, gone, holder, logged, put, seen};
use crate::protocol::want::Want;

fn felt(taut: &[u64], slack: &[u64]) -> Answer {
    Answer::Felt(Felt { taut: taut.to_vec(), slack: slack.to_vec() })
}

fn born() -> Answer {
    Answer::Born(Box::new(holder(0)))
}

/// A claim that has read this and felt this queue, and what it does then.
fn decided(request: Request, answer: Answer, queue: Queue) -> (Claim, Act) {
    let before = request.ticket.map(|ticket| ticket.number);
    let mut claim = Claim::new("m1", request);
    assert_eq!(act(&mut claim, Answer::Begin), Act::Lock);
    assert_eq!(act(&mut claim, Answer::Done), Act::Read);
    assert_eq!(act(&mut claim, answer), Act::FeelQueue { within: None, before });
    let decided = act(&mut claim, Answer::Queue(queue));
    (claim, decided)
}

/// A claim with nobody in the queue.
fn alone(answer: Answer) -> (Claim, Act) {
    decided(Request::default(), answer, Queue::default())
}

fn made() -> Answer {
    Answer::Made("1:2".to_owned())
}

/// A claim that has read this and goes for the machine; it has made its lifeline.
fn going(answer: Answer) -> Claim {
    let (mut claim, decided) = alone(answer);
    assert_eq!(decided, Act::MakeLifeline(NOW_MS));
    assert_eq!(act(&mut claim, made()), Act::FeelOthers);
    claim
}

/// The same, up to the fork.
fn forking(answer: Answer) -> Claim {
    let mut claim = going(answer);
    assert_eq!(act(&mut claim, felt(&[], &[3])), Act::ReadAgain);
    assert_eq!(act(&mut claim, Answer::Done), Act::Sweep(vec![3]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Fork(vec![NOW_MS]));
    claim
}

#[test]
fn nothing_of_the_job_runs_before_the_record_is_in_place() {
    let mut claim = forking(seen(&[]));
    let record = put(act(&mut claim, born()));
    assert_eq!((record.revision, record.token), (6, NOW_MS));
    assert_eq!(record.holders[0].token, NOW_MS);
    assert_eq!(record.holders[0].lifeline.as_deref(), Some("1:2"));
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
        let (mut claim, decided) = alone(seen(&[(7, verdict)]));
        assert_eq!(decided, Act::Unlock);
        assert_eq!(end(&mut claim, Answer::Done), BUSY);
    }
}

#[test]
fn beside_a_live_holder_phantoms_are_cleared_all_the_same() {
    let (mut claim, decided) = alone(seen(&[(7, gone()), (8, Verdict::Live)]));
    let record = put(decided);
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
    assert_eq!(end(&mut claim, Answer::Done), BUSY); // the record was not rewritten
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
    let queue = Act::FeelQueue { within: None, before: None };
    assert_eq!(act(&mut claim, seen(&[(7, Verdict::Live)])), queue);
    assert_eq!(act(&mut claim, Answer::Queue(Queue::default())), Act::Unlock);
}

#[test]
fn a_token_is_never_given_twice() {
    // Above the record's, also when the clock stepped back.
    let (mut claim, decided) = alone(seen(&[(5000, gone())]));
    assert_eq!(decided, Act::MakeLifeline(5001));
    // Above every lifeline there is, also when the record was lost.
    assert_eq!(act(&mut claim, Answer::Taken), Act::MakeLifeline(5002));
    assert_eq!(act(&mut claim, made()), Act::FeelOthers);
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

const BUSY: Outcome = Outcome::Busy { cleared: Vec::new(), is_full: false };
const MANY: Queueing = Queueing::Last(None);

fn waits(queueing: Queueing) -> Request {
    Request { queueing, ..Request::default() }
}

fn has_ticket(within: Option<u64>) -> Request {
    let ticket = Some(TicketId { number: 9, within });
    Request { contended: true, queueing: MANY, ticket, ..Request::default() }
}

fn tickets(numbers: &[u64]) -> Vec<TicketId> {
    numbers.iter().map(|number| TicketId { number: *number, within: None }).collect()
}

fn queue(waiting: &[u64]) -> Queue {
    Queue { waiting: tickets(waiting), ..Queue::default() }
}

const BEHIND: Act = Act::Enqueue(Spot { within: None, ahead: false });

#[rstest]
#[case::held(&[], &[(7, Verdict::Live)])]
#[case::not_our_turn(&[4], &[])]
fn who_has_to_wait_lines_up_once(#[case] before: &[u64], #[case] holders: &[(u64, Verdict)]) {
    let (mut claim, next) = decided(waits(MANY), seen(holders), queue(before));
    assert_eq!(next, BEHIND);
    assert_eq!(act(&mut claim, Answer::Done), Act::Unlock);
    assert_eq!(end(&mut claim, Answer::Done), BUSY);
    let (_, again) = decided(has_ticket(None), seen(holders), queue(before));
    assert_eq!(again, Act::Unlock);
    let (_, impatient) = decided(Request::default(), seen(holders), queue(before));
    assert_eq!(impatient, Act::Unlock);
}

#[test]
fn nobody_waits_for_those_who_are_gone() {
    let felt = Queue { gone: tickets(&[3, 4]), ..Queue::default() };
    let (mut claim, next) = decided(waits(MANY), seen(&[]), felt);
    assert_eq!(next, Act::SweepQueue(tickets(&[3, 4])));
    assert_eq!(act(&mut claim, Answer::Done), Act::MakeLifeline(NOW_MS));
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
    let request = Request { passes, ..has_ticket(None) };
    let (_, next) = decided(request, seen(&[]), queue(before));
    assert_eq!(next, if ours { Act::MakeLifeline(NOW_MS) } else { Act::Unlock });
}

#[test]
fn the_ticket_goes_after_the_record_is_in_place() {
    let (mut claim, _) = decided(has_ticket(None), seen(&[]), queue(&[]));
    act(&mut claim, made());
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

#[test]
fn who_lost_its_place_does_not_run() {
    let lost = Queue { is_lost: true, ..Queue::default() };
    let (mut claim, next) = decided(has_ticket(None), seen(&[]), lost);
    assert_eq!(next, Act::Unlock);
    assert_eq!(end(&mut claim, Answer::Done), BUSY);
}

#[rstest]
#[case::few(Queueing::Last(Some(3)), &[4, 5], &[])]
#[case::alone(Queueing::Newest, &[4, 5], &[4, 5])]
#[case::behind_one_who_goes_ahead(Queueing::Newest, &[0, 4], &[4])]
#[case::alone_already(Queueing::Newest, &[], &[])]
#[case::ahead(Queueing::Ahead, &[4, 5], &[])]
#[case::ahead_of_one_who_was(Queueing::Ahead, &[0, 4, 5], &[0])]
fn places_are_taken_from_others(
    #[case] queueing: Queueing,
    #[case] waiting: &[u64],
    #[case] evicted: &[u64],
) {
    let held = seen(&[(7, Verdict::Live)]);
    let (mut claim, mut next) = decided(waits(queueing), held, queue(waiting));
    if !evicted.is_empty() {
        assert_eq!(next, Act::Evict(tickets(evicted)));
        next = act(&mut claim, Answer::Done);
    }
    let ahead = queueing == Queueing::Ahead;
    assert_eq!(next, Act::Enqueue(Spot { within: None, ahead }));
}

#[test]
fn those_who_are_away_lose_their_places_too() {
    for (queueing, evicted) in [(Queueing::Ahead, 0), (Queueing::Newest, 4)] {
        let away = Queue { away: tickets(&[0, 4]), ..Queue::default() };
        let held = seen(&[(7, Verdict::Live)]);
        let (_, next) = decided(waits(queueing), held, away.clone());
        assert_eq!(next, Act::Evict(tickets(&[evicted])));
        // But nobody waits for them.
        let (_, next) = decided(waits(queueing), seen(&[]), away);
        assert_eq!(next, Act::MakeLifeline(NOW_MS));
    }
}

#[test]
fn nobody_is_waited_for_inside_a_run_that_is_over() {
    let inside = TicketId { number: 3, within: Some(7) };
    let queue = || Queue { waiting: vec![inside], ..Queue::default() };
    let (_, next) = decided(waits(MANY), seen(&[(7, gone())]), queue());
    assert_eq!(next, Act::MakeLifeline(NOW_MS));
    let shares = Want { mode: crate::machine::record::Mode::Shared, slots: 2, holds: vec![] };
    let shared = Request { want: shares, ..waits(MANY) };
    let (_, next) = decided(shared, seen(&[(7, Verdict::Live)]), queue());
    assert_eq!(next, BEHIND);
}

#[test]
fn too_many_wait_already() {
    let held = seen(&[(7, Verdict::Live)]);
    let (mut claim, next) = decided(waits(Queueing::Last(Some(2))), held, queue(&[4, 5]));
    assert_eq!(next, Act::Unlock);
    let full = Outcome::Busy { cleared: vec![], is_full: true };
    assert_eq!(end(&mut claim, Answer::Done), full);
}

/// Part of the run 7.
fn nested(request: Request) -> Request {
    Request { want: Want { holds: vec![7], ..Want::default() }, ..request }
}

#[test]
fn within_a_holders_job_a_run_goes_beside_it() {
    let mut claim = Claim::new("m1", nested(waits(MANY)));
    act(&mut claim, Answer::Begin);
    act(&mut claim, Answer::Done);
    let queue = Act::FeelQueue { within: Some(7), before: None };
    assert_eq!(act(&mut claim, seen(&[(7, Verdict::Live)])), queue);
    assert_eq!(act(&mut claim, Answer::Queue(Queue::default())), Act::MakeLifeline(NOW_MS));
    act(&mut claim, made());
    // Its own may be slack: an orphan's is.
    assert_eq!(act(&mut claim, felt(&[], &[7])), Act::ReadAgain);
    assert_eq!(act(&mut claim, Answer::Done), Act::Sweep(vec![]));
    assert_eq!(act(&mut claim, Answer::Done), Act::Fork(vec![NOW_MS]));
    let record = put(act(&mut claim, born()));
    let holders: Vec<_> = record.holders.iter().map(|h| (h.token, h.parent)).collect();
    assert_eq!(holders, [(7, None), (NOW_MS, Some(7))]);
}

#[rstest]
#[case::strangers_to_an_old_token(&[(8, Verdict::Live)], None)]
#[case::siblings_wait_for_each_other(&[(7, Verdict::Live), (8, Verdict::Live)], Some(7))]
fn who_is_nested_waits_in_the_right_queue(
    #[case] holders: &[(u64, Verdict)],
    #[case] within: Option<u64>,
) {
    // It has a ticket of the other one.
    let other = if within.is_none() { Some(7) } else { None };
    let mut claim = Claim::new("m1", nested(has_ticket(other)));
    act(&mut claim, Answer::Begin);
    act(&mut claim, Answer::Done);
    assert_eq!(act(&mut claim, seen(holders)), Act::FeelQueue { within, before: None });
    assert_eq!(act(&mut claim, Answer::Queue(Queue::default())), Act::LeaveQueue);
    let spot = Spot { within, ahead: false };
    assert_eq!(act(&mut claim, Answer::Done), Act::Enqueue(spot));
}

#[test]
fn what_it_is_part_of_may_have_lost_its_record() {
    let mut claim = Claim::new("m1", nested(Request::default()));
    act(&mut claim, Answer::Begin);
    act(&mut claim, Answer::Done);
    act(&mut claim, seen(&[]));
    assert_eq!(act(&mut claim, Answer::Queue(Queue::default())), Act::MakeLifeline(NOW_MS));
    act(&mut claim, made());
    assert_eq!(act(&mut claim, felt(&[7], &[])), Act::ReadAgain);
}

/// A machine that is free, and a loss that is, or is not, the one to be repeated.
#[rstest::rstest]
#[case(Some(6), true)]
#[case(Some(5), false)]
#[case(None, false)]
fn a_loss_is_repeated_by_one(#[case] lost: Option<u64>, #[case] goes_on: bool) {
    let request = Request { repeats: Some(6), rerun_if_lost: true, ..Request::default() };
    let mut claim = Claim::new("m1", request);
    act(&mut claim, Answer::Begin);
    act(&mut claim, Answer::Done);
    let free = match seen(&[]) {
        Answer::Seen(mut seen) => {
            let lost = lost.map(|token| crate::machine::record::Lost::new(&holder(token), ""));
            seen.record.lost = lost.map(Box::new);
            Answer::Seen(seen)
        }
        other => panic!("{other:?}"),
    };
    act(&mut claim, free);
    let next = act(&mut claim, Answer::Queue(Queue::default()));
    if !goes_on {
        assert_eq!(next, Act::Unlock);
        assert_eq!(end(&mut claim, Answer::Done), Outcome::NotLost);
        return;
    }
    assert!(matches!(next, Act::MakeLifeline(_)), "{next:?}");
    act(&mut claim, Answer::Made("1:1".to_owned()));
    act(&mut claim, Answer::Felt(Felt::default()));
    act(&mut claim, Answer::Done);
    act(&mut claim, Answer::Done);
    let record = put(act(&mut claim, Answer::Born(Box::new(holder(0)))));
    assert_eq!((record.lost, record.holders[0].rerun_if_lost), (None, true));
}
