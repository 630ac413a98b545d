//! Time limits of a job: what is due, and when; without a clock.
//!
//! Time is counted from the job's beginning by a clock that stands still while the machine is suspended
//! (`CLOCK_MONOTONIC`, clock_gettime(2)): a notebook that sleeps for a night does not end its jobs on
//! waking up.

use std::time::Duration;

/// Which limits a job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When to say that it still runs.
    pub warn_after: Option<Duration>,
    /// When to end it.
    pub timeout: Option<Duration>,
    /// The signal to end it with.
    pub signal: i32,
    /// How long it may take to end after that, before KILL.
    pub kill_after: Duration,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Say that it still runs.
    Warn,
    /// Send it the signal.
    End,
    /// Kill it.
    Kill,
}

/// How far a job is with its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Countdown {
    limits: Limits,
    warned: bool,
    /// How long it had run when it was to end.
    ended: Option<Duration>,
    killed: bool,
}

impl Countdown {
    /// A job that begins.
    pub fn new(limits: Limits) -> Self {
        Self { limits, warned: false, ended: None, killed: false }
    }

    /// After which time of the job the next is due.
    pub fn next(&self) -> Option<Duration> {
        let warn = self.limits.warn_after.filter(|_| !self.warned && self.ended.is_none());
        let end = match self.ended {
            None => self.limits.timeout,
            // A time that no clock reaches is none.
            Some(ended) if !self.killed => ended.checked_add(self.limits.kill_after),
            Some(_) => None,
        };
        [warn, end].into_iter().flatten().min()
    }

    /// What is due when the job has run for so long, once each.
    pub fn due(&mut self, ran: Duration) -> Option<Due> {
        if self.next().is_none_or(|next| ran < next) {
            return None;
        }
        Some(match self.ended {
            Some(_) => {
                self.killed = true;
                Due::Kill
            }
            None if self.limits.timeout.is_some_and(|timeout| ran >= timeout) => {
                self.ended = Some(ran);
                self.killed = self.limits.signal == libc::SIGKILL;
                Due::End
            }
            None => {
                self.warned = true;
                Due::Warn
            }
        })
    }

    /// The signal that ended it for overrunning, if that was so.
    pub fn ended_by(&self) -> Option<i32> {
        self.ended.map(|_| if self.killed { libc::SIGKILL } else { self.limits.signal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits(warn_after: Option<u64>, timeout: Option<u64>, signal: i32) -> Countdown {
        let (warn_after, timeout) = (warn_after.map(seconds), timeout.map(seconds));
        Countdown::new(Limits { warn_after, timeout, signal, kill_after: seconds(10) })
    }

    #[test]
    fn one_after_another_and_each_once() {
        let mut countdown = limits(Some(3), Some(5), libc::SIGTERM);
        assert_eq!((countdown.next(), countdown.due(seconds(2))), (Some(seconds(3)), None));
        assert_eq!(countdown.due(seconds(3)), Some(Due::Warn));
        assert_eq!((countdown.next(), countdown.due(seconds(4))), (Some(seconds(5)), None));
        assert_eq!(countdown.ended_by(), None);
        assert_eq!(countdown.due(seconds(6)), Some(Due::End));
        assert_eq!(countdown.ended_by(), Some(libc::SIGTERM));
        // From when it was sent, were that late.
        assert_eq!((countdown.next(), countdown.due(seconds(15))), (Some(seconds(16)), None));
        assert_eq!(countdown.due(seconds(16)), Some(Due::Kill));
        assert_eq!(countdown.ended_by(), Some(libc::SIGKILL));
        assert_eq!((countdown.next(), countdown.due(seconds(99))), (None, None));
    }

    #[test]
    fn no_limits_no_time() {
        let mut countdown = limits(None, None, libc::SIGTERM);
        assert_eq!((countdown.next(), countdown.due(seconds(99))), (None, None));
    }

    #[test]
    fn who_was_away_is_not_warned_of_what_is_over() {
        let mut countdown = limits(Some(3), Some(5), libc::SIGTERM);
        assert_eq!(countdown.due(seconds(7)), Some(Due::End));
        assert_eq!(countdown.next(), Some(seconds(17)));
    }

    #[test]
    fn kill_is_not_sent_twice() {
        let mut countdown = limits(None, Some(5), libc::SIGKILL);
        assert_eq!(countdown.due(seconds(5)), Some(Due::End));
        assert_eq!((countdown.ended_by(), countdown.next()), (Some(libc::SIGKILL), None));
    }

    #[test]
    fn a_time_that_no_clock_reaches_is_none() {
        let limits = Limits {
            warn_after: None,
            timeout: Some(seconds(1)),
            signal: libc::SIGTERM,
            kill_after: Duration::MAX,
        };
        let mut countdown = Countdown::new(limits);
        assert_eq!((countdown.due(seconds(1)), countdown.next()), (Some(Due::End), None));
    }
}
