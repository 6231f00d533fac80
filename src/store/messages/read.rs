//! What is read of stored events, and clients' marks on them.

use super::delivery::Failure;
use crate::event::{ClientId, EventId, Millis, StreamName, Ttl, TypeNo};
use bytes::Bytes;

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

/// A stream asked about in [`Store::event`](crate::store::Store::event).
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
