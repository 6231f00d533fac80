//! The schemas: what stands in bodies. Limits come from where they are kept.

use super::parts::{closed, list, object, schema};
use super::running;
use crate::error::Code;
use crate::http::{HttpSettings, marks};
use crate::streams::{MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_MAILBOX, MAX_STREAMS};
use serde_json::{Map, Value, json};

/// Units of a duration.
const UNITS: &str = "seconds|second|sec|s|minutes|minute|min|m|hours|hour|h|days|day|d|weeks|week|w";

/// A signing secret of 24 to 64 bytes, or what stands for one.
const SECRET: &str = r"^whsec_(\*\*\*|([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$";

/// All of them, by name.
pub fn all(http: &HttpSettings) -> Value {
    let mut all = Map::new();
    for part in [names(), events(http), registrations(), running::streams(), running::hub()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    all.into()
}

/// The schema of problems of one status, or of all.
pub fn problem(status: Option<u16>) -> Value {
    let codes = Code::ALL.iter().filter(|code| status.is_none_or(|status| code.status() == status));
    let types: Vec<_> = codes.map(|code| format!("/problems/{}", code.code())).collect();
    let number = status.map_or_else(
        || json!({ "type": "integer", "minimum": 400, "maximum": 599 }),
        |status| json!({ "type": "integer", "const": status }),
    );
    object(
        json!({
            "type": { "type": "string", "enum": types },
            "title": { "type": "string" },
            "status": number,
            "detail": { "type": "string", "description": "What happened this time." },
        }),
        json!({ "errors": list("FieldError") }),
    )
}

pub fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

pub fn instant(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

pub fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

pub fn links() -> Value {
    list("Link")
}

fn names() -> Value {
    let name = "[A-Za-z0-9._-]+";
    let entry = "[A-Za-z0-9._*-]+(:[A-Za-z0-9._*-]+)*";
    json!({
        "EventId": {
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,19})$",
            "description": "Opaque. Ids of one type increase strictly in the order of commits; also the cursor everywhere.",
            "examples": ["2354686469827723264"],
        },
        "EventType": {
            "type": "string", "maxLength": 255, "pattern": format!("^{name}(:{name})*$"),
            "examples": ["financial:end-budget"],
        },
        "StreamName": { "type": "string", "maxLength": 128, "pattern": format!("^{name}$"), "examples": ["audit"] },
        "Client": {
            "type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9._~-]+$", "examples": ["12345"],
            "description": "Who reads a feed and marks events: a name that the client chooses.",
        },
        "TypeFilter": {
            "type": "string", "pattern": format!("^{entry}(,{entry})*$"),
            "description": "Types, separated by commas; `*` stands for any run of characters.",
            "examples": ["financial:*,campaign:stop-campaign"],
        },
        "Slice": {
            "type": "string",
            "pattern": format!("^(minute|hour|day|week|month|[0-9]+({UNITS}))$"),
            "description": "`minute`, `hour`, `day`, `week` (from Monday), `month`, or a number and a unit, aligned to the Unix epoch; at most 366 days.",
            "examples": ["hour", "15minutes"],
        },
        "Ttl": {
            "type": "string",
            "pattern": format!("^(permanent|ephemeral|[0-9]+ *({UNITS})( *[0-9]+ *({UNITS}))*)$"),
            "description": "`permanent`; `ephemeral` (delivered, never in a feed); or a duration from 1 second to 100 years.",
            "examples": ["24days", "1h30m"],
        },
        "Duration": {
            "type": "string",
            "pattern": format!("^[0-9]+ *(ms|{UNITS})( *[0-9]+ *(ms|{UNITS}))*$"),
            "examples": ["250ms", "1h"],
        },
        "Link": object(
            json!({ "rel": text("What it leads to."), "href": { "type": "string", "format": "uri" } }),
            json!({}),
        ),
        "FieldError": object(
            json!({
                "pointer": text("Where in the body (RFC 6901); empty for the whole of it."),
                "detail": text("What is wrong."),
            }),
            json!({}),
        ),
        "Problem": problem(None),
    })
}

