//! Dead letters: seen, explained, sent again, deleted; also those of a stream that was deleted.

use crate::both_stores;
use crate::support::api::{link, millis, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use serde_json::{Value, json};

both_stores!(
    a_dead_letter_says_what_it_is_and_why,
    all_dead_letters_are_sent_again,
    some_dead_letters_are_sent_again,
    a_letter_that_dies_again_is_one_letter,
    dead_letters_are_deleted,
    many_dead_letters_come_in_pages,
    a_deleted_stream_leaves_dead_letters,
    a_deleted_stream_that_comes_back_sends_its_letters_again,
    what_a_draining_stream_holds_may_be_given_up,
    doors_of_streams_that_are_not_there,
    dead_letters_and_tuning_outlive_a_kill,
);

/// A type `t` whose stream `hook` gives up at the first failure, and its receiver, which fails.
async fn failing(hub: &Hub) -> Webhook {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([once(&hook)])).await;
    hook
}

fn once(hook: &Webhook) -> Value {
    let mut stream = webhook("hook", &hook.uri("/"));
    stream["retry"] = json!({"attempts": 1, "first": "20ms", "max": "50ms"});
    stream
}

async fn dead(hub: &Hub) -> Vec<Value> {
    let page = hub.get("/api/events/streams/t/hook/dead").await.expect(200).json();
    page["dead"].as_array().expect("a list").clone()
}

async fn until_dead(hub: &Hub, count: usize) -> Vec<Value> {
    let probe = || async {
        let letters = dead(hub).await;
        (letters.len() == count).then_some(letters)
    };
    eventually(PATIENCE, &format!("{count} dead letters"), probe).await
}

fn ids(letters: &[Value]) -> Vec<String> {
    letters.iter().map(|l| l["event"]["id"].as_str().expect("an id").to_owned()).collect()
}

async fn stream(hub: &Hub) -> Value {
    hub.get("/api/events/streams/t/hook").await.expect(200).json()
}

async fn a_dead_letter_says_what_it_is_and_why(hub: Hub) {
    let hook = failing(&hub).await;
    let sent = hub.send_raw(r#"{"type":"t","payload":{"b":1.0,"a":[]}}"#).await;
    let letters = until_dead(&hub, 1).await;
    assert_eq!(
        letters[0]["event"],
        json!({"id": sent.id, "type": "t", "payload": {"b": 1.0, "a": []}, "created_at": sent.created_at})
    );
    assert_eq!(letters[0]["attempts"], 1);
    assert!(letters[0]["last_error"].as_str().expect("an error").contains("500"), "{}", letters[0]);
    let since = millis(letters[0]["since"].as_str().expect("a time"));
    assert!((0..20_000).contains(&(since - millis(&sent.created_at))), "{} {}", letters[0], sent.created_at);
    assert_eq!(hook.received().len(), 1);
    assert_eq!(stream(&hub).await["dead"], 1);
    hub.until_state(&sent.id, "hook", "dead").await;
}

async fn all_dead_letters_are_sent_again(hub: Hub) {
    let hook = failing(&hub).await;
    let sent = hub.send_many("t", 12).await;
    let letters = until_dead(&hub, 12).await;
    assert_eq!(ids(&letters), sent.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), "in commit order");
    hook.answers(|_| Answer::Status(200));
    let answer = hub.call("POST", "/api/events/streams/t/hook/dead/retry", &[], None).await.expect(200).json();
    assert_eq!(answer["count"], 12);
    let mut delivered = hook.delivered(12).await;
    delivered.sort_unstable();
    assert_eq!(delivered, ids(&letters));
    for event in &sent {
        hub.until_state(&event.id, "hook", "delivered").await;
    }
    assert!(dead(&hub).await.is_empty());
    let after = stream(&hub).await;
    assert_eq!((&after["backlog"], &after["dead"], &after["delivered"]), (&json!(0), &json!(0), &json!(12)));
}

