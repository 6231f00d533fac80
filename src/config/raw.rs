//! The settings as they are written, before they are checked. Unknown names are refused by serde.

use super::tokens::RawToken;
use crate::event::parse_duration;
use bytesize::ByteSize;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A duration in settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) http: RawHttp,
    pub(super) events: RawEvents,
    pub(super) store: RawStore,
    pub(super) rabbit: BTreeMap<String, Value>,
    pub(super) streams: RawStreams,
    pub(super) webhook: RawWebhook,
    pub(super) live: RawLive,
    pub(super) auth: RawAuth,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) bind: String,
    pub(super) workers: usize,
    pub(super) max_body: ByteSize,
    pub(super) max_batch: usize,
    pub(super) max_depth: usize,
    pub(super) public_url: String,
    pub(super) origins: Vec<String>,
    pub(super) max_in_flight: usize,
    pub(super) max_in_flight_bytes: ByteSize,
    pub(super) client_timeout: Span,
    pub(super) body_timeout: Span,
    pub(super) keep_alive: Span,
    pub(super) shutdown: Span,
    pub(super) tls: RawTls,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) cert: String,
    pub(super) key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unregistered {
    Discard,
    Reject,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEvents {
    pub(super) unregistered: Unregistered,
    pub(super) idempotency_window: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) wait_replicas: u32,
    pub(super) timeout: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStreams {
    pub(super) mailbox: usize,
    pub(super) concurrency: usize,
    pub(super) lease: Span,
    pub(super) max_backlog: u64,
    pub(super) dead_ttl: Span,
    pub(super) workers: usize,
    pub(super) retry: RawRetry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetry {
    pub(super) attempts: u32,
    pub(super) first: Span,
    pub(super) max: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    pub(super) timeout: Span,
    pub(super) deny: Vec<ipnet::IpNet>,
    pub(super) allow: Vec<ipnet::IpNet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLive {
    pub(super) heartbeat: Span,
    pub(super) mailbox: usize,
    pub(super) max_sessions: usize,
    pub(super) seam: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuth {
    pub(super) open: bool,
    pub(super) tokens: Vec<RawToken>,
}
