//! A door to a real store that a test can shut for a while, which the store itself cannot be told to do,
//! and that counts who comes for events.

use crate::event::{EventId, EventType, Millis, Position, TypeNo};
use crate::store::*;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Hands every call on to the store behind it, unless it is shut.
pub struct Gate {
    store: Arc<dyn Store>,
    /// Every call fails while this is set.
    pub shut: AtomicBool,
    /// Reads of events so far.
    pub reads: AtomicUsize,
}

impl Gate {
    /// An open one.
    pub fn before(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, shut: AtomicBool::new(false), reads: AtomicUsize::new(0) })
    }

    fn enter(&self) -> Result<&dyn Store, StoreError> {
        if self.shut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test has shut the gate".into()));
        }
        Ok(&*self.store)
    }
}

#[async_trait]
impl Store for Gate {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.enter()?.ping().await
    }
    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        self.enter()?.append(groups).await
    }
    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        let store = self.enter()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        store.read(query).await
    }
    async fn event(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        self.enter()?.event(id, ty, streams).await
    }
    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.enter()?.mark(marks).await
    }
    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.enter()?.unmark(marks).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        self.enter()?.claim(request).await
    }
    async fn renew(&self, stream: &StreamKey, lease: Lease, extend: Duration) -> Result<Fenced, StoreError> {
        self.enter()?.renew(stream, lease, extend).await
    }
    async fn settle(&self, settle: Settle) -> Result<Fenced, StoreError> {
        self.enter()?.settle(settle).await
    }
    async fn make_due(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.enter()?.make_due(stream).await
    }
    async fn due(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError> {
        self.enter()?.due(within).await
    }
    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        self.enter()?.counts(streams).await
    }
    async fn dead_letters(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.enter()?.dead_letters(stream, after, limit).await
    }
    async fn retry_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.enter()?.retry_dead(stream, letters).await
    }
    async fn delete_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.enter()?.delete_dead(stream, letters).await
    }
    async fn bury(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        self.enter()?.bury(stream, reason).await
    }
    async fn replay(&self, replay: Replay) -> Result<Replayed, StoreError> {
        self.enter()?.replay(replay).await
    }
    async fn record_attempts(&self, stream: &StreamKey, attempts: Vec<Bytes>) -> Result<(), StoreError> {
        self.enter()?.record_attempts(stream, attempts).await
    }
    async fn attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
        self.enter()?.attempts(stream).await
    }
    async fn types(&self) -> Result<(u64, Vec<TypeRecord>), StoreError> {
        self.enter()?.types().await
    }
    async fn registry_version(&self) -> Result<u64, StoreError> {
        self.enter()?.registry_version().await
    }
    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        self.enter()?.get_type(name).await
    }
    async fn put_type(&self, put: PutType) -> Result<Put, StoreError> {
        self.enter()?.put_type(put).await
    }
    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        self.enter()?.get_or_discard(types, count).await
    }
    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        self.enter()?.discarded().await
    }
    async fn forget_stream(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.enter()?.forget_stream(stream).await
    }
    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        self.enter()?.last_positions(types).await
    }
    fn live(&self) -> mpsc::Receiver<Live> {
        self.store.live()
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}
