//! Attempts to deliver.

use super::kinds::{LONG, SHORT};
use super::{Counter, Histogram};

/// The kinds of stream that are told apart, by `source`; what comes to be added counts as `other`.
pub const SOURCES: [&str; 3] = ["webhook", "rabbit", "other"];

/// What can become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has the event.
    Delivered,
    /// It failed and is tried again.
    Retry,
    /// Nobody was there.
    Unreachable,
    /// The event is given up.
    Dead,
    /// The other side wants no more.
    Paused,
}

impl Outcome {
    /// All of them, as they are counted.
    pub const ALL: [Self; 5] = [Self::Delivered, Self::Retry, Self::Unreachable, Self::Dead, Self::Paused];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Unreachable => "unreachable",
            Self::Dead => "dead",
            Self::Paused => "paused",
        }
    }
}

/// The figures of all streams of this process.
pub static DELIVERIES: Deliveries = Deliveries {
    attempts: [const { [const { Counter::new() }; Outcome::ALL.len()] }; SOURCES.len()],
    latency: Histogram::of_times(LONG),
    time: Histogram::of_times(SHORT),
};

/// What streams do.
#[derive(Debug)]
pub struct Deliveries {
    /// By source, then by outcome.
    attempts: [[Counter; Outcome::ALL.len()]; SOURCES.len()],
    /// From an event's commit to its delivery.
    pub latency: Histogram,
    /// Of single attempts.
    pub time: Histogram,
}

impl Deliveries {
    /// An attempt of a stream of that kind has ended so.
    pub fn attempt(&self, source: &str, outcome: Outcome) {
        let kind = SOURCES.iter().position(|known| *known == source).unwrap_or(SOURCES.len() - 1);
        if let Some(counter) = self.attempts.get(kind).and_then(|outcomes| outcomes.get(outcome as usize)) {
            counter.add(1);
        }
    }

    /// Attempts so far by source and outcome.
    pub fn attempts(&self) -> impl Iterator<Item = (&'static str, Outcome, u64)> {
        SOURCES.iter().zip(&self.attempts).flat_map(|(source, outcomes)| {
            Outcome::ALL.iter().zip(outcomes).map(|(outcome, count)| (*source, *outcome, count.get()))
        })
    }

    /// Attempts that have ended well, and badly.
    pub fn totals(&self) -> (u64, u64) {
        self.attempts().fold((0, 0), |(good, bad), (_, outcome, count)| match outcome {
            Outcome::Delivered => (good + count, bad),
            _ => (good, bad + count),
        })
    }
}
