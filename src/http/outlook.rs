//! How the hub does now, for `/metrics` and the overview: every stream with what the store and this node say of it.
//!
//! Made at most once in a few seconds, however many ask: one call of the store for at most [`MAX_COUNTED`] streams.

use super::history::History;
use super::stream_history::StreamHistories;
use super::streams::Stream;
use super::{AppState, health};
use crate::access::Caller;
use crate::error::ApiError;
use crate::event::{Millis, TypeFilter};
use crate::registry::Statuses;
use crate::store::{StoreError, StreamCounts, StreamKey};
use crate::streams::StreamState;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Streams whose counters are asked for; what comes after them, by type and name, is only counted.
pub const MAX_COUNTED: usize = 1000;
/// An outlook as old as this is made anew.
const FRESH: Duration = Duration::from_secs(2);
/// Longest wait for the store; an outlook without counters is better than none.
const PATIENCE: Duration = Duration::from_secs(2);

/// The newest outlook, shared by all who ask, and what was.
#[derive(Debug)]
pub struct Outlook {
    newest: Mutex<Option<Arc<View>>>,
    /// This node's figures of the last quarter of an hour.
    pub history: History,
    /// And of each stream.
    pub stream_histories: StreamHistories,
    /// `streams.max_backlog`.
    pub max_backlog: u64,
}

/// An outlook.
#[derive(Debug)]
pub struct View {
    /// When, by this process.
    pub made: Instant,
    /// When, in Unix milliseconds by this node's clock.
    pub at: Millis,
    /// What `/readyz` would answer.
    pub ready: Result<(), ApiError>,
    /// By type and name, the first [`MAX_COUNTED`].
    pub streams: Vec<StreamView>,
    /// Streams that are not among them.
    pub left_out: usize,
}

/// A stream in it.
#[derive(Debug, Clone)]
pub struct StreamView {
    /// Its name in the store.
    pub key: StreamKey,
    /// Its type's name.
    pub ty: String,
    /// Its condition.
    pub state: StreamState,
    /// Why it is paused, when the other side said so.
    pub reason: Option<String>,
    /// The store's counters; `None` when it did not answer.
    pub counts: Option<StreamCounts>,
    /// Age of the oldest undelivered event.
    pub oldest: Option<Duration>,
    /// Events that wait in memory, and at most.
    pub mailbox: (usize, usize),
    /// For how long that was full.
    pub full: Duration,
    /// Attempts under way.
    pub in_flight: usize,
    /// The last failure on this node.
    pub last_error: Option<String>,
    /// Since when it has been seen to fail, in Unix milliseconds by this node's clock.
    pub failing_since: Option<Millis>,
}

impl View {
    /// The outlook of somebody who may not know of every type: sums are those of the streams he sees.
    pub fn seen_by(self: Arc<Self>, caller: &Caller) -> Arc<Self> {
        if !caller.is_limited() {
            return self;
        }
        let streams = self.streams.iter().filter(|stream| caller.sees_named(&stream.ty)).cloned().collect();
        Arc::new(Self { made: self.made, at: self.at, ready: self.ready.clone(), streams, left_out: self.left_out })
    }

    /// Undelivered events of all streams, the age of the oldest, and dead letters; `None` when the store did not say.
    pub fn totals(&self) -> Option<(u64, Duration, u64)> {
        self.streams.iter().try_fold((0, Duration::ZERO, 0), |(backlog, oldest, dead), stream| {
            let counts = stream.counts.as_ref()?;
            let oldest = stream.oldest.map_or(oldest, |age| age.max(oldest));
            Some((backlog + counts.backlog, oldest, dead + counts.dead))
        })
    }
}

impl Outlook {
    /// One without a past.
    pub fn new(max_backlog: u64) -> Self {
        Self {
            newest: Mutex::default(),
            history: History::default(),
            stream_histories: StreamHistories::default(),
            max_backlog,
        }
    }

    /// An outlook of the last seconds.
    pub async fn now(&self, state: &AppState) -> Arc<View> {
        // Whoever comes while it is being made waits for it.
        let mut newest = self.newest.lock().await;
        if let Some(view) = newest.as_ref().filter(|view| view.made.elapsed() < FRESH) {
            return Arc::clone(view);
        }
        let view = Arc::new(look(state, newest.as_deref()).await);
        *newest = Some(Arc::clone(&view));
        view
    }
}

async fn look(state: &AppState, before: Option<&View>) -> View {
    let mut types = state.types.matching(&TypeFilter::any());
    types.sort_by(|a, b| a.name.cmp(&b.name));
    let mut all: Vec<_> = types.iter().flat_map(|ty| Stream::all(ty)).collect();
    let left_out = all.len().saturating_sub(MAX_COUNTED);
    all.truncate(MAX_COUNTED);
    let keys: Vec<_> = all.iter().map(Stream::key).collect();
    let ask = async {
        let counts = if keys.is_empty() { Vec::new() } else { state.store.counts(&keys).await? };
        Ok::<_, StoreError>((counts, state.clock.now(&*state.store).await?))
    };
    let (counted, statuses, ready) = futures_util::join!(
        tokio::time::timeout(PATIENCE, ask),
        tokio::time::timeout(PATIENCE, state.registry.statuses.send(Statuses)),
        health::check(state)
    );
    let statuses: HashMap<_, _> = statuses.ok().and_then(Result::ok).unwrap_or_default().into_iter().collect();
    let (mut counts, now) = match counted {
        Ok(Ok((counts, now))) => (counts.into_iter().map(Some).collect(), now),
        // What is wrong with the store is what `ready` says.
        _ => (Vec::new(), 0),
    };
    counts.resize(all.len(), None);
    let failed: HashMap<_, _> =
        before.iter().flat_map(|view| &view.streams).map(|stream| (&stream.key, stream.failing_since)).collect();
    let at = chrono::Utc::now().timestamp_millis();
    let streams = all.iter().zip(keys).zip(counts).map(|((stream, key), counts)| {
        let status = statuses.get(&key);
        let state = stream.state(status);
        let oldest = counts.as_ref().and_then(|counts| counts.oldest).map(|oldest| now.saturating_sub(oldest));
        let since = || failed.get(&key).copied().flatten().unwrap_or(at);
        StreamView {
            ty: stream.ty.name.to_string(),
            state,
            reason: stream.entry.paused.clone().filter(|why| !why.is_empty()),
            counts,
            oldest: oldest.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            mailbox: (status.map_or(0, |s| s.waiting), stream.entry.spec.mailbox),
            full: status.map_or(Duration::ZERO, |s| s.full),
            in_flight: status.map_or(0, |s| s.in_flight),
            last_error: status.and_then(|s| s.last_error.clone()),
            failing_since: (state == StreamState::Failing).then(since),
            key,
        }
    });
    View { made: Instant::now(), at, ready, streams: streams.collect(), left_out }
}

#[cfg(test)]
impl View {
    /// One that knows no more than counters.
    pub fn of_counts(
        made: Instant,
        at: Millis,
        streams: impl Iterator<Item = (StreamKey, Option<StreamCounts>)>,
    ) -> Self {
        let streams = streams.map(|(key, counts)| StreamView {
            key,
            counts,
            ty: "t".into(),
            state: StreamState::Active,
            reason: None,
            oldest: None,
            mailbox: (0, 1),
            full: Duration::ZERO,
            in_flight: 0,
            last_error: None,
            failing_since: None,
        });
        Self { made, at, ready: Ok(()), streams: streams.collect(), left_out: 0 }
    }
}
