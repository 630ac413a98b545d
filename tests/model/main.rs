//! The protocol, explored exhaustively: the same pure steps that the product runs, on an imagined
//! machine, or two, with crashes, reused PIDs, reboots and a deleted lock file at every point.
//!
//! Promises that are checked in every world: never two jobs, never a job without a record on each of its
//! machines, no live holder cleared, nobody passed over in a queue; and from every world the processes
//! get to their end by themselves, after which a newcomer gets the machine, or both.
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

use std::time::Instant;

mod digest;
mod evidence;
mod explore;
mod mutant;
mod world;

use explore::explore;
use mutant::{Broken, Mutant};
use rstest::{Context, rstest};
use world::{Faults, Role, World};

/// A promise that holds in every world.
fn check(name: &str, first: World) {
    let begun = Instant::now();
    let found = explore(&[first], Broken::NOTHING);
    assert_eq!(found.violation, None);
    assert_eq!(found.stuck, None);
    assert!(found.ends.len() > 1, "the model ran into a wall");
    // Whatever was left behind, a newcomer gets the machine.
    let ends: Vec<World> = found.ends.iter().map(World::with_newcomer).collect();
    let after = explore(&ends, Broken::NOTHING);
    assert_eq!((after.violation, after.stuck), (None, None), "with a newcomer");
    println!(
        "{name}: {} worlds, {} steps, {} ends, {} worlds with a newcomer, {:?}",
        found.worlds,
        found.steps,
        ends.len(),
        after.worlds,
        begun.elapsed()
    );
}

const RUN: Role = Role::Run;
const READ: Role = Role::Read;
const SLOT: Role = Role::Slot;
/// Of the first process.
const INNER: Role = Role::Inner(0);
const AGAIN: Role = Role::Again;
const AGAIN_BOTH: Role = Role::AgainBoth;
const RUN_B: Role = Role::RunB;
const BOTH: Role = Role::Both;
const READ_BOTH: Role = Role::ReadBoth;

#[rstest]
#[case::undisturbed(&[RUN, RUN, RUN], Faults::NONE)]
#[case::crashes(&[RUN, RUN], Faults { crashes: 2, reuses: 1, stalls: 1, ..Faults::NONE })]
#[case::reboot(&[RUN, RUN], Faults { reboots: 1, crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::clear(&[RUN, RUN, Role::Clear], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::force(&[RUN, RUN, Role::Force(1)], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::impatient(&[RUN, RUN, Role::Try], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::stopped(&[RUN, RUN, RUN], Faults { stops: 1, crashes: 1, ..Faults::NONE })]
#[case::three_reused(&[RUN, RUN, RUN], Faults { crashes: 1, reuses: 1, ..Faults::NONE })]
#[case::three_rebooted(&[RUN, RUN, RUN], Faults { reboots: 1, ..Faults::NONE })]
#[case::three(&[RUN, RUN, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::readers(&[READ, READ, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::readers_stopped(&[READ, READ, RUN], Faults { stops: 1, ..Faults::NONE })]
#[case::readers_and_a_deleted_lock(&[READ, READ, RUN], Faults { lock_deletions: 1, ..Faults::NONE })]
#[case::slots(&[SLOT, SLOT, SLOT], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::nested(&[RUN, INNER, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::nested_and_reused(&[RUN, INNER], Faults { crashes: 2, reuses: 1, reboots: 1, ..Faults::NONE })]
#[case::lost(&[RUN, RUN, RUN], Faults { lost_places: 1, crashes: 1, ..Faults::NONE })]
#[case::siblings(&[RUN, INNER, INNER], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::newest(&[RUN, Role::Newest, Role::Newest], Faults { crashes: 1, ..Faults::NONE })]
#[case::ahead(&[RUN, RUN, Role::Ahead], Faults { crashes: 1, ..Faults::NONE })]
#[case::ahead_of_each_other(&[RUN, Role::Ahead, Role::Ahead], Faults { crashes: 1, ..Faults::NONE })]
#[case::again(&[AGAIN, RUN], Faults { crashes: 2, reuses: 1, stalls: 1, ..Faults::NONE })]
#[case::again_and_rebooted(&[AGAIN, RUN], Faults { reboots: 1, crashes: 1, ..Faults::NONE })]
#[case::again_and_deleted(&[AGAIN, RUN], Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE })]
#[case::again_and_again(&[AGAIN, AGAIN, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::again_and_clear(&[AGAIN, RUN, Role::Clear], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
// A deleted lock file alone is survived, and so it is beside crashes. Beside a stalled supervisor
// it is not, and that is not promised.
#[case::deleted(&[RUN, RUN, RUN], Faults { lock_deletions: 1, ..Faults::NONE })]
#[case::deleted_twice(&[RUN, RUN], Faults { lock_deletions: 2, ..Faults::NONE })]
#[case::deleted_and_crashed(
    &[RUN, RUN],
    Faults { lock_deletions: 1, crashes: 2, reuses: 1, ..Faults::NONE }
)]
fn never_two_never_stuck(
    #[context] context: Context,
    #[case] roles: &[Role],
    #[case] faults: Faults,
) {
    check(context.description.unwrap_or_default(), World::new(roles, faults));
}

