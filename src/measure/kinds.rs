//! The kinds of figure. Each may be noted from any thread, and read at any time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// At zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// At zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// It is so many now.
    pub fn set(&self, value: usize) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// How many now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Most buckets of a histogram, the last one included, which has no bound.
const BUCKETS: usize = 24;

/// Bounds in microseconds, from 50 µs to a minute: for times of the store and of this process.
pub const SHORT: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 60_000_000,
];
/// Bounds in microseconds, from a millisecond to a day: for deliveries, which may wait for the other side.
pub const LONG: &[u64] = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    21_600_000_000,
    86_400_000_000,
];
/// Bounds of batches, in events.
pub const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2000];

/// How often a value was within each of a few bounds, and the sum of all.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Of the unit that is shown, how many of that which is noted.
    unit: u64,
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    /// Of times, by bounds in microseconds; shown in seconds.
    pub const fn of_times(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1_000_000)
    }

    /// Of whole numbers.
    pub const fn of_sizes(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1)
    }

    const fn new(bounds: &'static [u64], unit: u64) -> Self {
        assert!(bounds.len() < BUCKETS, "too many bounds");
        Self { bounds, unit, counts: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }

    /// Notes a value, in microseconds where it is a time.
    pub fn note(&self, value: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Notes a time.
    pub fn time(&self, time: Duration) {
        self.note(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Notes a difference of two clocks in milliseconds; one that is behind counts as none.
    pub fn millis(&self, millis: i64) {
        self.note(u64::try_from(millis).unwrap_or(0).saturating_mul(1000));
    }

    /// Notes the time since a moment in Unix milliseconds by another clock than this node's.
    pub fn since(&self, moment: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_sub(moment));
    }

    /// As it stands.
    pub fn read(&self) -> Reading {
        let counts = self.counts.iter().take(self.bounds.len() + 1).map(|count| count.load(Ordering::Relaxed));
        Reading {
            bounds: self.bounds,
            unit: self.unit,
            counts: counts.collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    pub(super) bounds: &'static [u64],
    pub(super) unit: u64,
    /// One more than there are bounds; not cumulated.
    pub(super) counts: Vec<u64>,
    pub(super) sum: u64,
}

impl Reading {
    /// What was noted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then));
        Self { counts: counts.collect(), sum: self.sum.saturating_sub(earlier.sum), ..self.clone() }
    }

    /// The value that a share of all (0 to 1) does not exceed, as far as the bounds tell: between two bounds by their
    /// share. `None` when nothing was noted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * all as f64;
        let mut below = 0.0;
        for (n, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                let from = n.checked_sub(1).and_then(|n| self.bounds.get(n)).copied().unwrap_or(0) as f64;
                // What is past the last bound is only known to be.
                let to = self.bounds.get(n).map_or(from, |bound| *bound as f64);
                return Some(from + (to - from) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let histogram = Histogram::of_times(SHORT);
        assert_eq!(histogram.read().quantile(0.5), None);
        for _ in 0..98 {
            histogram.time(Duration::from_micros(700));
        }
        histogram.time(Duration::from_millis(40));
        histogram.time(Duration::from_secs(3600));
        let reading = histogram.read();
        let median = reading.quantile(0.5).unwrap();
        assert!((500.0..=1000.0).contains(&median), "{median}");
        let high = reading.quantile(0.99).unwrap();
        assert!((25_000.0..=50_000.0).contains(&high), "{high}");
        assert_eq!(reading.quantile(1.0), Some(60_000_000.0), "past the last bound");
        histogram.millis(-5);
        let newer = histogram.read().since(&reading);
        assert_eq!((newer.counts.iter().sum::<u64>(), newer.sum, newer.counts[0]), (1, 0, 1));
    }
}
