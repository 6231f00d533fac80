//! The RegistryActor: sole writer of the [`TypeView`].
//!
//! Every change goes to the store first, by compare-and-set on the record's revision, and comes into
//! force here when the store has it. Changes made on other nodes are seen twice a second.

use super::sinks::SinkTable;
use super::{Learn, Register, Registered, Statuses, StopStreams, TypeEntry, TypeView, Unregister, record};
use crate::error::{ApiError, Code};
use crate::event::{EventType, StreamName};
use crate::store::{Put, PutType, Store, StoreError, StreamKey, TypeRecord};
use crate::streams::{SinkEvent, SinkPool, SinkStatus, StreamSettings};
use actix::prelude::*;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a node asks whether the registry has changed: twice within the second that is promised.
const REFRESH: Duration = Duration::from_millis(400);
/// How often the index of due streams is looked at, for wakes that were lost or meant for other nodes.
const DUE: Duration = Duration::from_secs(1);
/// How long a dropped stream may still get events from other nodes.
const LATECOMERS: Duration = Duration::from_secs(3);
/// Most repetitions of a change that lost against others.
const MAX_CONFLICTS: usize = 32;
/// Reports of SinkActors that may wait; a SinkActor that finds it full reports again.
const EVENTS: usize = 1024;

/// Owns type configurations and the SinkActors of their streams.
pub struct RegistryActor {
    store: Arc<dyn Store>,
    settings: Arc<StreamSettings>,
    view: TypeView,
    sinks: SinkTable,
    events: Option<mpsc::Receiver<SinkEvent>>,
    /// The registry's version that the view shows; `None` until it was read once.
    version: Option<u64>,
    refreshing: bool,
    stopping: bool,
    /// Whether the last look at the store succeeded, so that only changes are logged.
    reachable: bool,
}

impl RegistryActor {
    /// An actor that writes `view` and starts its SinkActors in `pool`.
    pub fn new(store: Arc<dyn Store>, settings: Arc<StreamSettings>, view: TypeView, pool: SinkPool) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let sinks = SinkTable::new(pool, Arc::clone(&store), sender);
        Self {
            store,
            settings,
            view,
            sinks,
            events: Some(events),
            version: None,
            refreshing: false,
            stopping: false,
            reachable: true,
        }
    }

    fn learn(&mut self, record: &TypeRecord) {
        match record::decode(record, &self.settings) {
            Ok(entry) => {
                let entry = Arc::new(entry);
                if self.view.put(Arc::clone(&entry)) && !self.stopping {
                    self.sinks.follow(&entry, &self.view);
                }
            }
            Err(e) => log::error!("type cannot be read, it is left as it was: type={} error={e}", record.name),
        }
    }

    fn refresh(&mut self, ctx: &mut Context<Self>) {
        if self.refreshing || self.stopping {
            return;
        }
        self.refreshing = true;
        let (store, known) = (Arc::clone(&self.store), self.version);
        let read = async move {
            if known == Some(store.registry_version().await?) {
                return Ok(None);
            }
            store.types().await.map(Some)
        };
        ctx.spawn(read.into_actor(self).map(|answer: Result<_, StoreError>, actor, _| {
            actor.refreshing = false;
            match answer {
                Ok(None) => actor.store_answered(),
                Ok(Some((version, records))) => {
                    actor.store_answered();
                    for record in &records {
                        actor.learn(record);
                    }
                    actor.version = Some(version);
                    actor.view.set_loaded();
                }
                Err(e) => actor.store_failed(&e),
            }
        }));
    }

    fn store_answered(&mut self) {
        if !self.reachable {
            log::info!("store is back");
            self.reachable = true;
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        if self.reachable {
            log::error!("store does not answer, sends get 503 until it does: error={error}");
            self.reachable = false;
        }
    }

    fn wake_due(&mut self, ctx: &mut Context<Self>) {
        let store = Arc::clone(&self.store);
        let due = async move { store.due(DUE).await };
        ctx.spawn(due.into_actor(self).map(|due, actor, _| {
            // An error is the store being away, which the refresh reports.
            if let Ok(keys) = due {
                actor.sinks.wake(&keys);
            }
        }));
    }

    /// Takes a dropped stream that has delivered everything out of the registry.
    fn forget(&mut self, key: StreamKey, ctx: &mut Context<Self>) {
        let Some(entry) = self.view.by_number(key.type_no).filter(|_| !self.stopping) else { return };
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let forget = async move {
            // Events that came in the meantime are delivered first; then the stream reports again.
            if store.counts(std::slice::from_ref(&key)).await?.first().is_none_or(|counts| counts.backlog > 0) {
                return Ok(None);
            }
            let edit = |entry: &TypeEntry| {
                let drains = entry.draining.iter().any(|s| s.spec.name == key.name);
                drains.then(|| record::drained(entry, &key.name))
            };
            let record = change(&*store, &settings, &entry.name, edit).await?;
            if record.is_some() {
                store.forget_stream(&key).await?;
                log::info!("dropped stream has delivered everything: type={} stream={}", entry.name, key.name);
            }
            Ok::<_, StoreError>(record)
        };
        ctx.spawn(forget.into_actor(self).map(|put, actor, _| match put {
            Ok(record) => record.iter().for_each(|record| actor.learn(record)),
            Err(e) => actor.store_failed(&e),
        }));
    }

    fn pause(&mut self, key: StreamKey, reason: String, ctx: &mut Context<Self>) {
        let Some(entry) = self.view.by_number(key.type_no) else { return };
        log::warn!("stream pauses: type={} stream={} reason={reason}", entry.name, key.name);
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let put = async move {
            change(&*store, &settings, &entry.name, |entry| {
                Some(record::paused(entry, &key.name, Some(reason.clone())))
            })
            .await
        };
        ctx.spawn(put.into_actor(self).map(|put, actor, _| match put {
            Ok(record) => record.iter().for_each(|record| actor.learn(record)),
            // The SinkActor holds back by itself; the other nodes find out when it is refused there too.
            Err(e) => actor.store_failed(&e),
        }));
    }
}

