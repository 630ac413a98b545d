//! What to do about a signal that arrived: a table, without I/O.

use crate::sys::signal::{Arrival, SignalSet};

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

/// What a decision depends on beside the signal; it is kept between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Signals that came before the job was born, which has had them since.
    pub early: SignalSet,
    /// We lead our session: of a hang-up the kernel tells us alone.
    pub leads_session: bool,
    /// The job is stopped, and nobody but us could have continued it so far.
    pub job_is_stopped: bool,
}

impl Standing {
    /// Nothing has come yet.
    pub const NEW: Self =
        Self { early: SignalSet::EMPTY, leads_session: false, job_is_stopped: false };
}

/// Whether the job may have ended, stopped or gone on when this signal arrives: to be found out before
/// [`react`] is asked. A child's SIGCHLD may have been merged into somebody else's, so every one is a
/// reason to look, and what continued us may have continued the job.
pub fn is_reason_to_look(signal: i32) -> bool {
    matches!(signal, libc::SIGCHLD | libc::SIGCONT)
}

/// Decides whether the job is to be sent the signal that arrived.
pub fn react(arrival: Arrival, sender: Sender, group: Group, standing: &mut Standing) -> bool {
    let Arrival { signal, code, .. } = arrival;
    let from_kernel = code > SI_USER;
    let early = standing.early.contains(signal);
    standing.early = standing.early.without(signal);
    if signal == libc::SIGCONT {
        // It deleted the stop signals that waited.
        standing.early = STOPS.into_iter().fold(standing.early, SignalSet::without);
    }
    match sender {
        _ if early => false,
        Sender::Job => false,
        // What our own writes bring about is no news to the job. All else it would have found pending.
        Sender::Ourselves => !OF_OUR_WRITES.contains(&signal),
        // The job's own end is no news to the job.
        Sender::Other if from_kernel && signal == libc::SIGCHLD => false,
        Sender::Other if group == Group::Own => true,
        // The kernel tells the leader of a session of a hang-up, and continues it, alone. Without us
        // the job would be the leader.
        Sender::Other if from_kernel && standing.leads_session && HANG_UP.contains(&signal) => true,
        // A shell continues our group: the job was continued with us. If not, we alone were meant.
        Sender::Other if signal == libc::SIGCONT => standing.job_is_stopped,
        // SI_USER without a sender comes from an outer PID namespace, as of `docker stop`.
        Sender::Other => !(from_kernel && FOR_GROUP.contains(&signal)),
    }
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

/// What the kernel sends to the leader of a session whose terminal hangs up.
const HANG_UP: [i32; 2] = [libc::SIGHUP, libc::SIGCONT];

/// Signals that stop a process, and that a SIGCONT deletes.
pub const STOPS: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

#[cfg(test)]
mod tests;
