//! The Redis store: Redis 7.0 or newer, shared by any number of hubs. One server, one behind Sentinel, or a cluster.
//!
//! Everything that must be atomic is one Lua script (`redis/*.lua`, each headed by its keys, arguments and answer).
//! A file here is one subject: what it sends, and how it reads the answer. Keys are spread over 64 partitions by type
//! number. One server takes commands of many partitions in one script; on a cluster each script is of one, and `links.rs`
//! takes it to whoever serves it.
//!
//! Two connections to each server: appends have their own, since a large page on its way to a reader must not delay a 202, and since
//! waiting for replicas blocks the connection it is asked on. Everything else shares the other.

mod address;
mod append;
mod check;
mod chunk;
mod connection;
mod event;
mod facts;
mod health;
mod keys;
mod lanes;
mod letters;
mod lifecycle;
mod links;
mod live;
mod marks;
mod masters;
mod merge;
mod nodes;
mod outbox;
mod pending;
mod read;
mod registry;
mod replay;
mod scripts;
mod slots;
mod stamp;
mod streams;
mod token;
mod trouble;
mod value;

pub use address::{Address, FORMS};

use super::*;
use address::Node;
use connection::Dialer;
use futures_util::FutureExt;
use keys::Keys;
use links::Links;
use live::{Conductor, Servers, Subscriptions};
use masters::Masters;
use scripts::SCRIPTS;
use slots::{Route, Slots};
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use token::Tokens;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Events in Redis. Cheap to share, never to clone.
pub struct RedisStore {
    keys: Keys,
    options: StoreOptions,
    /// Replicas that must have an append before it is answered.
    wait_replicas: u32,
    dialer: Arc<Dialer>,
    masters: Arc<Masters>,
    /// Appends alone.
    appends: Arc<Links>,
    /// Everything else.
    general: Arc<Links>,
    tokens: Tokens,
    /// Servers in the order in which lanes were given to them.
    lanes: Mutex<Vec<Node>>,
    started: Instant,
    clocks_apart: AtomicBool,
    runtime: Handle,
    /// Looks after the masters.
    watch: Option<AbortHandle>,
    subscriber: Mutex<Option<AbortHandle>>,
    /// What it is to bring.
    subscriptions: Subscriptions,
}

impl RedisStore {
    /// Places of items by who may take them in one command; see [`Slots::shares`].
    fn shares(&self, types: impl Iterator<Item = TypeNo>, most: usize) -> Vec<(Route, Vec<usize>)> {
        Slots::shares(self.masters.are_many(), types, most)
    }

    /// Gives up after the store's time-out.
    fn within<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        let timeout = self.options.timeout;
        // Not an async function, which would have room for the work twice.
        tokio::time::timeout(timeout, work).map(move |answer| {
            let late = |_| Err(StoreError::Unavailable(format!("no answer within {} ms", timeout.as_millis())));
            answer.unwrap_or_else(late)
        })
    }
}

/// A duration in whole milliseconds, at least one: Redis takes no expiry of zero.
fn millis(duration: Duration) -> i64 {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX >> 12).clamp(1, Millis::MAX >> 12)
}

/// A lifetime as the scripts take it: milliseconds, -1 permanent, 0 ephemeral.
fn lifetime(ttl: &crate::event::Ttl) -> i64 {
    ttl.millis().unwrap_or(-1)
}

