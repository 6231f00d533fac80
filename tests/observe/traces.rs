//! A send's trace goes with its events to whoever they are delivered to, and is shown nowhere else.

use crate::both_stores;
use crate::support::api::{rabbit, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::webhook::{Answer, Received, Webhook};
use crate::support::ws::Session;
use serde_json::json;

both_stores!(a_trace_reaches_the_webhook, a_trace_outlives_a_restart_and_a_retry_and_is_in_no_feed);

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn send(hub: &Hub, body: &str, trace: &[(&str, &str)]) -> Vec<String> {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend_from_slice(trace);
    let answer = hub.call("POST", "/api/events/send", &headers, Some(body.as_bytes())).await.expect(202).json();
    let id = |item: &serde_json::Value| item["id"].as_str().expect("an id").to_owned();
    answer.as_array().map_or_else(|| vec![id(&answer)], |items| items.iter().map(id).collect())
}

fn of<'a>(received: &'a [Received], id: &str) -> &'a Received {
    received.iter().find(|r| r.header("webhook-id") == Some(id)).expect("the event arrived")
}

async fn a_trace_reaches_the_webhook(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let body = r#"{"type":"t","payload":{"a": 1}}"#;
    let with = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")];
    let traced = send(&hub, body, &with).await;
    let plain = send(&hub, body, &[]).await;
    let malformed = send(&hub, body, &[("traceparent", "00-no-trace-01"), ("tracestate", "a=1")]).await;
    let batch = send(&hub, &format!("[{body},{body}]"), &[("traceparent", PARENT)]).await;
    hook.delivered(5).await;
    let received = hook.received();
    let found = |id: &str| {
        let request = of(&received, id);
        assert_eq!(request.json()["payload"], json!({"a": 1}));
        assert!(String::from_utf8_lossy(&request.body).contains("\"payload\":{\"a\": 1}"), "the bytes as they came");
        (request.header("traceparent").map(str::to_owned), request.header("tracestate").map(str::to_owned))
    };
    assert_eq!(found(&traced[0]), (Some(PARENT.to_owned()), Some("a=1,b=2".to_owned())));
    assert_eq!(found(&plain[0]), (None, None));
    assert_eq!(found(&malformed[0]), (None, None));
    assert_eq!((batch.len(), found(&batch[0])), (2, (Some(PARENT.to_owned()), None)));
    assert_eq!(found(&batch[1]), (Some(PARENT.to_owned()), None));
}

async fn a_trace_outlives_a_restart_and_a_retry_and_is_in_no_feed(setup: Setup) {
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let mut session = Session::open(&hub, "?types=t").await;
    let with = [("traceparent", PARENT), ("tracestate", "a=1"), ("Idempotency-Key", "k")];
    let ids = send(&hub, r#"{"type":"t","payload":"p"}"#, &with).await;
    let frame = session.text().await;
    hook.until("a failed attempt", |received| !received.is_empty()).await;
    let hub = hub.restart().await;
    hook.answers(|_| Answer::Status(200));
    hook.delivered(1).await;
    for request in hook.received() {
        assert_eq!((request.header("traceparent"), request.header("tracestate")), (Some(PARENT), Some("a=1")));
    }
    let feed = hub.get("/api/events/feed/day/current").await.expect(200);
    assert_eq!(feed.json()["events"][0]["payload"], "p");
    let event = hub.get(&format!("/api/events/{}", ids[0])).await.expect(200);
    assert_eq!(event.json()["payload"], "p");
    for shown in [feed.text(), event.text(), frame] {
        assert!(!shown.contains("0af7651916cd") && shown.contains("\"payload\":\"p\""), "{shown}");
    }
}

/// A rabbit stream's headers are tested where there is a broker; here, that a stream without one keeps the trace.
#[actix_web::test]
async fn a_traced_event_that_cannot_be_delivered_becomes_a_readable_dead_letter() {
    let hub = Setup::embedded().set("rabbit.url", "amqp://127.0.0.1:1/%2f").start().await;
    hub.register_with("t", "1h", json!([rabbit("mq", "ex", "key")])).await;
    let ids = send(&hub, r#"{"type":"t","payload":[1]}"#, &[("traceparent", PARENT)]).await;
    hub.delete("/api/events/streams/t/mq").await.expect(200);
    let dead = hub.get("/api/events/streams/t/mq/dead").await;
    // The stream may be gone by now; its event is not.
    if dead.status == 200 {
        assert_eq!(dead.json()["dead"][0]["event"]["payload"], json!([1]));
    }
    assert_eq!(hub.event(&ids[0]).await["payload"], json!([1]));
}
