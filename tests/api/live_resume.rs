//! Sessions that come back with a cursor.

use crate::both_stores;
use crate::support::api::number;
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::json;

both_stores!(
    what_was_missed_comes_first_and_then_what_is_new,
    a_session_goes_on_over_a_restart_of_the_hub,
    a_cursor_that_retention_has_passed_is_told,
    a_malformed_cursor_is_refused_before_the_upgrade,
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
    // From the very beginning, in the order of ids: within a millisecond that is by type, however they were sent.
    sent.sort_by_key(|id| number(id));
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
    eventually(PATIENCE, "the event to expire", expired).await;
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