/// Two machines, of which some want both at once.
#[rstest]
#[case::two(&[BOTH, BOTH], Faults { crashes: 2, stalls: 1, ..Faults::NONE })]
#[case::two_rebooted(&[BOTH, BOTH], Faults { reboots: 1, crashes: 1, ..Faults::NONE })]
#[case::two_lost(&[BOTH, BOTH], Faults { lost_places: 2, crashes: 1, ..Faults::NONE })]
#[case::two_deleted(&[BOTH, BOTH], Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE })]
#[case::two_deleted_twice(&[BOTH, BOTH], Faults { lock_deletions: 2, ..Faults::NONE })]
#[case::three(&[BOTH, BOTH, BOTH], Faults { crashes: 1, ..Faults::NONE })]
#[case::three_stopped(&[BOTH, BOTH, BOTH], Faults { stops: 1, ..Faults::NONE })]
#[case::two_and_one(&[BOTH, BOTH, RUN_B], Faults { crashes: 1, ..Faults::NONE })]
#[case::one_and_each(&[BOTH, RUN, RUN_B], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::one_and_each_stopped(&[BOTH, RUN, RUN_B], Faults { stops: 1, ..Faults::NONE })]
#[case::one_and_each_lost(&[BOTH, RUN, RUN_B], Faults { lost_places: 1, ..Faults::NONE })]
#[case::nested(&[RUN, Role::InnerBoth(0), BOTH], Faults { crashes: 1, ..Faults::NONE })]
#[case::again(&[AGAIN_BOTH, BOTH], Faults { crashes: 2, ..Faults::NONE })]
#[case::again_and_deleted(&[AGAIN_BOTH, RUN], Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE })]
#[case::readers(&[READ_BOTH, BOTH, READ], Faults { crashes: 1, ..Faults::NONE })]
fn of_several_all_or_none(
    #[context] context: Context,
    #[case] roles: &[Role],
    #[case] faults: Faults,
) {
    let name = format!("two machines, {}", context.description.unwrap_or_default());
    check(&name, World::new(roles, faults));
}

/// Two in seconds; three, under `scripts/soak`, take minutes and a few gigabytes.
#[test]
fn everything_at_once() {
    let faults = Faults { crashes: 1, reuses: 1, reboots: 1, lock_deletions: 1, ..Faults::NONE };
    match soaks() {
        true => check("all faults, three", World::new(&[RUN, RUN, RUN], faults)),
        false => check("all faults", World::new(&[RUN, RUN], faults)),
    }
}

/// What takes minutes is left to `scripts/soak`.
#[test]
fn everything_at_once_on_two_machines() {
    if soaks() {
        let faults = Faults { crashes: 1, stalls: 1, ..Faults::NONE };
        check("two machines, three, crashed", World::new(&[BOTH, BOTH, BOTH], faults));
        let faults = Faults { lock_deletions: 1, ..Faults::NONE };
        check("two machines, three, deleted", World::new(&[BOTH, BOTH, BOTH], faults));
        let faults = Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE };
        check("two machines, one and each, deleted", World::new(&[BOTH, RUN, RUN_B], faults));
    }
}

fn soaks() -> bool {
    std::env::var_os("JOBGUARD_SOAK_DURATION").is_some()
}

/// As the first processes of containers, whose jobs die with them, and who see only lifelines.
#[rstest]
#[case::two(&[RUN, RUN], Faults { crashes: 2, stalls: 2, ..Faults::NONE })]
#[case::three(&[RUN, RUN, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::clear(&[RUN, RUN, Role::Clear], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::again(&[AGAIN, RUN], Faults { crashes: 2, stalls: 1, ..Faults::NONE })]
#[case::two_machines(&[BOTH, BOTH], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
fn in_containers(#[context] context: Context, #[case] roles: &[Role], #[case] faults: Faults) {
    let name = format!("in containers, {}", context.description.unwrap_or_default());
    check(&name, World::new(roles, faults).contained());
}

#[test]
fn a_grace_that_is_too_short_is_caught() {
    let faults = Faults { crashes: 1, stalls: 1, ..Faults::NONE };
    let first = World::new(&[RUN, RUN], faults).contained();
    let found = explore(&[first], Broken(&[Mutant::ShortGrace]));
    let violation = found.violation.expect("the model did not notice");
    assert!(violation.contains("live holder"), "{violation}");
}