async fn some_dead_letters_are_sent_again(hub: Hub) {
    let hook = failing(&hub).await;
    let sent = hub.send_many("t", 4).await;
    until_dead(&hub, 4).await;
    hook.answers(|_| Answer::Status(200));
    let wanted = json!({"ids": [sent[2].id, "17", "x", sent[0].id]});
    let answer = hub.post("/api/events/streams/t/hook/dead/retry", &wanted).await.expect(200).json();
    assert_eq!(answer["count"], 2);
    let mut delivered = hook.delivered(2).await;
    delivered.sort_unstable();
    assert_eq!(delivered, [sent[0].id.clone(), sent[2].id.clone()]);
    assert_eq!(ids(&dead(&hub).await), [sent[1].id.clone(), sent[3].id.clone()]);
    let again = hub.post("/api/events/streams/t/hook/dead/retry", &wanted).await.expect(200).json();
    assert_eq!(again["count"], 0, "they are no dead letters any more");
    for (bad, pointer) in [(r#"{"ids":5}"#, "/ids"), (r#"{"ids":[5]}"#, "/ids/0"), (r#"{"id":[]}"#, "/id"), ("[]", "")]
    {
        let problem = hub.post("/api/events/streams/t/hook/dead/retry", bad).await.expect(422).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    hub.post("/api/events/streams/t/hook/dead/retry", "{").await.expect(400);
    assert_eq!(dead(&hub).await.len(), 2);
}

async fn a_letter_that_dies_again_is_one_letter(hub: Hub) {
    let hook = failing(&hub).await;
    let sent = hub.send("t", json!(1)).await;
    until_dead(&hub, 1).await;
    hub.post("/api/events/streams/t/hook/dead/retry", "{}").await.expect(200);
    hook.until("the second attempt", |r| r.len() == 2).await;
    let letters = until_dead(&hub, 1).await;
    assert_eq!((ids(&letters), &letters[0]["attempts"]), (vec![sent.id], &json!(1)), "a retry starts anew");
}

async fn dead_letters_are_deleted(hub: Hub) {
    let _hook = failing(&hub).await;
    let sent = hub.send_many("t", 3).await;
    until_dead(&hub, 3).await;
    let one = json!({"ids": [sent[1].id]}).to_string();
    let json = [("Content-Type", "application/json")];
    let path = "/api/events/streams/t/hook/dead";
    let answer = hub.call("DELETE", path, &json, Some(one.as_bytes())).await.expect(200).json();
    assert_eq!(answer["count"], 1);
    hub.until_state(&sent[1].id, "hook", "dropped").await;
    hub.until_state(&sent[0].id, "hook", "dead").await;
    assert_eq!(hub.delete(path).await.expect(200).json()["count"], 2);
    hub.until_state(&sent[0].id, "hook", "dropped").await;
    assert!(dead(&hub).await.is_empty());
    assert_eq!(hub.delete(path).await.expect(200).json()["count"], 0);
}

async fn many_dead_letters_come_in_pages(hub: Hub) {
    let _hook = failing(&hub).await;
    let batch: Vec<_> = (0..250).map(|n| json!({"type": "t", "payload": n})).collect();
    hub.post("/api/events/send", Value::from(batch)).await.expect(202);
    let probe = || async { (stream(&hub).await["dead"] == 250).then_some(()) };
    eventually(PATIENCE * 3, "250 dead letters", probe).await;
    let mut all = Vec::new();
    let mut page = hub.get("/api/events/streams/t/hook/dead?limit=120").await.expect(200).json();
    loop {
        let letters = page["dead"].as_array().expect("a list");
        assert!(letters.len() <= 120);
        all.extend(letters.iter().map(|l| l["event"]["payload"].as_u64().expect("a number")));
        let Some(more) = link(&page, "more") else { break };
        page = hub.follow(&more).await.expect(200).json();
    }
    assert_eq!(all, (0..250).collect::<Vec<_>>());
    for bad in ["limit=0", "limit=1001", "limit=x", "after=x"] {
        hub.get(&format!("/api/events/streams/t/hook/dead?{bad}")).await.expect(400);
    }
}

async fn a_deleted_stream_leaves_dead_letters(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/")), webhook("other", &hook.uri("/o"))])).await;
    let sent = hub.send_many("t", 5).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    let answer = hub.delete("/api/events/streams/t/hook").await.expect(200).json();
    assert_eq!(answer["count"], 5);
    assert_eq!(ids(&dead(&hub).await), sent.iter().map(|s| s.id.clone()).collect::<Vec<_>>());
    hub.get("/api/events/streams/t/hook").await.expect(404);
    hub.delete("/api/events/streams/t/hook").await.expect(404);
    let listed = hub.get("/api/events/streams").await.expect(200).json();
    assert_eq!(listed["streams"].as_array().expect("a list").len(), 1, "{listed}");
    let registered = hub.get("/api/events/register/t").await.expect(200).json();
    assert_eq!(registered["streams"].as_array().expect("a list").len(), 1, "{registered}");
    // The type takes events as before, for its other stream alone.
    let later = hub.send("t", json!(1)).await;
    assert_eq!(
        hub.event(&later.id).await["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|s| s["name"] == "hook" && s["state"] != "none")
            .count(),
        0
    );
    let refused = hub.post("/api/events/streams/t/hook/dead/retry", "{}").await.expect(422).json();
    assert_eq!(refused["type"], "/problems/stream-dropped");
    assert_eq!(hub.delete("/api/events/streams/t/hook/dead").await.expect(200).json()["count"], 5);
    hub.get("/api/events/streams/t/hook/dead").await.expect(404);
}

async fn a_deleted_stream_that_comes_back_sends_its_letters_again(hub: Hub) {
    let hook = failing(&hub).await;
    hub.call(
        "PATCH",
        "/api/events/streams/t/hook",
        &[("Content-Type", "application/json")],
        Some(br#"{"state":"paused"}"#),
    )
    .await
    .expect(200);
    let sent = hub.send_many("t", 3).await;
    hub.delete("/api/events/streams/t/hook").await.expect(200);
    // Until it is forgotten as well.
    let log = || async { hub.log().iter().any(|line| line.contains("dropped stream is gone")).then_some(()) };
    eventually(PATIENCE, "the stream to be forgotten", log).await;
    hook.answers(|_| Answer::Status(200));
    hub.register_with("t", "1h", json!([once(&hook)])).await;
    assert_eq!(dead(&hub).await.len(), 3);
    assert_eq!(hub.post("/api/events/streams/t/hook/dead/retry", "{}").await.expect(200).json()["count"], 3);
    let mut delivered = hook.delivered(3).await;
    delivered.sort_unstable();
    assert_eq!(delivered, sent.into_iter().map(|s| s.id).collect::<Vec<_>>());
}

async fn what_a_draining_stream_holds_may_be_given_up(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    hub.send_many("t", 2).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    hub.register_with("t", "1h", json!([])).await;
    assert_eq!(stream(&hub).await["state"], "draining");
    let problem = hub.post("/api/events/streams/t/hook/replay", range()).await.expect(422).json();
    assert_eq!(problem["type"], "/problems/stream-dropped");
    assert_eq!(hub.delete("/api/events/streams/t/hook").await.expect(200).json()["count"], 2);
    let gone = || async { (hub.get("/api/events/streams/t/hook").await.status == 404).then_some(()) };
    eventually(PATIENCE, "the stream to be gone", gone).await;
    assert_eq!(dead(&hub).await.len(), 2);
}

fn range() -> Value {
    json!({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"})
}

async fn doors_of_streams_that_are_not_there(hub: Hub) {
    hub.register("t", "1h").await;
    for path in ["t/none", "none/hook", "t/a%20b", "a%20b/x"] {
        let path = format!("/api/events/streams/{path}");
        hub.get(&path).await.expect(404);
        hub.delete(&path).await.expect(404);
        hub.call("PATCH", &path, &[("Content-Type", "application/json")], Some(b"{}")).await.expect(404);
        hub.get(&format!("{path}/dead")).await.expect(404);
        hub.delete(&format!("{path}/dead")).await.expect(404);
        hub.get(&format!("{path}/attempts")).await.expect(404);
        hub.post(&format!("{path}/dead/retry"), "{}").await.expect(404);
        hub.post(&format!("{path}/replay"), range()).await.expect(404);
    }
    hub.call("PUT", "/api/events/streams/t/none/dead", &[], None).await.expect(405);
    hub.get("/api/events/streams/t/none/replay").await.expect(405);
}

async fn dead_letters_and_tuning_outlive_a_kill(setup: Setup) {
    let hub = setup.start().await;
    let hook = failing(&hub).await;
    let sent = hub.send_many("t", 3).await;
    until_dead(&hub, 3).await;
    let tuning = br#"{"state":"paused","mailbox":9,"concurrency":2}"#;
    hub.call("PATCH", "/api/events/streams/t/hook", &[("Content-Type", "application/json")], Some(tuning))
        .await
        .expect(200);
    hub.post("/api/events/streams/t/hook/dead/retry", json!({"ids": [sent[0].id]})).await.expect(200);
    let hub = hub.kill().start().await;
    assert_eq!(ids(&dead(&hub).await), [sent[1].id.clone(), sent[2].id.clone()]);
    let after = stream(&hub).await;
    assert_eq!(
        (&after["state"], &after["mailbox"]["limit"], &after["concurrency"], &after["backlog"]),
        (&json!("paused"), &json!(9), &json!(2), &json!(1))
    );
    hook.answers(|_| Answer::Status(200));
    let resumed = br#"{"state":"active"}"#;
    hub.call("PATCH", "/api/events/streams/t/hook", &[("Content-Type", "application/json")], Some(resumed))
        .await
        .expect(200);
    assert_eq!(hook.delivered(1).await, [sent[0].id.clone()]);
}
