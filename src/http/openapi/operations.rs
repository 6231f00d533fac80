//! The paths of those who run the hub: streams, nodes, health, and this document.

use super::parts::{CACHING, COOKIE, JSON, Operation, TAG, header, path, query, schema, segment};
use crate::http::dead;
use serde_json::{Value, json};

const STREAMS: &str = "Streams";
const HUB: &str = "Hub";

/// Their tags.
pub const TAGS: &[(&str, &str)] =
    &[(STREAMS, "How delivery does, and tuning it."), (HUB, "The nodes, their health, and this document.")];

/// All of them.
pub fn paths() -> Value {
    json!({
        "/api/events/streams": streams(),
        "/api/events/streams/{type}/{name}": stream(),
        "/api/events/streams/{type}/{name}/attempts": attempts(),
        "/api/events/streams/{type}/{name}/dead": dead_letters(),
        "/api/events/streams/{type}/{name}/dead/retry": retry(),
        "/api/events/streams/{type}/{name}/replay": replay(),
        "/api/events/nodes": nodes(),
        "/api/events/overview": overview(),
        "/api/session": session(),
        "/metrics": metrics(),
        "/": root(),
        "/assets/{file}": asset(),
        "/api/events/counts": counts(),
        "/api/events/store": store(),
        "/healthz": alive(),
        "/readyz": ready(),
        "/openapi.json": document(),
        "/docs": docs(),
        "/docs/{file}": file(),
    })
}

fn named() -> [Value; 2] {
    [
        segment("type", "The stream's type.", schema("EventType")),
        segment("name", "The stream's name.", schema("StreamName")),
    ]
}

fn streams() -> Value {
    let list = Operation::api("listStreams", STREAMS, "All streams").answers(
        200,
        "By type and name.",
        schema("Streams"),
        &[CACHING],
    );
    path(&[], [("get", list)])
}

fn stream() -> Value {
    let get = Operation::api("getStream", STREAMS, "One stream")
        .answers(
            200,
            "Counters are those of all nodes, what is in memory is this node's. `history` is the last quarter of an hour, \
             as far as this node has seen it; a list of streams has none.",
            schema("Stream"),
            &[CACHING],
        )
        .problems(&[404]);
    let examples = json!({ "pause": { "value": { "state": "paused" } }, "tune": { "value": { "concurrency": 4 } } });
    let patch = Operation::api("tuneStream", STREAMS, "Pause, resume or tune a stream")
        .body(true, schema("Tuning"), examples)
        .answers(200, "In force.", schema("Stream"), &[CACHING])
        .problems(&[404]);
    let delete = Operation::api("deleteStream", STREAMS, "End a stream")
        .describe("What waits becomes dead letters at once.")
        .answers(200, "How many events became dead letters.", schema("Count"), &[])
        .problems(&[404]);
    path(&named(), [("get", get), ("patch", patch), ("delete", delete)])
}

fn attempts() -> Value {
    let list = Operation::api("listAttempts", STREAMS, "What a stream has tried")
        .answers(200, "The newest 1000: every failure, successes once a second.", schema("Attempts"), &[CACHING])
        .problems(&[404]);
    path(&named(), [("get", list)])
}

fn some() -> Value {
    json!({
        "all": { "value": {} },
        "some": { "value": { "ids": ["2354686469827723264"] } },
    })
}

fn dead_letters() -> Value {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": dead::MAX_LIMIT, "default": dead::LIMIT });
    let list = Operation::api("listDeadLetters", STREAMS, "What a stream has given up")
        .takes(&[
            query("after", "Where the page before ended: its last event.", schema("EventId")),
            query("limit", "How many at most.", limit),
        ])
        .answers(
            200,
            "In the order of their commits; a link `more` when there are more.",
            schema("DeadLetters"),
            &[CACHING],
        )
        .problems(&[404]);
    let delete = Operation::api("deleteDeadLetters", STREAMS, "Delete dead letters")
        .describe("All of them without a body or `ids`.")
        .body(false, schema("SomeIds"), some())
        .answers(200, "How many were deleted.", schema("Count"), &[])
        .problems(&[404]);
    path(&named(), [("get", list), ("delete", delete)])
}

fn retry() -> Value {
    let post = Operation::api("retryDeadLetters", STREAMS, "Send dead letters again")
        .describe("All of them without a body or `ids`.")
        .body(false, schema("SomeIds"), some())
        .answers(200, "How many are due now.", schema("Count"), &[])
        .problems(&[404]);
    path(&named(), [("post", post)])
}

fn replay() -> Value {
    let examples = json!({ "count": { "value": {
        "from": "2018-02-01T11:00:00.000Z", "to": "2018-02-01T12:00:00.000Z", "dry_run": true,
    }}});
    let post = Operation::api("replay", STREAMS, "Deliver a range of time again")
        .body(true, schema("Range"), examples)
        .answers(200, "How many events are queued, or would be.", schema("Replayed"), &[])
        .problems(&[404]);
    path(&named(), [("post", post)])
}

