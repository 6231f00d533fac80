//! Delivery: each stream of each type has its own [`SinkActor`], which claims from the outbox by lease,
//! delivers, and settles.
//!
//! A new kind of stream is one file here (a [`Target`] and its [`Sink`]) and one line in `KINDS`.
//! A sink decides what became of an attempt ([`Outcome`]); shared code executes it.
//!
//! | file | what |
//! | --- | --- |
//! | `spec`, `fields` | a stream as it is registered; reading it from JSON |
//! | `webhook`, `rabbit` | the kinds |
//! | `window`, `held`, `settlement`, `circuit`, `backoff` | pure bookkeeping: what is claimed, what is due when |
//! | `journal` | the attempts that operators are shown |
//! | `delivery` | the one task that drives a stream |
//! | `sink_actor`, `messages` | the actor in front of that task |
//! | `load` | what all streams of a node hold together |
//! | `pool` | arbiters, supervision, handles |

mod backoff;
mod circuit;
mod delivery;
mod fields;
mod held;
mod journal;
mod load;
mod messages;
mod pool;
mod rabbit;
mod settlement;
mod sink_actor;
mod spec;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod webhook;
mod window;

pub use backoff::{Backoff, Retry};
pub use load::Load;
pub use messages::*;
pub use pool::{SinkHandle, SinkPool};
pub use rabbit::Brokers;
pub use sink_actor::SinkActor;
pub use spec::{MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_MAILBOX, MAX_STREAMS, Secrets, StreamSpec, parse_streams};
pub use webhook::WebhookClient;

use crate::event::{EventId, EventType, Millis, Trace};
use async_trait::async_trait;
use bytes::Bytes;
use fields::Fields;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The kinds of stream there are: the value of `source`, and how its fields are read.
const KINDS: &[(&str, ParseTarget)] = &[("webhook", webhook::parse), ("rabbit", rabbit::parse)];

/// Reads a kind's own fields, taking them out (what is left over is unknown, and a 422). `None` only
/// with an error noted.
type ParseTarget = fn(&mut Fields, &StreamSettings) -> Option<Arc<dyn Target>>;

/// Where a stream delivers to, as it was registered.
pub trait Target: fmt::Debug + Send + Sync {
    /// The value of `source`.
    fn source(&self) -> &'static str;
    /// What makes it this target and no other; the derived stream name is made from it.
    fn identity(&self) -> String;
    /// Its fields, defaults filled in.
    fn fields(&self, secrets: Secrets) -> Map<String, Value>;
    /// Takes over what a re-registration does not repeat (a generated secret) from the stream of the
    /// same name.
    fn inherit(&self, previous: &dyn Target) -> Arc<dyn Target>;
    /// Whether reading it made a secret that its sender does not know yet.
    fn made_secret(&self) -> bool {
        false
    }
    /// What delivers to it; made on the arbiter where it will run.
    fn sink(&self, env: &SinkEnv) -> BoxedSink;
}

/// Delivers single events. Lives on one arbiter.
#[async_trait(?Send)]
pub trait Sink {
    /// One attempt, bounded in time by the sink itself.
    async fn deliver(&self, delivery: &Delivery) -> Report;
    /// The longest an attempt may take: none starts with less lease left.
    fn timeout(&self) -> Duration;
    /// After an [`Outcome::Unreachable`]: resolves once the other side is there again, so that the
    /// next attempt need not wait for its time. Never, where a sink cannot tell.
    async fn recovered(&self) {
        std::future::pending().await
    }
}

/// An event on its way to a stream.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id.
    pub id: EventId,
    /// Its type's name.
    pub ty: EventType,
    /// When it was committed.
    pub created_at: Millis,
    /// `{"id","type","payload","created_at"}`, encoded once for all attempts.
    pub body: Bytes,
    /// The trace that it was sent in.
    pub trace: Option<Trace>,
}

/// An attempt as its sink saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// The status of an HTTP answer.
    pub status: Option<u16>,
    /// The beginning of a failing answer, as text; at most 1 KiB is kept.
    pub answer: Option<String>,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, status: None, answer: None }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered,
    /// It failed; try again by the stream's backoff, not before `after`.
    Retry {
        /// One line for an operator.
        error: String,
        /// What the other side asked for.
        after: Option<Duration>,
    },
    /// The other side was not there at all: uses up no attempt.
    Unreachable {
        /// One line for an operator.
        error: String,
    },
    /// It will never succeed.
    Dead {
        /// One line for an operator.
        error: String,
    },
    /// The other side wants no more: the stream pauses, the event waits.
    Pause {
        /// One line for an operator.
        error: String,
    },
}

impl Outcome {
    /// Why it is not a delivery.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Retry { error, .. } | Self::Unreachable { error } | Self::Dead { error } | Self::Pause { error } => {
                Some(error)
            }
        }
    }
}

/// Settings of delivery (`[streams]`, `[webhook]`, `[rabbit]`).
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Default of a stream's `mailbox`.
    pub mailbox: usize,
    /// Default of a stream's `concurrency`.
    pub concurrency: usize,
    /// Default of a stream's `retry`.
    pub retry: Retry,
    /// How long a claim is held before it must be renewed.
    pub lease: Duration,
    /// Longest webhook exchange.
    pub webhook_timeout: Duration,
    /// Networks that webhooks may not reach.
    pub webhook_deny: Vec<ipnet::IpNet>,
    /// Networks that they may reach all the same.
    pub webhook_allow: Vec<ipnet::IpNet>,
    /// Named brokers; the default one is named "".
    pub brokers: std::collections::BTreeMap<String, String>,
}