/// Changes a registered or deleted type's record: reads, edits, writes if nobody was faster, else again.
/// `None` when there is no such type, or `edit` has nothing to change.
async fn change(
    store: &dyn Store,
    settings: &StreamSettings,
    name: &EventType,
    edit: impl Fn(&TypeEntry) -> Option<Bytes>,
) -> Result<Option<TypeRecord>, StoreError> {
    for _ in 0..MAX_CONFLICTS {
        let Some(current) = store.get_type(name).await? else { return Ok(None) };
        let entry = record::decode(&current, settings).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let Some(config) = edit(&entry) else { return Ok(None) };
        let put = PutType {
            name: name.clone(),
            ttl: current.ttl,
            registered: current.registered,
            config,
            based_on: current.revision,
        };
        match store.put_type(put).await? {
            Put::Stored(record) => return Ok(Some(record)),
            Put::Conflict | Put::LimitReached => {}
        }
    }
    Err(StoreError::Unavailable(format!("too many changes of type {name} at once")))
}

/// Whether the type was new, the stored record, and the streams whose secret was made now.
type Written = (bool, TypeRecord, Vec<StreamName>);

async fn register(store: &dyn Store, settings: &StreamSettings, wish: Register) -> Result<Written, ApiError> {
    for _ in 0..MAX_CONFLICTS {
        let current = store.get_type(&wish.name).await?;
        let previous = current
            .as_ref()
            .map(|record| record::decode(record, settings))
            .transpose()
            .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let created = !current.as_ref().is_some_and(|record| record.registered);
        let known = |name: &StreamName| {
            previous.iter().flat_map(|p| p.streams.iter().chain(&p.draining)).any(|s| s.spec.name == *name)
        };
        let new_secrets =
            wish.streams.iter().filter(|s| s.target.made_secret() && !known(&s.name)).map(|s| s.name.clone()).collect();
        let config = record::registration(previous.as_ref(), wish.streams.clone());
        if let Some(current) = current.as_ref().filter(|c| c.registered && c.config == config && c.ttl == wish.ttl) {
            return Ok((false, current.clone(), new_secrets));
        }
        let put = PutType {
            name: wish.name.clone(),
            ttl: wish.ttl.clone(),
            registered: true,
            config,
            based_on: current.map_or(0, |c| c.revision),
        };
        match store.put_type(put).await? {
            Put::Stored(record) => return Ok((created, record, new_secrets)),
            Put::Conflict => {}
            Put::LimitReached => {
                return Err(ApiError::new(
                    Code::TypeLimit,
                    "16384 type names have been registered; a deleted one keeps its number",
                ));
            }
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "the type is being changed by others at the same time"))
}

