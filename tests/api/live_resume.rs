//! Sessions that come back with a cursor.

use crate::both_stores;
use crate::support::api::number;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, within};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

both_stores!(
    what_was_missed_comes_first_and_then_what_is_new,
    a_session_goes_on_over_a_restart_of_the_hub,
    a_cursor_that_retention_has_passed_is_told,
    a_malformed_cursor_is_refused_before_the_upgrade,
    sessions_that_drop_and_come_back_under_full_speed_miss_nothing,
);

async fn what_was_missed_comes_first_and_then_what_is_new(hub: Hub) {
    for ty in ["a", "b"] {
        hub.register(ty, "1h").await;
    }
    let mut sent = Vec::new();
    for n in 0..30 {
        sent.push(hub.send(["a", "b"][n % 2], json!(n)).await.id);
    }
    let mut session = Session::open(&hub, &format!("?since={}&types=a", sent[4])).await;
    assert_eq!(session.event().await, json!({"control": "resumed", "from": sent[4], "complete": true}));
    for id in sent[5..].iter().skip(1).step_by(2) {
        assert_eq!(session.event().await["id"], id.as_str());
    }
    let new = hub.send("a", json!("new")).await;
    assert_eq!(session.event().await["id"], new.id.as_str());
    // From the very beginning.
    let mut session = Session::open(&hub, "?since=0").await;
    assert_eq!(session.event().await, json!({"control": "resumed", "from": "0", "complete": false}));
    for id in &sent {
        assert_eq!(session.event().await["id"], id.as_str());
    }
}

async fn a_session_goes_on_over_a_restart_of_the_hub(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 5).await;
    let hub = hub.restart().await;
    let mut session = Session::open(&hub, &format!("?since={}", sent[1].id)).await;
    assert_eq!(session.event().await["control"], "resumed");
    for event in &sent[2..] {
        assert_eq!(session.event().await["id"], event.id.as_str());
    }
    let new = hub.send("t", json!("new")).await;
    assert_eq!(session.event().await["id"], new.id.as_str());
}

async fn a_cursor_that_retention_has_passed_is_told(hub: Hub) {
    hub.register("short", "1s").await;
    hub.register("long", "1h").await;
    let long = hub.send("long", json!(1)).await;
    let gone = hub.send("short", json!(2)).await;
    let expired = || async { (hub.get(&format!("/api/events/{}", gone.id)).await.status == 404).then_some(()) };
    crate::support::wait::eventually(PATIENCE, "the event to expire", expired).await;
    for (query, complete) in [
        (format!("?types=short&since={}", gone.id), false),
        (format!("?since={}", long.id), false),
        (format!("?types=long&since={}", long.id), true),
    ] {
        let mut session = Session::open(&hub, &query).await;
        assert_eq!(session.event().await["complete"], complete, "{query}");
    }
}

async fn a_malformed_cursor_is_refused_before_the_upgrade(hub: Hub) {
    for query in ["?since=", "?since=x", "?since=-5", "?since=1&since=2", "?since=99999999999999999999"] {
        assert_eq!(Session::refused(&hub, query).await, 400, "{query}");
    }
}

async fn sessions_that_drop_and_come_back_under_full_speed_miss_nothing(setup: Setup) {
    let hub = setup.set("live.mailbox", 64).start().await;
    for ty in ["a", "b", "c"] {
        hub.register(ty, "permanent").await;
    }
    let done = Cell::new(false);
    let send = async {
        let mut sent = BTreeSet::new();
        for round in 0..60 {
            let batch: Vec<Value> =
                (0..100).map(|n| json!({"type": (["a", "b", "c"][n % 3]), "payload": round * 100 + n})).collect();
            let answer = hub.post("/api/events/send", Value::from(batch)).await.expect(202).json();
            sent.extend(answer.as_array().unwrap().iter().map(|e| number(e["id"].as_str().unwrap())));
        }
        done.set(true);
        sent
    };
    let read = |turns: usize| {
        let (hub, done) = (&hub, &done);
        async move {
            let mut seen = BTreeSet::new();
            let mut cursor = "0".to_owned();
            let mut last_turn = false;
            while !last_turn {
                last_turn = done.get();
                let mut session = Session::open(hub, &format!("?since={cursor}")).await;
                let resumed = session.event().await;
                assert_eq!((&resumed["from"], &resumed["complete"]), (&json!(cursor), &json!(true)));
                let mut left = turns;
                while left > 0 || last_turn {
                    // Nothing for a while means that everything has come.
                    let wait = Duration::from_millis(if last_turn { 1000 } else { 200 });
                    let Ok(event) = tokio::time::timeout(wait, session.event()).await else { break };
                    cursor = event["id"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
                    seen.insert(number(&cursor));
                    left = left.saturating_sub(1);
                }
            }
            seen
        }
    };
    let all = async { tokio::join!(send, read(37), read(450), read(3000)) };
    let (sent, few, some, many) = within(PATIENCE * 3, "all sessions to catch up", all).await;
    assert_eq!(sent.len(), 6000);
    for seen in [few, some, many] {
        let missed: Vec<_> = sent.difference(&seen).take(5).collect();
        assert!(missed.is_empty() && seen.len() == sent.len(), "missed {missed:?}, {} of {}", seen.len(), sent.len());
    }
    let stored: BTreeSet<u64> = hub.walk("hour/current?limit=1000").await.iter().map(|id| number(id)).collect();
    assert!(stored.is_subset(&sent));
}
