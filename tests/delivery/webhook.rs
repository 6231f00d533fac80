//! What a webhook gets, and what its answers do.

use crate::both_stores;
use crate::support::api::{stream_of, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::webhook::{Answer, Received, Webhook, distinct};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::time::Duration;

both_stores!(
    a_webhook_gets_the_event_signed,
    a_given_secret_and_headers_are_used,
    every_event_of_a_batch_is_delivered,
    an_ephemeral_event_is_delivered,
    an_attempt_that_fails_is_repeated,
    every_kind_of_failure_is_a_failure,
    an_event_that_used_up_its_attempts_is_dead,
    a_slow_webhook_holds_no_other_stream,
    concurrency_bounds_what_is_in_flight,
    a_request_to_come_later_is_honoured,
    a_huge_answer_is_not_read_to_its_end,
);

async fn a_webhook_gets_the_event_signed(hub: Hub) {
    let hook = Webhook::start().await;
    let stored = hub.register_with("t:x", "1h", json!([webhook("hook", &hook.uri("/in?x=1"))])).await;
    let secret = stored["streams"][0]["secret"].as_str().expect("a generated secret").to_owned();
    let payload = r#"{"b":123456789012345678901234567890, "a":"\u00e9"}"#;
    let event = hub.send_raw(&format!(r#"{{"type":"t:x","payload":{payload}}}"#)).await;
    let received = hook.until("the event", |r| !r.is_empty()).await.remove(0);
    assert_eq!(received.line, "POST /in?x=1 HTTP/1.1");
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.header("webhook-id"), Some(event.id.as_str()));
    let wanted =
        format!(r#"{{"id":"{}","type":"t:x","payload":{payload},"created_at":"{}"}}"#, event.id, event.created_at);
    assert_eq!(String::from_utf8_lossy(&received.body), wanted);
    assert!(signed(&received, &secret), "{received:?}");
    let timestamp: i64 = received.header("webhook-timestamp").expect("a timestamp").parse().expect("seconds");
    assert!((timestamp - chrono::Utc::now().timestamp()).abs() < 60);
    hub.until_state(&event.id, "hook", "delivered").await;
}

async fn a_given_secret_and_headers_are_used(hub: Hub) {
    let hook = Webhook::start().await;
    let mut stream = webhook("hook", &hook.uri("/"));
    let secret = format!("whsec_{}", STANDARD.encode(b"0123456789abcdef0123456789abcdef"));
    stream["secret"] = json!(secret);
    stream["headers"] = json!({"X-Tenant": "blue", "Authorization": "Basic abc"});
    hub.register_with("t", "1h", json!([stream])).await;
    hub.send("t", json!(1)).await;
    let received = hook.until("the event", |r| !r.is_empty()).await.remove(0);
    assert!(signed(&received, &secret), "{received:?}");
    assert_eq!(received.header("x-tenant"), Some("blue"));
    assert_eq!(received.header("authorization"), Some("Basic abc"));
}

async fn every_event_of_a_batch_is_delivered(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let batch: Vec<_> = (0..500).map(|n| json!({"type": "t", "payload": n})).collect();
    let answers = hub.post("/api/events/send", serde_json::Value::from(batch)).await.expect(202).json();
    let delivered: std::collections::HashSet<_> = hook.delivered(500).await.into_iter().collect();
    for answer in answers.as_array().unwrap() {
        assert!(delivered.contains(answer["id"].as_str().unwrap()));
    }
}

async fn an_ephemeral_event_is_delivered(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register_with("e", "ephemeral", json!([webhook("hook", &hook.uri("/"))])).await;
    hook.answers(|r| Answer::Status(if r.attempt < 3 { 500 } else { 200 }));
    let event = hub.send("e", json!(1)).await;
    assert_eq!(hook.delivered(1).await, [event.id]);
}

async fn an_attempt_that_fails_is_repeated(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|r| Answer::Status(if r.attempt < 4 { 500 } else { 204 }));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let event = hub.send("t", json!(1)).await;
    assert_eq!(hook.delivered(1).await, [event.id.as_str()]);
    hub.until_state(&event.id, "hook", "delivered").await;
    let received = hook.received();
    assert_eq!(received.len(), 4, "nothing is delivered again after its success");
    assert!(received.iter().all(|r| r.body == received[0].body), "every attempt sends the same bytes");
    assert!(received.iter().all(|r| r.header("webhook-id") == Some(&event.id)), "and the same id");
}

async fn every_kind_of_failure_is_a_failure(setup: Setup) {
    let hub = setup.set("webhook.timeout", "500ms").start().await;
    let hook = Webhook::start().await;
    let elsewhere = hook.uri("/elsewhere");
    hook.answers(move |r| match r.attempt {
        1 => Answer::With(302, vec![("Location", elsewhere.clone())]),
        2 => Answer::Drop,
        3 => Answer::Status(404),
        4 => Answer::Hang,
        5 => Answer::Status(500),
        _ => Answer::Status(200),
    });
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/in"))])).await;
    let event = hub.send("t", json!(1)).await;
    assert_eq!(hook.delivered(1).await, [event.id]);
    let received = hook.received();
    assert!(received.len() >= 6, "{} attempts", received.len());
    assert!(received.iter().all(|r| r.line.starts_with("POST /in ")), "a redirect is not followed");
}

async fn an_event_that_used_up_its_attempts_is_dead(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|r| Answer::Status(if r.json()["payload"] == "bad" { 500 } else { 200 }));
    let mut stream = webhook("hook", &hook.uri("/"));
    stream["retry"] = json!({"attempts": 3, "first": "20ms", "max": "50ms"});
    hub.register_with("t", "1h", json!([stream])).await;
    let bad = hub.send("t", json!("bad")).await;
    let good = hub.send("t", json!("good")).await;
    let dead = hub.until_state(&bad.id, "hook", "dead").await;
    assert_eq!(dead["attempts"], 3, "{dead}");
    assert!(dead["last_error"].as_str().is_some_and(|e| e.contains("500")), "{dead}");
    hub.until_state(&good.id, "hook", "delivered").await;
    let attempts = hook.received().iter().filter(|r| r.id() == bad.id).count();
    assert_eq!(attempts, 3);
    assert_eq!(stream_of(&hub.event(&bad.id).await, "hook").unwrap()["state"], "dead");
}

async fn a_slow_webhook_holds_no_other_stream(hub: Hub) {
    let (slow, fast) = (Webhook::start().await, Webhook::start().await);
    slow.answers(|_| Answer::Hang);
    hub.register_with("t", "1h", json!([webhook("slow", &slow.uri("/")), webhook("fast", &fast.uri("/"))])).await;
    hub.register_with("u", "1h", json!([webhook("slow", &slow.uri("/")), webhook("fast", &fast.uri("/"))])).await;
    for n in 0..100 {
        hub.send(if n % 2 == 0 { "t" } else { "u" }, json!(n)).await;
    }
    fast.delivered(100).await;
    assert!(distinct(&slow.received()).is_empty());
}

async fn concurrency_bounds_what_is_in_flight(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Hang);
    let mut stream = webhook("hook", &hook.uri("/"));
    stream["concurrency"] = json!(3);
    stream["mailbox"] = json!(5);
    hub.register_with("t", "1h", json!([stream])).await;
    hub.send_many("t", 20).await;
    hook.until("three attempts", |r| r.len() >= 3).await;
    // A fourth would come at once, if it came.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hook.received().len(), 3);
}

