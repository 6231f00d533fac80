//! Streams across re-registrations, restarts and an orderly end.

use crate::both_stores;
use crate::support::api::webhook;
use crate::support::hub::Hub;
use crate::support::webhook::{Answer, Webhook, distinct};
use serde_json::json;
use std::time::Duration;

both_stores!(
    a_re_registration_keeps_what_waits,
    a_new_target_under_the_old_name_gets_what_waits,
    a_dropped_stream_delivers_what_it_was_promised,
    a_deleted_type_delivers_what_it_was_promised,
    what_waits_outlives_a_restart,
    an_attempt_in_flight_is_finished_at_shutdown,
    a_hanging_attempt_does_not_hold_the_shutdown_for_ever,
);

async fn a_re_registration_keeps_what_waits(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    let streams = json!([webhook("hook", &hook.uri("/"))]);
    hub.register_with("t", "1h", streams.clone()).await;
    let before = hub.send_many("t", 5).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    hub.register_with("t", "2h", streams).await;
    let after = hub.send_many("t", 5).await;
    hook.answers(|_| Answer::Status(200));
    let mut delivered = hook.delivered(10).await;
    delivered.sort_unstable();
    let wanted: Vec<_> = before.into_iter().chain(after).map(|s| s.id).collect();
    assert_eq!(delivered, wanted);
}

async fn a_new_target_under_the_old_name_gets_what_waits(hub: Hub) {
    let (old, new) = (Webhook::start().await, Webhook::start().await);
    old.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &old.uri("/"))])).await;
    let waiting = hub.send("t", json!(1)).await;
    old.until("a failure", |r| !r.is_empty()).await;
    hub.register_with("t", "1h", json!([webhook("hook", &new.uri("/"))])).await;
    assert_eq!(new.delivered(1).await, [waiting.id]);
}

async fn a_dropped_stream_delivers_what_it_was_promised(hub: Hub) {
    let (dropped, kept) = (Webhook::start().await, Webhook::start().await);
    dropped.answers(|_| Answer::Status(500));
    let kept_stream = webhook("kept", &kept.uri("/"));
    hub.register_with("t", "1h", json!([webhook("dropped", &dropped.uri("/")), kept_stream])).await;
    let before = hub.send_many("t", 3).await;
    dropped.until("a failure", |r| !r.is_empty()).await;
    hub.register_with("t", "1h", json!([kept_stream])).await;
    hub.send_many("t", 3).await;
    kept.delivered(6).await;
    dropped.answers(|_| Answer::Status(200));
    let mut delivered = dropped.delivered(3).await;
    delivered.sort_unstable();
    assert_eq!(delivered, before.into_iter().map(|s| s.id).collect::<Vec<_>>(), "and nothing sent afterwards");
}

async fn a_deleted_type_delivers_what_it_was_promised(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let before = hub.send("t", json!(1)).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    hub.delete("/api/events/register/t").await.expect(204);
    let hub = hub.restart().await;
    hook.answers(|_| Answer::Status(200));
    assert_eq!(hook.delivered(1).await, [before.id]);
    drop(hub);
}

async fn what_waits_outlives_a_restart(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let sent = hub.send_many("t", 10).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    let hub = hub.restart().await;
    hook.answers(|_| Answer::Status(200));
    let mut delivered = hook.delivered(10).await;
    delivered.sort_unstable();
    assert_eq!(delivered, sent.into_iter().map(|s| s.id).collect::<Vec<_>>());
    drop(hub);
}

async fn an_attempt_in_flight_is_finished_at_shutdown(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::After(Duration::from_secs(1), 200));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let event = hub.send("t", json!(1)).await;
    hook.until("the attempt", |r| !r.is_empty()).await;
    let setup = hub.stop().await;
    assert_eq!(distinct(&hook.received()), [event.id.as_str()], "the answer was waited for");
    let hub = setup.start().await;
    hub.until_state(&event.id, "hook", "delivered").await;
    assert_eq!(hook.received().len(), 1, "and not asked for again");
}

async fn a_hanging_attempt_does_not_hold_the_shutdown_for_ever(setup: crate::support::hub::Setup) {
    let hub = setup.set("http.shutdown", "1s").start().await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Hang);
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let event = hub.send("t", json!(1)).await;
    hook.until("the attempt", |r| !r.is_empty()).await;
    let start = std::time::Instant::now();
    let setup = hub.stop().await;
    assert!(start.elapsed() < Duration::from_secs(8), "stopping took {:?}", start.elapsed());
    hook.answers(|_| Answer::Status(200));
    // What was given back is due at once: no lease has to run out.
    let _hub = setup.start().await;
    assert_eq!(hook.delivered(1).await, [event.id]);
}
