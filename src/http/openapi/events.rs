//! The paths of types and events: sending, registering, reading, marking, listening.

use super::parts::{
    APPLIED, CACHING, JSON, LINKS, LOCATION, MAYBE_TAG, Operation, header, path, query, schema, segment,
};
use crate::http::{HttpSettings, feed_asked, feed_look, feed_wait};
use serde_json::{Value, json};

const SENDING: &str = "Sending";
const TYPES: &str = "Types";
const FEEDS: &str = "Feeds";
const LIVE: &str = "Live";

/// Their tags.
pub const TAGS: &[(&str, &str)] = &[
    (SENDING, "Events are durable, and so is their delivery, before the 202."),
    (TYPES, "How long events of a type are kept, and where they are delivered."),
    (FEEDS, "Stored events, cut by time; what a client has processed of them."),
    (LIVE, "Events as they are committed."),
];

/// All of them.
pub fn paths(http: &HttpSettings) -> Value {
    json!({
        "/api/events": live(),
        "/api/events/send": send(http),
        "/api/events/register": registrations(),
        "/api/events/register/{type}": registration(),
        "/api/events/discarded": discarded(),
        "/api/events/feed/{slice}/{at}": feed(),
        "/api/events/feed/{slice}/{at}/client/{client}": client_feed(),
        "/api/events/clients/{client}": pending(),
        "/api/events/ok/{client}": mark_many(),
        "/api/events/{id}": event(),
        "/api/events/{id}/ok/{client}": mark(),
    })
}

fn types() -> Value {
    query("types", "Which types; absent means every one.", schema("TypeFilter"))
}

fn client() -> Value {
    segment("client", "Whose marks are meant.", schema("Client"))
}

fn send(http: &HttpSettings) -> Value {
    let key = json!({ "type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$" });
    let examples = json!({
        "one": { "value": { "type": "financial:end-budget", "payload": { "campaign_id": 123 } } },
        "batch": { "value": [
            { "type": "financial:end-budget", "payload": { "campaign_id": 123 } },
            { "type": "campaign:stop-campaign", "payload": null },
        ]},
    });
    let operation = Operation::api("send", SENDING, "Send one event, or an array of them")
        .describe(&format!(
            "The 202 is given after the events and their delivery to every stream of their types are durable in the store. \
A batch has at most {} items; all of a type commit together, and an item that is invalid has its problem in its place. \
Trace context (`traceparent`, `tracestate`) goes with the events to webhooks and RabbitMQ.\n\nA 503 promises nothing: repeat with the same \
`Idempotency-Key`.",
            http.max_batch
        ))
        .takes(&[header(
            "Idempotency-Key",
            "Makes a repetition safe: within `events.idempotency_window` the same key and body give the first answer again.",
            key,
        ), header("traceparent", "The trace that the send belongs to (W3C Trace Context).", json!({ "type": "string" })),
        header("tracestate", "What goes with it.", json!({ "type": "string" }))])
        .body(true, json!({ "oneOf": [schema("NewEvent"), schema("NewEvents")] }), examples)
        .answers(202, "Stored, or discarded since nobody registered the type.", json!({ "oneOf": [schema("Sent"), schema("SentEach")] }), &[])
        .problems(&[404]);
    path(&[], [("post", operation)])
}

fn registrations() -> Value {
    let examples = json!({ "webhook": { "value": {
        "type": "financial:end-budget", "ttl": "24days",
        "streams": [{ "source": "webhook", "uri": "https://example.com/unpublish" }],
    }}});
    let list = Operation::api("listTypes", TYPES, "All registered types").answers(
        200,
        "By name.",
        schema("Types"),
        &[CACHING],
    );
    let put = Operation::api("register", TYPES, "Register a type, or replace its registration")
        .describe(
            "In force for every send that begins after the answer. A stream that is not there any more takes no new \
events and still delivers what it was promised.",
        )
        .body(true, schema("NewType"), examples)
        .answers(200, "Replaced.", schema("Type"), &[CACHING])
        .answers(201, "New.", schema("Type"), &[CACHING, LOCATION]);
    path(&[], [("get", list), ("put", put)])
}

fn registration() -> Value {
    let get = Operation::api("getType", TYPES, "One registration")
        .answers(200, "As it is registered, secrets masked.", schema("Type"), &[CACHING])
        .problems(&[404]);
    let delete = Operation::api("unregister", TYPES, "Delete a registration")
        .describe("Later events of the type are discarded; stored ones stay readable until their lifetime ends.")
        .answers_as(204, "Deleted.", &[], &[])
        .problems(&[404]);
    path(&[segment("type", "The type.", schema("EventType"))], [("get", get), ("delete", delete)])
}

fn discarded() -> Value {
    let list = Operation::api("listDiscarded", SENDING, "Types that were sent but never registered").answers(
        200,
        "The newest 1000, newest first.",
        schema("DiscardedTypes"),
        &[CACHING],
    );
    path(&[], [("get", list)])
}

