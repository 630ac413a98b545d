//! Whether a job that failed is to be tried again, and when; without a clock.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::sys::wait::Ended;

/// How often, after which ends and after how long a job is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How often at most, the first attempt not counted.
    pub count: u32,
    /// How long to wait before.
    pub delay: Duration,
    /// Twice as long each time.
    pub backoff: bool,
    /// After which ends.
    pub on: RetryOn,
}

/// After which ends a job is tried again; what cannot be executed never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// These exit statuses.
    pub codes: Vec<RangeInclusive<u8>>,
    /// A signal.
    pub signal: bool,
    /// The time limit.
    pub timeout: bool,
}

/// The longest wait that comes of doubling.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

impl RetryOn {
    /// Every failure.
    pub fn any() -> Self {
        Self { codes: vec![1..=u8::MAX], signal: true, timeout: true }
    }

    /// Parses `1,75,100-110,signal,timeout`. The error is a sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut on = Self { codes: Vec::new(), signal: false, timeout: false };
        for word in text.split(',') {
            let (from, to) = word.split_once('-').unwrap_or((word, word));
            match (word, from.parse(), to.parse()) {
                ("signal", ..) => on.signal = true,
                ("timeout", ..) => on.timeout = true,
                (_, Ok(from), Ok(to)) if from <= to => on.codes.push(from..=to),
                _ => {
                    return Err(format!(
                        "'{word}' is nothing to try again on: say exit statuses (1,75,100-110), \
                         signal or timeout"
                    ));
                }
            }
        }
        Ok(on)
    }

    fn includes(&self, ended: Ended, overran: bool) -> bool {
        match ended {
            _ if overran => self.timeout,
            Ended::Exited(code) => self.codes.iter().any(|codes| codes.contains(&(code as u8))),
            // A key, which reaches a job in the foreground, and not us beside it: somebody wants it to end.
            Ended::Signaled(libc::SIGINT | libc::SIGQUIT) => false,
            Ended::Signaled(_) => self.signal,
            Ended::Unseen => false,
        }
    }
}

impl Retries {
    /// How long to wait before the next attempt; `None`: there is none. `attempt` is the one that
    /// ended like this, counted from one.
    pub fn after(&self, attempt: u32, ended: Ended, overran: bool) -> Option<Duration> {
        if attempt > self.count || !self.on.includes(ended, overran) {
            return None;
        }
        let doubled =
            2_u32.checked_pow(attempt - 1).and_then(|times| self.delay.checked_mul(times));
        Some(match doubled {
            _ if !self.backoff => self.delay,
            doubled => doubled.unwrap_or(MAX_DELAY).min(MAX_DELAY.max(self.delay)),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1,75", Ended::Exited(75), false, true)]
    #[case("1,75", Ended::Exited(74), false, false)]
    #[case("100-110", Ended::Exited(110), false, true)]
    #[case("0", Ended::Exited(0), false, true)] // who wants that
    #[case("1", Ended::Signaled(1), false, false)]
    #[case("signal", Ended::Signaled(9), false, true)]
    #[case("signal", Ended::Signaled(15), true, false)] // it was the time limit's
    #[case("signal", Ended::Signaled(libc::SIGINT), false, false)]
    #[case("timeout", Ended::Exited(0), true, true)]
    #[case("timeout", Ended::Signaled(15), false, false)]
    fn ends(#[case] on: &str, #[case] ended: Ended, #[case] overran: bool, #[case] again: bool) {
        let on = RetryOn::parse(on).unwrap();
        let retries = Retries { count: 1, delay: Duration::ZERO, backoff: false, on };
        assert_eq!(retries.after(1, ended, overran).is_some(), again);
    }

    #[rstest]
    #[case("")]
    #[case("1,")]
    #[case("256")]
    #[case("5-3")]
    #[case("Signal")]
    #[case("-1")]
    fn nothing_to_try_again_on(#[case] text: &str) {
        assert!(RetryOn::parse(text).unwrap_err().contains("is nothing to try again on"));
    }

    #[test]
    fn every_failure_and_no_success() {
        let any = RetryOn::any();
        assert!(any.includes(Ended::Exited(1), false) && any.includes(Ended::Signaled(1), false));
        assert!(any.includes(Ended::Exited(0), true) && !any.includes(Ended::Exited(0), false));
    }

    #[test]
    fn so_often_and_twice_as_long_each_time_but_an_hour_at_most() {
        let seconds = Duration::from_secs;
        let retries = |delay, backoff| {
            let retries = Retries { count: 40, delay: seconds(delay), backoff, on: RetryOn::any() };
            move |attempt| retries.after(attempt, Ended::Exited(1), false)
        };
        assert_eq!([1, 2, 40].map(retries(5, false)), [Some(seconds(5)); 3]);
        let doubled = [1, 2, 3, 40].map(retries(5, true));
        assert_eq!(doubled, [5, 10, 20, 3600].map(|s| Some(seconds(s))));
        assert_eq!(retries(5, true)(41), None);
        assert_eq!(retries(7200, true)(3), Some(seconds(7200)));
    }
}
