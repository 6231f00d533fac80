//! Writes of events to the store, and what the store refuses to do.

use super::kinds::{SHORT, SIZES};
use super::{Counter, Gauge, Histogram};

/// The figures of the StoreActor.
pub static COMMITS: Commits = Commits {
    time: Histogram::of_times(SHORT),
    size: Histogram::of_sizes(SIZES),
    waiting: Gauge::new(),
    refused: Counter::new(),
};

/// The figures of all calls of the store.
pub static STORE: StoreErrors =
    StoreErrors { unavailable: Counter::new(), full: Counter::new(), corrupt: Counter::new() };

/// What the StoreActor writes.
#[derive(Debug)]
pub struct Commits {
    /// From a batch's going out to its being durable, or having failed.
    pub time: Histogram,
    /// Events in a batch.
    pub size: Histogram,
    /// Requests that had to wait for the next batch when the last one went out.
    pub waiting: Gauge,
    /// Requests turned away because too many were waiting.
    pub refused: Counter,
}

/// Calls of the store that failed.
#[derive(Debug)]
pub struct StoreErrors {
    /// It did not answer.
    pub unavailable: Counter,
    /// It had no room.
    pub full: Counter,
    /// It holds what cannot be understood.
    pub corrupt: Counter,
}
