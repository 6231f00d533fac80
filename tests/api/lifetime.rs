//! How long events show: durations, `ephemeral`, and registrations that change it.

use crate::both_stores;
use crate::support::api::{ids, millis};
use crate::support::hub::Hub;
use crate::support::wait::eventually;
use serde_json::json;
use std::time::Duration;

both_stores!(
    an_event_is_gone_when_its_ttl_has_passed,
    a_mark_on_an_expired_event_is_404,
    shortening_a_ttl_hides_at_once_and_lengthening_shows_what_is_left,
    an_ephemeral_event_is_in_no_feed,
    permanent_events_stay,
);

async fn an_event_is_gone_when_its_ttl_has_passed(hub: Hub) {
    hub.register("short", "2s").await;
    hub.register("long", "1h").await;
    let short = hub.send("short", json!(1)).await;
    let long = hub.send("long", json!(2)).await;
    let end = millis(&short.created_at) + 2000;
    let gone_at = eventually(Duration::from_secs(10), "the event to expire", || async {
        let before = chrono::Utc::now().timestamp_millis();
        let shown = ids(&hub.feed("100days/current").await);
        let after = chrono::Utc::now().timestamp_millis();
        assert!(shown.contains(&long.id));
        if shown.contains(&short.id) {
            assert!(before < end, "shown {} ms after its end", before - end);
            None
        } else {
            Some(after)
        }
    })
    .await;
    assert!(gone_at >= end, "hidden {} ms before its end", end - gone_at);
    hub.get(&format!("/api/events/{}", short.id)).await.problem(404);
    assert!(ids(&hub.feed(&format!("minute/{}", short.created_at)).await).iter().all(|id| *id != short.id));
    assert!(ids(&hub.feed("100days/current/client/c?status=all").await).iter().all(|id| *id != short.id));
}

async fn a_mark_on_an_expired_event_is_404(hub: Hub) {
    hub.register("short", "2s").await;
    let event = hub.send("short", json!(1)).await;
    let path = format!("/api/events/{}/ok/c", event.id);
    hub.call("PUT", &path, &[], None).await.expect(200);
    eventually(Duration::from_secs(10), "the event to expire", || async {
        (hub.get(&format!("/api/events/{}", event.id)).await.status == 404).then_some(())
    })
    .await;
    hub.call("PUT", &path, &[], None).await.problem(404);
}

async fn shortening_a_ttl_hides_at_once_and_lengthening_shows_what_is_left(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!(1)).await;
    let age = || chrono::Utc::now().timestamp_millis() - millis(&event.created_at);
    eventually(Duration::from_secs(10), "the event to be older than a second", || async {
        (age() > 1100).then_some(())
    })
    .await;
    hub.register("t", "1s").await;
    assert!(ids(&hub.feed("100days/current").await).is_empty(), "hidden at once");
    hub.get(&format!("/api/events/{}", event.id)).await.problem(404);
    hub.register("t", "2h").await;
    // Whether the event comes back depends on whether it was given back already; new ones must show.
    let new = hub.send("t", json!(2)).await;
    assert!(ids(&hub.feed("100days/current").await).contains(&new.id));
}

async fn an_ephemeral_event_is_in_no_feed(hub: Hub) {
    hub.register("e", "ephemeral").await;
    hub.register("t", "1h").await;
    let ephemeral = hub.send("e", json!(1)).await;
    let stored = hub.send("t", json!(1)).await;
    assert_eq!(ids(&hub.feed("100days/current").await), [stored.id.as_str()]);
    assert!(ids(&hub.feed("100days/current?types=e").await).is_empty());
    hub.call("PUT", &format!("/api/events/{}/ok/c", ephemeral.id), &[], None).await.problem(404);
}

async fn permanent_events_stay(hub: Hub) {
    hub.register("p", "permanent").await;
    let sent = hub.send_many("p", 3).await;
    let hub = hub.restart().await;
    assert_eq!(ids(&hub.feed("100days/current").await).len(), 3);
    hub.event(&sent[0].id).await;
}
