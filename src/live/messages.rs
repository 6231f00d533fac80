//! What the BroadcastActor is told, and what it tells sessions.

use crate::event::{EventId, TypeFilter};
use actix::{Message, Recipient};
use bytestring::ByteString;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Settings of the live side (`[live]`).
#[derive(Debug, Clone)]
pub struct LiveSettings {
    /// How often a session is pinged; a client silent for two is dropped.
    pub heartbeat: Duration,
    /// Most messages queued for a session before it is closed as slow.
    pub mailbox: usize,
    /// Most sessions.
    pub max_sessions: usize,
    /// How far before a cursor other types start when a session resumes.
    pub seam: Duration,
}

/// A session's number on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

/// A session wants events from now on. Answered with its number, or `None` past `max_sessions`.
#[derive(Message)]
#[rtype(result = "Option<SessionId>")]
pub struct Subscribe {
    /// Which types.
    pub filter: TypeFilter,
    /// The session's own address, not a clone of one that sends elsewhere.
    pub session: Recipient<Deliver>,
    /// Messages handed to the session and not yet written by it; the session counts down.
    pub queued: Arc<AtomicUsize>,
    /// Frees the socket of a peer that never reads, whatever the session is doing.
    pub cut: Box<dyn Fn() + Send>,
}

/// A session has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe(pub SessionId);

/// Close every session (1001) and take no more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CloseAll;

/// What a session is handed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum Deliver {
    /// Events of one commit, shared with every session that has the same filter.
    Events(Arc<[LiveEvent]>),
    /// It was too slow: close with 4000.
    TooSlow,
    /// The hub is stopping: close with 1001.
    GoingAway,
}

/// An event, encoded once.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// Its id.
    pub id: EventId,
    /// `{"id","type","payload","created_at"}`.
    pub json: ByteString,
}
