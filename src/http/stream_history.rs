//! The last quarter of an hour of each stream, for its page: one sample in fifteen seconds.
//!
//! The store's own counters, so of all nodes together, which this node has asked for anyway (`outlook`): at most
//! [`MAX_COUNTED`](super::outlook::MAX_COUNTED) streams, of a kilobyte each. A stream that is gone is forgotten.

use super::outlook::View;
use crate::event::Millis;
use crate::store::{StreamCounts, StreamKey};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two samples.
pub const STEP: Duration = Duration::from_secs(15);
/// Samples kept of a stream; an older one makes room for a new one.
pub const KEPT: usize = 60;

/// The past of all streams.
#[derive(Debug, Default)]
pub struct StreamHistories(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// When samples were taken, oldest first; the newest belongs to each stream's newest.
    times: VecDeque<Millis>,
    streams: HashMap<StreamKey, Past>,
}

#[derive(Debug)]
struct Past {
    /// What the next rates are counted from.
    counted: Option<(Instant, u64, u64)>,
    /// Oldest first; `None` where the store did not say.
    points: VecDeque<Option<Point>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    backlog: u64,
    delivered: f32,
    failed: f32,
}

/// One sample of a stream. Rates are per second since the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamSample {
    /// When, in Unix milliseconds.
    pub at: Millis,
    /// Undelivered events.
    pub backlog: u64,
    /// Events delivered.
    pub delivered: f32,
    /// Attempts that failed.
    pub failed: f32,
}

impl StreamHistories {
    /// Adds a sample of each stream in `view`; one that is seen for the first time begins to be counted.
    pub fn add(&self, view: &View) {
        let mut all = self.lock();
        keep_newest(&mut all.times, view.at);
        let mut before = std::mem::take(&mut all.streams);
        for stream in &view.streams {
            let past = match before.remove(&stream.key) {
                Some(mut past) => {
                    past.add(view.made, stream.counts.as_ref());
                    past
                }
                None => Past { counted: counted(view.made, stream.counts.as_ref()), points: VecDeque::new() },
            };
            all.streams.insert(stream.key.clone(), past);
        }
    }

    /// The samples that there are of a stream, oldest first.
    pub fn of(&self, key: &StreamKey) -> Vec<StreamSample> {
        let all = self.lock();
        let Some(past) = all.streams.get(key) else { return Vec::new() };
        let times = all.times.iter().skip(all.times.len().saturating_sub(past.points.len()));
        let known = times.zip(&past.points).filter_map(|(at, point)| Some((*at, (*point)?)));
        known
            .map(|(at, Point { backlog, delivered, failed })| StreamSample { at, backlog, delivered, failed })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn add(&mut self, at: Instant, counts: Option<&StreamCounts>) {
        let point = self.counted.zip(counts).map(|((then, delivered, failed), now)| {
            let seconds = at.duration_since(then).as_secs_f64().max(1e-3);
            let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as f32;
            Point { backlog: now.backlog, delivered: rate(now.delivered, delivered), failed: rate(now.failed, failed) }
        });
        keep_newest(&mut self.points, point);
        // While the store does not answer, the rate goes on from what it said last.
        self.counted = counted(at, counts).or(self.counted);
    }
}

fn counted(at: Instant, counts: Option<&StreamCounts>) -> Option<(Instant, u64, u64)> {
    counts.map(|counts| (at, counts.delivered, counts.failed))
}

fn keep_newest<T>(all: &mut VecDeque<T>, newest: T) {
    if all.len() >= KEPT {
        all.pop_front();
    }
    all.push_back(newest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TypeNo;

    fn key(name: &str) -> StreamKey {
        StreamKey { type_no: TypeNo::new(1).unwrap(), name: name.parse().unwrap() }
    }

    /// A stream's backlog, what it delivered and what failed; `None` when the store does not say.
    type Known = Option<(u64, u64, u64)>;

    /// What is seen `n` steps after the first look.
    fn view(first: Instant, n: u32, streams: &[(&str, Known)]) -> View {
        let counts =
            |(backlog, delivered, failed)| StreamCounts { backlog, delivered, failed, ..StreamCounts::default() };
        let streams = streams.iter().map(|(name, known)| (key(name), known.map(counts)));
        View::of_counts(first + STEP * n, i64::from(n), streams)
    }

    #[test]
    fn a_stream_has_rates_from_its_second_look_on_and_only_the_newest() {
        let (past, first) = (StreamHistories::default(), Instant::now());
        past.add(&view(first, 0, &[("a", Some((5, 1000, 3)))]));
        assert_eq!(past.of(&key("a")), [], "nothing is known of the time before");
        past.add(&view(first, 1, &[("a", Some((7, 1030, 3))), ("b", Some((0, 0, 0)))]));
        assert_eq!(past.of(&key("a")), [StreamSample { at: 1, backlog: 7, delivered: 2.0, failed: 0.0 }]);
        assert_eq!(past.of(&key("b")), []);
        for n in 2..100 {
            past.add(&view(first, n, &[("a", Some((7, 1030, 3))), ("b", Some((1, 0, u64::from(n) * 15)))]));
        }
        let (a, b) = (past.of(&key("a")), past.of(&key("b")));
        assert_eq!((a.len(), a[0].at, a[KEPT - 1].at), (KEPT, 40, 99));
        assert_eq!((b.len(), b[KEPT - 1]), (KEPT, StreamSample { at: 99, backlog: 1, delivered: 0.0, failed: 1.0 }));
    }

    #[test]
    fn what_the_store_did_not_say_is_left_out_and_the_rate_goes_on_over_it() {
        let (past, first) = (StreamHistories::default(), Instant::now());
        past.add(&view(first, 0, &[("a", Some((0, 0, 0)))]));
        past.add(&view(first, 1, &[("a", None)]));
        past.add(&view(first, 2, &[("a", Some((1, 60, 0)))]));
        assert_eq!(past.of(&key("a")), [StreamSample { at: 2, backlog: 1, delivered: 2.0, failed: 0.0 }]);
    }

    #[test]
    fn a_stream_that_is_gone_is_forgotten() {
        let (past, first) = (StreamHistories::default(), Instant::now());
        for n in 0..3 {
            past.add(&view(first, n, &[("a", Some((1, 0, 0)))]));
        }
        assert_eq!(past.of(&key("a")).len(), 2);
        past.add(&view(first, 3, &[]));
        assert_eq!((past.of(&key("a")), past.lock().streams.len()), (vec![], 0));
    }
}
