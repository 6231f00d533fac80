//! What the BroadcastActor is told and asked, and what it hands to sessions.

use super::queue::Outbox;
use crate::event::{EventId, EventType, Position, Ttl, TypeFilter, TypeNo};
use crate::store::TypeRef;
use actix::Message;
use bytestring::ByteString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Settings of the live side (`[live]`).
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// How often a session is pinged; a client silent for two is dropped.
    pub heartbeat: Duration,
    /// Most messages queued for a session, besides one commit of any size; see `docs/live.md`.
    pub mailbox: usize,
    /// Most sessions.
    pub max_sessions: usize,
    /// How far before a cursor other types start when a session resumes.
    pub seam: Duration,
}

/// What the live side asks of the registry: a commit says a type's number, a client wants its name.
pub trait TypeNames: Send + Sync + 'static {
    /// Name and newest lifetime of a type, if this node knows it.
    fn find(&self, type_no: TypeNo) -> Option<(EventType, Ttl)>;
    /// The numbers of all types that this node knows.
    fn all(&self) -> Vec<TypeNo>;
    /// How many have come to be known, with those whose number has been given to another name since: cheap, and never less
    /// than before.
    fn count(&self) -> usize;
}

/// A session's number in this process; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// A number that no session has had.
    pub fn unused() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Frees the socket of a peer that never reads, whatever its session is doing. False when that did not work, and is
/// to be tried again.
pub type Cut = Box<dyn Fn() -> bool + Send>;

/// When a session's events begin to be queued for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the next commit.
    Now,
    /// When it says so with [`Attach`]: it reads from the store first.
    CaughtUp,
}

/// A session wants events. It has its place among the sessions, and is subscribed if it wants events from
/// now on, when the answer is there.
#[derive(Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Subscribe {
    /// Who; made by [`SessionId::unused`].
    pub id: SessionId,
    /// Which types.
    pub filter: TypeFilter,
    /// Where its events go.
    pub outbox: Outbox,
    /// From when on.
    pub begin: Begin,
    /// Called when it was told to go and is still there after a grace.
    pub cut: Cut,
}

/// A session has read from the store about all there is: from the answer on commits are queued for it again.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Standing>, Refused>")]
pub struct Attach {
    /// Which session.
    pub id: SessionId,
    /// How far it has read each type.
    pub reached: Vec<(TypeNo, Position)>,
}

/// Where a type of a session's filter stands: everything up to `last` was handed to sessions before this one
/// was there, everything after it is queued for it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Number and lifetime.
    pub ty: TypeRef,
    /// The name.
    pub name: EventType,
    /// The last position handed on.
    pub last: Position,
}

/// A session wants other types from now on. [`Refused::Unavailable`]: only once the store is back.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Refused>")]
pub struct Refilter {
    /// Which session.
    pub id: SessionId,
    /// All that it wants.
    pub filter: TypeFilter,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are `live.max_sessions` already.
    #[error("the hub holds as many live sessions as it may")]
    TooMany,
    /// The hub is going away.
    #[error("the hub is shutting down")]
    Stopping,
    /// The store cannot say for now what is committed.
    #[error("the store does not bring live events of these types for now")]
    Unavailable,
}

/// A session has ended, for whatever reason.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe(pub SessionId);

/// Close every session (1001) and take no more. Answered when all have gone; those still there after the
/// grace are cut, so that the answer always comes.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseAll;

/// How many sessions hold a connection.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct CountSessions;

/// An event, encoded once for all sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// Its id.
    pub id: EventId,
    /// `{"id","type","payload","created_at"}`.
    pub json: ByteString,
}
