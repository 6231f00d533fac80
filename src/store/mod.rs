//! Where events are: one trait, two stores.
//!
//! An event exists once [`Store::append`] has answered: the event, one outbox entry per stream of its
//! type and its place in the live order are one atomic write. Everything downstream (streams, live
//! sessions, feeds) sees committed events only. The HTTP layer appends through the [`StoreActor`],
//! which batches; reads go to the store directly.

mod actor;
pub mod embedded;
mod facts;
mod measured;
mod messages;
mod nodes;
mod partition;
pub mod redis;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;

pub use actor::{AppendReply, Appender, Drain, StoreActor};
pub use facts::{ServerFacts, StoreFacts, StoreWarning};
pub use measured::Measured;
pub use messages::*;
pub use nodes::{GONE_AFTER, Node, NodeId, SeenNode};
pub use partition::{Partition, Partitions};
pub use stamp::{Pending, Stamp, StampQuery};

use crate::event::{ClientId, EventId, EventType, Millis, Position, TypeNo};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;

/// Options both stores share.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Undelivered events of one stream past which appends to its type are refused.
    pub max_backlog: u64,
    /// How long dead letters are kept.
    pub dead_ttl: Duration,
    /// Longest wait for an answer of the store before a request gets a 503.
    pub timeout: Duration,
}

