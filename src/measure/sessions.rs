//! The live side.

use super::kinds::SHORT;
use super::{Counter, Gauge, Histogram};

/// The figures of live sessions.
pub static LIVE: LiveFigures = LiveFigures {
    sessions: Gauge::new(),
    lag: Histogram::of_times(SHORT),
    fell_behind: Counter::new(),
    closed_slow: Counter::new(),
    cut: Counter::new(),
};

/// What the live side does.
#[derive(Debug)]
pub struct LiveFigures {
    /// Sessions that hold a connection.
    pub sessions: Gauge,
    /// From a run's commit to its being handed to sessions, of types that somebody wants.
    pub lag: Histogram,
    /// Sessions that were too slow for what is live and went on reading from the store.
    pub fell_behind: Counter,
    /// Sessions closed as too slow.
    pub closed_slow: Counter,
    /// Connections cut because their peer did not read.
    pub cut: Counter,
}
