//! A client's feed and its marks: `…/client/{client}` and `PUT /api/events/{id}/ok/{client}`.

use crate::both_stores;
use crate::support::api::{ids, link, millis};
use crate::support::hub::Hub;
use serde_json::json;

both_stores!(
    a_client_sees_what_it_has_not_marked,
    a_mark_is_idempotent_and_needs_an_event,
    a_feed_offers_the_mark_as_a_link,
    marks_show_with_their_time,
    pages_of_a_clients_feed_skip_what_is_marked,
    links_keep_the_client,
    a_mark_outlives_a_restart,
    every_client_name_of_the_contract_works,
);

const OK: &str = r#"{"acknowledge":true}"#;

async fn a_client_sees_what_it_has_not_marked(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 5).await;
    let all: Vec<_> = sent.iter().rev().map(|s| s.id.clone()).collect();
    assert_eq!(ids(&hub.feed("100days/current/client/c1").await), all, "nothing is marked at first");
    for marked in [&sent[1], &sent[3]] {
        hub.call("PUT", &format!("/api/events/{}/ok/c1", marked.id), &[], None).await.expect(200);
    }
    let pending = [&sent[4], &sent[2], &sent[0]].map(|s| s.id.as_str());
    let processed = [&sent[3], &sent[1]].map(|s| s.id.as_str());
    assert_eq!(ids(&hub.feed("100days/current/client/c1").await), pending);
    assert_eq!(ids(&hub.feed("100days/current/client/c1?status=processed").await), processed);
    assert_eq!(ids(&hub.feed("100days/current/client/c1?status=all").await), all);
    assert_eq!(ids(&hub.feed("100days/current/client/c2").await), all, "marks are a client's own");
    assert_eq!(ids(&hub.feed("100days/current").await), all, "a feed without a client knows no marks");
}

async fn a_mark_is_idempotent_and_needs_an_event(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!(1)).await;
    let path = format!("/api/events/{}/ok/12345", event.id);
    for _ in 0..3 {
        assert_eq!(hub.call("PUT", &path, &[], None).await.expect(200).text(), OK);
    }
    assert_eq!(hub.call("PUT", &format!("{path}/"), &[], None).await.expect(200).text(), OK);
    assert_eq!(ids(&hub.feed("100days/current/client/12345?status=processed").await).len(), 1);
    let next_id = event.id.parse::<u64>().unwrap() + 1;
    for unknown in [next_id.to_string(), "1".into(), "0".into(), u64::MAX.to_string()] {
        hub.call("PUT", &format!("/api/events/{unknown}/ok/12345"), &[], None).await.problem(404);
    }
    let bad_client = format!("/api/events/{}/ok/a%20b", event.id);
    hub.call("PUT", &bad_client, &[], None).await.problem(400);
    hub.call("POST", &path, &[], None).await.problem(405);
}

async fn a_feed_offers_the_mark_as_a_link(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send("t", json!(1)).await;
    let feed = hub.feed("100days/current/client/c.1~x").await;
    let offered = feed["events"][0]["links"][0].clone();
    assert_eq!(offered["rel"], "mark-processed");
    assert_eq!(offered["method"], "PUT");
    let href = link(&feed["events"][0], "mark-processed").unwrap();
    let path = crate::support::api::path_of(&href).to_owned();
    assert_eq!(hub.call("PUT", &path, &[], None).await.expect(200).text(), OK);
    assert!(ids(&hub.feed("100days/current/client/c.1~x").await).is_empty());
}

async fn marks_show_with_their_time(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 2).await;
    hub.call("PUT", &format!("/api/events/{}/ok/c", sent[0].id), &[], None).await.expect(200);
    let all = hub.feed("100days/current/client/c?status=all").await;
    let (open, marked) = (&all["events"][0], &all["events"][1]);
    assert!(open.get("processed_at").is_none(), "{open}");
    assert!(link(open, "mark-processed").is_some());
    let at = millis(marked["processed_at"].as_str().unwrap_or_else(|| panic!("no processed_at: {marked}")));
    assert!((at - chrono::Utc::now().timestamp_millis()).abs() < 10_000);
    assert!(link(marked, "mark-processed").is_none(), "a marked event offers no mark: {marked}");
    let event = hub.event(&sent[0].id).await;
    assert!(event["processed_by"].to_string().contains("\"c\""), "{event}");
}

async fn pages_of_a_clients_feed_skip_what_is_marked(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 40).await;
    for event in sent.iter().skip(1).step_by(2) {
        hub.call("PUT", &format!("/api/events/{}/ok/c", event.id), &[], None).await.expect(200);
    }
    let pending: Vec<_> = sent.iter().rev().skip(1).step_by(2).map(|s| s.id.clone()).collect();
    for limit in [1, 3, 20, 21] {
        assert_eq!(hub.walk(&format!("100days/current/client/c?limit={limit}")).await, pending, "limit {limit}");
    }
    let first = hub.feed("100days/current/client/c?limit=3").await;
    assert_eq!(ids(&first).len(), 3, "a page is full although half of the events are marked");
    assert!(link(&hub.feed("100days/current/client/c?limit=20").await, "more").is_none());
}

async fn links_keep_the_client(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send_many("t", 3).await;
    let feed = hub.feed("hour/2024-02-29T13:47:12Z/client/c1?status=all").await;
    for rel in ["self", "prev", "next", "current"] {
        let href = link(&feed, rel).unwrap();
        assert!(href.ends_with("/client/c1?status=all"), "{rel}: {href}");
        hub.follow(&href).await.expect(200);
    }
    let more = link(&hub.feed("100days/current/client/c1?limit=2").await, "more").unwrap();
    assert!(more.contains("/client/c1?"), "{more}");
}

async fn a_mark_outlives_a_restart(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 3).await;
    hub.call("PUT", &format!("/api/events/{}/ok/c", sent[1].id), &[], None).await.expect(200);
    let hub = hub.kill().start().await;
    let pending = [&sent[2], &sent[0]].map(|s| s.id.as_str());
    assert_eq!(ids(&hub.feed("100days/current/client/c").await), pending);
}

async fn every_client_name_of_the_contract_works(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!(1)).await;
    for client in ["1", "A.b_c~d-e", "..a", "~", &"x".repeat(128)] {
        hub.call("PUT", &format!("/api/events/{}/ok/{client}", event.id), &[], None).await.expect(200);
        assert!(ids(&hub.feed(&format!("100days/current/client/{client}")).await).is_empty(), "{client}");
    }
    for client in ["a%2Fb", "a%20b", "a%25", "%C3%A9", "a,b", "a:b"] {
        hub.call("PUT", &format!("/api/events/{}/ok/{client}", event.id), &[], None).await.problem(400);
    }
}
