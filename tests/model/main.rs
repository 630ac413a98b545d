//! The protocol, explored exhaustively: the same pure steps that the product runs, on an imagined
//! machine, with crashes, reused PIDs, reboots and a deleted lock file at every point.
//!
//! Promises that are checked in every world: never two jobs, never a job without a record, no live
//! holder cleared; and from every world the processes get to their end by themselves, after which a
//! newcomer gets the machine.
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

use std::time::Instant;

mod evidence;
mod explore;
mod mutant;
mod world;

use explore::explore;
use mutant::Mutant;
use rstest::{Context, rstest};
use world::{Faults, Role, World};

/// A promise that holds in every world.
fn check(name: &str, roles: &[Role], faults: Faults) {
    let begun = Instant::now();
    let found = explore(World::new(roles, faults), Mutant::None);
    assert_eq!(found.violation, None);
    assert_eq!(found.stuck, None);
    assert!(found.ends.len() > 1, "the model ran into a wall");
    // Whatever was left behind, a newcomer gets the machine.
    let mut newcomers = 0;
    for end in &found.ends {
        let after = explore(end.with_newcomer(), Mutant::None);
        assert_eq!((after.violation, after.stuck), (None, None), "a newcomer after {end:#?}");
        newcomers += after.worlds;
    }
    println!(
        "{name}: {} worlds, {} steps, {} ends, {newcomers} worlds of newcomers, {:?}",
        found.worlds,
        found.steps,
        found.ends.len(),
        begun.elapsed()
    );
}

const RUN: Role = Role::Run;

#[rstest]
#[case::undisturbed(&[RUN, RUN, RUN], Faults::NONE)]
#[case::crashes(&[RUN, RUN], Faults { crashes: 2, reuses: 1, stalls: 1, ..Faults::NONE })]
#[case::reboot(&[RUN, RUN], Faults { reboots: 1, crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::clear(&[RUN, RUN, Role::Clear], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
#[case::three(&[RUN, RUN, RUN], Faults { crashes: 1, stalls: 1, ..Faults::NONE })]
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
    check(context.description.unwrap_or_default(), roles, faults);
}

/// The model notices each way to break the protocol.
#[rstest]
#[case::gate(Mutant::OpenTheGateFirst, Faults::NONE, "begins without a record")]
#[case::token(Mutant::ReleaseAnybody, Faults { stalls: 1, ..Faults::NONE }, "live holder")]
#[case::judge(Mutant::CallTheLivingDead, Faults::NONE, "live holder")]
#[case::lifelines(
    Mutant::IgnoreLifelines,
    Faults { lock_deletions: 1, ..Faults::NONE },
    "live holder"
)]
#[case::changes(
    Mutant::IgnoreChanges,
    Faults { lock_deletions: 1, crashes: 1, ..Faults::NONE },
    "live holder"
)]
fn a_broken_protocol_is_caught(
    #[case] mutant: Mutant,
    #[case] faults: Faults,
    #[case] expected: &str,
) {
    let found = explore(World::new(&[RUN, RUN], faults), mutant);
    let violation = found.violation.expect("the model did not notice");
    assert!(violation.contains(expected), "{violation}");
}

/// The inode of the lock file is a second line of defence: even if nobody compared it, the
/// lifelines would keep two apart. Who would remove those (above) must know.
#[test]
fn the_inode_alone_would_not_be_missed() {
    let faults = Faults { lock_deletions: 2, ..Faults::NONE };
    let found = explore(World::new(&[RUN, RUN], faults), Mutant::IgnoreTheInode);
    assert_eq!((found.violation, found.stuck), (None, None));
}
