//! The last quarter of an hour of this node's own figures, for the overview: one sample in five seconds.

use super::{AppState, stream_history};
use crate::event::Millis;
use crate::measure::{COMMITS, DELIVERIES, LIVE, Reading, SENDS};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Between two samples.
pub const STEP: Duration = Duration::from_secs(5);
/// Samples kept; an older one makes room for a new one.
pub const KEPT: usize = 180;

/// Samples, oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

/// One of them. Rates are per second since the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When, in Unix milliseconds.
    pub at: Millis,
    /// Events stored.
    pub accepted: f64,
    /// Events discarded.
    pub discarded: f64,
    /// Events delivered.
    pub delivered: f64,
    /// Attempts that failed.
    pub failed: f64,
    /// Live sessions.
    pub sessions: i64,
    /// Undelivered events; `None` when the store did not say.
    pub backlog: Option<u64>,
    /// Half of the writes to the store took at most so many milliseconds; `None` without any.
    pub commit_p50: Option<f64>,
    /// And 99 of 100.
    pub commit_p99: Option<f64>,
}

impl History {
    /// Adds a sample, in the place of the oldest when there are [`KEPT`].
    pub fn add(&self, sample: Sample) {
        let mut samples = self.lock();
        if samples.len() >= KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// All samples.
    pub fn samples(&self) -> Vec<Sample> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters from which the next sample is made.
struct Stand {
    at: Instant,
    accepted: u64,
    discarded: u64,
    delivered: u64,
    failed: u64,
    commits: Reading,
}

impl Stand {
    fn now() -> Self {
        let (delivered, failed) = DELIVERIES.totals();
        let (accepted, discarded) = (SENDS.accepted.get(), SENDS.discarded.get());
        Self { at: Instant::now(), accepted, discarded, delivered, failed, commits: COMMITS.time.read() }
    }

    fn since(&self, before: &Self, at: Millis, backlog: Option<u64>) -> Sample {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let commits = self.commits.since(&before.commits);
        // Noted in microseconds.
        let millis = |share| commits.quantile(share).map(|micros| micros / 1000.0);
        Sample {
            at,
            accepted: rate(self.accepted, before.accepted),
            discarded: rate(self.discarded, before.discarded),
            delivered: rate(self.delivered, before.delivered),
            failed: rate(self.failed, before.failed),
            sessions: LIVE.sessions.get(),
            backlog,
            commit_p50: millis(0.5),
            commit_p99: millis(0.99),
        }
    }
}

/// Takes samples until the hub stops. To be run once, on any thread.
pub async fn keep(state: AppState) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut before = Stand::now();
    // A stream's samples are coarser, for there may be many streams.
    let every = stream_history::STEP.as_secs() / STEP.as_secs();
    let mut tick = 0_u64;
    while !state.stopping.load(Ordering::Acquire) {
        ticks.tick().await;
        let view = state.outlook.now(&state).await;
        let now = Stand::now();
        state.outlook.history.add(now.since(&before, view.at, view.totals().map(|(backlog, ..)| backlog)));
        before = now;
        if tick.is_multiple_of(every) {
            state.outlook.stream_histories.add(&view);
        }
        tick += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_stay() {
        let (history, start) = (History::default(), Stand::now());
        for at in 0..KEPT as i64 + 5 {
            history.add(start.since(&start, at, None));
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at), (KEPT, 5));
    }

    #[test]
    fn rates_are_per_second_since_the_sample_before() {
        let before = Stand::now();
        let after = Stand {
            at: before.at + Duration::from_secs(5),
            accepted: before.accepted + 50,
            failed: before.failed + 1,
            commits: before.commits.clone(),
            discarded: before.discarded,
            delivered: before.delivered,
        };
        let sample = after.since(&before, 7, Some(3));
        assert!((sample.accepted - 10.0).abs() < 1e-9 && (sample.failed - 0.2).abs() < 1e-9, "{sample:?}");
        assert_eq!((sample.at, sample.backlog, sample.commit_p99), (7, Some(3), None));
    }
}