/// The model notices each way to break the protocol.
#[rstest]
#[case::gate(&[Mutant::OpenTheGateFirst], &[RUN, RUN], Faults::NONE, "begins without a record")]
#[case::second_gate(
    &[Mutant::OpenTheSecondGateFirst],
    &[AGAIN],
    Faults::NONE,
    "job 1 begins without a record"
)]
#[case::second_gate_of_several(
    &[Mutant::OpenTheSecondGateFirst],
    &[AGAIN_BOTH],
    Faults::NONE,
    "job 1 begins without a record"
)]
#[case::between_attempts(
    &[Mutant::HoldByTheJob],
    &[AGAIN, RUN],
    Faults { stalls: 1, ..Faults::NONE },
    "live holder"
)]
#[case::token_of_a_release(
    &[Mutant::ReleaseAnybody],
    &[RUN, RUN],
    Faults { stalls: 1, ..Faults::NONE },
    "live holder"
)]
#[case::token_of_a_clear(
    &[Mutant::IgnoreTheToken],
    &[RUN, RUN, Role::Force(1)],
    Faults::NONE,
    "live holder"
)]
#[case::queue(&[Mutant::JumpTheQueue], &[RUN, RUN, RUN], Faults::NONE, "jumps the queue")]
#[case::modes(&[Mutant::TakeWritersForReaders], &[RUN, READ], Faults::NONE, "jobs at once")]
#[case::places(
    &[Mutant::RunAllTheSame],
    &[RUN, Role::Newest, Role::Newest],
    Faults::NONE,
    "its place was taken"
)]
#[case::judge(&[Mutant::CallTheLivingDead], &[RUN, RUN], Faults::NONE, "live holder")]
#[case::lifelines(
    &[Mutant::IgnoreLifelines, Mutant::IgnoreChanges],
    &[RUN, RUN],
    Faults { lock_deletions: 1, ..Faults::NONE },
    "live holder"
)]
#[case::changes(
    &[Mutant::IgnoreChanges],
    &[RUN, RUN],
    Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE },
    "live holder"
)]
#[case::inode(
    &[Mutant::IgnoreTheInode, Mutant::IgnoreLifelines, Mutant::IgnoreChanges],
    &[RUN, RUN],
    Faults { idle_deletions: 1, ..Faults::NONE },
    "live holder"
)]
#[case::gate_of_several(&[Mutant::OpenAfterOneRecord], &[BOTH], Faults::NONE, "without a record")]
#[case::locks(
    &[Mutant::ClaimOutOfOrder, Mutant::WaitWithLocks],
    &[BOTH, BOTH],
    Faults::NONE,
    "no way on"
)]
#[case::locks_that_were_deleted(
    &[Mutant::WaitWithLocks],
    &[BOTH, BOTH],
    Faults { lock_deletions: 2, ..Faults::NONE },
    "no way on"
)]
#[case::queues(&[Mutant::EnqueueOnce], &[BOTH, BOTH], Faults::NONE, "without a place")]
// It waits for a release that it owes itself.
#[case::one_of_the_records(
    &[Mutant::KeepTheFirstRecord],
    &[BOTH],
    Faults { lock_deletions: 1, ..Faults::NONE },
    "no way on"
)]
#[case::several_queues(&[Mutant::JumpTheQueue], &[BOTH, BOTH, RUN], Faults::NONE, "jumps the queue")]
fn a_broken_protocol_is_caught(
    #[case] broken: &'static [Mutant],
    #[case] roles: &[Role],
    #[case] faults: Faults,
    #[case] expected: &str,
) {
    let found = explore(&[World::new(roles, faults)], Broken(broken));
    let stuck = found.stuck.map(|way| format!("no way on, after this one:\n{way}"));
    let violation = found.violation.or(stuck).expect("the model did not notice");
    assert!(violation.contains(expected), "{violation}");
    println!("{broken:?}: {} steps to it", violation.lines().count() - 1);
}

/// The inode of the lock file, the lifelines and the comparison of the record with what was read are
/// three lines of defence against a deleted lock file. The first keeps two apart only when nobody had
/// it locked; of the others either alone is enough (and without both nothing is, see above).
#[rstest]
#[case::the_inode(
    &[Mutant::IgnoreLifelines, Mutant::IgnoreChanges],
    Faults { idle_deletions: 2, ..Faults::NONE }
)]
#[case::lifelines(
    &[Mutant::IgnoreTheInode, Mutant::IgnoreChanges],
    Faults { lock_deletions: 2, ..Faults::NONE }
)]
#[case::the_record(
    &[Mutant::IgnoreTheInode, Mutant::IgnoreLifelines],
    Faults { lock_deletions: 2, ..Faults::NONE }
)]
fn one_line_of_defence_is_enough(#[case] broken: &'static [Mutant], #[case] faults: Faults) {
    let found = explore(&[World::new(&[RUN, RUN], faults)], Broken(broken));
    assert_eq!((found.violation, found.stuck), (None, None));
    println!("without {broken:?}: {} worlds", found.worlds);
}

/// That nobody waits with a lock in hand, and that all take them in the same order, are two lines of
/// defence against waiting for each other. The second alone is not enough where they are deleted, see
/// above.
#[rstest]
#[case::no_lock_in_hand(&[Mutant::ClaimOutOfOrder])]
#[case::the_order(&[Mutant::WaitWithLocks])]
fn either_keeps_claims_from_waiting_for_each_other(#[case] broken: &'static [Mutant]) {
    let faults = Faults { crashes: 1, ..Faults::NONE };
    let found = explore(&[World::new(&[BOTH, BOTH], faults)], Broken(broken));
    assert_eq!((found.violation, found.stuck), (None, None));
    println!("without {broken:?}: {} worlds", found.worlds);
}
