use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGUSR1, SIGWINCH, SIGXFSZ,
};
use rstest::rstest;

use super::*;

const KERNEL: i32 = 0x80;
const QUEUED: i32 = -1;

/// In the middle of a run under a shell.
const RUNS: Standing = Standing::NEW;
const STOPPED: Standing = Standing { job_is_stopped: true, ..RUNS };
const LEADER: Standing = Standing { leads_session: true, ..RUNS };

fn arrival(signal: i32, code: i32) -> Arrival {
    Arrival { code, sender: 7, ..Arrival::plain(signal) }
}

fn forwards(signal: i32, code: i32, sender: Sender, group: Group, mut standing: Standing) -> bool {
    react(arrival(signal, code), sender, group, &mut standing)
}

#[rstest]
// The terminal's keys reach a job in our group by themselves.
#[case(SIGINT, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGQUIT, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGTSTP, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGWINCH, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGHUP, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGTTIN, KERNEL, Sender::Other, Group::Shared, false)]
#[case(SIGTTOU, KERNEL, Sender::Other, Group::Shared, false)]
// A job in its own group needs us for them, whether we put it there or it moved.
#[case(SIGINT, KERNEL, Sender::Other, Group::Own, true)]
#[case(SIGTSTP, KERNEL, Sender::Other, Group::Own, true)]
#[case(SIGWINCH, KERNEL, Sender::Other, Group::Own, true)]
#[case(SIGHUP, KERNEL, Sender::Other, Group::Own, true)]
// What people send goes on, however it was sent.
#[case(SIGINT, SI_USER, Sender::Other, Group::Shared, true)]
#[case(SIGTSTP, SI_USER, Sender::Other, Group::Shared, true)]
#[case(SIGHUP, SI_USER, Sender::Other, Group::Shared, true)]
#[case(SIGTERM, SI_USER, Sender::Other, Group::Own, true)]
#[case(SIGUSR1, QUEUED, Sender::Other, Group::Own, true)]
#[case(64, QUEUED, Sender::Other, Group::Own, true)]
// An alarm that we inherited was meant for the job.
#[case(SIGALRM, KERNEL, Sender::Other, Group::Shared, true)]
// No echo.
#[case(SIGTERM, SI_USER, Sender::Job, Group::Own, false)]
#[case(SIGTSTP, SI_USER, Sender::Job, Group::Shared, false)]
#[case(SIGCONT, SI_USER, Sender::Job, Group::Shared, false)]
#[case(SIGPIPE, SI_USER, Sender::Ourselves, Group::Own, false)]
#[case(SIGXFSZ, SI_USER, Sender::Ourselves, Group::Own, false)]
// What a shell sent itself before it became jobguard, and blocked.
#[case(SIGUSR1, SI_USER, Sender::Ourselves, Group::Own, true)]
// The job's end, stop or continuation; somebody who sends a SIGCHLD means it.
#[case(SIGCHLD, libc::CLD_EXITED, Sender::Other, Group::Own, false)]
#[case(SIGCHLD, libc::CLD_STOPPED, Sender::Other, Group::Shared, false)]
#[case(SIGCHLD, SI_USER, Sender::Other, Group::Own, true)]
#[case(SIGCHLD, SI_USER, Sender::Other, Group::Shared, true)]
fn forwarding(
    #[case] signal: i32,
    #[case] code: i32,
    #[case] sender: Sender,
    #[case] group: Group,
    #[case] forward: bool,
) {
    for standing in [RUNS, STOPPED] {
        assert_eq!(forwards(signal, code, sender, group, standing), forward, "{standing:?}");
    }
}

#[rstest]
// A shell continues the whole group; when the job did not go on with us, we alone were meant.
#[case(SI_USER, Group::Shared, RUNS, false)]
#[case(SI_USER, Group::Shared, STOPPED, true)]
// A group that is orphaned with stopped processes in it is hung up and continued by the kernel.
#[case(KERNEL, Group::Shared, RUNS, false)]
#[case(SI_USER, Group::Own, RUNS, true)]
#[case(SI_USER, Group::Own, STOPPED, true)]
#[case(KERNEL, Group::Own, STOPPED, true)]
// The leader of a session is continued alone, after the hang-up.
#[case(KERNEL, Group::Shared, LEADER, true)]
#[case(SI_USER, Group::Shared, LEADER, false)]
fn continuing(
    #[case] code: i32,
    #[case] group: Group,
    #[case] standing: Standing,
    #[case] forward: bool,
) {
    assert_eq!(forwards(SIGCONT, code, Sender::Other, group, standing), forward);
}

#[rstest]
#[case(SIGHUP, true)]
#[case(SIGINT, false)] // the foreground group has had it
#[case(SIGTSTP, false)]
#[case(SIGWINCH, false)]
fn the_kernel_tells_the_leader_of_a_session_alone_of_a_hang_up(
    #[case] signal: i32,
    #[case] forward: bool,
) {
    assert_eq!(forwards(signal, KERNEL, Sender::Other, Group::Shared, LEADER), forward);
}

#[rstest]
#[case(SIGINT, KERNEL)]
#[case(SIGINT, SI_USER)]
#[case(SIGTSTP, SI_USER)]
#[case(SIGHUP, KERNEL)]
fn what_the_job_has_had_at_its_birth_is_not_sent_again(#[case] signal: i32, #[case] code: i32) {
    let mut standing = Standing { early: SignalSet::EMPTY.with(signal), ..LEADER };
    assert!(!react(arrival(signal, code), Sender::Other, Group::Shared, &mut standing));
    let again = react(arrival(signal, SI_USER), Sender::Other, Group::Shared, &mut standing);
    assert!(again, "only once");
}

#[test]
fn a_continue_deletes_the_stops_that_came_early_and_nothing_else() {
    let early = [SIGINT, SIGTSTP, SIGTTIN, SIGTTOU].into_iter();
    let early = early.fold(SignalSet::EMPTY, SignalSet::with);
    let mut standing = Standing { early, ..RUNS };
    react(arrival(SIGCONT, SI_USER), Sender::Other, Group::Shared, &mut standing);
    assert_eq!(standing.early, SignalSet::EMPTY.with(SIGINT));
}

#[test]
fn the_job_is_looked_at_when_a_child_changed_and_when_we_were_continued() {
    let reasons: Vec<i32> = (1..=64).filter(|signal| is_reason_to_look(*signal)).collect();
    assert_eq!(reasons, [SIGCHLD, SIGCONT]);
}

#[rstest]
#[case(SI_USER, 10, Sender::Ourselves)]
#[case(SI_USER, 20, Sender::Job)]
#[case(QUEUED, 20, Sender::Job)]
#[case(SI_USER, 30, Sender::Other)]
#[case(SI_USER, 0, Sender::Other)] // an outer namespace
#[case(KERNEL, 20, Sender::Other)]
fn senders(#[case] code: i32, #[case] sender: i32, #[case] expected: Sender) {
    let arrival = Arrival { code, sender, ..Arrival::plain(SIGTERM) };
    assert_eq!(sender_of(arrival, 10, |pid| pid == 20), expected);
}
