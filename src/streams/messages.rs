//! What a SinkActor is told and asked.

use super::{Sink, StreamSettings, StreamSpec, WebhookClient};
use crate::event::EventType;
use crate::store::{Store, StreamKey};
use actix::Message;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What sinks of one arbiter share: settings, connections to brokers, the webhook client. Made on the
/// arbiter and never leaves it.
#[derive(Clone)]
pub struct SinkEnv {
    /// Settings of delivery.
    pub settings: Arc<StreamSettings>,
    /// One connection a broker and process.
    pub brokers: super::Brokers,
    /// One an arbiter, with its own connection pool.
    pub webhooks: WebhookClient,
}

/// Everything a SinkActor is made from.
#[derive(Clone)]
pub struct SinkSetup {
    /// Its name in the store.
    pub key: StreamKey,
    /// Its type's name.
    pub ty: EventType,
    /// As registered.
    pub spec: StreamSpec,
    /// Takes no new events; reports [`SinkEvent::Drained`] when nothing waits any more.
    pub draining: bool,
    /// Held back by an operator or by the other side: claims nothing.
    pub paused: bool,
    /// Where its outbox is.
    pub store: Arc<dyn Store>,
    /// Told when a draining stream is empty, or the stream paused itself. When it is full, a drained
    /// stream says so again later, and a pause is logged and holds on this node alone.
    pub events: tokio::sync::mpsc::Sender<SinkEvent>,
}

/// Something may be due: a hint, of which one is as good as many.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Wake;

/// The stream was registered again under the same name: work goes on with the new specification.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Respecify {
    /// As registered now.
    pub spec: StreamSpec,
    /// Whether it has been dropped and only delivers what it was promised.
    pub draining: bool,
    /// Whether it is held back.
    pub paused: bool,
}

/// Take no more, finish the attempts under way within the time given, give back the rest, then stop.
/// Answered when nothing is held any more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop(pub Duration);

/// How the stream does, on this node.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SinkStatus")]
pub struct Status;

/// A stream's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Delivering, or ready to.
    Active,
    /// Told to hold back.
    Paused,
    /// Failing again and again: probing with one event on its retry schedule.
    Failing,
    /// Dropped from its type: delivers what it was promised, then goes.
    Draining,
}

impl StreamState {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Failing => "failing",
            Self::Draining => "draining",
        }
    }
}

/// The answer to [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, actix::MessageResponse)]
pub struct SinkStatus {
    /// Its condition.
    pub state: StreamState,
    /// Attempts under way.
    pub in_flight: usize,
    /// Claimed and waiting in memory.
    pub waiting: usize,
    /// Most that may wait in memory.
    pub mailbox: usize,
    /// Most attempts at a time.
    pub concurrency: usize,
    /// For how long, since it began, there was no room for more.
    pub full: Duration,
    /// The last failure on this node.
    pub last_error: Option<String>,
}

/// What a SinkActor tells the registry.
#[derive(Debug, Clone)]
pub enum SinkEvent {
    /// A draining stream has delivered everything.
    Drained(StreamKey),
    /// The other side asked for no more; the registry pauses the stream on all nodes.
    Paused(StreamKey, String),
}

/// A sink made for an actor.
pub type BoxedSink = Box<dyn Sink>;
