//! Every signal, sent to everybody whom it may be sent to, in every state that jobguard may be started in:
//! the job fares as it does without jobguard, where it is sent the same itself.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use jobguard::sys::pidfd::PidFd;
use jobguard::sys::signal::SignalSet;

use super::support::dice::Dice;
use super::support::held::waits;
use super::support::probe::{Watched, apart, launch, probe, send};
use super::support::{Running, Sandbox, jobguard, state, until};
use super::{GUARD, catchable, pending, settles};

/// Whom signals are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// A job without jobguard.
    Bare,
    Job,
    Wrapper,
    /// The process group of jobguard.
    Group,
    /// A jobguard that waits for the machine.
    Waiter,
}

/// How a job fared.
#[derive(Debug, PartialEq, Eq)]
enum Fared {
    /// Its end was told as this signal, or this exit status.
    Ended(Option<i32>, Option<i32>),
    Stopped,
    /// It goes on, and these wait for it.
    Rests(SignalSet),
}

/// Starts a job in a state, sends signals one by one, and sees how it fares.
fn fares(to: To, state: &[&str], signals: &[i32]) -> Fared {
    let sandbox = Sandbox::new();
    let holder = (to == To::Waiter)
        .then(|| Watched::start(&mut launch(&sandbox, &["ignore=0", "mask=0"], &GUARD), &[]));
    // In an orphaned process group the keys that stop would do nothing (setpgid(2)).
    let mut command = match to {
        To::Bare | To::Waiter => apart(&sandbox, "setpgid", state),
        _ => launch(&sandbox, state, &GUARD),
    };
    if to == To::Waiter {
        command.arg(jobguard()).args(GUARD);
    }
    let mut guard = Running::start(command.arg(probe()).arg("rest"));
    let first = guard.pid();
    if to == To::Waiter {
        until("it waits", || waits(first));
    } else {
        let job = Watched::greet(guard);
        return job_fares(to, job, signals);
    }
    for signal in signals {
        send(first, *signal);
        settles(first);
        if let Some(fared) = is_over(&mut guard, first) {
            return fared;
        }
    }
    if let Some(holder) = holder {
        holder.end();
    }
    job_fares(to, Watched::greet(guard), &[])
}

fn job_fares(to: To, mut job: Watched, signals: &[i32]) -> Fared {
    let (first, pid) = (job.guard.pid(), job.job);
    let handle = PidFd::open(first).unwrap();
    settles(pid);
    for signal in signals {
        match to {
            To::Group => handle.signal_group(first, *signal).unwrap(),
            To::Wrapper => send(first, *signal),
            To::Bare | To::Job | To::Waiter => send(pid, *signal),
        }
        settles(first);
        settles(pid);
        if let Some(fared) = is_over(&mut job.guard, pid) {
            return fared;
        }
    }
    settles(first);
    assert_eq!(state(pid), Some('S'), "{signals:?} to {to:?} came late");
    let fared = Fared::Rests(pending(pid));
    job.end();
    fared
}

/// How a job fared that rests no more, or the waiter for it.
fn is_over(guard: &mut Running, pid: i32) -> Option<Fared> {
    match state(pid) {
        Some('T') => Some(Fared::Stopped),
        Some('S') => None,
        _ => {
            let status = guard.wait();
            Some(Fared::Ended(status.signal(), status.code()))
        }
    }
}

const EVERYBODY: [To; 4] = [To::Job, To::Wrapper, To::Group, To::Waiter];

#[test]
fn each_signal_does_what_it_would_have_done_to_the_job() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for signal in 1..=64 {
        let alone = fares(To::Bare, &[], &[signal]);
        // KILL and STOP reach whoever they are sent to, and nobody else hears of them.
        let whom =
            if catchable().any(|other| other == signal) { &EVERYBODY[..] } else { &[To::Job] };
        for to in whom {
            assert_eq!(fares(*to, &[], &[signal]), alone, "{signal} to {to:?}");
        }
        *seen
            .entry(match alone {
                Fared::Ended(..) => "ended",
                Fared::Stopped => "stopped",
                Fared::Rests(_) => "went on",
            })
            .or_default() += whom.len();
    }
    assert_eq!(seen, BTreeMap::from([("ended", 56 * 4 - 3), ("stopped", 13), ("went on", 16)]));
    println!("64 signals, sent to {EVERYBODY:?}: {seen:?}");
}

#[test]
fn any_set_that_is_ignored_or_blocked_on_entry_stays_so() {
    let mut dice = Dice::new(7);
    let all = u64::MAX;
    let mut sets = vec![(all, 0), (0, all), (all, all), (0, 0)];
    sets.extend((0..20).map(|_| (dice.below(u64::MAX), dice.below(u64::MAX))));
    let mut sent = 0;
    for (ignore, mask) in sets {
        let harmless = SignalSet(ignore | mask);
        let mut signals: Vec<i32> = catchable().filter(|n| harmless.contains(*n)).collect();
        // In an order of their own, and one of those that end it last, if there is one.
        signals.sort_by_cached_key(|_| dice.below(u64::MAX));
        let deadly = [libc::SIGTERM, libc::SIGUSR2, 33, 50];
        signals.extend(deadly.into_iter().find(|signal| !harmless.contains(*signal)));
        let state = [format!("ignore={ignore:x}"), format!("mask={mask:x}")];
        let state = state.each_ref().map(String::as_str);
        let alone = fares(To::Bare, &state, &signals);
        for to in EVERYBODY {
            assert_eq!(fares(to, &state, &signals), alone, "{state:?}: {signals:?} to {to:?}");
            sent += signals.len();
        }
    }
    println!("24 sets: {sent} signals");
}
