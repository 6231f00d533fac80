//! What goes into the store and what comes out: the messages of the [`Store`](super::Store) trait.

use super::Partitions;
use crate::error::{ApiError, Code};
use crate::event::{ClientId, EventId, EventType, Millis, Position, StreamName, Ttl, TypeNo};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Why the store did not do what was asked. Whether a write took place is unknown after
/// [`Unavailable`](StoreError::Unavailable); it did not after the others.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, too slow, loading, or a failing-over replica.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Out of memory or disk; what is stored can still be read and delivered.
    #[error("the store is full: {0}")]
    Full(String),
    /// Stored data that cannot be understood: a newer format, or damage.
    #[error("the store holds data that this version does not understand: {0}")]
    Corrupt(String),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::new(Code::StoreUnavailable, why),
            StoreError::Full(why) => Self::new(Code::StoreFull, why),
            StoreError::Corrupt(why) => {
                log::error!("store holds what cannot be understood: error={why:?}");
                Self::new(Code::Internal, why)
            }
        }
    }
}

/// The events of one type in one append. Everything in a group commits together or not at all.
#[derive(Debug, Clone)]
pub struct AppendGroup {
    /// The type's number.
    pub type_no: TypeNo,
    /// The type's lifetime as the sender's node knows it.
    pub ttl: Ttl,
    /// The streams that get an outbox entry.
    pub streams: Arc<[StreamName]>,
    /// Revision of the type's record that names these streams; kept with the events, so that later
    /// "delivered" is never concluded from the mere absence of an outbox entry. Once a newer one is in force the group
    /// is refused: a stream that it names may be gone.
    pub revision: u64,
    /// Payloads in order, each the exact bytes of a JSON value. Never empty.
    pub payloads: Vec<Bytes>,
    /// Set when the sender asked for idempotency; such a group is never merged with another.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key`, scoped to the group's type.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key as it was sent, 1–255 printable characters.
    pub key: Arc<str>,
    /// SHA-256 of the whole request body.
    pub body_hash: [u8; 32],
    /// How long the key is known.
    pub window: Duration,
}

/// What became of an [`AppendGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Stored; one position a payload, in order.
    Stored(Vec<Position>),
    /// The key was known with the same body: the first answer's positions. Nothing was stored.
    Duplicate(Vec<Position>),
    /// The key was known with a different body. Nothing was stored.
    KeyReused,
    /// This stream has `max_backlog` undelivered events. Nothing was stored.
    BacklogFull(StreamName),
    /// This newer revision of the type's record is in force. Nothing was stored: the record is to be read again.
    Stale(u64),
}

/// A type to be read, and the lifetime that decides what still shows.
#[derive(Debug, Clone)]
pub struct TypeRef {
    /// The type's number.
    pub type_no: TypeNo,
    /// Its newest lifetime.
    pub ttl: Ttl,
}

/// Which events of a range a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// All, without looking at marks.
    Ignore,
    /// Those that the client has not marked.
    Pending(ClientId),
    /// Those that the client has marked.
    Processed(ClientId),
    /// All, with the client's marks.
    All(ClientId),
}

impl Marked {
    /// The client whose marks are looked at.
    pub fn client(&self) -> Option<&ClientId> {
        match self {
            Self::Ignore => None,
            Self::Pending(c) | Self::Processed(c) | Self::All(c) => Some(c),
        }
    }
}

/// Events of some types committed in `from <= created_at < to`, newest first (by id, descending).
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// The types to read; each at most once.
    pub types: Vec<TypeRef>,
    /// First millisecond.
    pub from: Millis,
    /// First millisecond after.
    pub to: Millis,
    /// Only ids below this one: where the page before ended.
    pub before: Option<EventId>,
    /// At most so many events.
    pub limit: usize,
    /// Which of them, by a client's marks.
    pub marked: Marked,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id; says type, position and time.
    pub id: EventId,
    /// The payload's exact bytes.
    pub payload: Bytes,
    /// When the query's client marked it, in Unix milliseconds (kept to the second after its commit).
    pub processed_at: Option<Millis>,
}

/// One page of a [`ReadQuery`].
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// Whether the range holds more below the last one.
    pub more: bool,
}

