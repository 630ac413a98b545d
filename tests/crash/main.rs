//! The supervisor, or its child behind the gate, is killed at every single system call, or that call
//! fails: whatever that leaves behind, no job runs unrecorded, no two overlap, and the next run
//! goes through by itself.
#![allow(unreachable_pub, missing_docs, reason = "this is test code")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]
#![allow(clippy::print_stdout, reason = "what was covered, in numbers")]

#[path = "../support/mod.rs"]
mod support;

mod stage;
mod tracer;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rstest::rstest;
use stage::{STATUS, Scene, Stage};
use support::require_root;
use support::strace::strike_all;
use syscalls::Sysno;
use tracer::{Point, Strike, Who};

/// The points of a scene that nobody disturbs.
fn points(scene: Scene) -> Vec<Point> {
    require_root("tracing");
    let mut stage = Stage::set(scene);
    let played = stage.play(None);
    played.done.exits(if scene == Scene::Clear { 0 } else { STATUS });
    stage.recovers();
    few_rounds(&played.trace.points)
}

/// The rounds of a loop, as over all processes, are the same code: of many the first two are kept, and the
/// last.
fn few_rounds(points: &[Point]) -> Vec<Point> {
    const LONGEST: usize = 8;
    let mut kept = Vec::new();
    let mut left = points;
    while let Some(first) = left.first() {
        let rounds_of = |length: usize| {
            let round = |calls: &[Point]| calls.iter().map(|p| (p.who, p.call)).collect::<Vec<_>>();
            let mut all = left.chunks_exact(length).map(round);
            let first = all.next();
            1 + all.take_while(|next| Some(next) == first.as_ref()).count()
        };
        let repeated = (1..=LONGEST).find(|length| rounds_of(*length) > 3);
        let Some(length) = repeated else {
            kept.push(*first);
            left = &left[1..];
            continue;
        };
        let (all, rest) = left.split_at(rounds_of(length) * length);
        kept.extend_from_slice(&all[..2 * length]);
        kept.extend_from_slice(&all[all.len() - length..]);
        left = rest;
    }
    kept
}

/// Those from `main` on, where all signals are blocked first: before is the loader and the C library.
fn from_main(points: Vec<Point>) -> Vec<Point> {
    let is_first = |point: &Point| point.call == Sysno::rt_sigprocmask;
    points.into_iter().skip_while(|point| !is_first(point)).collect()
}

/// Points of the loader are tried once: elsewhere they would be the same.
#[rstest]
#[case::an_uncontended_run(Scene::Uncontended, 200, 5)]
#[case::a_run_that_clears_a_phantom(Scene::ClearsAPhantom, 150, 5)]
#[case::a_run_that_waited(Scene::Contended, 150, 5)]
#[case::a_run_that_waits_for_the_lock(Scene::LockContended, 150, 5)]
#[case::a_clear_of_a_phantom(Scene::Clear, 60, 0)]
#[case::an_adoption(Scene::Adopt, 150, 0)]
#[case::an_orphan_taken_over(Scene::TakeOver, 120, 0)]
#[case::a_run_of_two_that_clears_phantoms(Scene::Two, 250, 5)]
#[case::a_run_of_two_that_waited(Scene::TwoContended, 250, 5)]
#[case::a_run_that_is_tried_again(Scene::Retried, 250, 10)]
fn killed_at_every_call(
    #[case] scene: Scene,
    #[case] at_least: usize,
    #[case] of_the_child: usize,
) {
    let begun = Instant::now();
    let mut points = points(scene);
    if scene != Scene::Uncontended {
        points = from_main(points);
    }
    let child = points.iter().filter(|point| point.who == Who::Child).count();
    let slowest = Mutex::new(Duration::ZERO);
    let killed = strike_all(&points, |point| {
        let mut stage = Stage::set(scene);
        let played = stage.play(Some((*point, Strike::Kill)));
        let _inhabitants = stage.inhabitants();
        if played.trace.struck {
            // A child that is killed is a job that was killed, and may be tried again.
            let may_go_on = scene == Scene::Retried && point.who == Who::Child;
            let went_on = may_go_on && played.done.0.status.code() == Some(STATUS);
            assert!(
                went_on || played.done.signal() == Some(nix::libc::SIGKILL),
                "{:?}",
                played.done
            );
        }
        let took = stage.recovers();
        let mut slowest = slowest.lock().unwrap();
        *slowest = took.max(*slowest);
        played.trace.struck
    });
    println!(
        "{scene:?}: killed at {killed} of {} calls, {child} of them the child's; the slowest next \
         run took {:?}; {:?}",
        points.len(),
        slowest.into_inner().unwrap(),
        begun.elapsed()
    );
    assert!(killed >= at_least && child >= of_the_child, "{killed} points were hit");
}

