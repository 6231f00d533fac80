//! What the RegistryActor is told and asked.

use super::TypeEntry;
use crate::error::ApiError;
use crate::event::{EventType, StreamName, Ttl};
use crate::store::{StoreError, StreamKey, TypeRecord};
use crate::streams::{SinkStatus, StreamSpec};
use actix::Message;
use std::sync::Arc;

/// Registers a type or replaces its registration.
#[derive(Debug, Message)]
#[rtype(result = "Result<Registered, ApiError>")]
pub struct Register {
    /// The name.
    pub name: EventType,
    /// The lifetime.
    pub ttl: Ttl,
    /// The streams, complete.
    pub streams: Vec<StreamSpec>,
}

/// The answer to [`Register`].
#[derive(Debug)]
pub struct Registered {
    /// Whether the type was not registered before.
    pub created: bool,
    /// As stored.
    pub entry: Arc<TypeEntry>,
    /// Names of the streams whose secret this registration made: shown once.
    pub new_secrets: Vec<StreamName>,
}

/// Deletes a type's registration.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct Unregister(pub EventType);

/// Changes a stream without touching its registration otherwise. In force when it is answered on this
/// node, and on the others within a second.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<TypeEntry>, ApiError>")]
pub struct Tune {
    /// The type.
    pub ty: EventType,
    /// Which of its streams.
    pub stream: StreamName,
    /// What changes.
    pub tuning: Tuning,
}

/// What a [`Tune`] changes; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Most events waiting in memory.
    pub mailbox: Option<usize>,
    /// Most attempts at a time.
    pub concurrency: Option<usize>,
    /// `Some(None)` resumes, `Some(Some(reason))` pauses.
    pub paused: Option<Option<String>>,
}

/// Deletes a stream: it takes no new events, what waits becomes dead letters at once, and it is gone.
/// Answered with how many events those were.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, ApiError>")]
pub struct DeleteStream {
    /// The type.
    pub ty: EventType,
    /// Which of its streams.
    pub stream: StreamName,
}

/// Takes over records read from the store, on the way of a request that found this node out of date.
/// Answered once the view has them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Learn(pub Vec<TypeRecord>);

/// Asks the store what has changed, if this node has stood still. Answered once the view is as the store had it after
/// that.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct CatchUp;

/// Asks the store what has changed, on behalf of somebody who came with an id of a type that this node does not know.
/// Answered once the view is as the store had it after that. All who ask share a look, and looks keep a distance.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Look;

/// How this node's SinkActors do.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<(StreamKey, SinkStatus)>")]
pub struct Statuses;

/// Stops every SinkActor, each after it has finished or given back what it holds.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StopStreams {
    /// How long attempts under way may take to end.
    pub grace: std::time::Duration,
}
