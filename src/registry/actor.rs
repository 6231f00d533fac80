//! The RegistryActor: sole writer of the [`TypeView`].
//!
//! Every change goes to the store first, by compare-and-set on the record's revision, and comes into
//! force here when the store has it. Changes made on other nodes are seen twice a second.

use super::changes::{self, change};
use super::sinks::SinkTable;
use super::{
    CatchUp, DeleteStream, Learn, Look, Register, Registered, Statuses, StopStreams, Tune, Tuning, TypeEntry, TypeView,
    Unregister, record,
};
use crate::alive::{self, Alive};
use crate::error::{ApiError, Code};
use crate::event::TypeNo;
use crate::store::{RegistryVersion, Store, StoreError, StreamKey, TypeRecord};
use crate::streams::{SinkEvent, SinkPool, SinkStatus, StreamSettings};
use actix::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

mod refresh;

/// How often a node asks whether the registry has changed: twice within the second that is promised.
const REFRESH: Duration = Duration::from_millis(400);
/// How often the store is asked for those who come with an id of a type that is not known: as often as they may make it.
const LOOKS: Duration = Duration::from_millis(50);
/// How often the index of due streams is looked at, for wakes that were lost or meant for other nodes.
const DUE: Duration = Duration::from_secs(1);
/// How long a dropped stream may still get events from other nodes: those of a version that does not fence appends.
const LATECOMERS: Duration = Duration::from_secs(3);
/// Reports of SinkActors that may wait; a SinkActor that finds it full reports again.
const EVENTS: usize = 1024;

/// Somebody who waits for the store to have been asked.
type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// Owns type configurations and the SinkActors of their streams.
pub struct RegistryActor {
    store: Arc<dyn Store>,
    settings: Arc<StreamSettings>,
    view: TypeView,
    sinks: SinkTable,
    events: Option<mpsc::Receiver<SinkEvent>>,
    /// The registry's version that the view shows; `None` until it was read once.
    version: Option<RegistryVersion>,
    /// Types of which something was learnt while the store is being asked: its answer may be older.
    meanwhile: HashSet<TypeNo>,
    /// When the store was last asked that.
    looked_at: Option<Instant>,
    /// Since when the store is being asked whether the registry has changed.
    refreshing: Option<Instant>,
    /// When it was noticed that the node had stood still; `None` once the store has been asked after that.
    late_since: Option<Instant>,
    /// Requests that wait for that; as many as may be in flight at most.
    waiters: Vec<Waiter>,
    /// Those who wait for the next look at the store, and those who wait for the one that is under way; likewise bounded.
    lookers: Vec<Waiter>,
    looking: Vec<Waiter>,
    /// The next look is due at a time of its own.
    look_due: bool,
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
            looked_at: None,
            meanwhile: HashSet::new(),
            refreshing: None,
            late_since: None,
            waiters: Vec::new(),
            lookers: Vec::new(),
            looking: Vec::new(),
            look_due: false,
            stopping: false,
            reachable: true,
        }
    }

    /// Learns a record, unless a newer one is known.
    fn learn(&mut self, record: &TypeRecord, ctx: &mut Context<Self>) {
        if self.refreshing.is_some() {
            self.meanwhile.insert(record.type_no);
        }
        if let Some(entry) = self.read(record)
            && self.view.put(Arc::clone(&entry))
        {
            self.follow(&entry, ctx);
        }
    }

    fn read(&self, record: &TypeRecord) -> Option<Arc<TypeEntry>> {
        let entry = record::decode(record, &self.settings);
        let entry = entry.inspect_err(|error| {
            log::error!("type cannot be read, it is left as it was: type={} error=\"{error}\"", record.name);
        });
        entry.ok().map(Arc::new)
    }

    fn follow(&mut self, entry: &Arc<TypeEntry>, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        self.sinks.follow(entry, &self.view);
        for stream in entry.draining.iter().filter(|stream| stream.deleted) {
            let key = StreamKey { type_no: entry.type_no, name: stream.spec.name.clone() };
            // Nodes that have not heard of it may still give it events.
            ctx.run_later(LATECOMERS, move |actor, ctx| actor.forget(key, ctx));
        }
    }

    fn store_answered(&mut self) {
        if !self.reachable {
            log::info!("store is back");
            self.reachable = true;
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        if self.reachable {
            log::error!("store does not answer, sends get 503 until it does: error=\"{error}\"");
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

    /// Takes a dropped stream that has delivered everything out of the registry, and a deleted one.
    fn forget(&mut self, key: StreamKey, ctx: &mut Context<Self>) {
        let Some(entry) = self.view.by_number(key.type_no).filter(|_| !self.stopping) else { return };
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let forget = async move {
            let forgotten = changes::forget_stream(&*store, &settings, &entry.name, &key).await;
            if matches!(forgotten, Ok(Some(_))) {
                log::info!("dropped stream is gone: type={} stream={}", entry.name, key.name);
            }
            (key, forgotten)
        };
        ctx.spawn(forget.into_actor(self).map(|(key, forgotten), actor, ctx| match forgotten {
            Ok(record) => record.iter().for_each(|record| actor.learn(record, ctx)),
            Err(e) => {
                actor.store_failed(&e);
                ctx.run_later(LATECOMERS, move |actor, ctx| actor.forget(key, ctx));
            }
        }));
    }

    fn pause(&mut self, key: StreamKey, reason: String, ctx: &mut Context<Self>) {
        let Some(entry) = self.view.by_number(key.type_no) else { return };
        log::warn!("stream pauses: type={} stream={}", entry.name, key.name);
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let put = async move {
            let tuning = Tuning { paused: Some(Some(reason)), ..Tuning::default() };
            change(&*store, &settings, &entry.name, |entry| record::tuned(entry, &key.name, &tuning)).await
        };
        ctx.spawn(put.into_actor(self).map(|put, actor, ctx| match put {
            Ok(record) => record.iter().for_each(|record| actor.learn(record, ctx)),
            // The SinkActor holds back by itself; the other nodes find out when it is refused there too.
            Err(e) => actor.store_failed(&e),
        }));
    }
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.beat(ctx);
        ctx.run_interval(REFRESH, Self::beat);
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
        let put = async move { changes::register(&*store, &settings, wish).await };
        Box::pin(put.into_actor(self).map(move |put, actor, ctx| {
            let (created, record, new_secrets) = put?;
            actor.learn(&record, ctx);
            let entry = actor.view.get(name.as_str());
            let entry = entry.ok_or_else(|| ApiError::new(Code::Internal, "the stored type cannot be read back"))?;
            Ok(Registered { created, entry, new_secrets })
        }))
    }
}

impl Handler<Unregister> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<(), ApiError>>;

    fn handle(&mut self, Unregister(name): Unregister, _: &mut Self::Context) -> Self::Result {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let put = async move { changes::unregister(&*store, &settings, &name).await };
        Box::pin(put.into_actor(self).map(|put, actor, ctx| {
            let record = put?;
            actor.learn(&record, ctx);
            Ok(())
        }))
    }
}

