//! The SinkActors of this node: which run, and with what.

use super::record::keyed;
use super::{StreamEntry, TypeEntry, TypeView};
use crate::event::TypeNo;
use crate::store::{Store, StreamKey};
use crate::streams::{Secrets, SinkEvent, SinkHandle, SinkPool, SinkSetup};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a dropped stream may still get events: from nodes that have not heard of it.
const LATECOMERS: Duration = Duration::from_secs(3);

/// A SinkActor and what it was last told.
struct Running {
    handle: SinkHandle,
    told: String,
    /// Since when it drains, on this node's clock.
    draining: Option<Instant>,
}

/// The running SinkActors.
pub(super) struct SinkTable {
    pool: SinkPool,
    store: Arc<dyn Store>,
    events: mpsc::Sender<SinkEvent>,
    running: HashMap<StreamKey, Running>,
}

impl SinkTable {
    pub(super) fn new(pool: SinkPool, store: Arc<dyn Store>, events: mpsc::Sender<SinkEvent>) -> Self {
        Self { pool, store, events, running: HashMap::new() }
    }

    /// Makes the SinkActors of a type those of `entry`: starts, tells and stops as needed, and puts their
    /// handles where requests find them.
    pub(super) fn follow(&mut self, entry: &Arc<TypeEntry>, view: &TypeView) {
        let mut wanted: Vec<StreamKey> = Vec::new();
        for (type_no, stream, draining) in keyed(entry) {
            let key = StreamKey { type_no, name: stream.spec.name.clone() };
            self.start_or_tell(&key, entry, stream, draining);
            wanted.push(key);
        }
        let gone: Vec<StreamKey> =
            self.running.keys().filter(|key| key.type_no == entry.type_no && !wanted.contains(key)).cloned().collect();
        for key in gone {
            if let Some(running) = self.running.remove(&key) {
                log::info!("stream stops: type={} stream={}", entry.name, key.name);
                actix::spawn(async move { running.handle.stop(Duration::ZERO).await });
            }
        }
        view.set_sinks(entry.type_no, self.of_type(entry.type_no));
    }

    fn start_or_tell(&mut self, key: &StreamKey, entry: &TypeEntry, stream: &StreamEntry, draining: bool) {
        let paused = stream.paused.is_some();
        let told = format!("{} {draining} {paused}", stream.spec.to_json(Secrets::Shown));
        let since = draining.then(Instant::now);
        if let Some(running) = self.running.get_mut(key) {
            running.draining = running.draining.filter(|_| draining).or(since);
            if running.told != told {
                running.told = told;
                running.handle.respecify(stream.spec.clone(), draining, paused);
            }
            return;
        }
        let handle = self.pool.start(SinkSetup {
            key: key.clone(),
            ty: entry.name.clone(),
            spec: stream.spec.clone(),
            draining,
            paused,
            store: Arc::clone(&self.store),
            events: self.events.clone(),
        });
        self.running.insert(key.clone(), Running { handle, told, draining: since });
    }

    fn of_type(&self, type_no: TypeNo) -> Arc<[SinkHandle]> {
        self.running.iter().filter(|(key, _)| key.type_no == type_no).map(|(_, r)| r.handle.clone()).collect()
    }

    /// Tells streams that something of theirs is due.
    pub(super) fn wake(&self, keys: &[StreamKey]) {
        for running in keys.iter().filter_map(|key| self.running.get(key)) {
            running.handle.wake();
        }
    }

    /// Dropped streams that no node can give events to any more.
    pub(super) fn settled(&self) -> Vec<StreamKey> {
        let ripe = |r: &Running| r.draining.is_some_and(|since| since.elapsed() > LATECOMERS);
        self.running.iter().filter(|(_, r)| ripe(r)).map(|(key, _)| key.clone()).collect()
    }

    /// All handles, for questions and for shutdown.
    pub(super) fn handles(&self) -> Vec<(StreamKey, SinkHandle)> {
        self.running.iter().map(|(key, r)| (key.clone(), r.handle.clone())).collect()
    }

    /// Forgets all handles and ends the pool's arbiters once they are stopped.
    pub(super) fn pool(&self) -> SinkPool {
        self.pool.clone()
    }
}
