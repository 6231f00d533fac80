//! `Prefer: wait=N`: a feed that answers when there is something new.

use crate::both_stores;
use crate::support::api::ids;
use crate::support::http::{self, Connection, Response};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually, within};
use serde_json::json;
use std::time::{Duration, Instant};

both_stores!(
    a_waiting_feed_answers_with_the_first_event,
    a_wait_ends_when_nothing_comes,
    who_knows_nothing_yet_does_not_wait,
    other_types_and_ephemeral_ones_end_no_wait,
    a_client_waits_for_its_own,
    closed_slices_pages_and_heads_do_not_wait,
    a_malformed_wait_is_not_there,
    those_who_wait_keep_no_send_out,
    those_who_wait_are_bounded_and_forgotten,
    a_hub_that_stops_answers_those_who_wait,
);

const CURRENT: &str = "/api/events/feed/100days/current";

async fn open(hub: &Hub, path: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = Connection::open(hub.address()).await.expect("a connection");
    connection.write(&http::request("GET", path, headers, None)).await.expect("written");
    connection
}

async fn answer(connection: &mut Connection) -> Response {
    within(PATIENCE, "the answer", connection.read(false)).await.expect("an answer")
}

/// Whether it is still waiting after a moment.
async fn waits(connection: &mut Connection) -> bool {
    tokio::time::timeout(Duration::from_millis(300), connection.read(false)).await.is_err()
}

async fn a_waiting_feed_answers_with_the_first_event(hub: Hub) {
    hub.register("t", "1h").await;
    // An empty feed, and one that is known.
    for n in 0..3 {
        let tag = hub.get(CURRENT).await.expect(200).header("etag").unwrap().to_owned();
        let mut waiting = open(&hub, CURRENT, &[("Prefer", "wait=30"), ("If-None-Match", &tag)]).await;
        assert!(waits(&mut waiting).await);
        let began = Instant::now();
        let event = hub.send("t", json!(n)).await;
        let news = answer(&mut waiting).await.expect(200);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(ids(&news.json())[0], event.id);
        assert_eq!(news.header("preference-applied"), Some("wait=30"));
        assert_ne!(news.header("etag"), Some(&*tag));
    }
    let mut empty = open(&hub, &format!("{CURRENT}?types=u"), &[("Prefer", "wait=30")]).await;
    assert!(waits(&mut empty).await);
    // Registered while it waits.
    hub.register("u", "1h").await;
    let event = hub.send("u", json!(1)).await;
    assert_eq!(ids(&answer(&mut empty).await.expect(200).json()), [event.id]);
}