impl Handler<Tune> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<Arc<super::TypeEntry>, ApiError>>;

    fn handle(&mut self, tune: Tune, _: &mut Self::Context) -> Self::Result {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let put = async move {
            let Tune { ty, stream, tuning } = tune;
            changes::tune(&*store, &settings, &ty, &stream, &tuning).await
        };
        Box::pin(put.into_actor(self).map(|put, actor, ctx| {
            let record = put?;
            actor.learn(&record, ctx);
            let entry = actor.view.get(record.name.as_str());
            entry.ok_or_else(|| ApiError::new(Code::Internal, "the stored type cannot be read back"))
        }))
    }
}

impl Handler<DeleteStream> for RegistryActor {
    type Result = ResponseActFuture<Self, Result<u64, ApiError>>;

    fn handle(&mut self, DeleteStream { ty, stream }: DeleteStream, _: &mut Self::Context) -> Self::Result {
        let (store, settings) = (Arc::clone(&self.store), Arc::clone(&self.settings));
        let take_out = {
            let (ty, stream) = (ty.clone(), stream.clone());
            async move { changes::delete_stream(&*store, &settings, &ty, &stream).await }
        };
        Box::pin(take_out.into_actor(self).then(move |record, actor, ctx| {
            // Before anything is buried, so that this node claims no more of it.
            if let Ok(record) = &record {
                actor.learn(record, ctx);
            }
            let store = Arc::clone(&actor.store);
            let bury = async move {
                let key = StreamKey { type_no: record?.type_no, name: stream };
                Ok(changes::bury(&*store, &key).await?)
            };
            bury.into_actor(actor)
        }))
    }
}

impl Handler<Learn> for RegistryActor {
    type Result = ();

    fn handle(&mut self, Learn(records): Learn, ctx: &mut Self::Context) {
        for record in &records {
            self.learn(record, ctx);
        }
    }
}

impl Handler<CatchUp> for RegistryActor {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, _: CatchUp, ctx: &mut Self::Context) -> Self::Result {
        self.beat(ctx);
        if self.view.is_current() {
            return Box::pin(async { Ok(()) });
        }
        if self.stopping {
            return Box::pin(async move { Err(gone()) });
        }
        let (reply, answer) = oneshot::channel();
        self.waiters.push(reply);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) })
    }
}

impl Handler<Look> for RegistryActor {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Box::pin(async move { Err(gone()) });
        }
        let (reply, answer) = oneshot::channel();
        self.lookers.push(reply);
        self.look(ctx);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) })
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the hub is shutting down".into())
}

impl Handler<Alive> for RegistryActor {
    type Result = Result<(), String>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        match self.refreshing.map(|since| since.elapsed()) {
            Some(time) if time > alive::LIMIT => {
                Err(format!("the store has been asked for changes for {} s", time.as_secs()))
            }
            _ => Ok(()),
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