#[async_trait]
impl Store for RedisStore {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.within(self.ping_all()).await
    }

    async fn clock(&self) -> Result<Millis, StoreError> {
        self.within(self.clock_now()).await
    }

    // Gives up in time by itself, a part at a time.
    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        self.append_groups(groups).await
    }

    fn lane(&self, type_no: TypeNo) -> usize {
        self.lane_of(type_no)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        self.within(self.masters.steadily(|| self.read_page(&query))).await
    }

    async fn stamp(&self, query: StampQuery) -> Result<Stamp, StoreError> {
        self.within(self.masters.steadily(|| self.read_stamp(&query))).await
    }

    async fn pending(&self, types: &[TypeRef], client: &ClientId) -> Result<Pending, StoreError> {
        self.within(self.masters.steadily(|| self.count_pending(types, client))).await
    }

    async fn event(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        self.within(self.masters.steadily(|| self.event_detail(id, ty, streams))).await
    }

    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.within(self.change_marks(&SCRIPTS.mark, marks)).await
    }

    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.within(self.change_marks(&SCRIPTS.unmark, marks)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        self.within(self.claim_events(request)).await
    }

    async fn renew(&self, stream: &StreamKey, lease: Lease, extend: Duration) -> Result<Fenced, StoreError> {
        self.within(self.renew_claim(stream, lease, extend)).await
    }

    async fn settle(&self, settle: Settle) -> Result<Fenced, StoreError> {
        self.within(self.settle_claim(settle)).await
    }

    async fn make_due(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.make_all_due(stream).await
    }

    async fn due(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError> {
        self.within(self.due_streams(within)).await
    }

    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        self.within(self.masters.steadily(|| self.stream_counts(streams))).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.within(self.masters.steadily(|| self.list_dead(stream, after, limit))).await
    }

    // Of many steps, each of which gives up in time.
    async fn retry_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.take_letters(stream, letters, "retry").await
    }

    async fn delete_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.take_letters(stream, letters, "delete").await
    }

    async fn bury(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        self.bury_all(stream, reason).await
    }

    async fn replay(&self, replay: Replay) -> Result<Replayed, StoreError> {
        self.replay_range(&replay).await
    }

    async fn record_attempts(&self, stream: &StreamKey, attempts: Vec<Bytes>) -> Result<(), StoreError> {
        self.within(self.add_attempts(stream, &attempts)).await
    }

    async fn attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
        self.within(self.masters.steadily(|| self.list_attempts(stream))).await
    }

    async fn types(&self) -> Result<(RegistryVersion, Vec<TypeRecord>), StoreError> {
        self.within(self.masters.steadily(|| self.all_types())).await
    }

    async fn registry_version(&self) -> Result<RegistryVersion, StoreError> {
        self.within(self.masters.steadily(|| self.version())).await
    }

    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        self.within(self.masters.steadily(|| self.one_type(name))).await
    }

    async fn put_type(&self, put: PutType) -> Result<Put, StoreError> {
        self.within(self.change_type(put)).await
    }

    async fn enforce(&self, record: &TypeRecord, void: Option<u64>) -> Result<(), StoreError> {
        self.within(self.put_in_force(record, void)).await
    }

    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        self.within(self.look_up(types, count)).await
    }

    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        self.within(self.masters.steadily(|| self.discarded_types())).await
    }

    async fn forget_stream(&self, stream: &StreamKey) -> Result<(), StoreError> {
        self.within(self.forget(stream)).await
    }

    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        self.within(self.masters.steadily(|| self.last_of(types))).await
    }

    async fn announce(&self, node: &crate::store::Node) -> Result<(), StoreError> {
        self.within(self.announce_node(node)).await
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError> {
        self.within(self.withdraw_node(node)).await
    }

    // Gives up in time by itself, a server at a time.
    async fn facts(&self) -> Result<StoreFacts, StoreError> {
        self.servers().await
    }

    async fn nodes(&self) -> Result<Vec<SeenNode>, StoreError> {
        self.within(self.masters.steadily(|| self.all_nodes())).await
    }

    fn live(&self) -> mpsc::Receiver<Live> {
        let servers = Servers { masters: Arc::clone(&self.masters), dialer: Arc::clone(&self.dialer) };
        let (conductor, feed) = Conductor::new(servers, self.keys.clone(), self.subscriptions.clone());
        let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
        let task = runtime.spawn(conductor.run()).abort_handle();
        if let Some(before) = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner).replace(task) {
            before.abort();
        }
        feed
    }

    async fn listen(&self, partition: Partition) -> Result<(), StoreError> {
        self.within(async {
            self.subscriptions.listen(partition).await;
            Ok(())
        })
        .await
    }

    fn ignore(&self, partition: Partition) {
        self.subscriptions.ignore(partition);
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.stop();
        // Nothing is buffered here: what was answered is in Redis.
        self.appends.close();
        self.general.close();
        Ok(())
    }
}