/// One event with everything the store knows of it.
#[derive(Debug, Clone)]
pub struct EventDetail {
    /// The event itself; `processed_at` is not set.
    pub event: StoredEvent,
    /// For each stream asked about, in order.
    pub streams: Vec<DeliveryState>,
    /// Clients that marked it and when, by name.
    pub processed_by: Vec<(ClientId, Millis)>,
}

/// A stream asked about in [`Store::event`](super::Store::event).
#[derive(Debug, Clone)]
pub struct StreamSince {
    /// The stream's name.
    pub name: StreamName,
    /// Revision of the type's record with which the stream came: older events have no entry for it.
    pub since: u64,
    /// Revision with which it was dropped: newer events have none either.
    pub until: Option<u64>,
}

impl StreamSince {
    /// Whether events appended under that revision of the type's record got an entry for the stream.
    pub fn gets(&self, revision: u64) -> bool {
        revision >= self.since && self.until.is_none_or(|until| revision < until)
    }
}

/// Where an event stands with one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryState {
    /// In the outbox; `failed` is set once an attempt has failed.
    Pending {
        /// The last failure, if any.
        failed: Option<Failure>,
        /// When it is due next, Unix milliseconds; `None` while leased.
        next_attempt_at: Option<Millis>,
    },
    /// It had an outbox entry and has none any more.
    Delivered,
    /// Among the dead letters.
    Dead(Failure),
    /// The stream was added after the event, so it never had an outbox entry.
    None,
    /// Its dead letter was deleted.
    Dropped,
}

/// What is kept of failed attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Failed attempts so far.
    pub attempts: u32,
    /// The last error, one line.
    pub last_error: String,
}

/// A client's mark on an event.
#[derive(Debug, Clone)]
pub struct MarkRequest {
    /// The event.
    pub id: EventId,
    /// The newest lifetime of its type.
    pub ttl: Ttl,
    /// Who processed it.
    pub client: ClientId,
}

/// A stream of a type, as the store names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The type's number.
    pub type_no: TypeNo,
    /// The stream's name in the type.
    pub name: StreamName,
}

/// A request for work of one stream.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Whose outbox.
    pub stream: StreamKey,
    /// At most so many events.
    pub max: usize,
    /// How long they are held unless renewed.
    pub lease: Duration,
    /// One claim at a time in all nodes, lapsed ones taken over first and whole (`concurrency: 1`).
    pub ordered: bool,
}

/// The fence of a claim: unique on its stream. Opaque outside the store; later leases are larger.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Lease(pub f64);

/// Events held by this node until the lease passes.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// The fence; `None` when nothing was claimed.
    pub lease: Option<Lease>,
    /// In commit order among those due.
    pub events: Vec<ClaimedEvent>,
    /// When the next entry of the outbox is due (Unix milliseconds on the store's clock), if any is left;
    /// for an ordered stream held elsewhere, when its holder's lease passes.
    pub next_due: Option<Millis>,
    /// The store's clock when it answered.
    pub now: Millis,
}

/// One event of a claim.
#[derive(Debug, Clone)]
pub struct ClaimedEvent {
    /// Its place in the type.
    pub position: Position,
    /// The payload's exact bytes.
    pub payload: Bytes,
    /// Failed attempts before this claim.
    pub attempts: u32,
}

/// What is to become of a claimed event that was not simply delivered.
#[derive(Debug, Clone)]
pub enum Disposition {
    /// Back into the outbox after a failed attempt.
    Retry {
        /// From the store's now.
        after: Duration,
        /// Failed attempts and the last error, kept for the next claim and for readers.
        failure: Failure,
    },
    /// Back into the outbox, due at once, without counting an attempt.
    Release,
    /// To the dead letters.
    Dead(Failure),
    /// Kept under the new lease that `Settle::hold` asks for; a failure is recorded when given.
    Hold(Option<Failure>),
}

/// The end of a claim (or, with `hold`, of a part of it).
#[derive(Debug, Clone)]
pub struct Settle {
    /// Whose outbox.
    pub stream: StreamKey,
    /// The fence; nothing happens when it has been lost.
    pub lease: Lease,
    /// How many events the claim held (in its current form, after earlier holds).
    pub total: usize,
    /// Every event of the claim that was *not* delivered, with its payload as it was claimed.
    /// What is not named here is delivered.
    pub exceptions: Vec<(ClaimedEvent, Disposition)>,
    /// Lease for the events held; required when a disposition is [`Disposition::Hold`].
    pub hold: Option<Duration>,
}