async fn unregister(store: &dyn Store, settings: &StreamSettings, name: &EventType) -> Result<TypeRecord, ApiError> {
    for _ in 0..MAX_CONFLICTS {
        let current = store.get_type(name).await?.filter(|record| record.registered);
        let current = current.ok_or_else(|| ApiError::not_found(format!("type '{name}' is not registered")))?;
        let entry = record::decode(&current, settings).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let put = PutType {
            name: name.clone(),
            ttl: current.ttl,
            registered: false,
            config: record::unregistration(&entry),
            based_on: current.revision,
        };
        if let Put::Stored(record) = store.put_type(put).await? {
            return Ok(record);
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "the type is being changed by others at the same time"))
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.refresh(ctx);
        ctx.run_interval(REFRESH, Self::refresh);
        ctx.run_interval(DUE, Self::wake_due);
        if let Some(mut events) = self.events.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| events.poll_recv(cx)));
        }
    }
}

impl StreamHandler<SinkEvent> for RegistryActor {
    fn handle(&mut self, event: SinkEvent, ctx: &mut Self::Context) {
        match event {
            // Nodes that have not heard that the stream was dropped may still give it events.
            SinkEvent::Drained(key) => {
                ctx.run_later(LATECOMERS, move |actor, ctx| actor.forget(key, ctx));
            }
            SinkEvent::Paused(key, reason) => self.pause(key, reason, ctx),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The actor itself holds a sender, and outlives the stream all the same.
    }
}

impl Handler<Register> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<Registered, ApiError>>;

    fn handle(&mut self, wish: Register, _: &mut Self::Context) -> Self::Result {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let name = wish.name.clone();
        let put = async move { register(&*store, &settings, wish).await };
        Box::pin(put.into_actor(self).map(move |put, actor, _| {
            let (created, record, new_secrets) = put?;
            actor.learn(&record);
            let entry = actor.view.get(name.as_str());
            let entry = entry.ok_or_else(|| ApiError::new(Code::Internal, "the stored type cannot be read back"))?;
            log::info!("type registered: type={name} created={created} streams={}", entry.streams.len());
            Ok(Registered { created, entry, new_secrets })
        }))
    }
}

impl Handler<Unregister> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<(), ApiError>>;

    fn handle(&mut self, Unregister(name): Unregister, _: &mut Self::Context) -> Self::Result {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let put = async move { unregister(&*store, &settings, &name).await };
        Box::pin(put.into_actor(self).map(|put, actor, _| {
            let record = put?;
            log::info!("type deleted: type={}", record.name);
            actor.learn(&record);
            Ok(())
        }))
    }
}

impl Handler<Learn> for RegistryActor {
    type Result = ();

    fn handle(&mut self, Learn(records): Learn, _: &mut Self::Context) {
        for record in &records {
            self.learn(record);
        }
    }
}

impl Handler<Statuses> for RegistryActor {
    type Result = ResponseFuture<Vec<(StreamKey, SinkStatus)>>;

    fn handle(&mut self, _: Statuses, _: &mut Self::Context) -> Self::Result {
        let asked = self.sinks.handles().into_iter().map(|(key, handle)| async move { (key, handle.status().await) });
        Box::pin(futures_util::future::join_all(asked))
    }
}

impl Handler<StopStreams> for RegistryActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, StopStreams { grace }: StopStreams, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let pool = self.sinks.take_pool();
        let stops = self.sinks.handles().into_iter().map(move |(_, handle)| async move { handle.stop(grace).await });
        let all = futures_util::future::join_all(stops);
        Box::pin(async move {
            all.await;
            if let Some(pool) = pool {
                pool.shutdown().await;
            }
        })
    }
}
