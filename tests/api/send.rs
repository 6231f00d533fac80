//! `POST /api/events/send` and `GET /api/events/discarded`.

use crate::both_stores;
use crate::support::api::{ids, link, millis, number, sent, webhook};
use crate::support::hub::{Hub, Setup};
use serde_json::{Value, json};

both_stores!(
    an_accepted_event_is_answered_in_full,
    a_batch_answers_each_item_in_its_place,
    a_batch_keeps_its_order,
    an_unregistered_type_is_discarded_and_listed,
    an_unregistered_type_is_refused_where_settings_say_so,
    bodies_that_are_no_event_are_refused,
    limits_are_enforced,
    a_trailing_slash_changes_nothing,
    ids_rise_with_every_event_of_a_type,
    many_senders_get_different_ids,
);

const SEND: &str = "/api/events/send";

async fn an_accepted_event_is_answered_in_full(hub: Hub) {
    hub.register_with("t:x", "1h", json!([webhook("hook", "http://127.0.0.1:9/")])).await;
    let answer = hub.post(SEND, json!({"type": "t:x", "payload": {"a": 1}})).await.expect(202);
    let body = answer.json();
    let event = sent(&body);
    number(&event.id);
    assert_eq!(body["type"], "t:x");
    assert_eq!(body["streams"], json!(["hook"]));
    assert_eq!(event.created_at.len(), "2018-02-01T11:12:01.000Z".len(), "{}", event.created_at);
    assert!(event.created_at.ends_with('Z'));
    assert!((millis(&event.created_at) - chrono::Utc::now().timestamp_millis()).abs() < 10_000);
    let href = link(&body, "self").expect("a self link");
    let read = hub.follow(&href).await.expect(200).json();
    assert_eq!((&read["id"], &read["created_at"]), (&body["id"], &body["created_at"]));
}

