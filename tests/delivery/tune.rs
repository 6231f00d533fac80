//! Tuning a running stream, what it tells of its attempts, and replaying to it.

use crate::both_stores;
use crate::support::api::{millis, webhook};
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook, distinct};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

both_stores!(
    a_paused_stream_delivers_nothing_until_it_is_resumed,
    a_pause_outlives_a_re_registration,
    fewer_at_a_time_from_now_on,
    what_cannot_be_set_is_said,
    a_410_pauses_until_an_operator_resumes,
    attempts_say_what_was_tried,
    successes_are_sampled,
    a_range_is_delivered_again,
    a_replay_reaches_what_was_sent_before_the_stream,
    a_replay_past_the_backlog_is_refused,
);

const HOOK: &str = "/api/events/streams/t/hook";

async fn patch(hub: &Hub, body: Value) -> Value {
    let json = [("Content-Type", "application/json")];
    hub.call("PATCH", HOOK, &json, Some(body.to_string().as_bytes())).await.expect(200).json()
}

async fn start(hub: &Hub) -> Webhook {
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    hook
}

async fn until_stream(hub: &Hub, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let probe = || async {
        let stream = hub.get(HOOK).await.expect(200).json();
        is(&stream).then_some(stream)
    };
    eventually(PATIENCE, what, probe).await
}

async fn a_paused_stream_delivers_nothing_until_it_is_resumed(hub: Hub) {
    let hook = start(&hub).await;
    assert_eq!(patch(&hub, json!({"state": "paused"})).await["state"], "paused");
    let sent = hub.send_many("t", 20).await;
    let stream = until_stream(&hub, "the backlog", |s| s["backlog"] == 20).await;
    assert_eq!(
        (&stream["state"], &stream["in_flight"], &stream["last_error"]),
        (&json!("paused"), &json!(0), &Value::Null)
    );
    assert!(stream["oldest_age_ms"].as_u64().is_some());
    assert!(hook.received().is_empty());
    assert_eq!(patch(&hub, json!({"state": "active"})).await["state"], "active");
    let mut delivered = hook.delivered(20).await;
    delivered.sort_unstable();
    assert_eq!(delivered, sent.into_iter().map(|s| s.id).collect::<Vec<_>>());
    until_stream(&hub, "an empty outbox", |s| s["backlog"] == 0 && s["oldest_age_ms"].is_null()).await;
}

async fn a_pause_outlives_a_re_registration(hub: Hub) {
    let hook = start(&hub).await;
    patch(&hub, json!({"state": "paused", "mailbox": 5})).await;
    hub.register_with("t", "2h", json!([webhook("hook", &hook.uri("/"))])).await;
    let stream = hub.get(HOOK).await.expect(200).json();
    // The registration says how large the mailbox is; whether it is paused is the operator's.
    assert_eq!((&stream["state"], &stream["mailbox"]["limit"]), (&json!("paused"), &json!(1024)));
    let hub = hub.restart().await;
    assert_eq!(hub.get(HOOK).await.expect(200).json()["state"], "paused");
}

async fn fewer_at_a_time_from_now_on(hub: Hub) {
    let hook = start(&hub).await;
    hook.answers(|_| Answer::Held(200));
    hub.send_many("t", 40).await;
    hook.until("16 attempts at a time", |r| r.len() == 16).await;
    let stream = patch(&hub, json!({"mailbox": 4, "concurrency": 1})).await;
    assert_eq!((&stream["mailbox"]["limit"], &stream["concurrency"]), (&json!(4), &json!(1)));
    hook.answers(|_| Answer::After(Duration::from_millis(5), 200));
    hook.release();
    let all = hook.until("everything", |r| distinct(r).len() == 40).await;
    // Ordered from the change on: what had not been tried comes in commit order.
    let tail: Vec<_> = all[16..].iter().map(|r| r.id()).collect();
    assert!(tail.windows(2).all(|w| w[0] < w[1]), "{tail:?}");
}

