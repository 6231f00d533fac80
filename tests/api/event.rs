//! `GET /api/events/{id}`.

use crate::both_stores;
use crate::support::api::{stream_of, webhook};
use crate::support::hub::Hub;
use crate::support::webhook::{Answer, Webhook};
use serde_json::json;

both_stores!(
    an_event_tells_where_it_stands,
    a_stream_added_later_is_none,
    a_stream_taken_away_is_not_delivered,
    unknown_ids_are_404,
);

async fn an_event_tells_where_it_stands(hub: Hub) {
    let (good, bad) = (Webhook::start().await, Webhook::start().await);
    bad.answers(|_| Answer::Status(500));
    let mut failing = webhook("bad", &bad.uri("/"));
    failing["retry"] = json!({"attempts": 100, "first": "1h", "max": "1h"});
    hub.register_with("t:x", "1h", json!([webhook("good", &good.uri("/")), failing])).await;
    let event = hub.send("t:x", json!({"a": 1})).await;
    good.delivered(1).await;
    let delivered = hub.until_state(&event.id, "good", "delivered").await;
    assert!(delivered.get("last_error").is_none_or(|e| e.is_null()), "{delivered}");
    bad.until("one attempt", |r| !r.is_empty()).await;
    let failed = crate::support::wait::eventually(crate::support::wait::PATIENCE, "the failure to show", || async {
        let failed = stream_of(&hub.event(&event.id).await, "bad").expect("the stream");
        (failed["attempts"] == 1).then_some(failed)
    })
    .await;
    assert_eq!(failed["state"], "pending");
    assert!(failed["last_error"].as_str().is_some_and(|e| e.contains("500")), "{failed}");
    let whole = hub.event(&event.id).await;
    assert_eq!(whole["id"], event.id.as_str());
    assert_eq!(whole["type"], "t:x");
    assert_eq!(whole["payload"], json!({"a": 1}));
    assert_eq!(whole["created_at"], event.created_at.as_str());
    assert_eq!(whole["processed_by"], json!([]));
    hub.get(&format!("/api/events/{}/", event.id)).await.expect(200);
}

async fn a_stream_added_later_is_none(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register("t", "1h").await;
    let before = hub.send("t", json!(1)).await;
    hub.register_with("t", "1h", json!([webhook("late", &hook.uri("/"))])).await;
    let after = hub.send("t", json!(2)).await;
    hub.until_state(&after.id, "late", "delivered").await;
    let seen = stream_of(&hub.event(&before.id).await, "late");
    assert!(seen.as_ref().is_none_or(|s| s["state"] == "none"), "{seen:?}");
    assert_eq!(hook.delivered(1).await, [after.id]);
}

async fn a_stream_taken_away_is_not_delivered(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let event = hub.send("t", json!(1)).await;
    hook.until("an attempt", |r| !r.is_empty()).await;
    hub.register("t", "1h").await;
    let seen = stream_of(&hub.event(&event.id).await, "hook");
    assert!(seen.as_ref().is_none_or(|s| s["state"] == "pending"), "it still waits: {seen:?}");
}

async fn unknown_ids_are_404(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!(1)).await;
    let id: u64 = event.id.parse().unwrap();
    for unknown in [id + 1, id - 1, id + (1 << 9), id + (1 << 40), 0, 1, u64::MAX, 1 << 63] {
        hub.get(&format!("/api/events/{unknown}")).await.problem(404);
    }
    for odd in ["abc", "-1", "1.0", "99999999999999999999999", "+1"] {
        let answer = hub.get(&format!("/api/events/{odd}")).await;
        assert!(matches!(answer.status, 400 | 404), "{odd}: {}", answer.status);
        answer.problem(answer.status);
    }
}