async fn a_batch_answers_each_item_in_its_place(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    let batch = json!([
        {"type": "a", "payload": 1},
        {"type": "nobody:knows", "payload": 2},
        {"type": "a b", "payload": 3},
        {"type": "b", "payload": null},
        {"type": "a"},
        {"type": "a", "payload": 4, "extra": 1},
        7,
        {"type": "a", "payload": 5},
    ]);
    let results = hub.post(SEND, batch).await.expect(202).json();
    let results = results.as_array().expect("an array").clone();
    assert_eq!(results.len(), 8);
    for accepted in [0, 3, 7] {
        sent(&results[accepted]);
    }
    assert_eq!(results[1], json!({"type": "nobody:knows", "status": "discarded", "reason": "unregistered"}));
    for invalid in [2, 4, 5, 6] {
        let problem = &results[invalid];
        assert_eq!(problem["status"], 422, "{problem}");
        assert_eq!(problem["type"], "/problems/invalid", "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    }
    assert_eq!(ids(&hub.feed("100days/current").await).len(), 3);
}

async fn a_batch_keeps_its_order(hub: Hub) {
    hub.register("t", "1h").await;
    let batch: Vec<Value> = (0..700).map(|n| json!({"type": "t", "payload": n})).collect();
    let results = hub.post(SEND, Value::from(batch)).await.expect(202).json();
    let numbers: Vec<u64> = results.as_array().unwrap().iter().map(|r| number(&sent(r).id)).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "ids of a type rise in the batch's order");
    let feed = hub.feed("100days/current").await;
    let payloads: Vec<i64> =
        feed["events"].as_array().unwrap().iter().map(|e| e["payload"].as_i64().unwrap()).collect();
    assert_eq!(payloads, (0..700).rev().collect::<Vec<_>>());
}

async fn an_unregistered_type_is_discarded_and_listed(hub: Hub) {
    for _ in 0..3 {
        let answer = hub.post(SEND, json!({"type": "mis:spelt", "payload": 1})).await.expect(202).json();
        assert_eq!(answer, json!({"type": "mis:spelt", "status": "discarded", "reason": "unregistered"}));
    }
    hub.post(SEND, json!({"type": "mis:spelt2", "payload": 1})).await.expect(202);
    let listed = hub.get("/api/events/discarded").await.expect(200).json();
    let of = |ty: &str| {
        let all =
            listed.as_array().cloned().or_else(|| listed.as_object()?.values().find_map(|v| v.as_array().cloned()));
        let all = all.unwrap_or_else(|| panic!("no list in {listed}"));
        all.into_iter().find(|d| d["type"] == ty).unwrap_or_else(|| panic!("{ty} is not in {listed}"))
    };
    assert_eq!(of("mis:spelt")["count"], 3);
    assert_eq!(of("mis:spelt2")["count"], 1);
    let last_at = millis(of("mis:spelt")["last_at"].as_str().expect("last_at"));
    assert!((last_at - chrono::Utc::now().timestamp_millis()).abs() < 10_000);
    assert!(ids(&hub.feed("100days/current").await).is_empty());
}

async fn an_unregistered_type_is_refused_where_settings_say_so(setup: Setup) {
    let hub = setup.set("events.unregistered", "reject").start().await;
    let answer = hub.post(SEND, json!({"type": "mis:spelt", "payload": 1})).await;
    assert_eq!(answer.problem(404)["type"], "/problems/unregistered-type");
}

async fn bodies_that_are_no_event_are_refused(hub: Hub) {
    hub.register("t", "1h").await;
    for body in [
        "",
        " ",
        "{",
        "[",
        "[{]",
        "nul",
        r#"{"type":"t","payload":1"#,
        r#"{"type":"t","payload":01}"#,
        r#"{"type":"t","payload":NaN}"#,
        r#"{"type":"t","payload":"\x"}"#,
        r#"{"type":"t","payload":1},"#,
        "{\"type\":\"t\",\"payload\":\"\n\"}",
        "\u{feff}{\"type\":\"t\",\"payload\":1}",
    ] {
        assert_eq!(hub.post(SEND, body).await.problem(400)["type"], "/problems/malformed-json", "{body:?}");
    }
    let json_type = [("Content-Type", "application/json")];
    hub.call("POST", SEND, &json_type, Some(b"{\"type\":\"t\",\"payload\":\"\xff\"}")).await.problem(400);
    for (pointer, body) in [
        ("/type", r#"{"payload":1}"#),
        ("/payload", r#"{"type":"t"}"#),
        ("/type", r#"{"type":"","payload":1}"#),
        ("/type", r#"{"type":"a b","payload":1}"#),
        ("/type", r#"{"type":1,"payload":1}"#),
        ("/type", r#"{"type":null,"payload":1}"#),
        ("/ttl", r#"{"type":"t","payload":1,"ttl":"1h"}"#),
    ] {
        let answer = hub.post(SEND, body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.invalid_at(pointer);
    }
    for body in ["null", "7", "\"t\"", "true"] {
        hub.post(SEND, body).await.problem(422);
    }
    let good = br#"{"type":"t","payload":1}"#;
    for content_type in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        hub.call("POST", SEND, &[("Content-Type", content_type)], Some(good)).await.problem(415);
    }
    hub.call("POST", SEND, &[], Some(good)).await.problem(415);
    hub.call("POST", SEND, &[("Content-Type", "application/json;charset=UTF-8")], Some(good)).await.expect(202);
    assert_eq!(ids(&hub.feed("100days/current").await).len(), 1, "nothing refused was stored");
}

async fn limits_are_enforced(setup: Setup) {
    let hub = setup.set("http.max_body", "64KiB").set("http.max_batch", 10).start().await;
    hub.register("t", "1h").await;
    let event = |payload: String| format!(r#"{{"type":"t","payload":{payload}}}"#);
    let deep = |depth: usize| event(format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    hub.post(SEND, deep(100)).await.expect(202);
    assert_eq!(hub.post(SEND, deep(200)).await.problem(422)["type"], "/problems/too-deep");
    assert_eq!(hub.post(SEND, deep(30_000)).await.problem(422)["type"], "/problems/too-deep");
    let open = event("[".repeat(60_000));
    assert!(matches!(hub.post(SEND, open).await.status, 400 | 422));
    let objects = event(format!("{}1{}", r#"{"a":"#.repeat(8000), "}".repeat(8000)));
    assert_eq!(hub.post(SEND, objects).await.problem(422)["type"], "/problems/too-deep");
    hub.post(SEND, event(format!("\"{}\"", "x".repeat(60_000)))).await.expect(202);
    let large = event(format!("\"{}\"", "x".repeat(66_000)));
    assert_eq!(hub.post(SEND, large).await.problem(413)["type"], "/problems/body-too-large");
    let batch = |n: usize| format!("[{}]", vec![event("1".into()); n].join(","));
    hub.post(SEND, batch(10)).await.expect(202);
    assert_eq!(hub.post(SEND, batch(11)).await.problem(413)["type"], "/problems/batch-too-large");
    assert_eq!(ids(&hub.feed("100days/current").await).len(), 12, "nothing refused was stored");
}

async fn a_trailing_slash_changes_nothing(hub: Hub) {
    hub.register("t", "1h").await;
    sent(&hub.post(&format!("{SEND}/"), json!({"type": "t", "payload": 1})).await.expect(202).json());
    hub.get("/api/events/discarded/").await.expect(200);
}

async fn ids_rise_with_every_event_of_a_type(hub: Hub) {
    hub.register("t", "1h").await;
    let first: Vec<u64> = hub.send_many("t", 50).await.iter().map(|s| number(&s.id)).collect();
    let hub = hub.restart().await;
    let second: Vec<u64> = hub.send_many("t", 50).await.iter().map(|s| number(&s.id)).collect();
    let all: Vec<u64> = first.into_iter().chain(second).collect();
    assert!(all.windows(2).all(|w| w[0] < w[1]), "{all:?}");
}

async fn many_senders_get_different_ids(hub: Hub) {
    hub.register("t", "1h").await;
    hub.register("u", "1h").await;
    let senders = (0..8).map(|n| hub.send_many(if n % 2 == 0 { "t" } else { "u" }, 40));
    let all = futures_util::future::join_all(senders).await;
    for one in &all {
        let numbers: Vec<u64> = one.iter().map(|s| number(&s.id)).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]), "a sender's ids rise: {numbers:?}");
    }
    let distinct: std::collections::HashSet<_> = all.iter().flatten().map(|s| &s.id).collect();
    assert_eq!(distinct.len(), 8 * 40);
    assert_eq!(hub.walk("100days/current?limit=100").await.len(), 8 * 40);
}