/// The members of every event.
fn event() -> Value {
    json!({
        "id": schema("EventId"),
        "type": schema("EventType"),
        "payload": { "description": "Any JSON, to the byte as it was sent." },
        "created_at": instant("When the store committed it."),
    })
}

/// The members of every event and these.
fn event_with(more: Value) -> Value {
    let mut members = event();
    if let (Value::Object(members), Value::Object(more)) = (&mut members, more) {
        members.extend(more);
    }
    members
}

fn events(http: &HttpSettings) -> Value {
    json!({
        "Event": object(event(), json!({})),
        "ClientEvent": object(
            event(),
            json!({
                "processed_at": instant("When the client marked it."),
                "links": { "type": "array", "items": schema("MarkLink"), "description": "How to mark it, unless it is." },
            }),
        ),
        "MarkLink": object(
            json!({
                "rel": { "const": "mark-processed" },
                "href": { "type": "string", "format": "uri" },
                "method": { "const": "PUT" },
            }),
            json!({}),
        ),
        "EventDetail": object(
            event_with(json!({
                "streams": list("Delivery"),
                "processed_by": { "type": "array", "items": schema("Client"), "description": "Who marked it." },
                "links": links(),
            })),
            json!({}),
        ),
        "Delivery": object(
            json!({
                "name": schema("StreamName"),
                "source": schema("Source"),
                "state": {
                    "enum": ["pending", "delivered", "dead", "none", "dropped"],
                    "description": "`none`: the stream was never promised the event; `dropped`: its dead letter was deleted.",
                },
            }),
            json!({
                "attempts": count("How often it has failed."),
                "last_error": text("Why it failed last."),
                "next_attempt_at": instant("When it is tried again."),
            }),
        ),
        "Feed": object(json!({ "events": list("Event"), "links": links() }), json!({})),
        "ClientFeed": object(json!({ "events": list("ClientEvent"), "links": links() }), json!({})),
        "NewEvent": closed(
            json!({ "type": schema("EventType"), "payload": { "description": "Any JSON; `null`, too." } }),
            json!({}),
        ),
        "NewEvents": { "type": "array", "items": schema("NewEvent"), "maxItems": http.max_batch },
        "Accepted": object(
            json!({
                "id": schema("EventId"),
                "type": schema("EventType"),
                "created_at": instant("When the store committed it."),
                "status": {
                    "enum": ["accepted", "duplicate"],
                    "description": "`duplicate`: its idempotency key came before, and this is the first answer again.",
                },
                "streams": { "type": "array", "items": schema("StreamName"), "description": "Where it is delivered." },
                "links": links(),
            }),
            json!({}),
        ),
        "Discarded": object(
            json!({
                "type": schema("EventType"),
                "status": { "const": "discarded" },
                "reason": { "const": "unregistered" },
            }),
            json!({}),
        ),
        "Sent": { "oneOf": [schema("Accepted"), schema("Discarded")] },
        "SentEach": {
            "type": "array",
            "items": { "oneOf": [schema("Accepted"), schema("Discarded"), schema("Problem")] },
            "description": "One result an item, in their order.",
        },
        "Ids": closed(json!({ "ids": ids() }), json!({})),
        "SomeIds": closed(json!({}), json!({ "ids": ids() })),
        "Marked": object(json!({ "acknowledge": { "const": true } }), json!({})),
        "Unmarked": object(json!({ "acknowledge": { "const": false } }), json!({})),
        "MarkedEach": object(json!({ "results": list("MarkResult") }), json!({})),
        "MarkResult": object(
            json!({ "id": text("As it was sent."), "acknowledge": { "type": "boolean" } }),
            json!({}),
        ),
        "Pending": object(
            json!({
                "client": schema("Client"),
                "pending": count("Events that it has not marked."),
                "oldest_age_ms": { "type": ["integer", "null"], "minimum": 0, "description": "Age of the oldest of them." },
                "types": {
                    "type": "object",
                    "additionalProperties": { "type": "integer", "minimum": 1 },
                    "description": "The same by type.",
                },
                "links": links(),
            }),
            json!({}),
        ),
    })
}

