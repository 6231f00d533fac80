//! The schemas of those who run the hub: streams, nodes, health, figures.

use super::parts::{closed, list, object, schema};
use super::schemas::{count, instant, links, size, text};
use crate::access::Scope;
use crate::http::dead;
use crate::streams::{MAX_CONCURRENCY, MAX_MAILBOX};
use serde_json::{Value, json};

/// Streams and their dead letters.
pub fn streams() -> Value {
    json!({
        "Stream": object(
            json!({
                "type": schema("EventType"),
                "name": schema("StreamName"),
                "source": schema("Source"),
                "state": { "enum": ["active", "paused", "failing", "draining"] },
                "backlog": count("Events that are not delivered yet."),
                "oldest_age_ms": { "type": ["integer", "null"], "minimum": 0, "description": "Age of the oldest of them." },
                "in_flight": count("Attempts under way on this node."),
                "mailbox": object(
                    json!({ "length": count("Events that wait on this node."), "limit": count("At most.") }),
                    json!({}),
                ),
                "concurrency": count("Attempts at a time."),
                "delivered": count("Events, on all nodes."),
                "failed": count("Attempts that failed."),
                "dead": count("Dead letters."),
                "last_error": { "type": ["string", "null"] },
                "links": links(),
            }),
            json!({
                "interval_ms": count("Between two entries of the history."),
                "history": list("StreamSample"),
            }),
        ),
        "StreamSample": object(
            json!({
                "at": instant("When."),
                "backlog": count("Events that were not delivered yet."),
                "delivered": rate("Events a second since the entry before, on all nodes."),
                "failed": rate("Attempts a second."),
            }),
            json!({}),
        ),
        "Streams": object(json!({ "streams": list("Stream") }), json!({})),
        "Tuning": closed(
            json!({}),
            json!({
                "mailbox": size(MAX_MAILBOX, "Events that may wait in memory."),
                "concurrency": size(MAX_CONCURRENCY, "Attempts at a time."),
                "state": { "enum": ["active", "paused"], "description": "Outlives a new registration." },
            }),
        ),
        "Attempt": object(
            json!({
                "event_id": schema("EventId"),
                "at": instant("When it began."),
                "duration_ms": count("How long it took."),
                "outcome": { "enum": ["delivered", "failed", "unreachable", "dead", "paused"] },
            }),
            json!({
                "status": { "type": "integer", "description": "The receiver's." },
                "error": text("Why it failed."),
                "answer": text("The first KiB of a failing answer."),
            }),
        ),
        "Attempts": object(json!({ "attempts": list("Attempt"), "links": links() }), json!({})),
        "DeadLetter": object(
            json!({
                "event": schema("Event"),
                "attempts": count("How often it was tried."),
                "last_error": text("Why it was given up."),
                "since": instant("When."),
            }),
            json!({}),
        ),
        "DeadLetters": object(
            json!({
                "dead": { "type": "array", "maxItems": dead::MAX_LIMIT, "items": schema("DeadLetter") },
                "links": links(),
            }),
            json!({}),
        ),
        "Count": object(json!({ "count": count("How many events.") }), json!({})),
        "Range": closed(
            json!({
                "from": instant("The first instant."),
                "to": instant("The first instant that is not in it; later than `from`."),
            }),
            json!({ "dry_run": { "type": "boolean", "description": "Only count." } }),
        ),
        "Replayed": object(
            json!({ "count": count("How many events."), "dry_run": { "type": "boolean" } }),
            json!({}),
        ),
    })
}

