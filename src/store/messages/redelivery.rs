//! Redelivery: dead letters, and stored events that are replayed.

use super::delivery::{Failure, StreamKey};
use super::read::StoredEvent;
use crate::event::{Millis, Position, Ttl};

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