fn ids() -> Value {
    let id = json!({ "type": "string", "examples": ["2354686469827723264"] });
    json!({ "type": "array", "maxItems": marks::MAX_IDS, "items": id })
}

/// A whole number from 1.
pub fn size(max: u64, description: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": max, "description": description })
}

/// What every kind of stream has.
fn common() -> Value {
    json!({
        "name": schema("StreamName"),
        "mailbox": size(MAX_MAILBOX, "Events that may wait in memory."),
        "concurrency": size(MAX_CONCURRENCY, "Attempts at a time; 1 keeps the order of commits."),
    })
}

fn and(first: Value, second: Value) -> Value {
    let mut all = first;
    if let (Value::Object(all), Value::Object(second)) = (&mut all, second) {
        all.extend(second);
    }
    all
}

fn retry() -> Value {
    json!({
        "attempts": size(MAX_ATTEMPTS, "After so many the event is a dead letter."),
        "first": schema("Duration"),
        "max": schema("Duration"),
    })
}

fn registrations() -> Value {
    let secret = json!({ "type": "string", "pattern": SECRET });
    let secrets = json!({
        "anyOf": [secret, { "type": "array", "minItems": 1, "maxItems": 8, "items": secret }],
        "description": "Signs deliveries (Standard Webhooks); several while rotating. Masked, but in the answer that made it.",
    });
    let headers = json!({ "type": "object", "maxProperties": 32, "additionalProperties": { "type": "string" } });
    let uri = json!({ "type": "string", "format": "uri", "pattern": "^[hH][tT][tT][pP][sS]?://", "maxLength": 2048 });
    let short = |description: &str| json!({ "type": "string", "maxLength": 255, "description": description });
    let exchange = short("Declared when it is missing; empty for the default exchange.");
    let webhook = json!({ "source": { "const": "webhook" }, "uri": uri });
    let rabbit =
        json!({ "source": { "const": "rabbit" }, "exchange": exchange, "routingKey": short("The routing key.") });
    let rabbit_more = json!({
        "exchangeType": { "type": "string", "minLength": 1, "maxLength": 255, "description": "`topic` unless given." },
        "broker": text("One of the settings; the default one unless given."),
    });
    let mandatory = json!({ "mandatory": {
        "type": "boolean", "description": "Whether an event that no queue takes is not delivered. True unless given.",
    }});
    let shown = || and(common(), json!({ "retry": schema("Retry") }));
    let given = || and(common(), json!({ "retry": schema("NewRetry") }));
    json!({
        "Source": { "enum": ["webhook", "rabbit"] },
        "NewRetry": closed(json!({}), retry()),
        "Retry": object(retry(), json!({})),
        "NewWebhook": closed(webhook.clone(), and(given(), json!({ "secret": secrets, "headers": headers }))),
        "NewRabbit": closed(rabbit.clone(), and(given(), and(rabbit_more.clone(), mandatory.clone()))),
        "NewStream": { "oneOf": [schema("NewWebhook"), schema("NewRabbit")] },
        "NewType": closed(
            json!({ "type": schema("EventType"), "ttl": schema("Ttl") }),
            json!({ "streams": { "type": "array", "maxItems": MAX_STREAMS, "items": schema("NewStream") } }),
        ),
        "Webhook": object(and(and(webhook, shown()), json!({ "secret": secrets })), json!({ "headers": headers })),
        "Rabbit": object(and(and(rabbit, shown()), mandatory), rabbit_more),
        "Type": object(
            json!({
                "type": schema("EventType"),
                "ttl": { "type": "string", "description": "As it was written." },
                "streams": { "type": "array", "items": { "oneOf": [schema("Webhook"), schema("Rabbit")] } },
                "links": links(),
            }),
            json!({}),
        ),
        "Types": object(json!({ "types": list("Type"), "links": links() }), json!({})),
    })
}
