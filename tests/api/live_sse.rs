//! Server-Sent Events at `GET /api/events/`.

use crate::both_stores;
use crate::support::hub::{Hub, Setup};
use crate::support::sse::Events;
use serde_json::{Value, json};

both_stores!(
    a_stream_carries_events_with_their_ids,
    a_payload_with_line_ends_arrives_as_the_same_json,
    a_stream_goes_on_after_its_last_event_id,
    a_stream_is_kept_open_with_comments,
    a_stream_counts_as_a_session_and_ends_with_the_hub,
    a_malformed_cursor_is_refused,
    who_does_not_ask_for_a_stream_gets_the_document,
);

async fn a_stream_carries_events_with_their_ids(hub: Hub) {
    hub.register("t:x", "1h").await;
    hub.register("other", "1h").await;
    let mut events = Events::open(&hub, "?types=t:*", &[]).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    assert_eq!(events.header("cache-control"), Some("no-store"));
    hub.send("other", json!(0)).await;
    let sent = hub.send("t:x", json!({"a": "é\u{2028}"})).await;
    let message = events.next().await.unwrap();
    assert_eq!((message.event.as_str(), &message.last_event_id), ("message", &sent.id));
    let wanted = json!({"id": sent.id, "type": "t:x", "payload": {"a": "é\u{2028}"}, "created_at": sent.created_at});
    assert_eq!(message.json(), wanted);
    assert!(events.parser.retry.is_some_and(|ms| ms > 0));
}

async fn a_payload_with_line_ends_arrives_as_the_same_json(hub: Hub) {
    hub.register("t", "1h").await;
    let mut events = Events::open(&hub, "", &[]).await;
    for payload in ["{\n\"a\":\r\n1\r, \"b\": \"data: \\n\\r x\"\n\n}", "[\r\r1,\n\r2 ]", "\"id: 5\""] {
        let sent = hub.send_raw(&format!("{{\"type\":\"t\",\"payload\":{payload}}}")).await;
        let message = events.next().await.unwrap();
        assert_eq!(message.last_event_id, sent.id);
        assert_eq!(message.json()["payload"], serde_json::from_str::<Value>(payload).unwrap());
    }
}

async fn a_stream_goes_on_after_its_last_event_id(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 20).await;
    // The header wins over what the URL says for ever.
    let mut events = Events::open(&hub, &format!("?since={}", sent[2].id), &[("Last-Event-ID", &sent[9].id)]).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.event.as_str(), first.last_event_id.as_str()), ("control", ""));
    assert_eq!(first.json(), json!({"control": "resumed", "from": sent[9].id, "complete": true}));
    for event in &sent[10..] {
        assert_eq!(events.id().await, event.id);
    }
    let new = hub.send("t", json!("new")).await;
    assert_eq!(events.id().await, new.id);
}

async fn a_stream_is_kept_open_with_comments(setup: Setup) {
    let hub = setup.set("live.heartbeat", "200ms").start().await;
    hub.register("t", "1h").await;
    let mut events = Events::open(&hub, "", &[]).await;
    for _ in 0..3 {
        events.comment().await;
    }
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(events.id().await, sent.id);
}

async fn a_stream_counts_as_a_session_and_ends_with_the_hub(setup: Setup) {
    let hub = setup.set("live.max_sessions", 1).start().await;
    let mut events = Events::open(&hub, "", &[]).await;
    let refused = hub.call("GET", "/api/events/", &[("Accept", "text/event-stream")], None).await;
    assert_eq!(refused.problem(503)["type"], "/problems/too-many-sessions");
    hub.terminate();
    let last = events.next().await.unwrap();
    assert_eq!((last.event.as_str(), &last.json()["code"]), ("control", &json!(1001)));
    assert_eq!(events.next().await, None);
    hub.stop_after_signal().await;
}

async fn a_malformed_cursor_is_refused(hub: Hub) {
    let accept = ("Accept", "text/event-stream");
    for (query, header) in [("?since=x", None), ("?since=", None), ("", Some("x")), ("?types=", None)] {
        let mut headers = vec![accept];
        headers.extend(header.map(|id| ("Last-Event-ID", id)));
        hub.call("GET", &format!("/api/events/{query}"), &headers, None).await.problem(400);
    }
}

async fn who_does_not_ask_for_a_stream_gets_the_document(hub: Hub) {
    for accept in ["*/*", "application/json", "text/event-stream;q=0", "text/event-stream;q=0.1, application/json"] {
        let answer = hub.call("GET", "/api/events", &[("Accept", accept)], None).await.expect(200);
        assert!(answer.json()["links"].is_array(), "{accept}");
    }
}
