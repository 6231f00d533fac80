//! The SinkActors of this node: which run, and with what.

use super::record::keyed;
use super::{StreamEntry, TypeEntry, TypeView};
use crate::event::TypeNo;
use crate::store::{Store, StreamKey};
use crate::streams::{Respecify, Secrets, SinkEvent, SinkHandle, SinkPool, SinkSetup};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A SinkActor and what it was last told.
struct Running {
    handle: SinkHandle,
    told: String,
}

/// The running SinkActors.
pub(super) struct SinkTable {
    /// `None` once all streams were told to stop.
    pool: Option<SinkPool>,
    store: Arc<dyn Store>,
    events: mpsc::Sender<SinkEvent>,
    running: HashMap<StreamKey, Running>,
}

impl SinkTable {
    pub(super) fn new(pool: SinkPool, store: Arc<dyn Store>, events: mpsc::Sender<SinkEvent>) -> Self {
        Self { pool: Some(pool), store, events, running: HashMap::new() }
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
        // What is left of a deleted stream is not delivered.
        let paused = stream.paused.is_some() || stream.deleted;
        let told = format!("{} {draining} {paused}", stream.spec.to_json(Secrets::Shown));
        if let Some(running) = self.running.get_mut(key) {
            if running.told != told {
                running.told = told;
                running.handle.respecify(Respecify { spec: stream.spec.clone(), draining, paused });
            }
            return;
        }
        let Some(pool) = &self.pool else { return };
        let handle = pool.start(SinkSetup {
            key: key.clone(),
            ty: entry.name.clone(),
            spec: stream.spec.clone(),
            draining,
            paused,
            store: Arc::clone(&self.store),
            events: self.events.clone(),
        });
        self.running.insert(key.clone(), Running { handle, told });
    }

    /// Stops the SinkActors of a type that is not there any more.
    pub(super) fn drop_type(&mut self, type_no: TypeNo) {
        for (key, running) in self.running.extract_if(|key, _| key.type_no == type_no) {
            log::info!("stream of a type that is not there stops: type_no={type_no} stream={}", key.name);
            actix::spawn(async move { running.handle.stop(Duration::ZERO).await });
        }
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

    /// All handles, for questions and for shutdown.
    pub(super) fn handles(&self) -> Vec<(StreamKey, SinkHandle)> {
        self.running.iter().map(|(key, r)| (key.clone(), r.handle.clone())).collect()
    }

    /// Takes the pool, to be shut down once every stream has stopped. Starts no more after that.
    pub(super) fn take_pool(&mut self) -> Option<SinkPool> {
        self.pool.take()
    }
}