/// The hub itself.
pub fn hub() -> Value {
    json!({
        "Entry": object(
            json!({ "name": { "const": "event-source-api" }, "version": { "type": "string" }, "links": links() }),
            json!({}),
        ),
        "Health": object(json!({ "status": { "const": "ok" } }), json!({})),
        "Misspelt": object(
            json!({
                "type": schema("EventType"),
                "count": { "type": "integer", "minimum": 1 },
                "last_at": instant("When it was sent last."),
            }),
            json!({}),
        ),
        "DiscardedTypes": object(json!({ "discarded": list("Misspelt") }), json!({})),
        "Node": object(
            json!({
                "id": { "type": "string" },
                "self": { "type": "boolean", "description": "Whether it is the one that answers." },
                "state": { "enum": ["running", "stopping"] },
                "since": instant("When it started."),
                "seen_age_ms": count("How long ago it announced itself."),
                "version": { "type": "string" },
                "host": { "type": "string" },
                "addresses": { "type": "array", "items": { "type": "string" } },
                "public_url": { "type": ["string", "null"] },
                "sessions": count("Live sessions."),
                "requests": count("Requests in flight."),
                "in_flight": count("Deliveries under way."),
                "waiting": count("Events that wait in memory to be delivered."),
            }),
            json!({}),
        ),
        "SignIn": closed(json!({ "token": { "type": "string" } }), json!({})),
        "Session": object(
            json!({
                "name": { "type": ["string", "null"], "description": "The token's." },
                "scopes": { "type": "array", "items": { "enum": Scope::ALL.map(Scope::as_str) } },
                "types": {
                    "type": ["array", "null"],
                    "items": { "type": "string" },
                    "description": "Patterns of the types it is limited to.",
                },
                "client": { "type": ["string", "null"], "description": "The client it is limited to." },
            }),
            json!({}),
        ),
        "Counts": object(
            json!({
                "at": instant("When."),
                "accepted": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } },
            }),
            json!({}),
        ),
        "Store": object(
            json!({
                "kind": { "enum": ["embedded", "redis"] },
                "servers": list("StoreServer"),
                "disk_free": maybe("Bytes free on the disk of the embedded store."),
            }),
            json!({}),
        ),
        "StoreServer": object(
            json!({
                "address": { "type": "string" },
                "error": { "type": ["string", "null"], "description": "Why nothing more is known of it." },
                "version": { "type": "string" },
                "memory_used": count("Bytes."),
                "memory_limit": maybe("Bytes; `null` without a limit."),
                "clients": count("Connected to it."),
                "replicas": count("Connected to it."),
                "warnings": list("StoreWarning"),
            }),
            json!({}),
        ),
        "StoreWarning": object(
            json!({
                "setting": { "type": "string" },
                "is": { "type": "string" },
                "risk": text("What may happen, and what to do."),
            }),
            json!({}),
        ),
        "Overview": object(
            json!({
                "at": instant("When it was made."),
                "version": { "type": "string" },
                "ready": { "type": "boolean" },
                "attention": list("Need"),
                "attention_more": count("What is left out of it."),
                "now": figures(),
                "interval_ms": count("Between two entries of the history."),
                "history": list("Sample"),
                "links": links(),
            }),
            json!({}),
        ),
        "Need": object(
            json!({
                "level": { "enum": ["error", "warning"] },
                "what": text("What kind of thing, for programs."),
                "text": text("In words."),
            }),
            json!({ "type": schema("EventType"), "stream": schema("StreamName") }),
        ),
        "Sample": object(
            json!({
                "at": instant("When."),
                "accepted": rate("Events a second."),
                "discarded": rate("Events a second."),
                "delivered": rate("Deliveries a second."),
                "failed": rate("Attempts a second."),
                "sessions": count("Live sessions."),
                "backlog": maybe("Undelivered events."),
                "commit_p50_ms": maybe("Half of all commits took at most so long."),
                "commit_p99_ms": maybe("All but one in a hundred took at most so long."),
            }),
            json!({}),
        ),
        "Nodes": object(json!({ "nodes": list("Node"), "links": links() }), json!({})),
    })
}

fn rate(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "description": description })
}

/// `null` when it is not known.
fn maybe(description: &str) -> Value {
    json!({ "type": ["number", "null"], "minimum": 0, "description": description })
}

fn figures() -> Value {
    let states = ["active", "paused", "failing", "draining"].map(|state| (state.to_owned(), count("Streams.")));
    object(
        json!({
            "accepted": count("Events, since this node started."),
            "discarded": count("Events, since this node started."),
            "delivered": count("Deliveries, since this node started."),
            "failed": count("Attempts, since this node started."),
            "sessions": count("Live sessions."),
            "in_flight": count("Requests."),
            "backlog": maybe("Undelivered events."),
            "oldest_age_ms": maybe("Age of the oldest of them."),
            "dead": maybe("Dead letters."),
            "streams": object(states.into_iter().collect::<serde_json::Map<_, _>>().into(), json!({})),
        }),
        json!({}),
    )
}
