//! One `{"type", "payload"}` of a send, and its place in the answer.

use super::json::{self, Members};
use super::links::{API, Base};
use crate::error::ApiError;
use crate::event::{EventId, EventType, Position, Trace, write_rfc3339};
use crate::registry::{TypeEntry, TypeView};
use crate::store::{AppendGroup, Idempotency};
use bytes::Bytes;
use std::sync::Arc;

/// What this node knows of an item's type.
#[derive(Debug)]
pub enum Target {
    /// It is registered.
    Known(Arc<TypeEntry>),
    /// It is not, here: the store knows whether it is elsewhere.
    Unknown(EventType),
}

impl Target {
    /// The type's name.
    pub fn name(&self) -> &EventType {
        match self {
            Self::Known(entry) => &entry.name,
            Self::Unknown(name) => name,
        }
    }
}

/// A valid item of a send.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its type.
    pub target: Target,
    /// The exact text of its payload.
    pub payload: &'a str,
}

impl<'a> Item<'a> {
    /// Reads an item and looks its type up.
    ///
    /// # Errors
    /// 400 when it is not JSON, 422 with everything that is wrong with it otherwise.
    pub fn read(text: &'a str, types: &TypeView, max_depth: usize) -> Result<Self, ApiError> {
        let mut members = json::members(text, &["type", "payload"]).map_err(|e| json::malformed(&e))?;
        json::check_depth(text, max_depth)?;
        let whole = members.errors.iter().all(|e| !e.pointer.is_empty());
        let [ty, payload] = members.values;
        let target = match ty {
            Some(raw) => target(raw, types, &mut members),
            None => {
                if whole {
                    members.wrong("/type", "is required");
                }
                None
            }
        };
        if payload.is_none() && whole {
            members.wrong("/payload", "is required; it may be null");
        }
        members.finish()?;
        match (target, payload) {
            (Some(target), Some(payload)) => Ok(Self { target, payload }),
            // Whatever is missing has been noted above.
            _ => Err(ApiError::field("", "must be an object with type, payload")),
        }
    }
}

fn target(raw: &str, types: &TypeView, members: &mut Members<'_, 2>) -> Option<Target> {
    let Some(name) = json::string(raw) else {
        members.wrong("/type", "must be a string");
        return None;
    };
    match types.get(&name) {
        Some(entry) if entry.registered => Some(Target::Known(entry)),
        Some(entry) => Some(Target::Unknown(entry.name.clone())),
        None => match name.parse() {
            Ok(name) => Some(Target::Unknown(name)),
            Err(malformed) => {
                members.wrong("/type", malformed.to_string());
                None
            }
        },
    }
}

/// The group of a type's payloads, as the store takes it.
pub fn group(
    entry: &TypeEntry,
    payloads: Vec<Bytes>,
    idempotency: Option<&Idempotency>,
    trace: Option<&Trace>,
) -> AppendGroup {
    let payloads = match trace {
        None => payloads,
        Some(trace) => payloads.iter().map(|payload| trace.before(payload).into()).collect(),
    };
    AppendGroup {
        type_no: entry.type_no,
        ttl: entry.ttl.clone(),
        streams: Arc::clone(&entry.names),
        revision: entry.revision,
        payloads,
        idempotency: idempotency.cloned(),
    }
}

/// Appends the answer for an event that is stored.
pub fn write_accepted(entry: &TypeEntry, at: Position, status: &str, base: &Base<'_>, out: &mut Vec<u8>) {
    let id = EventId::new(entry.type_no, at).to_string();
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(id.as_bytes());
    // The characters of types and streams need no escaping in JSON.
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(entry.name.as_str().as_bytes());
    out.extend_from_slice(b"\",\"created_at\":\"");
    write_rfc3339(at.ms(), out);
    out.extend_from_slice(b"\",\"status\":\"");
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(b"\",\"streams\":[");
    for (n, stream) in entry.names.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(stream.as_str().as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"links\":[{\"rel\":\"self\",\"href\":\"");
    base.write(out);
    out.extend_from_slice(API.as_bytes());
    out.push(b'/');
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\"}]}");
}

/// Appends the answer for an event of a type that nobody registered.
pub fn write_discarded(name: &EventType, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b"\",\"status\":\"discarded\",\"reason\":\"unregistered\"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::http::testing::json_text;
    use proptest::prelude::*;

    fn errors(text: &str) -> Vec<String> {
        let error = Item::read(text, &TypeView::default(), 128).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{text}");
        error.errors.into_iter().map(|e| e.pointer).collect()
    }

    #[test]
    fn an_item_keeps_its_payloads_bytes() {
        let item = Item::read("{ \"payload\" : [1.0, 1e400] ,\"type\":\"a:b\"}", &TypeView::default(), 128).unwrap();
        assert_eq!(item.payload, "[1.0, 1e400]");
        assert!(matches!(item.target, Target::Unknown(name) if name.as_str() == "a:b"));
        let null = Item::read(r#"{"type":"a","payload":null}"#, &TypeView::default(), 128).unwrap();
        assert_eq!(null.payload, "null");
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        assert_eq!(errors("{}"), ["/type", "/payload"]);
        assert_eq!(errors(r#"{"type":5,"payload":1}"#), ["/type"]);
        assert_eq!(errors(r#"{"type":"a b","extra":1}"#), ["/extra", "/type", "/payload"]);
        assert_eq!(errors(r#"{"type":"a","type":"b","payload":1}"#), ["/type"]);
        for other in ["5", "\"str\"", "null", "true", "[]"] {
            assert_eq!(errors(other), [""], "{other}");
        }
    }

    #[test]
    fn what_is_no_json_is_a_400_however_deep() {
        let code = |text: &str| Item::read(text, &TypeView::default(), 3).unwrap_err().code;
        assert_eq!(code("{\"type\":"), Code::MalformedJson);
        assert_eq!(code("[[[[["), Code::MalformedJson);
        assert_eq!(code(r#"{"type":"a","payload":[[[]]]}"#), Code::TooDeep);
        assert!(Item::read(r#"{"type":"a","payload":[[]]}"#, &TypeView::default(), 3).is_ok());
    }

    proptest! {
        #[test]
        fn any_payload_is_kept_as_it_was_sent(payload in json_text(), ty in "[A-Za-z0-9._-]{1,5}(:[A-Za-z0-9._-]{1,5}){0,2}", first in any::<bool>()) {
            let members = [format!("\"type\" :\t\"{ty}\""), format!("\"payload\": {payload} ")];
            let text = if first { members.join(" , ") } else { format!("{},{}", members[1], members[0]) };
            let text = format!(" {{{text}}}");
            let item = Item::read(&text, &TypeView::default(), 128).unwrap();
            prop_assert_eq!(item.payload, payload.as_str());
            prop_assert!(matches!(item.target, Target::Unknown(name) if name.as_str() == ty));
        }

        #[test]
        fn no_body_panics_and_each_is_answered(text in prop_oneof![json_text(), "\\PC{0,60}", "[{}\\[\\]\":,a]{0,40}"]) {
            let read = Item::read(&text, &TypeView::default(), 128);
            if let Err(error) = read {
                prop_assert!(matches!(error.code, Code::MalformedJson | Code::TooDeep | Code::Invalid), "{error}");
                let json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
                prop_assert_eq!(json, error.code != Code::MalformedJson, "{}", text);
            }
        }
    }
}
