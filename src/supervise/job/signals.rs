//! Signalling the job, from the moment it is born.

use std::io;

use super::Job;
use crate::supervise::policy::{self, Group};
use crate::supervise::terminal;
use crate::sys::kill::{signal_unreaped, signal_unreaped_group};
use crate::sys::procfs;
use crate::sys::signal::{Arrival, SignalSet};

impl Job {
    /// A child that leads its own group was born into ours: what somebody sent to that a moment
    /// earlier waits behind the gate with it, and with us. Mostly there is nothing to look for.
    pub(super) fn note_what_our_group_was_sent(&mut self) {
        self.early = SignalSet::EMPTY;
        let ours = SignalSet::pending().unwrap_or(SignalSet::EMPTY);
        if self.setting.group == Group::Own && ours != SignalSet::EMPTY {
            let its = pending_of(self.pid()).unwrap_or(SignalSet::EMPTY);
            self.early = SignalSet(ours.0 & its.0);
        }
    }

    /// Sends a child in our group the keys that were pressed before it was born: the terminal sent
    /// them to the group, and the policy takes it that the job has had them. It blocks all signals
    /// behind its gate, so one that it did have merges with ours.
    pub(super) fn hand_over_early_keys(&mut self) {
        if self.setting.group == Group::Own || self.adopted().is_some() {
            return; // it gets everything by the watch; or was there, and has had them
        }
        let Ok(pending) = SignalSet::pending() else { return };
        for key in policy::FOR_GROUP.into_iter().filter(|key| pending.contains(*key)) {
            if self.signal(key).is_ok() {
                self.early = self.early.with(key);
            }
        }
    }

    /// Whether we, and so it, have a controlling terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.draft.context.tty.is_some()
    }

    /// Continues it, in the foreground if we are there.
    ///
    /// # Errors
    /// As [`Job::signal`].
    pub fn resume(&self) -> io::Result<()> {
        self.signal(libc::SIGCONT)
    }

    /// A job that leads its own group is to own the terminal when we do.
    pub(super) fn hand_over_terminal(&self) {
        if self.child.is_some() && self.has_terminal() && self.group() == Group::Own {
            let _ = terminal::hand_to(self.pid()); // it is not ours: then not the job's either
        }
    }

    /// Sends it a signal: to its whole group where that is its own.
    ///
    /// # Errors
    /// `EPERM`: it runs under another user by now.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.pass_on(Arrival::plain(signal))
    }

    /// Sends it a signal as it came to us. One that continues it comes with the terminal.
    ///
    /// # Errors
    /// `EPERM`: it runs under another user by now. `EAGAIN`: it has as many queued as it may have.
    pub fn pass_on(&self, arrival: Arrival) -> io::Result<()> {
        if arrival.signal == libc::SIGCONT {
            self.hand_over_terminal();
        }
        if self.group() == Group::Own {
            match self.pass_on_to_group(arrival) {
                // It has moved to another group, which is none of ours.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => return result,
            }
        }
        match self.pidfd() {
            Some(pidfd) => pidfd.pass_on(arrival),
            None => signal_unreaped(self.pid(), arrival.signal),
        }
    }

    /// Sends a signal to what is left of its own group, once it is reaped; whether there was anybody, as
    /// far as the kernel tells (since 6.9).
    pub fn signal_rest_of_group(&self, signal: i32) -> bool {
        let leader = self.pidfd.as_ref().filter(|_| self.setting.group == Group::Own);
        leader.is_some_and(|leader| leader.signal_rest_of_group(signal).is_ok())
    }

    fn pass_on_to_group(&self, arrival: Arrival) -> io::Result<()> {
        match self.pidfd() {
            Some(pidfd) => pidfd.pass_on_to_group(self.pid(), arrival),
            None => signal_unreaped_group(self.pid(), arrival.signal),
        }
    }
}

/// The blocked signals that wait to be delivered to a process.
fn pending_of(pid: i32) -> Option<SignalSet> {
    let shared = procfs::field(&format!("/proc/{pid}/status"), "ShdPnd").ok()??;
    u64::from_str_radix(&shared, 16).ok().map(SignalSet)
}
