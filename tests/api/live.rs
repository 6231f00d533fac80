//! WebSocket sessions at `GET /api/events/`.

use crate::both_stores;
use crate::support::api::link;
use crate::support::hub::Hub;
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::collections::BTreeMap;

both_stores!(
    a_session_sees_events_as_they_are_sent,
    a_session_without_a_filter_sees_everything,
    filters_choose_by_wildcard,
    every_session_sees_every_event_in_order,
    a_batch_arrives_in_order,
    an_ephemeral_event_is_pushed,
    a_type_registered_later_is_seen,
    a_malformed_filter_is_refused,
    without_an_upgrade_there_is_an_entry_document,
    a_session_that_leaves_disturbs_nobody,
    sessions_are_told_that_the_hub_goes_away,
);

async fn a_session_sees_events_as_they_are_sent(hub: Hub) {
    hub.register("t:x", "1h").await;
    let mut session = Session::open(&hub, "?types=t:x").await;
    let event = hub.send("t:x", json!({"a": 1})).await;
    let wanted = json!({"id": event.id, "type": "t:x", "payload": {"a": 1}, "created_at": event.created_at});
    assert_eq!(session.event().await, wanted);
}

async fn a_session_without_a_filter_sees_everything(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b:c", "1h").await;
    for query in ["", "?types=*"] {
        let mut session = Session::open(&hub, query).await;
        let sent = [hub.send("a", json!(1)).await.id, hub.send("b:c", json!(2)).await.id];
        assert_eq!(session.ids(2).await, sent.into(), "{query}");
    }
}

async fn filters_choose_by_wildcard(hub: Hub) {
    let types = ["financial:end", "financial:start", "campaign:stop", "last"];
    for ty in types {
        hub.register(ty, "1h").await;
    }
    // Tells when what was sent has passed: the next session is not to see it.
    let mut witness = Session::open(&hub, "").await;
    for (query, wanted) in [
        ("?types=financial:*,last", vec!["financial:end", "financial:start", "last"]),
        ("?types=*:st*,last", vec!["financial:start", "campaign:stop", "last"]),
        ("?types=campaign:stop,last", vec!["campaign:stop", "last"]),
        ("?types=unknown,last", vec!["last"]),
    ] {
        let mut session = Session::open(&hub, query).await;
        let mut sent = BTreeMap::new();
        for ty in types {
            sent.insert(ty, hub.send(ty, json!(null)).await.id);
        }
        assert_eq!(witness.ids(4).await, sent.values().cloned().collect());
        let end = hub.send("last", json!("end")).await;
        let seen = session.ids(wanted.len() + 1).await;
        let wanted = wanted.iter().map(|ty| sent[ty].clone()).chain([end.id.clone()]);
        assert_eq!(seen, wanted.collect(), "{query}");
        witness.until(&end.id).await;
    }
}

async fn every_session_sees_every_event_in_order(hub: Hub) {
    hub.register("t", "1h").await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(Session::open(&hub, "?types=t").await);
    }
    let sent = hub.send_many("t", 100).await;
    for session in &mut sessions {
        for event in &sent {
            assert_eq!(session.event().await["id"], event.id.as_str());
        }
    }
}

async fn a_batch_arrives_in_order(hub: Hub) {
    hub.register("t", "1h").await;
    let mut session = Session::open(&hub, "?types=t").await;
    let batch: Vec<Value> = (0..200).map(|n| json!({"type": "t", "payload": n})).collect();
    hub.post("/api/events/send", Value::from(batch)).await.expect(202);
    for n in 0..200 {
        assert_eq!(session.event().await["payload"], n);
    }
}

async fn an_ephemeral_event_is_pushed(hub: Hub) {
    hub.register("e", "ephemeral").await;
    let mut session = Session::open(&hub, "?types=e").await;
    let event = hub.send("e", json!({"gone": true})).await;
    assert_eq!(session.event().await["id"], event.id.as_str());
}

async fn a_type_registered_later_is_seen(hub: Hub) {
    let mut session = Session::open(&hub, "?types=new:*").await;
    hub.register("new:type", "1h").await;
    let event = hub.send("new:type", json!(1)).await;
    assert_eq!(session.event().await["id"], event.id.as_str());
}

async fn a_malformed_filter_is_refused(hub: Hub) {
    for query in ["?types=", "?types=a,,b", "?types=a%20b", "?types=:", "?types=%ff"] {
        assert_eq!(Session::refused(&hub, query).await, 400, "{query}");
        // Whoever tries the URL without an upgrade learns it, too.
        hub.get(&format!("/api/events/{query}")).await.expect(400);
    }
}

async fn without_an_upgrade_there_is_an_entry_document(hub: Hub) {
    for path in ["/api/events", "/api/events/"] {
        let entry = hub.get(path).await.expect(200).json();
        assert!(entry["links"].as_array().is_some_and(|l| !l.is_empty()), "{entry}");
        assert!(link(&entry, "self").is_some(), "{entry}");
    }
}

async fn a_session_that_leaves_disturbs_nobody(hub: Hub) {
    hub.register("t", "1h").await;
    let mut stays = Session::open(&hub, "").await;
    for n in 0..10 {
        let leaves = Session::open(&hub, "").await;
        drop(leaves);
        let event = hub.send("t", json!(n)).await;
        assert_eq!(stays.event().await["id"], event.id.as_str());
    }
    stays.say("no json").await;
    stays.say(r#"{"unknown": true}"#).await;
    let event = hub.send("t", json!("after")).await;
    loop {
        // Answers to messages that are no commands may come first; they are no reason to close.
        let message = stays.event().await;
        if message.get("control").is_none() {
            assert_eq!(message["id"], event.id.as_str());
            break;
        }
    }
}

async fn sessions_are_told_that_the_hub_goes_away(hub: Hub) {
    hub.register("t", "1h").await;
    let mut session = Session::open(&hub, "").await;
    hub.terminate();
    assert_eq!(session.closed().await, Some(1001));
    hub.stop_after_signal().await;
}
