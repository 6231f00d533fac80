//! The attempts of a stream that operators are shown: every failure, and successes once a second.
//!
//! Pure but for the encoding: when to tell the store is decided by the times given. What cannot be told
//! in time makes room for what is newer; attempts are shown for as long as they are, and promise nothing.

use super::{Outcome, Report};
use crate::event::{EventId, Millis, write_rfc3339};
use bytes::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts that wait to be told, and that the store keeps.
const MAX: usize = 1000;
/// Of successes, one in so long is kept.
const SAMPLE: Duration = Duration::from_secs(1);
/// Shortest time between two calls of the store.
const PAUSE: Duration = Duration::from_millis(250);
/// The same after one that failed.
const PAUSE_FAILED: Duration = Duration::from_secs(5);

/// Attempts on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Journal {
    waiting: VecDeque<Bytes>,
    sampled_at: Option<Instant>,
    /// Not before, so that a stream that fails fast does not keep the store busy.
    tell_at: Option<Instant>,
    telling: bool,
}

/// An attempt as it is kept and shown.
#[derive(Serialize)]
struct Entry<'a> {
    event_id: String,
    at: String,
    duration_ms: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
}

impl Journal {
    /// An attempt of `event` that began at `at` has ended after `took`.
    pub fn note(&mut self, event: EventId, at: Millis, took: Duration, report: &Report, now: Instant) {
        let (outcome, error) = match &report.outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Retry { error, .. } => ("failed", Some(error)),
            Outcome::Unreachable { error } => ("unreachable", Some(error)),
            Outcome::Dead { error } => ("dead", Some(error)),
            Outcome::Pause { error } => ("paused", Some(error)),
        };
        if error.is_none() {
            if self.sampled_at.is_some_and(|at| now < at + SAMPLE) {
                return;
            }
            self.sampled_at = Some(now);
        }
        let mut began = Vec::with_capacity(24);
        write_rfc3339(at, &mut began);
        let entry = Entry {
            event_id: event.to_string(),
            at: String::from_utf8(began).unwrap_or_default(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            outcome,
            status: report.status,
            error: error.map(String::as_str),
            answer: report.answer.as_deref(),
        };
        // Strings and numbers always serialise.
        let Ok(entry) = serde_json::to_vec(&entry) else { return };
        if self.waiting.len() == MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(entry.into());
    }

    /// What the store is to be told now, after which it is being told until [`told`](Self::told) or
    /// [`failed`](Self::failed). `hurry` when there is no later.
    pub fn take(&mut self, now: Instant, hurry: bool) -> Option<Vec<Bytes>> {
        if self.telling || self.waiting.is_empty() || (!hurry && self.tell_at.is_some_and(|at| now < at)) {
            return None;
        }
        self.telling = true;
        Some(self.waiting.drain(..).collect())
    }

    /// The store has them.
    pub fn told(&mut self, now: Instant) {
        (self.telling, self.tell_at) = (false, Some(now + PAUSE));
    }

    /// The store does not have them: they are told again, unless newer ones have taken their room.
    pub fn failed(&mut self, attempts: Vec<Bytes>, now: Instant) {
        (self.telling, self.tell_at) = (false, Some(now + PAUSE_FAILED));
        for attempt in attempts.into_iter().rev() {
            if self.waiting.len() == MAX {
                break;
            }
            self.waiting.push_front(attempt);
        }
    }

    /// When there is something to tell that nobody else will announce.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        (!self.telling && !self.waiting.is_empty()).then(|| self.tell_at.unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, TypeNo, parse_instant};
    use serde_json::{Value, json};

    fn event(n: u64) -> EventId {
        EventId::new(TypeNo::new(1).unwrap(), Position::new(n))
    }

    fn failure(error: &str) -> Report {
        let outcome = Outcome::Retry { error: error.into(), after: None };
        Report { outcome, status: Some(500), answer: Some("<h1>oops".into()) }
    }

    #[test]
    fn a_failure_is_kept_with_all_that_is_known_of_it() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        let at = parse_instant("2018-02-01T11:12:01.500Z").unwrap();
        journal.note(event(7), at, Duration::from_millis(34), &failure("500 oops"), now);
        let told = journal.take(now, false).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&told[0]).unwrap(),
            json!({
                "event_id": event(7).to_string(), "at": "2018-02-01T11:12:01.500Z", "duration_ms": 34,
                "outcome": "failed", "status": 500, "error": "500 oops", "answer": "<h1>oops",
            })
        );
    }

    #[test]
    fn successes_are_sampled_and_failures_are_not() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        for n in 0..50 {
            let at = now + Duration::from_millis(50 * n);
            journal.note(event(n), 0, Duration::ZERO, &Outcome::Delivered.into(), at);
            journal.note(event(n), 0, Duration::ZERO, &failure("x"), at);
        }
        assert_eq!(journal.take(now, false).unwrap().len(), 50 + 3);
    }

    #[test]
    fn the_newest_are_kept_when_the_store_is_away_for_long() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        for n in 0..600 {
            journal.note(event(n), 0, Duration::ZERO, &failure(&n.to_string()), now);
        }
        let first = journal.take(now, false).unwrap();
        for n in 600..1500 {
            journal.note(event(n), 0, Duration::ZERO, &failure(&n.to_string()), now);
        }
        assert!(journal.take(now + PAUSE_FAILED, false).is_none(), "one call at a time");
        journal.failed(first, now);
        assert!(journal.take(now + PAUSE, false).is_none(), "a store that is away is left alone for a while");
        let told = journal.take(now + PAUSE_FAILED, false).unwrap();
        let error = |entry: &Bytes| serde_json::from_slice::<Value>(entry).unwrap()["error"].clone();
        assert_eq!((told.len(), error(&told[0]), error(&told[MAX - 1])), (MAX, json!("500"), json!("1499")));
    }

    #[test]
    fn the_store_is_not_kept_busy_except_at_the_end() {
        let (mut journal, now) = (Journal::default(), Instant::now());
        journal.note(event(1), 0, Duration::ZERO, &failure("x"), now);
        assert_eq!(journal.wake_at(now), Some(now));
        journal.take(now, false).unwrap();
        assert_eq!(journal.wake_at(now), None);
        journal.told(now);
        journal.note(event(2), 0, Duration::ZERO, &failure("x"), now);
        assert_eq!(journal.wake_at(now), Some(now + PAUSE));
        assert!(journal.take(now, false).is_none());
        assert!(journal.take(now, true).is_some());
    }
}