async fn what_cannot_be_set_is_said(hub: Hub) {
    let _hook = start(&hub).await;
    let json = [("Content-Type", "application/json")];
    for (body, pointer) in [
        (r#"{"state":"failing"}"#, "/state"),
        (r#"{"mailbox":0}"#, "/mailbox"),
        (r#"{"concurrency":100000}"#, "/concurrency"),
        (r#"{"name":"x"}"#, "/name"),
        ("[]", ""),
    ] {
        let problem = hub.call("PATCH", HOOK, &json, Some(body.as_bytes())).await.expect(422).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    hub.call("PATCH", HOOK, &json, Some(b"{")).await.expect(400);
    hub.call("PATCH", HOOK, &[("Content-Type", "text/plain")], Some(b"{}")).await.expect(415);
    assert_eq!(patch(&hub, json!({})).await["state"], "active", "nothing is nothing");
}

async fn a_410_pauses_until_an_operator_resumes(hub: Hub) {
    let hook = start(&hub).await;
    hook.answers(|_| Answer::Status(410));
    let sent = hub.send("t", json!(1)).await;
    let stream = until_stream(&hub, "the pause", |s| s["state"] == "paused").await;
    assert!(stream["last_error"].as_str().expect("why").contains("410"), "{stream}");
    // All nodes and the next process know it.
    let hub = hub.restart().await;
    let stream = hub.get(HOOK).await.expect(200).json();
    assert_eq!((&stream["state"], &stream["backlog"]), (&json!("paused"), &json!(1)));
    assert!(stream["last_error"].as_str().expect("why").contains("410"), "{stream}");
    assert_eq!(hook.received().len(), 1);
    hook.answers(|_| Answer::Status(200));
    patch(&hub, json!({"state": "active"})).await;
    assert_eq!(hook.delivered(1).await, [sent.id]);
}

async fn attempts(hub: &Hub) -> Vec<Value> {
    hub.get(&format!("{HOOK}/attempts")).await.expect(200).json()["attempts"].as_array().expect("a list").clone()
}

async fn attempts_say_what_was_tried(hub: Hub) {
    let hook = start(&hub).await;
    hook.answers(|r| match r.attempt {
        1 => Answer::Drop,
        2 => Answer::Text(500, format!("boom\n{}", "x".repeat(3000))),
        _ => Answer::Status(204),
    });
    let sent = hub.send("t", json!(1)).await;
    let probe = || async {
        let attempts = attempts(&hub).await;
        (attempts.len() == 3).then_some(attempts)
    };
    let all = eventually(PATIENCE, "three attempts", probe).await;
    let outcomes: Vec<_> = all.iter().map(|a| a["outcome"].as_str().expect("an outcome")).collect();
    assert_eq!(outcomes, ["delivered", "failed", "failed"], "newest first");
    assert!(all.iter().all(|a| a["event_id"] == sent.id && a["duration_ms"].is_u64()), "{all:?}");
    let (delivered, refused, cut) = (&all[0], &all[1], &all[2]);
    assert_eq!((&delivered["status"], &delivered["error"]), (&json!(204), &Value::Null));
    assert!(cut["status"].is_null() && cut["error"].as_str().expect("why").contains("closed"), "{cut}");
    assert_eq!(refused["status"], 500);
    let answer = refused["answer"].as_str().expect("the beginning of the answer");
    assert!(answer.starts_with("boom\nxxx") && answer.len() == 1024, "{}", answer.len());
    let at = |a: &Value| millis(a["at"].as_str().expect("a time"));
    assert!(at(delivered) >= at(refused) && at(refused) >= at(cut));
    // They are the store's, not the process's.
    let hub = hub.restart().await;
    assert_eq!(attempts(&hub).await, all);
}

async fn successes_are_sampled(hub: Hub) {
    let hook = start(&hub).await;
    hub.send_many("t", 100).await;
    hook.delivered(100).await;
    let hub = hub.restart().await;
    let count = attempts(&hub).await.len();
    assert!((1..50).contains(&count), "{count} of 100 successes are kept");
}

async fn a_range_is_delivered_again(hub: Hub) {
    let hook = start(&hub).await;
    let sent = hub.send_many("t", 6).await;
    hook.delivered(6).await;
    until_stream(&hub, "the end of delivery", |s| s["backlog"] == 0).await;
    let range = |from: &str, to: &str, dry: bool| json!({"from": from, "to": to, "dry_run": dry});
    let (from, to) = (sent[2].created_at.as_str(), sent[5].created_at.as_str());
    let inside = sent.iter().filter(|s| (from..to).contains(&s.created_at.as_str())).map(|s| s.id.clone());
    let inside: HashSet<_> = inside.collect();
    let dry = hub.post(&format!("{HOOK}/replay"), range(from, to, true)).await.expect(200).json();
    assert_eq!(dry["count"], inside.len());
    let before = hook.received().len();
    let done = hub.post(&format!("{HOOK}/replay"), range(from, to, false)).await.expect(200).json();
    assert_eq!(done["count"], inside.len());
    let all = hook.until("the range again", |r| r.len() == before + inside.len()).await;
    assert_eq!(all[before..].iter().map(|r| r.id()).collect::<HashSet<_>>(), inside);
    let json = [(r#"{"from":"2020-01-01T00:00:00Z"}"#, "/to"), (r#"{"from":1,"to":"2020-01-01T00:00:00Z"}"#, "/from")];
    for (body, pointer) in json {
        let problem = hub.post(&format!("{HOOK}/replay"), body).await.expect(422).json();
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    hub.call("POST", &format!("{HOOK}/replay"), &[], None).await.expect(415);
}

fn ever() -> Value {
    json!({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"})
}

async fn a_replay_reaches_what_was_sent_before_the_stream(hub: Hub) {
    hub.register("t", "1h").await;
    let before = hub.send_many("t", 3).await;
    let hook = start(&hub).await;
    hub.until_state(&before[0].id, "hook", "none").await;
    assert_eq!(hub.post(&format!("{HOOK}/replay"), ever()).await.expect(200).json()["count"], 3);
    hook.delivered(3).await;
    for event in &before {
        hub.until_state(&event.id, "hook", "delivered").await;
    }
}

async fn a_replay_past_the_backlog_is_refused(setup: crate::support::hub::Setup) {
    let hub = setup.set("streams.max_backlog", "5").start().await;
    hub.register("t", "1h").await;
    hub.send_many("t", 6).await;
    let hook = start(&hub).await;
    let problem = hub.post(&format!("{HOOK}/replay"), ever()).await.expect(503).json();
    assert_eq!(problem["type"], "/problems/stream-backlog-full");
    assert_eq!(until_stream(&hub, "nothing queued", |_| true).await["backlog"], 0);
    hub.send("t", json!("after")).await;
    hook.delivered(1).await;
}