/// The hub's persistence. Implementations are shared by all arbiters of a process, and, on Redis, by
/// all nodes.
///
/// Every method gives up after the store's time-out with [`StoreError::Unavailable`]; those that may have to do with
/// any number of events ([`retry_dead`](Store::retry_dead), [`delete_dead`](Store::delete_dead),
/// [`bury`](Store::bury), [`replay`](Store::replay), [`make_due`](Store::make_due)) go in steps, each of which gives up
/// in time, and what was done before holds.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether it can be reached and written, for `/readyz`. Answers the store's clock.
    async fn ping(&self) -> Result<Millis, StoreError>;

    /// The store's clock, as far as it can be asked: where several servers hold the store, that of the slowest of those
    /// that are there.
    async fn clock(&self) -> Result<Millis, StoreError> {
        self.ping().await
    }

    /// In which lane a type's appends wait: at most one append of a lane should be under way at a time, and what is
    /// slow or away in one need not hold up another. Numbers are small, and may change with time.
    fn lane(&self, _type_no: TypeNo) -> usize {
        0
    }

    /// Appends groups, each atomically, and answers for each in order once it is durable.
    ///
    /// A position is `max(now_ms * 512, last + 1)` and counts up from there, by the store's clock.
    /// `Err` means that nothing is known of any group; on a cluster, groups may fail one by one.
    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError>;

    /// Reads events newest first. Never shows an event past its lifetime by the store's clock.
    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError>;

    /// What a page of this range would be made of: cheap, and whatever the range holds. Read before the page, it
    /// may be older than that, never newer.
    async fn stamp(&self, query: StampQuery) -> Result<Stamp, StoreError>;

    /// How many events of each type a client has not marked, and the oldest of them. From the counts of hours, so
    /// that what has been marked long ago costs nothing.
    async fn pending(&self, types: &[TypeRef], client: &ClientId) -> Result<Pending, StoreError>;

    /// One event, with its state at each of `streams`; `None` when unknown or expired.
    async fn event(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError>;

    /// Marks events processed; for each whether the event exists. Idempotent: the first mark's time stays.
    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError>;

    /// Takes marks back; for each whether the event exists.
    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError>;

    /// Takes due events of a stream under a lease.
    async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError>;

    /// Moves a claim to a new lease that ends `lease` from now.
    async fn renew(&self, stream: &StreamKey, lease: Lease, extend: Duration) -> Result<Fenced, StoreError>;

    /// Ends a claim: what is not named is delivered.
    async fn settle(&self, settle: Settle) -> Result<Fenced, StoreError>;

    /// Makes everything that waits for a retry due at once: the stream has recovered.
    async fn make_due(&self, stream: &StreamKey) -> Result<(), StoreError>;

    /// Streams whose earliest outbox entry is due within `within` from now, on all partitions.
    async fn due(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError>;

    /// Counters, in order; zeros for a stream the store has never seen.
    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError>;

    /// Dead letters of a stream, oldest first, after position `after`.
    async fn dead_letters(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts dead letters back into the outbox, due at once and with no failed attempts. Answers how many.
    /// Only a stream that is (still, or again) registered may be asked for it.
    async fn retry_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError>;

    /// Deletes dead letters; their events' state at the stream is [`DeliveryState::Dropped`] from then on.
    /// Answers how many.
    async fn delete_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError>;

    /// Makes dead letters of everything in the outbox, also of what is claimed (its claims are lost). `reason`
    /// is the last error of those that have none. Answers how many.
    async fn bury(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError>;

    /// Queues stored events again, in commit order, due at once. Those that are dead letters are so no more.
    /// An event from before the stream is delivered, not [`DeliveryState::None`], once a replay has brought it there.
    async fn replay(&self, replay: Replay) -> Result<Replayed, StoreError>;

    /// Adds to a stream's attempts, oldest first; the newest 1000 are kept, for `dead_ttl` after the last.
    /// What they say is the caller's affair.
    async fn record_attempts(&self, stream: &StreamKey, attempts: Vec<Bytes>) -> Result<(), StoreError>;

    /// What [`record_attempts`](Self::record_attempts) was given, newest first.
    async fn attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError>;

    /// Every type ever registered, and the registry's version.
    async fn types(&self) -> Result<(RegistryVersion, Vec<TypeRecord>), StoreError>;

    /// The registry's version: another after every change. Asked twice a second by every node.
    async fn registry_version(&self) -> Result<RegistryVersion, StoreError>;

    /// One type's record.
    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError>;

    /// Adds or replaces a type's record; a changed lifetime is applied to what is stored.
    async fn put_type(&self, put: PutType) -> Result<Put, StoreError>;

    /// Sees to it that a record is in force, as [`put_type`](Store::put_type) does before it answers: one that failed may
    /// have stored the record all the same. Does nothing where a newer revision is in force, unless it is `void`: one that
    /// the registry, which was asked later, does not have, for a failover has lost it.
    async fn enforce(&self, record: &TypeRecord, void: Option<u64>) -> Result<(), StoreError>;

    /// For types that this node does not know: their records where another node registered them,
    /// else counts the events as discarded (when `count`) and answers `None`.
    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError>;

    /// The newest 1000 discarded types, newest first.
    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError>;

    /// Forgets a stream that has drained: its counters and marks of failure.
    async fn forget_stream(&self, stream: &StreamKey) -> Result<(), StoreError>;

    /// The last position given to each type: where live readers start to look for gaps.
    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError>;

    /// Says that a node is there, and how it does; from then on it is for [`GONE_AFTER`].
    async fn announce(&self, node: &Node) -> Result<(), StoreError>;

    /// A node ends: it is not there any more.
    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError>;

    /// What it says of itself to operators.
    async fn facts(&self) -> Result<StoreFacts, StoreError>;

    /// The nodes that are there, the oldest first.
    async fn nodes(&self) -> Result<Vec<SeenNode>, StoreError>;

    /// The feed of commits for this node's live sessions. Called once; bounded: when the reader does
    /// not keep up, commits are dropped, which it sees by [`LiveRun::previous`] and reads from the store.
    ///
    /// It brings what was asked for with [`listen`](Self::listen), and may bring more.
    fn live(&self) -> mpsc::Receiver<Live>;

    /// Has the live feed bring the commits of a partition's types: all that are made from the answer on, until
    /// [`ignore`](Self::ignore), but for what [`Live::Interrupted`] says. An error means that it is not so yet; it
    /// is still tried until `ignore`.
    async fn listen(&self, partition: Partition) -> Result<(), StoreError>;

    /// The live feed need not bring the commits of a partition any more.
    fn ignore(&self, partition: Partition);

    /// Flushes and closes; called once, after the last append was answered.
    async fn close(&self) -> Result<(), StoreError>;
}
