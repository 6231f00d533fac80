//! A stream as it is registered: the fields every kind has, and its target.

use super::fields::Fields;
use super::{KINDS, Retry, StreamSettings, Target};
use crate::error::FieldError;
use crate::event::{StreamName, format_duration};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Most streams of a type: each is a write in every append.
pub const MAX_STREAMS: usize = 100;
/// Most events of a stream in memory.
pub const MAX_MAILBOX: u64 = 100_000;
/// Most attempts at a time of a stream.
pub const MAX_CONCURRENCY: u64 = 1024;
/// Most attempts for an event.
pub const MAX_ATTEMPTS: u64 = 10_000;
/// Longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(7 * 86_400);
/// Longest readable part of a derived name.
const MAX_SLUG: usize = 60;

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
    /// Most events claimed and waiting in memory; 1 to 100 000.
    pub mailbox: usize,
    /// Most attempts at a time, 1 to 1024; 1 means strictly ordered.
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
pub fn parse_streams(streams: &Value, settings: &StreamSettings) -> Result<Vec<StreamSpec>, Vec<FieldError>> {
    let Value::Array(items) = streams else {
        return Err(vec![FieldError::new("/streams", "must be an array of streams")]);
    };
    if items.len() > MAX_STREAMS {
        return Err(vec![FieldError::new("/streams", format!("must be at most {MAX_STREAMS} streams"))]);
    }
    let mut specs = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    let mut known: HashMap<StreamName, usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        match parse_stream(item, index, settings) {
            Err(more) => errors.extend(more),
            Ok(spec) => {
                if let Some(first) = known.insert(spec.name.clone(), index) {
                    errors.push(FieldError::new(
                        format!("/streams/{index}/name"),
                        format!(
                            "'{}' is the name of /streams/{first} too; names are unique in a type, and the same target twice needs two names",
                            spec.name
                        ),
                    ));
                }
                specs.push(spec);
            }
        }
    }
    if errors.is_empty() { Ok(specs) } else { Err(errors) }
}

fn parse_stream(item: &Value, index: usize, settings: &StreamSettings) -> Result<StreamSpec, Vec<FieldError>> {
    let mut fields = Fields::of(item, format!("/streams/{index}")).map_err(|error| vec![error])?;
    let name = fields.string("name").and_then(|name| match name.parse::<StreamName>() {
        Ok(name) => Some(name),
        Err(malformed) => {
            fields.error("name", malformed);
            None
        }
    });
    let mailbox = fields.count("mailbox", 1..=MAX_MAILBOX).map_or(settings.mailbox, size);
    let concurrency = fields.count("concurrency", 1..=MAX_CONCURRENCY).map_or(settings.concurrency, size);
    let retry = parse_retry(&mut fields, &settings.retry);

    let source = fields.required("source");
    let Some(parse) = source.as_ref().and_then(|s| KINDS.iter().find(|(kind, _)| kind == s)).map(|(_, parse)| parse)
    else {
        if source.is_some() {
            let kinds: Vec<String> = KINDS.iter().map(|(kind, _)| format!("\"{kind}\"")).collect();
            fields.error("source", format!("must be {}", kinds.join(" or ")));
        }
        return Err(fields.abandon());
    };
    let target = parse(&mut fields, settings);
    let errors = fields.finish();
    match target {
        Some(target) if errors.is_empty() => {
            let name = match name {
                Some(name) => name,
                None => derive_name(&*target)?,
            };
            Ok(StreamSpec { name, mailbox, concurrency, retry, target })
        }
        _ => Err(errors),
    }
}

/// A figure that has been checked against a limit far below what a `usize` holds.
fn size(figure: u64) -> usize {
    usize::try_from(figure).unwrap_or(usize::MAX)
}

fn parse_retry(fields: &mut Fields, default: &Retry) -> Retry {
    let Some(value) = fields.take("retry") else { return default.clone() };
    let mut own = match Fields::of(&value, fields.pointer("retry")) {
        Ok(own) => own,
        Err(error) => {
            fields.push(error);
            return default.clone();
        }
    };
    let attempts = own.count("attempts", 1..=MAX_ATTEMPTS);
    let waits = Duration::from_millis(1)..=MAX_WAIT;
    let (first, max) = (own.duration("first", waits.clone()), own.duration("max", waits));
    if let (Some(first), Some(max)) = (first, max)
        && first > max
    {
        own.error("first", "must not be longer than max");
    }
    for error in own.finish() {
        fields.push(error);
    }
    // A default gives way to what was asked for: {"max": "500ms"} is meant as it stands.
    Retry {
        attempts: attempts.map_or(default.attempts, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        first: first.unwrap_or_else(|| default.first.min(max.unwrap_or(default.max))),
        max: max.unwrap_or_else(|| default.max.max(first.unwrap_or_default())),
    }
}

/// `SOURCE-READABLE-HASH`: the same target has the same name for ever, another one another.
fn derive_name(target: &dyn Target) -> Result<StreamName, Vec<FieldError>> {
    let identity = target.identity();
    let mut slug = String::new();
    // A query often holds a key, and names are shown and logged.
    for c in identity.split('?').next().unwrap_or_default().chars() {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
        if c != '-' || !(slug.is_empty() || slug.ends_with('-')) {
            slug.push(c);
        }
        if slug.len() == MAX_SLUG {
            break;
        }
    }
    let mut name = format!("{}-{}-", target.source(), slug.trim_matches('-'));
    for byte in Sha256::digest(identity.as_bytes()).iter().take(4) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.parse().map_err(|_| vec![FieldError::new("/streams", "no name can be derived from the target; give one")])
}

impl StreamSpec {
    /// As JSON, defaults filled in. With [`Secrets::Shown`] it is what [`parse_streams`] reads back.
    pub fn to_json(&self, secrets: Secrets) -> Value {
        let mut map: Map<String, Value> = self.target.fields(secrets);
        map.insert("name".into(), json!(self.name));
        map.insert("source".into(), json!(self.target.source()));
        map.insert("mailbox".into(), json!(self.mailbox));
        map.insert("concurrency".into(), json!(self.concurrency));
        let retry = &self.retry;
        map.insert(
            "retry".into(),
            json!({
                "attempts": retry.attempts,
                "first": format_duration(retry.first),
                "max": format_duration(retry.max),
            }),
        );
        Value::Object(map)
    }

    /// Takes over what this registration does not repeat from the stream of the same name and source.
    pub fn inherit(&mut self, previous: &StreamSpec) {
        if self.target.source() == previous.target.source() {
            self.target = self.target.inherit(&*previous.target);
        }
    }

    /// Whether this registration made a secret that its sender does not know yet; false once
    /// [`inherit`](Self::inherit) has found the earlier one.
    pub fn made_secret(&self) -> bool {
        self.target.made_secret()
    }

    /// Whether events go to the same place in the same way, so that a running sink can be kept.
    pub(super) fn same_target(&self, other: &StreamSpec) -> bool {
        self.target.source() == other.target.source()
            && self.target.fields(Secrets::Shown) == other.target.fields(Secrets::Shown)
    }

    /// Whether commit order is kept strictly.
    pub(super) fn ordered(&self) -> bool {
        self.concurrency == 1
    }
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
