//! What to do about a signal that arrived: a table, without I/O.

use crate::sys::signal::Arrival;

/// `SI_USER` of sigaction(2): sent by kill(2) or a pidfd.
const SI_USER: i32 = 0;

/// How the job relates to our process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// It is in ours: the terminal's keys reach it without us.
    Shared,
    /// It leads its own.
    Own,
}

/// Who sent a signal, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// We ourselves: a write to a closed pipe; or whoever was this process before it became jobguard.
    Ourselves,
    /// The job, or one of its descendants.
    Job,
    /// Anybody else, the kernel included.
    Other,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaction {
    /// Send the job the same signal.
    pub forward: bool,
    /// See whether the job ended or stopped.
    pub check_job: bool,
}

/// Decides about one signal; `early`: it came before the job was born, which has had it since.
pub fn react(arrival: Arrival, sender: Sender, group: Group, early: bool) -> Reaction {
    // A child's SIGCHLD may have been merged into somebody else's, so every one is a reason to look.
    let check_job = arrival.signal == libc::SIGCHLD;
    let from_kernel = arrival.code > 0;
    let forward = match sender {
        _ if early => false,
        Sender::Job => false,
        // What our own writes bring about is no news to the job. All else it would have found pending.
        Sender::Ourselves => !OF_OUR_WRITES.contains(&arrival.signal),
        // The job's own end is no news to the job.
        Sender::Other if from_kernel && check_job => false,
        Sender::Other if from_kernel && group == Group::Shared => {
            !FOR_GROUP.contains(&arrival.signal)
        }
        // SI_USER without a sender comes from an outer PID namespace, as of `docker stop`.
        Sender::Other => true,
    };
    Reaction { forward, check_job }
}

/// Who the sender's PID stands for; `is_descendant` is only asked where it matters.
pub fn sender_of(
    arrival: Arrival,
    ourselves: i32,
    is_descendant: impl FnOnce(i32) -> bool,
) -> Sender {
    match arrival {
        // The kernel's own codes are positive, and may use the sender's field for something else.
        Arrival { code, sender, .. } if code > SI_USER || sender <= 0 => Sender::Other,
        Arrival { sender, .. } if sender == ourselves => Sender::Ourselves,
        Arrival { sender, .. } if is_descendant(sender) => Sender::Job,
        _ => Sender::Other,
    }
}

/// Signals that the kernel sends in our name, as if by kill(2), when a write of ours fails: to a closed
/// pipe, or beyond `RLIMIT_FSIZE`.
pub const OF_OUR_WRITES: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// Whether a signal ends a process by default (signal(7)).
pub fn ends_by_default(signal: i32) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}

/// Signals that the terminal sends to a whole process group, so that a job in ours has had them.
pub const FOR_GROUP: [i32; 7] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGHUP,
];

/// Whether this signal, sent to a supervisor, says that it is to end, and not to try its job again.
pub fn ends_a_run(signal: i32) -> bool {
    matches!(signal, libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM)
}

/// Whether a job that was stopped by this signal of job control takes us with it: so the shell that
/// started us sees what it would have seen of the job alone.
pub fn stops_us(signal: i32, group: Group) -> bool {
    group == Group::Shared && matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KERNEL: i32 = 0x80;
    const QUEUED: i32 = -1;

    #[rstest]
    // The terminal's keys reach a job in our group by themselves.
    #[case(libc::SIGINT, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGQUIT, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGTSTP, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGWINCH, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGHUP, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGTTIN, KERNEL, Sender::Other, Group::Shared, false)]
    #[case(libc::SIGTTOU, KERNEL, Sender::Other, Group::Shared, false)]
    // A job in its own group needs us for them.
    #[case(libc::SIGINT, KERNEL, Sender::Other, Group::Own, true)]
    #[case(libc::SIGHUP, KERNEL, Sender::Other, Group::Own, true)]
    // What people send goes on, however it was sent.
    #[case(libc::SIGINT, SI_USER, Sender::Other, Group::Shared, true)]
    #[case(libc::SIGTERM, SI_USER, Sender::Other, Group::Own, true)]
    #[case(libc::SIGUSR1, QUEUED, Sender::Other, Group::Own, true)]
    #[case(64, QUEUED, Sender::Other, Group::Own, true)]
    // An alarm that we inherited was meant for the job.
    #[case(libc::SIGALRM, KERNEL, Sender::Other, Group::Shared, true)]
    // No echo.
    #[case(libc::SIGTERM, SI_USER, Sender::Job, Group::Own, false)]
    #[case(libc::SIGPIPE, SI_USER, Sender::Ourselves, Group::Own, false)]
    #[case(libc::SIGXFSZ, SI_USER, Sender::Ourselves, Group::Own, false)]
    // What a shell sent itself before it became jobguard, and blocked.
    #[case(libc::SIGUSR1, SI_USER, Sender::Ourselves, Group::Own, true)]
    fn forwarding(
        #[case] signal: i32,
        #[case] code: i32,
        #[case] sender: Sender,
        #[case] group: Group,
        #[case] forward: bool,
    ) {
        let reaction =
            react(Arrival { code, sender: 7, ..Arrival::plain(signal) }, sender, group, false);
        assert_eq!(reaction, Reaction { forward, check_job: false });
    }

    #[test]
    fn what_the_job_has_had_at_its_birth_is_not_sent_again() {
        let key = Arrival { code: KERNEL, ..Arrival::plain(libc::SIGINT) };
        assert!(!react(key, Sender::Other, Group::Shared, true).forward);
        let sent = Arrival { sender: 7, ..Arrival::plain(libc::SIGINT) };
        assert!(!react(sent, Sender::Other, Group::Shared, true).forward);
        assert!(react(sent, Sender::Other, Group::Shared, false).forward);
    }

    #[test]
    fn the_death_of_a_child_is_looked_at_and_a_users_sigchld_forwarded_too() {
        let child = Arrival { code: libc::CLD_EXITED, sender: 7, ..Arrival::plain(libc::SIGCHLD) };
        let reaction = react(child, Sender::Other, Group::Own, false);
        assert_eq!(reaction, Reaction { forward: false, check_job: true });
        let user = Arrival { code: SI_USER, ..child };
        let reaction = react(user, Sender::Other, Group::Own, false);
        assert_eq!(reaction, Reaction { forward: true, check_job: true });
    }

    #[rstest]
    #[case(SI_USER, 10, Sender::Ourselves)]
    #[case(SI_USER, 20, Sender::Job)]
    #[case(QUEUED, 20, Sender::Job)]
    #[case(SI_USER, 30, Sender::Other)]
    #[case(SI_USER, 0, Sender::Other)] // an outer namespace
    #[case(KERNEL, 20, Sender::Other)]
    fn senders(#[case] code: i32, #[case] sender: i32, #[case] expected: Sender) {
        let arrival = Arrival { code, sender, ..Arrival::plain(libc::SIGTERM) };
        assert_eq!(sender_of(arrival, 10, |pid| pid == 20), expected);
    }

    #[test]
    fn only_a_job_in_our_group_stops_us() {
        assert!(stops_us(libc::SIGTSTP, Group::Shared));
        assert!(!stops_us(libc::SIGTSTP, Group::Own));
        assert!(!stops_us(libc::SIGSTOP, Group::Shared));
    }
}