fn slice() -> [Value; 2] {
    let instant = json!({ "type": "string", "format": "date-time" });
    [
        segment("slice", "How time is cut.", schema("Slice")),
        segment(
            "at",
            "`current`, or an instant anywhere in the slice.",
            json!({ "anyOf": [{ "const": "current" }, instant] }),
        ),
    ]
}

/// What every feed takes.
fn reading() -> Vec<Value> {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": feed_asked::MAX_LIMIT, "default": feed_look::DEFAULT_LIMIT });
    let wait = format!(
        "`wait=N` on a current slice: waits up to N seconds (at most {}) for the first event instead of an empty list or a 304.",
        feed_wait::LONGEST
    );
    vec![
        types(),
        query("limit", "How many events at most.", limit),
        query("after", "Where the page before ended: its last event.", schema("EventId")),
        header("If-None-Match", "The `ETag` that is known already.", json!({ "type": "string" })),
        header("Prefer", &wait, json!({ "type": "string", "examples": ["wait=30"] })),
    ]
}

fn read(operation: Operation, body: &str) -> Operation {
    operation
        .answers(
            200,
            "The events, newest first, and where the feed goes on: `self`, `prev`, `next`, `current`, `more`.",
            schema(body),
            &[CACHING, MAYBE_TAG, LINKS, APPLIED],
        )
        .answers_as(304, "The same as before.", &[], &[CACHING, MAYBE_TAG, LINKS, APPLIED])
        .problems(&[404])
}

fn feed() -> Value {
    let operation = Operation::api("readFeed", FEEDS, "A slice of time").takes(&reading());
    path(&slice(), [("get", read(operation, "Feed"))])
}

fn client_feed() -> Value {
    let status = json!({ "enum": ["pending", "processed", "all"], "default": "pending" });
    let mut takes = reading();
    takes.push(query("status", "Which of its events.", status));
    let operation = Operation::api("readClientFeed", FEEDS, "What a client has not processed of a slice").takes(&takes);
    let [slice, at] = slice();
    path(&[slice, at, client()], [("get", read(operation, "ClientFeed"))])
}

fn pending() -> Value {
    let operation = Operation::api("getPending", FEEDS, "How much waits for a client, and since when")
        .describe("The link `next-unprocessed` leads to the feed that holds the oldest.")
        .takes(&[types()])
        .answers(200, "What waits.", schema("Pending"), &[CACHING])
        .problems(&[404]);
    path(&[client()], [("get", operation)])
}

fn id() -> Value {
    segment("id", "The event's id.", schema("EventId"))
}

fn event() -> Value {
    let operation = Operation::api("getEvent", FEEDS, "One event, and what became of it")
        .answers(200, "The event, its state at each stream, and who marked it.", schema("EventDetail"), &[CACHING])
        .problems(&[404]);
    path(&[id()], [("get", operation)])
}

fn mark() -> Value {
    let put = Operation::api("mark", FEEDS, "Mark an event processed")
        .answers(200, "The store has the mark.", schema("Marked"), &[])
        .problems(&[404]);
    let delete = Operation::api("unmark", FEEDS, "Take a mark back")
        .answers(200, "The mark is gone.", schema("Unmarked"), &[])
        .problems(&[404]);
    path(&[id(), client()], [("put", put), ("delete", delete)])
}

fn mark_many() -> Value {
    let examples = json!({ "two": { "value": { "ids": ["2354686469827723264", "2354686469827723265"] } } });
    let operation = Operation::api("markMany", FEEDS, "Mark many events processed")
        .body(true, schema("Ids"), examples)
        .answers(200, "For each, whether it was there to be marked.", schema("MarkedEach"), &[])
        .problems(&[404]);
    path(&[client()], [("put", operation)])
}

fn live() -> Value {
    let since = "The last event that is known: what the store holds after it comes first.";
    let operation = Operation::api("live", LIVE, "Live events, or where the API leads")
        .describe(
            "With `Upgrade: websocket` a WebSocket: a text frame an event, `{\"id\", \"type\", \"payload\", \"created_at\"}`; the client \
may send `{\"subscribe\": [filters]}`, `{\"unsubscribe\": [filters]}` and `{\"ok\": ID, \"client\": CLIENT}`. With `Accept: \
text/event-stream` Server-Sent Events: `id` and the same JSON as `data`. Otherwise the entry document.",
        )
        .takes(&[
            types(),
            query("since", since, schema("EventId")),
            header("Last-Event-ID", "As `since`, and wins over it, unless it is empty.", json!({ "type": "string" })),
        ])
        .answers_as(101, "A WebSocket begins.", &[], &[])
        .answers_as(
            200,
            "The entry document, or a stream that does not end.",
            &[(JSON, schema("Entry")), ("text/event-stream", json!({ "type": "string" }))],
            &[],
        )
        .problems(&[403]);
    path(&[], [("get", operation)])
}
