//! How often a token may be used: a bucket of requests that fills at a steady rate (GCRA, the leaky bucket that needs
//! one number). Time is a parameter.
//!
//! The number is an instant: when the bucket is full again. A request moves it on by what one request costs, and is
//! refused where that leads further into the future than the bucket is deep.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once, after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// Nanoseconds in which one more request is allowed.
    fn cost(self) -> u64 {
        SECOND / u64::from(self.per_second.get())
    }

    /// Nanoseconds in which an empty bucket is full.
    fn depth(self) -> u64 {
        self.cost().saturating_mul(u64::from(self.burst.get()))
    }

    /// Seconds in which an empty bucket is full, rounded up.
    pub fn window(self) -> u64 {
        self.depth().div_ceil(SECOND).max(1)
    }
}

/// Counts the uses of one token; clones count together.
#[derive(Debug, Clone)]
pub struct Limiter {
    /// What it keeps to.
    pub rate: Rate,
    start: Instant,
    /// When the bucket is full again, in nanoseconds from the start.
    full: Arc<AtomicU64>,
}

/// How a token stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests that would be allowed now.
    pub left: u32,
    /// After how long there is the whole burst again.
    pub full: Duration,
    /// The request is one too many: after how long one is allowed.
    pub wait: Option<Duration>,
}

impl Limiter {
    /// One that has not been used. `start` must not lie after any time it is asked at.
    pub fn new(rate: Rate, start: Instant) -> Self {
        Self { rate, start, full: Arc::default() }
    }

    /// Takes one request out of the bucket, if there is one.
    pub fn take(&self, now: Instant) -> Standing {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let (cost, depth) = (self.rate.cost(), self.rate.depth());
        let next = |full: u64| {
            let next = full.max(now).saturating_add(cost);
            (next <= now.saturating_add(depth)).then_some(next)
        };
        let (full, wait) = match self.full.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(before) => (before.max(now).saturating_add(cost), None),
            Err(full) => (full, Some((full + cost).saturating_sub(now.saturating_add(depth)))),
        };
        let ahead = full.saturating_sub(now);
        Standing {
            left: u32::try_from(depth.saturating_sub(ahead) / cost.max(1)).unwrap_or(u32::MAX),
            full: Duration::from_nanos(ahead),
            wait: wait.map(Duration::from_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limiter(per_second: u32, burst: u32) -> (Limiter, Instant) {
        let start = Instant::now();
        let rate = Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() };
        (Limiter::new(rate, start), start)
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_steady_rate() {
        let (limiter, start) = limiter(10, 3);
        let at = |ms| limiter.take(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0)].map(|s| (s.left, s.wait)), [(2, None), (1, None), (0, None)]);
        assert_eq!(
            at(0),
            Standing { left: 0, full: Duration::from_millis(300), wait: Some(Duration::from_millis(100)) }
        );
        assert_eq!(at(60).wait, Some(Duration::from_millis(40)));
        assert_eq!((at(100).wait, at(100).wait), (None, Some(Duration::from_millis(100))));
        // However long the pause, no more than the burst.
        assert_eq!(at(10_000).left, 2);
    }

    #[test]
    fn clones_count_together() {
        let (limiter, start) = limiter(1, 1);
        assert_eq!(limiter.clone().take(start).wait, None);
        assert!(limiter.take(start).wait.is_some());
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1u32..2000,
            burst in 1u32..50,
            pauses in proptest::collection::vec(0u64..100_000, 1..200),
        ) {
            let (limiter, start) = limiter(per_second, burst);
            let (mut at, mut allowed) = (0, 0u64);
            for pause in pauses {
                at += pause;
                let standing = limiter.take(start + Duration::from_micros(at));
                allowed += u64::from(standing.wait.is_none());
                prop_assert!(standing.left < burst);
                prop_assert!(allowed <= u64::from(burst) + at * u64::from(per_second) / 1_000_000 + 1);
            }
        }
    }
}
