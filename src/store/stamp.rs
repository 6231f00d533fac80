//! What feeds ask besides their events: whether anything has changed, and what a client has left to do.

use super::TypeRef;
use crate::event::{ClientId, EventId, Millis};

/// Asks what a page of a range would be made of, without reading it.
#[derive(Debug, Clone)]
pub struct StampQuery {
    /// The types; each at most once.
    pub types: Vec<TypeRef>,
    /// First millisecond.
    pub from: Millis,
    /// First millisecond after.
    pub to: Millis,
    /// The client whose marks matter to the page.
    pub client: Option<ClientId>,
}

/// What a range holds, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Two equal ones of the same query mean that the same events show, with the same marks. Different ones mean
    /// nothing. `None` while it cannot be told: a lifetime is being changed.
    pub digest: Option<[u8; 32]>,
    /// The store's clock.
    pub now: Millis,
    /// When the first event that shows expires. Only of a range that has ended (`to <= now`); `None` when nothing does.
    pub expires: Option<Millis>,
}

/// What a client has not marked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The store's clock.
    pub now: Millis,
    /// Events without a mark, for each type asked about, in order.
    pub counts: Vec<u64>,
    /// The oldest of them all.
    pub oldest: Option<EventId>,
}
