//! Appending: what is to be stored, and what became of it.

use crate::event::{Position, StreamName, Ttl, TypeNo};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

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