/// Calls that have no way to fail (getpid(2), getuid(2), umask(2); the raw brk(2) returns no errno),
/// and two that the C library makes for a thread, and aborts over.
const NEVER_FAIL: [Sysno; 9] = [
    Sysno::brk,
    Sysno::getpid,
    Sysno::gettid,
    Sysno::getuid,
    Sysno::geteuid,
    Sysno::getegid,
    Sysno::umask,
    Sysno::rseq,
    Sysno::futex,
];

/// Each call fails, in turn, with each of these: before the job begins that is said, and nothing
/// runs; after it the job's own status counts. An interrupted call is made again.
#[rstest]
fn an_error_is_said_or_survived(
    #[values(Scene::Uncontended, Scene::ClearsAPhantom, Scene::Contended, Scene::Clear)]
    scene: Scene,
    #[values(Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::EMFILE, Errno::ENOMEM, Errno::EPERM)]
    errno: Errno,
) {
    fails_everywhere(scene, errno);
}

/// The same of the wait for the machine lock, in a thread.
#[rstest]
fn an_error_in_the_wait_for_the_lock_is_said_or_survived(
    #[values(Errno::EINTR, Errno::ENOMEM)] errno: Errno,
) {
    fails_everywhere(Scene::LockContended, errno);
}

/// The same of adoptions; what cannot be found out of a process's end is said, too.
#[rstest]
fn an_error_of_an_adoption_is_said_or_survived(
    #[values(Scene::Adopt, Scene::TakeOver)] scene: Scene,
    #[values(Errno::EINTR, Errno::EPERM)] errno: Errno,
) {
    fails_everywhere(scene, errno);
}

/// The same on two machines, and of two attempts; each error on one of the scenes, for the time that it takes.
#[rstest]
#[case(Scene::Two, Errno::ENOSPC)]
#[case(Scene::Two, Errno::EMFILE)]
#[case(Scene::TwoContended, Errno::EIO)]
#[case(Scene::TwoContended, Errno::EINTR)]
#[case(Scene::Retried, Errno::EMFILE)]
#[case(Scene::Retried, Errno::EINTR)]
fn an_error_is_said_or_survived_on_two(#[case] scene: Scene, #[case] errno: Errno) {
    fails_everywhere(scene, errno);
}

#[track_caller]
fn fails_everywhere(scene: Scene, errno: Errno) {
    let begun = Instant::now();
    let mut points = from_main(points(scene));
    points.retain(|point| !NEVER_FAIL.contains(&point.call));
    let survived = Mutex::new(0);
    let struck = strike_all(&points, |point| {
        let mut stage = Stage::set(scene);
        let played = stage.play(Some((*point, Strike::Fail(errno))));
        let _inhabitants = stage.inhabitants();
        let said = played.done.stderr();
        assert!(!said.contains("panicked") && !said.contains("internal error"), "{said}");
        assert!(said.lines().all(|line| line.starts_with("jobguard: ")), "{said:?}");
        let succeeded = match scene {
            Scene::Clear => played.done.code() == 0,
            Scene::Adopt | Scene::TakeOver => played.done.code() == STATUS,
            _ => stage.starts() > 0,
        };
        if succeeded {
            *survived.lock().unwrap() += usize::from(played.trace.struck);
            played.done.exits(if scene == Scene::Clear { 0 } else { STATUS });
        } else {
            assert_ne!(errno, Errno::EINTR, "not tried again: {said}");
            assert!(!said.is_empty());
            // What cannot be looked at is held, and `clear` says so.
            let refused = scene == Scene::Clear && said.contains("it was not cleared")
                || scene == Scene::TakeOver && said.contains("is not provably over");
            played.done.exits(if refused { 75 } else { 125 });
        }
        stage.recovers();
        played.trace.struck
    });
    let survived = survived.into_inner().unwrap();
    println!(
        "{scene:?}, {errno}: {struck} of {} calls failed, {survived} of them harmlessly; {:?}",
        points.len(),
        begun.elapsed()
    );
    // A waiter's calls are not the same each time.
    assert!(struck * 10 >= points.len() * 8 && struck > 50, "{struck} points were hit");
    assert_eq!(survived == struck, errno == Errno::EINTR);
}
