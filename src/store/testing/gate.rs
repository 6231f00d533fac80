//! A door to a real store that a test can shut for a while, which the store itself cannot be told to do,
//! that counts who comes for events, and that can be a trap.

use crate::event::{ClientId, EventId, EventType, Millis, Position, TypeNo};
use crate::store::*;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Hands every call on to the store behind it, unless it is shut.
pub struct Gate {
    store: Arc<dyn Store>,
    /// Every call fails while this is set.
    pub shut: AtomicBool,
    /// Reads of events so far.
    pub reads: AtomicUsize,
    /// What happens to whoever calls the method of that name.
    trap: Mutex<Option<(&'static str, Trap)>>,
}

/// A fault inside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// The caller's task dies.
    Panic,
    /// There is never an answer.
    Hang,
    /// The caller's thread stands still for as long.
    Block(Duration),
}

impl Gate {
    /// An open one.
    pub fn before(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, shut: AtomicBool::new(false), reads: AtomicUsize::new(0), trap: Mutex::default() })
    }

    /// Sets a trap on a method, in place of any before.
    pub fn trap(&self, method: &'static str, trap: Trap) {
        *self.trap.lock().unwrap() = Some((method, trap));
    }

    async fn enter(&self, method: &'static str) -> Result<&dyn Store, StoreError> {
        let trap = *self.trap.lock().unwrap();
        match trap.filter(|(on, _)| *on == method) {
            Some((_, Trap::Panic)) => panic!("the test has set a trap on {method}"),
            Some((_, Trap::Hang)) => std::future::pending().await,
            Some((_, Trap::Block(time))) => std::thread::sleep(time),
            None => {}
        }
        if self.shut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test has shut the gate".into()));
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Store for Gate {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.enter("ping").await?.ping().await
    }
    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        self.enter("append").await?.append(groups).await
    }
    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        let store = self.enter("read").await?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        store.read(query).await
    }
    async fn stamp(&self, query: StampQuery) -> Result<Stamp, StoreError> {
        self.enter("stamp").await?.stamp(query).await
    }
    async fn pending(&self, types: &[TypeRef], client: &ClientId) -> Result<Pending, StoreError> {
        self.enter("pending").await?.pending(types, client).await
    }
    async fn event(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        self.enter("event").await?.event(id, ty, streams).await
    }
    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.enter("mark").await?.mark(marks).await
    }
    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.enter("unmark").await?.unmark(marks).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        self.enter("claim").await?.claim(request).await
    }
    async fn renew(&self, stream: &StreamKey, lease: Lease, extend: Duration) -> Result<Fenced, StoreError> {
        self.enter("renew").await?.renew(stream, lease, extend).await
    }
    async fn settle(&self, settle: Settle) -> Result<Fenced, StoreError> {
        self.enter("settle").await?.settle(settle).await
    }
    async fn make_due(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.enter("make_due").await?.make_due(stream).await
    }
    async fn due(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError> {
        self.enter("due").await?.due(within).await
    }
    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        self.enter("counts").await?.counts(streams).await
    }
    async fn dead_letters(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.enter("dead_letters").await?.dead_letters(stream, after, limit).await
    }
    async fn retry_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.enter("retry_dead").await?.retry_dead(stream, letters).await
    }
    async fn delete_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.enter("delete_dead").await?.delete_dead(stream, letters).await
    }
    async fn bury(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        self.enter("bury").await?.bury(stream, reason).await
    }
    async fn replay(&self, replay: Replay) -> Result<Replayed, StoreError> {
        self.enter("replay").await?.replay(replay).await
    }
    async fn record_attempts(&self, stream: &StreamKey, attempts: Vec<Bytes>) -> Result<(), StoreError> {
        self.enter("record_attempts").await?.record_attempts(stream, attempts).await
    }
    async fn attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
        self.enter("attempts").await?.attempts(stream).await
    }
    async fn types(&self) -> Result<(RegistryVersion, Vec<TypeRecord>), StoreError> {
        self.enter("types").await?.types().await
    }
    async fn registry_version(&self) -> Result<RegistryVersion, StoreError> {
        self.enter("registry_version").await?.registry_version().await
    }
    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        self.enter("get_type").await?.get_type(name).await
    }
    async fn put_type(&self, put: PutType) -> Result<Put, StoreError> {
        self.enter("put_type").await?.put_type(put).await
    }
    async fn enforce(&self, record: &TypeRecord, void: Option<u64>) -> Result<(), StoreError> {
        self.enter("enforce").await?.enforce(record, void).await
    }
    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        self.enter("get_or_discard").await?.get_or_discard(types, count).await
    }
    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        self.enter("discarded").await?.discarded().await
    }
    async fn forget_stream(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.enter("forget_stream").await?.forget_stream(stream).await
    }
    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        self.enter("last_positions").await?.last_positions(types).await
    }
    async fn announce(&self, node: &Node) -> Result<(), StoreError> {
        self.enter("announce").await?.announce(node).await
    }
    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError> {
        self.enter("withdraw").await?.withdraw(node).await
    }
    async fn facts(&self) -> Result<StoreFacts, StoreError> {
        self.enter("facts").await?.facts().await
    }
    async fn nodes(&self) -> Result<Vec<SeenNode>, StoreError> {
        self.enter("nodes").await?.nodes().await
    }
    async fn listen(&self, partition: Partition) -> Result<(), StoreError> {
        self.enter("listen").await?.listen(partition).await
    }
    fn ignore(&self, partition: Partition) {
        self.store.ignore(partition);
    }
    fn live(&self) -> mpsc::Receiver<Live> {
        self.store.live()
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