async fn a_wait_ends_when_nothing_comes(hub: Hub) {
    hub.register("t", "1h").await;
    let began = Instant::now();
    let mut waiting = open(&hub, CURRENT, &[("Prefer", "respond-async, wait=1")]).await;
    let empty = answer(&mut waiting).await.expect(200);
    assert!((900..5000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(ids(&empty.json()).is_empty());
    assert_eq!(empty.header("preference-applied"), Some("wait=1"));
    let tag = empty.header("etag").unwrap().to_owned();
    let began = Instant::now();
    let mut waiting = open(&hub, CURRENT, &[("Prefer", "wait=\"1\""), ("If-None-Match", &tag)]).await;
    let same = answer(&mut waiting).await.expect(304);
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(same.header("preference-applied"), Some("wait=1"));
    assert_eq!(same.header("etag"), Some(&*tag));
}

async fn who_knows_nothing_yet_does_not_wait(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send("t", json!(1)).await;
    let began = Instant::now();
    for headers in [&[("Prefer", "wait=20")][..], &[("Prefer", "wait=20"), ("If-None-Match", "\"old\"")]] {
        assert_eq!(ids(&hub.call("GET", CURRENT, headers, None).await.expect(200).json()).len(), 1);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn other_types_and_ephemeral_ones_end_no_wait(hub: Hub) {
    hub.register("t", "1h").await;
    hub.register("other", "1h").await;
    hub.register("t:e", "ephemeral").await;
    let mut waiting = open(&hub, &format!("{CURRENT}?types=t*"), &[("Prefer", "wait=30")]).await;
    assert!(waits(&mut waiting).await);
    hub.send("other", json!(1)).await;
    hub.send("t:e", json!(1)).await;
    assert!(waits(&mut waiting).await);
    let event = hub.send("t", json!(1)).await;
    assert_eq!(ids(&answer(&mut waiting).await.expect(200).json()), [event.id]);
}

async fn a_client_waits_for_its_own(hub: Hub) {
    hub.register("t", "1h").await;
    let done = hub.send("t", json!(1)).await;
    hub.call("PUT", &format!("/api/events/{}/ok/c", done.id), &[], None).await.expect(200);
    let mut waiting = open(&hub, &format!("{CURRENT}/client/c"), &[("Prefer", "wait=30")]).await;
    assert!(waits(&mut waiting).await);
    let event = hub.send("t", json!(2)).await;
    assert_eq!(ids(&answer(&mut waiting).await.expect(200).json()), [event.id]);
}

async fn closed_slices_pages_and_heads_do_not_wait(hub: Hub) {
    hub.register("t", "1h").await;
    let began = Instant::now();
    let wait = [("Prefer", "wait=30")];
    for path in ["/api/events/feed/hour/2020-01-01T00:00:00Z", &format!("{CURRENT}?after=1")] {
        let answer = hub.call("GET", path, &wait, None).await.expect(200);
        assert_eq!(answer.header("preference-applied"), None);
    }
    let head = hub.call("HEAD", CURRENT, &wait, None).await.expect(200);
    assert_eq!(head.header("preference-applied"), None);
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn a_malformed_wait_is_not_there(hub: Hub) {
    let began = Instant::now();
    for prefer in ["wait", "wait=", "wait=soon", "wait=-5", "wait=1.5", ";;=,", "wait=0", "\"wait=9"] {
        let answer = hub.call("GET", CURRENT, &[("Prefer", prefer)], None).await.expect(200);
        assert_eq!(answer.header("preference-applied"), None, "{prefer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

async fn those_who_wait_keep_no_send_out(setup: Setup) {
    let hub = setup.set("http.max_in_flight", 3).start().await;
    hub.register("t", "1h").await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(open(&hub, CURRENT, &[("Prefer", "wait=30")]).await);
        assert!(waits(waiting.last_mut().unwrap()).await || waiting.len() > 3);
    }
    let event = hub.send("t", json!(1)).await;
    for waiting in &mut waiting {
        assert_eq!(ids(&answer(waiting).await.expect(200).json()), [event.id.as_str()]);
    }
}

async fn those_who_wait_are_bounded_and_forgotten(setup: Setup) {
    let hub = setup.set("live.max_sessions", 1).start().await;
    hub.register("t", "1h").await;
    let mut first = open(&hub, CURRENT, &[("Prefer", "wait=50")]).await;
    assert!(waits(&mut first).await);
    // There is no room: what there is is answered at once.
    let second = hub.call("GET", CURRENT, &[("Prefer", "wait=50")], None).await.expect(200);
    assert_eq!(second.header("preference-applied"), None);
    // Nobody waits for somebody who has gone.
    drop(first);
    eventually(PATIENCE, "the place to be free again", || async {
        let answer = hub.call("GET", CURRENT, &[("Prefer", "wait=1")], None).await.expect(200);
        answer.header("preference-applied").map(|_| ())
    })
    .await;
}

async fn a_hub_that_stops_answers_those_who_wait(hub: Hub) {
    hub.register("t", "1h").await;
    let mut waiting = open(&hub, CURRENT, &[("Prefer", "wait=50")]).await;
    assert!(waits(&mut waiting).await);
    let (answer, _) = tokio::join!(answer(&mut waiting), hub.stop());
    assert!(ids(&answer.expect(200).json()).is_empty());
}
