//! What tests of the live side stand on: a BroadcastActor that is fed by hand, so that a test says what the
//! feed loses, and a real store that it reads from.

use super::{BroadcastActor, CountSessions, Door, Inbox, LiveSettings};
use crate::event::{EventType, HUB_EPOCH_MS, Millis, Position, Ttl, TypeFilter, TypeNo};
use crate::live::TypeNames;
use crate::store::testing::TempStore;
use crate::store::*;
use actix::{Actor, Addr, Arbiter};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Millisecond in which the tests' hub starts.
pub const START: Millis = HUB_EPOCH_MS + 1_000_000;

/// Settings that no test reaches the bounds of unless it means to.
pub fn settings() -> LiveSettings {
    LiveSettings { heartbeat: Duration::from_secs(15), mailbox: 256, max_sessions: 100, seam: Duration::from_secs(2) }
}

/// A running BroadcastActor and what feeds it.
pub struct Rig {
    pub store: TempStore,
    pub feed: mpsc::Sender<Live>,
    pub broadcast: Addr<BroadcastActor>,
    /// What sessions use. Unlike the actor they know the types that are registered here.
    pub door: Door,
    types: Arc<Known>,
}

impl Rig {
    /// Starts one on an arbiter of its own.
    pub fn start(settings: LiveSettings) -> Self {
        Self::over(TempStore::open(START), settings)
    }

    /// Starts one over a store that may hold something already.
    pub fn over(store: TempStore, settings: LiveSettings) -> Self {
        let shared = store.shared();
        Self::reading(store, shared, settings)
    }

    /// Starts one whose actor knows the types that are registered here, too.
    pub fn knowing(settings: LiveSettings) -> Self {
        let store = TempStore::open(START);
        let (door, types) = (store.shared(), Arc::<Known>::default());
        Self::with(store, door, settings, Arc::<Known>::clone(&types), types)
    }

    /// Starts one that reaches its store by `door` alone.
    pub fn reading(store: TempStore, door: Arc<dyn Store>, settings: LiveSettings) -> Self {
        Self::with(store, door, settings, Arc::new(NoTypes), Arc::default())
    }

    fn with(
        store: TempStore,
        door: Arc<dyn Store>,
        settings: LiveSettings,
        for_actor: Arc<dyn TypeNames>,
        types: Arc<Known>,
    ) -> Self {
        let (feed, receiver) = mpsc::channel(1024);
        let (shared, for_sessions) = (Arc::clone(&door), settings.clone());
        let broadcast = BroadcastActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            BroadcastActor::with_feed(door, for_actor, settings, receiver)
        });
        let names: Arc<dyn TypeNames> = Arc::<Known>::clone(&types);
        let look = Arc::new(|| Box::pin(std::future::ready(Ok(()))) as BoxFuture<'_, _>);
        let door =
            Door { broadcast: broadcast.clone(), settings: Arc::new(for_sessions), store: shared, types: names, look };
        Self { store, feed, broadcast, door, types }
    }

    /// Registers a type in the store.
    pub async fn register(&self, name: &str, ttl: &str) -> TypeNo {
        let record = self.store.register(name, ttl).await;
        self.know(&record);
        record.type_no
    }

    /// Makes a type known that is registered already.
    pub fn know(&self, record: &TypeRecord) {
        self.types.0.lock().unwrap().push((record.type_no, record.name.clone(), record.ttl.clone()));
    }

    /// As [`append`]: what is committed and not said is what the feed has lost.
    pub async fn append(&self, type_no: TypeNo, places: std::ops::Range<u64>) -> LiveRun {
        append(&self.store, type_no, places).await
    }

    /// Says that runs were committed together.
    pub async fn say(&self, runs: Vec<LiveRun>) {
        self.feed.send(Live::Commit(runs)).await.unwrap();
    }

    /// Waits until the actor has taken all that was said.
    pub async fn heard(&self) {
        while self.feed.capacity() < self.feed.max_capacity() {
            tokio::task::yield_now().await;
        }
        self.broadcast.send(CountSessions).await.unwrap();
    }

    /// So many sessions that read whatever comes.
    pub async fn crowd(&self, sessions: usize) {
        for _ in 0..sessions {
            let opened = Inbox::open(&self.door, TypeFilter::any(), None, Box::new(|| true)).await;
            let (mut inbox, _) = opened.unwrap();
            actix::spawn(async move { while poll_fn(|cx| inbox.poll_take(cx, usize::MAX, |_| {})).await.is_ok() {} });
        }
    }

    /// Commits and says so.
    pub async fn commit(&self, type_no: TypeNo, places: std::ops::Range<u64>) {
        let run = self.append(type_no, places).await;
        self.say(vec![run]).await;
    }
}

/// Commits events of a type whose payloads are their places, counted from the start of the tests' hub, and
/// answers what the live feed would say. The clock goes on to the first place's millisecond.
pub async fn append(store: &TempStore, type_no: TypeNo, places: std::ops::Range<u64>) -> LiveRun {
    store.advance_to(Position::first_of(START).plus(places.start).ms());
    append_payloads(store, type_no, places.map(|place| place.to_string().into()).collect()).await
}

/// Commits payloads of a type at the clock as it stands, and answers what the live feed would say.
pub async fn append_payloads(store: &TempStore, type_no: TypeNo, payloads: Vec<Bytes>) -> LiveRun {
    let (_, known) = store.types().await.unwrap();
    let record = known.into_iter().find(|record| record.type_no == type_no);
    let previous = store.last_positions(&[type_no]).await.unwrap()[0];
    let revision = record.as_ref().map_or(1, |record| record.revision);
    let group = AppendGroup {
        type_no,
        ttl: record.map_or_else(Ttl::permanent, |record| record.ttl),
        streams: Arc::new([]),
        revision,
        payloads: payloads.clone(),
        idempotency: None,
    };
    match store.append(vec![group]).await.unwrap().remove(0).unwrap() {
        Appended::Stored(positions) => {
            LiveRun { type_no, previous, events: positions.into_iter().zip(payloads).collect() }
        }
        other => panic!("{other:?}"),
    }
}

/// A view of the types that a test has registered.
#[derive(Default)]
struct Known(Mutex<Vec<(TypeNo, EventType, Ttl)>>);

impl TypeNames for Known {
    fn find(&self, type_no: TypeNo) -> Option<(EventType, Ttl)> {
        let known = self.0.lock().unwrap();
        known.iter().find(|(no, ..)| *no == type_no).map(|(_, name, ttl)| (name.clone(), ttl.clone()))
    }

    fn all(&self) -> Vec<TypeNo> {
        self.0.lock().unwrap().iter().map(|(no, ..)| *no).collect()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A view that has not heard of any type.
struct NoTypes;

impl TypeNames for NoTypes {
    fn find(&self, _: TypeNo) -> Option<(EventType, Ttl)> {
        None
    }

    fn all(&self) -> Vec<TypeNo> {
        Vec::new()
    }

    fn count(&self) -> usize {
        0
    }
}
