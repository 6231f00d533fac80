//! When a failed attempt is repeated: exponential with jitter.
//!
//! Randomness is a parameter (`random`, from 0 up to, not including, 1), so that waits can be tested.

use serde::Serialize;
use std::time::Duration;

/// No wait is shorter: a retry without any would be a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

/// A stream's `retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Attempts in all, before the event is a dead letter.
    pub attempts: u32,
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Retry {
    /// How long to wait after the `failures`-th failure in a row (from 1).
    ///
    /// Doubles from `first` up to `max`; up to a quarter is taken off at random, so that events which
    /// failed together do not come back together. `after` is what the other side asked for
    /// (`Retry-After`): honoured when longer, up to `max`.
    pub fn wait(&self, failures: u32, after: Option<Duration>, random: f64) -> Duration {
        // Beyond 2^40 any `first` of at least a millisecond is over any `max` there is.
        let doublings = failures.saturating_sub(1).min(40);
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let millis = millis(self.first).saturating_mul(factor).min(millis(self.max));
        let jitter = (millis as f64 * 0.25 * random.clamp(0.0, 1.0)) as u64;
        let own = Duration::from_millis(millis.saturating_sub(jitter));
        own.max(after.unwrap_or_default().min(self.max)).max(SHORTEST)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The waits of one run of failures of something that is tried for ever: a connection, a store call.
#[derive(Debug, Clone)]
pub struct Backoff {
    retry: Retry,
    failures: u32,
}

impl Backoff {
    /// Waits from `first`, doubling up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { retry: Retry { attempts: u32::MAX, first, max }, failures: 0 }
    }

    /// The wait after one more failure.
    pub fn next_wait(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.retry.wait(self.failures, None, random)
    }

    /// It worked: the next failure is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn default() -> Retry {
        Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) }
    }

    #[test]
    fn forty_attempts_last_about_a_day() {
        let longest: Duration = (1..40).map(|n| default().wait(n, None, 0.0)).sum();
        assert_eq!(longest.as_secs() / 3600, 28);
    }

    #[test]
    fn a_run_of_failures_doubles_until_it_is_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..6).map(|_| backoff.next_wait(0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next_wait(0.0).as_millis(), 100);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_zero_and_never_over_the_longest(
            first in 0u64..10_000_000, more in 0u64..1_000_000_000, failures in 0u32..,
            after in proptest::option::of(0u64..u64::MAX), random in 0.0f64..1.0,
        ) {
            let retry = Retry {
                attempts: 1,
                first: Duration::from_millis(first),
                max: Duration::from_millis(first + more),
            };
            let wait = retry.wait(failures, after.map(Duration::from_millis), random);
            prop_assert!(wait >= SHORTEST);
            prop_assert!(wait <= retry.max.max(SHORTEST));
        }

        #[test]
        fn retry_after_is_honoured_up_to_the_longest_wait(
            failures in 1u32..50, after in 0u64..10_000, random in 0.0f64..1.0,
        ) {
            let after = Duration::from_secs(after);
            let wait = default().wait(failures, Some(after), random);
            prop_assert!(wait >= after.min(default().max));
            prop_assert!(wait >= default().wait(failures, None, random));
        }

        #[test]
        fn jitter_takes_off_at_most_a_quarter(failures in 1u32..50, random in 0.0f64..1.0) {
            let (full, jittered) = (default().wait(failures, None, 0.0), default().wait(failures, None, random));
            prop_assert!(jittered <= full && jittered >= full * 3 / 4);
        }
    }
}
