//! The registry's records, and what was sent of types that it does not have.

use crate::event::{EventType, Millis, Ttl, TypeNo};
use bytes::Bytes;

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