/// The answer to a [`Settle`] or a renewal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fenced {
    /// Done. The lease is that of the events held, if any are.
    Done(Option<Lease>),
    /// The lease had been lost to another claim: nothing was changed.
    Lost,
}

/// Counters of one stream, kept in the store for all nodes together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Undelivered events in the outbox.
    pub backlog: u64,
    /// Deliveries so far.
    pub delivered: u64,
    /// Failed attempts so far.
    pub failed: u64,
    /// Dead letters now.
    pub dead: u64,
    /// Commit time of the oldest undelivered event.
    pub oldest: Option<Millis>,
}

/// A dead letter of a stream.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The event.
    pub event: StoredEvent,
    /// Attempts and the last error.
    pub failure: Failure,
    /// When it was given up.
    pub since: Millis,
}

/// Which of a stream's dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letters {
    /// All there are when it is asked; what dies meanwhile may or may not be among them.
    All,
    /// Those of these events; what is not a dead letter is passed over.
    Some(Vec<Position>),
}

/// Stored events of a stream's type that are to be delivered to it again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Whose outbox.
    pub stream: StreamKey,
    /// The type's newest lifetime: what has expired is not queued.
    pub ttl: Ttl,
    /// First millisecond.
    pub from: Millis,
    /// First millisecond after.
    pub to: Millis,
    /// Only count.
    pub dry_run: bool,
}

/// What a [`Replay`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// So many events were queued, or would be. Those that wait already are not queued twice, and not counted.
    Queued(u64),
    /// So many would go over `max_backlog`. Nothing was queued.
    BacklogFull(u64),
}

/// A type as the registry keeps it. `config` is opaque to the store.
#[derive(Debug, Clone)]
pub struct TypeRecord {
    /// The name.
    pub name: EventType,
    /// Its number, for ever.
    pub type_no: TypeNo,
    /// The newest lifetime, in force also after deletion.
    pub ttl: Ttl,
    /// False once deleted.
    pub registered: bool,
    /// The registry's own JSON.
    pub config: Bytes,
    /// Grows with every change in the registry; the value of this record's last change.
    pub revision: u64,
}

/// How far the registry was when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryVersion {
    /// Changes so far.
    pub changes: u64,
    /// Who said so: another number means another server, or the same met anew. It may have lost changes, and have made
    /// others in their place: then the same number of changes says nothing.
    pub source: u64,
}

/// A change of the registry; applied only if nobody changed the record in between.
#[derive(Debug, Clone)]
pub struct PutType {
    /// The name.
    pub name: EventType,
    /// The lifetime in force from now on, also for stored events.
    pub ttl: Ttl,
    /// False to delete.
    pub registered: bool,
    /// The registry's own JSON.
    pub config: Bytes,
    /// Revision of the record this change is based on; 0 when there was none.
    pub based_on: u64,
}

/// The answer to a [`PutType`].
#[derive(Debug, Clone)]
pub enum Put {
    /// In force: no append under an older revision is taken from now on, whichever node it comes from.
    Stored(TypeRecord),
    /// Somebody was faster: read again and repeat.
    Conflict,
    /// All numbers are given away.
    LimitReached,
}

/// A type that was sent but not registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// The type's name.
    pub name: EventType,
    /// How many events were discarded since it was first seen.
    pub count: u64,
    /// When the last one was.
    pub last_at: Millis,
}

/// What the store tells live readers of one committed run of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRun {
    /// The type.
    pub type_no: TypeNo,
    /// The type's last position before this run: a reader that has not seen it has a gap to read.
    pub previous: Position,
    /// Position and payload, rising.
    pub events: Vec<(Position, Bytes)>,
}

/// The live feed of commits, on this node.
#[derive(Debug)]
pub enum Live {
    /// Runs committed together.
    Commit(Vec<LiveRun>),
    /// Commits in these partitions may have been missed (a connection was lost): read the gaps from the store.
    Interrupted(Partitions),
}
