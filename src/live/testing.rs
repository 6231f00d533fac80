//! A store in memory for tests of the live side: what it is asked for here, and no more.

use super::{BroadcastActor, LiveSettings};
use crate::event::{EventId, EventType, HUB_EPOCH_MS, Millis, Position, Ttl, TypeNo};
use crate::live::TypeNames;
use crate::store::*;
use actix::{Actor, Addr, Arbiter};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Millisecond in which the tests' hub starts.
pub const START: Millis = HUB_EPOCH_MS + 1_000_000;

/// Events by type, and a registry.
#[derive(Default)]
pub struct MemoryStore {
    pub types: Mutex<Vec<TypeRecord>>,
    pub events: Mutex<Vec<(EventId, Bytes)>>,
    /// Every call fails while this is set.
    pub away: AtomicBool,
    pub reads: AtomicUsize,
}

impl MemoryStore {
    /// Adds a type; its number is its place in the list.
    pub fn register(&self, name: &str, ttl: &str) -> TypeNo {
        let mut types = self.types.lock().unwrap();
        let type_no = TypeNo::new(types.len() as u16).unwrap();
        types.push(TypeRecord {
            name: name.parse().unwrap(),
            type_no,
            ttl: ttl.parse().unwrap(),
            registered: true,
            config: Bytes::new(),
            revision: 1,
        });
        type_no
    }

    /// Commits events of a type at these places, counted from the start of the tests' hub, and answers what
    /// the live feed would say.
    pub fn commit(&self, type_no: TypeNo, places: std::ops::Range<u64>) -> LiveRun {
        let mut events = self.events.lock().unwrap();
        let previous = events.iter().map(|(id, _)| *id).filter(|id| id.type_no() == type_no).max();
        let run: Vec<_> =
            places.map(|place| (Position::first_of(START).plus(place), Bytes::from(place.to_string()))).collect();
        events.extend(run.iter().map(|(position, payload)| (EventId::new(type_no, *position), payload.clone())));
        LiveRun { type_no, previous: previous.map(EventId::position).unwrap_or_default(), events: run }
    }

    fn there(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("not in this test".into())
}

#[async_trait]
impl Store for MemoryStore {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.there().map(|()| START)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        self.there()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut found: Vec<_> = self
            .events
            .lock()
            .unwrap()
            .iter()
            .filter(|(id, _)| query.types.iter().any(|t| t.type_no == id.type_no()))
            .filter(|(id, _)| (query.from..query.to).contains(&id.ms()) && query.before.is_none_or(|b| *id < b))
            .map(|(id, payload)| StoredEvent { id: *id, payload: payload.clone(), processed_at: None })
            .collect();
        found.sort_by_key(|e| std::cmp::Reverse(e.id));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        Ok(Page { events: found, more })
    }

    async fn types(&self) -> Result<(u64, Vec<TypeRecord>), StoreError> {
        self.there()?;
        Ok((1, self.types.lock().unwrap().clone()))
    }

    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        self.there()?;
        let events = self.events.lock().unwrap();
        let last = |ty: &TypeNo| events.iter().map(|(id, _)| *id).filter(|id| id.type_no() == *ty).max();
        Ok(types.iter().map(|ty| last(ty).map(EventId::position).unwrap_or_default()).collect())
    }

    async fn append(&self, _: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        Err(unavailable())
    }
    async fn event(&self, _: EventId, _: &TypeRef, _: &[StreamSince]) -> Result<Option<EventDetail>, StoreError> {
        Err(unavailable())
    }
    async fn mark(&self, _: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        Err(unavailable())
    }
    async fn unmark(&self, _: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        Err(unavailable())
    }
    async fn claim(&self, _: ClaimRequest) -> Result<Claim, StoreError> {
        Err(unavailable())
    }
    async fn renew(&self, _: &StreamKey, _: Lease, _: Duration) -> Result<Fenced, StoreError> {
        Err(unavailable())
    }
    async fn settle(&self, _: Settle) -> Result<Fenced, StoreError> {
        Err(unavailable())
    }
    async fn make_due(&self, _: &StreamKey) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn due(&self, _: Duration) -> Result<Vec<StreamKey>, StoreError> {
        Err(unavailable())
    }
    async fn counts(&self, _: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        Err(unavailable())
    }
    async fn dead_letters(&self, _: &StreamKey, _: Option<Position>, _: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Err(unavailable())
    }
    async fn registry_version(&self) -> Result<u64, StoreError> {
        Err(unavailable())
    }
    async fn get_type(&self, _: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        Err(unavailable())
    }
    async fn put_type(&self, _: PutType) -> Result<Put, StoreError> {
        Err(unavailable())
    }
    async fn get_or_discard(&self, _: &[(EventType, u64)], _: bool) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        Err(unavailable())
    }
    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        Err(unavailable())
    }
    async fn forget_stream(&self, _: &StreamKey) -> Result<(), StoreError> {
        Err(unavailable())
    }
    fn live(&self) -> mpsc::Receiver<Live> {
        mpsc::channel(1).1
    }
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Settings that no test reaches the bounds of unless it means to.
pub fn settings() -> LiveSettings {
    LiveSettings { heartbeat: Duration::from_secs(15), mailbox: 256, max_sessions: 100, seam: Duration::from_secs(2) }
}

/// A running BroadcastActor and what feeds it.
pub struct Rig {
    pub store: Arc<MemoryStore>,
    pub feed: mpsc::Sender<Live>,
    pub broadcast: Addr<BroadcastActor>,
}

impl Rig {
    /// Starts one on an arbiter of its own.
    pub fn start(settings: LiveSettings) -> Self {
        let store = Arc::new(MemoryStore::default());
        let (feed, receiver) = mpsc::channel(1024);
        let shared: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
        let broadcast = BroadcastActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            BroadcastActor::with_feed(shared, Arc::new(NoTypes), settings, receiver)
        });
        Self { store, feed, broadcast }
    }

    /// Says that runs were committed together.
    pub async fn say(&self, runs: Vec<LiveRun>) {
        self.feed.send(Live::Commit(runs)).await.unwrap();
    }

    /// Commits and says so.
    pub async fn commit(&self, type_no: TypeNo, places: std::ops::Range<u64>) {
        let run = self.store.commit(type_no, places);
        self.say(vec![run]).await;
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
}