fn nodes() -> Value {
    let list = Operation::api("listNodes", HUB, "The hubs on this store").answers(
        200,
        "The oldest first.",
        schema("Nodes"),
        &[CACHING],
    );
    path(&[], [("get", list)])
}

fn overview() -> Value {
    let get = Operation::api("overview", HUB, "How this node does, and what needs somebody").answers(
        200,
        "Now, and the last quarter of an hour.",
        schema("Overview"),
        &[CACHING],
    );
    path(&[], [("get", get)])
}

fn metrics() -> Value {
    let get = Operation::new("metrics", HUB, "Metrics for Prometheus").answers_as(
        200,
        "Text, version 0.0.4.",
        &[("text/plain", json!({ "type": "string" }))],
        &[CACHING],
    );
    path(&[], [("get", get)])
}

fn session() -> Value {
    let get = Operation::api("getSession", HUB, "What the token or cookie is for").answers(
        200,
        "Its scopes and limits; all scopes where nobody is asked for a token.",
        schema("Session"),
        &[CACHING],
    );
    let examples = json!({ "token": { "value": { "token": "TOKEN" } } });
    let post = Operation::api("signIn", HUB, "Get a cookie for a token")
        .describe(
            "For pages: their scripts cannot read it, and it is sent by pages of the hub alone. It lasts 12 hours.",
        )
        .body(true, schema("SignIn"), examples)
        .answers(200, "What the token is for.", schema("Session"), &[CACHING, COOKIE])
        .problems(&[401]);
    let delete = Operation::api("signOut", HUB, "Give the cookie back").answers_as(204, "It is gone.", &[], &[COOKIE]);
    path(&[], [("get", get), ("post", post), ("delete", delete)])
}

fn root() -> Value {
    let get = Operation::new("dashboard", HUB, "The dashboard");
    path(&[], [("get", kept(get, &[("text/html", json!({ "type": "string" }))]))])
}

fn asset() -> Value {
    let get = Operation::new("dashboardFile", HUB, "What the dashboard consists of").problems(&[404]);
    let text = || json!({ "type": "string" });
    let media = [("text/css", text()), ("text/javascript", text()), ("image/svg+xml", text())];
    let name = segment("file", "Its name.", json!({ "enum": crate::http::dashboard::assets() }));
    path(&[name], [("get", kept(get, &media))])
}

fn counts() -> Value {
    let get = Operation::api("getCounts", HUB, "Events this node has stored of each type since it started")
        .describe("Two looks make a rate.")
        .answers(200, "By type.", schema("Counts"), &[CACHING]);
    path(&[], [("get", get)])
}

fn store() -> Value {
    let get = Operation::api("getStore", HUB, "What the events are kept in").answers(
        200,
        "Its memory, and what an operator should change about it.",
        schema("Store"),
        &[CACHING],
    );
    path(&[], [("get", get)])
}

fn alive() -> Value {
    let get = Operation::new("alive", HUB, "Whether the process is alive").answers(
        200,
        "It is.",
        schema("Health"),
        &[CACHING],
    );
    path(&[], [("get", get)])
}

fn ready() -> Value {
    let get = Operation::new("ready", HUB, "Whether the hub takes events")
        .describe("The store answers and can be written, and every part of the hub makes progress.")
        .answers(200, "It does.", schema("Health"), &[CACHING])
        .problems(&[503]);
    path(&[], [("get", get)])
}

/// Files that the hub brings along.
fn kept(operation: Operation, media: &[(&str, Value)]) -> Operation {
    operation
        .takes(&[header("If-None-Match", "The `ETag` that is known already.", json!({ "type": "string" }))])
        .answers_as(200, "The content.", media, &[CACHING, TAG])
        .answers_as(304, "The same as before.", &[], &[CACHING, TAG])
}

fn document() -> Value {
    let get = Operation::new("openapi", HUB, "This document");
    path(&[], [("get", kept(get, &[(JSON, json!({ "type": "object" }))]))])
}

fn docs() -> Value {
    let get = Operation::new("docs", HUB, "This document for people");
    path(&[], [("get", kept(get, &[("text/html", json!({ "type": "string" }))]))])
}

fn file() -> Value {
    let get = Operation::new("docsFile", HUB, "What that page consists of").problems(&[404]);
    let text = || json!({ "type": "string" });
    let media = [("text/css", text()), ("text/javascript", text())];
    let names = super::docs::names();
    let name = segment("file", "Its name.", json!({ "enum": names }));
    path(&[name], [("get", kept(get, &media))])
}
