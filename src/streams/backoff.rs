//! When a failed attempt is repeated: exponential with jitter.

use serde::Serialize;
use std::time::Duration;

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

/// The waits of one run of failures.
#[derive(Debug, Clone, Default)]
pub struct Backoff {}
