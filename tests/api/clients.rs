//! `GET /api/events/clients/{client}`: how far a client is behind, and where it goes on.

use crate::both_stores;
use crate::support::api::{ids, link, millis};
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, eventually};
use serde_json::{Value, json};

both_stores!(
    a_client_learns_what_is_pending_and_where,
    marks_and_types_count,
    a_client_that_has_done_everything_has_nothing_to_do,
    what_expires_is_not_pending,
    malformed_questions_are_400,
);

async fn client(hub: &Hub, path: &str) -> Value {
    hub.get(&format!("/api/events/clients/{path}")).await.expect(200).json()
}

async fn a_client_learns_what_is_pending_and_where(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    let first = hub.send("a", json!(1)).await;
    hub.send_many("b", 3).await;
    let about = client(&hub, "c~1").await;
    assert_eq!((&about["client"], &about["pending"]), (&json!("c~1"), &json!(4)));
    assert_eq!(about["types"], json!({"a": 1, "b": 3}));
    let age = about["oldest_age_ms"].as_i64().expect("an age");
    let real = chrono::Utc::now().timestamp_millis() - millis(&first.created_at);
    assert!((0..=real + 1000).contains(&age), "{age} {real}");
    assert!(link(&about, "self").unwrap().ends_with("/api/events/clients/c~1"));
    let next = link(&about, "next-unprocessed").expect("a link");
    assert!(next.contains("/api/events/feed/hour/") && next.contains("/client/c~1"), "{next}");
    let feed = hub.follow(&next).await.expect(200).json();
    assert_eq!(ids(&feed).last(), Some(&first.id));
}

async fn marks_and_types_count(hub: Hub) {
    hub.register("a:x", "1h").await;
    hub.register("b", "permanent").await;
    let a = hub.send_many("a:x", 3).await;
    let b = hub.send_many("b", 2).await;
    let many = json!({"ids": [a[0].id, a[2].id, b[0].id]});
    hub.call("PUT", "/api/events/ok/c", &[("Content-Type", "application/json")], Some(many.to_string().as_bytes()))
        .await
        .expect(200);
    assert_eq!(client(&hub, "c").await["types"], json!({"a:x": 1, "b": 1}));
    let about = client(&hub, "c?types=a:*").await;
    assert_eq!((&about["pending"], &about["types"]), (&json!(1), &json!({"a:x": 1})));
    for rel in ["self", "next-unprocessed"] {
        assert!(link(&about, rel).unwrap().ends_with("?types=a:*"), "{about}");
    }
    let next = hub.follow(&link(&about, "next-unprocessed").unwrap()).await.expect(200).json();
    assert_eq!(ids(&next), [a[1].id.as_str()]);
    hub.call("DELETE", &format!("/api/events/{}/ok/c", a[0].id), &[], None).await.expect(200);
    assert_eq!(client(&hub, "c").await["pending"], 3);
    assert_eq!(client(&hub, "other").await["pending"], 5);
    let hub = hub.restart().await;
    assert_eq!(client(&hub, "c").await["types"], json!({"a:x": 2, "b": 1}));
}

async fn a_client_that_has_done_everything_has_nothing_to_do(hub: Hub) {
    hub.register("t", "1h").await;
    hub.register("e", "ephemeral").await;
    for wanted in [0, 2] {
        let sent = hub.send_many("t", wanted).await;
        hub.send("e", json!(1)).await;
        for event in &sent {
            hub.call("PUT", &format!("/api/events/{}/ok/c", event.id), &[], None).await.expect(200);
        }
        let about = client(&hub, "c/").await;
        assert_eq!((&about["pending"], &about["oldest_age_ms"]), (&json!(0), &Value::Null));
        assert_eq!((&about["types"], link(&about, "next-unprocessed")), (&json!({}), None));
    }
}

async fn what_expires_is_not_pending(hub: Hub) {
    hub.register("t", "1s").await;
    hub.register("long", "1h").await;
    hub.send_many("t", 3).await;
    hub.send("long", json!(1)).await;
    eventually(PATIENCE, "the short ones to expire", || async {
        (client(&hub, "c").await["types"] == json!({"long": 1})).then_some(())
    })
    .await;
}

async fn malformed_questions_are_400(hub: Hub) {
    for path in ["a%20b", "a:b", "c?types=", "c?types=a,,b", "c?types=a&types=b", &"x".repeat(129)] {
        hub.get(&format!("/api/events/clients/{path}")).await.problem(400);
    }
    hub.call("PUT", "/api/events/clients/c", &[], None).await.problem(405);
    let answer = hub.get("/api/events/clients/c").await;
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
}
