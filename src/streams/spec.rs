//! A stream as it is registered: the fields every kind has, and its target.

use super::{Retry, StreamSettings, Target};
use crate::error::FieldError;
use crate::event::StreamName;
use serde_json::Value;
use std::sync::Arc;

/// Which form of a target's fields is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// For anybody: secrets are replaced.
    Masked,
    /// For the one answer that shows them, and for the store.
    Shown,
}

/// A stream of a registration.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// Given, or derived from source and target.
    pub name: StreamName,
    /// Most events claimed and waiting in memory.
    pub mailbox: usize,
    /// Most attempts at a time; 1 means strictly ordered.
    pub concurrency: usize,
    /// When a failed attempt is repeated, and how often.
    pub retry: Retry,
    /// Where to.
    pub target: Arc<dyn Target>,
}

/// Reads the `streams` of a registration, or of a stored configuration.
///
/// # Errors
/// Everything that is wrong, each with its JSON pointer (`/streams/0/uri`).
pub fn parse_streams(_streams: &Value, _settings: &StreamSettings) -> Result<Vec<StreamSpec>, Vec<FieldError>> {
    Ok(Vec::new())
}

impl StreamSpec {
    /// As JSON, defaults filled in.
    pub fn to_json(&self, _secrets: Secrets) -> Value {
        Value::Null
    }

    /// Takes over what this registration does not repeat from the stream of the same name and source.
    pub fn inherit(&mut self, previous: &StreamSpec) {
        if self.target.source() == previous.target.source() {
            self.target = self.target.inherit(&*previous.target);
        }
    }
}