async fn a_request_to_come_later_is_honoured(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|r| match r.attempt {
        1 => Answer::With(429, vec![("Retry-After", "1".into())]),
        _ => Answer::Status(200),
    });
    let mut stream = webhook("hook", &hook.uri("/"));
    stream["retry"] = json!({"attempts": 10, "first": "10ms", "max": "10s"});
    hub.register_with("t", "1h", json!([stream])).await;
    let start = std::time::Instant::now();
    hub.send("t", json!(1)).await;
    hook.delivered(1).await;
    assert!(start.elapsed() >= Duration::from_millis(900), "came back after {:?}", start.elapsed());
}

async fn a_huge_answer_is_not_read_to_its_end(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Huge(64 << 20));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let sent = hub.send_many("t", 3).await;
    for event in sent {
        hub.until_state(&event.id, "hook", "delivered").await;
    }
}

/// Whether one of the request's signatures is that of the secret (Standard Webhooks).
fn signed(request: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a secret is base64");
    assert!(key.len() >= 24, "a secret has 24 bytes or more");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key length");
    for part in [request.header("webhook-id").unwrap(), ".", request.header("webhook-timestamp").unwrap(), "."] {
        mac.update(part.as_bytes());
    }
    mac.update(&request.body);
    let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    request.header("webhook-signature").expect("a signature").split(' ').any(|s| s == wanted)
}
