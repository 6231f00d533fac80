//! Clocks of nodes that are ten seconds apart change nothing: time comes from the store.

use crate::hubs::{drained, know};
use crate::support::api::{instant, link, millis, number, path_of};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, within};
use crate::support::webhook::{Answer, Received, Webhook};
use chrono::Utc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// By how many seconds the clocks of the nodes are wrong.
const SKEW: [i64; 3] = [5, -5, 0];
/// What a request may take, and a clock that is read before it.
const SLACK: i64 = 1500;

/// Three nodes on one Redis; each lives by its own clock, and the first and the second by a wrong one.
async fn skewed(setup: &Setup) -> Vec<Hub> {
    let hubs = join_all(SKEW.map(|skew| {
        // The loader puts the machine's own library folder in place of $LIB.
        let setup = setup.clone().env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
        // What counts seconds from somewhere is right: it is the wall clock that people and NTP set wrong.
        let setup = setup.env("FAKETIME_DONT_FAKE_MONOTONIC", 1).env("DONT_FAKE_MONOTONIC", 1);
        let setup = setup.env("FAKETIME", format!("{skew:+}"));
        async move { setup.start().await }
    }))
    .await;
    for (hub, skew) in hubs.iter().zip(SKEW) {
        let answer = hub.get("/healthz").await;
        let date = answer.header("date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
        let off = date.expect("a date").timestamp_millis() - now();
        assert!((off - skew * 1000).abs() < 2500, "a clock is off by {off} ms, not {skew} s: is faketime installed?");
    }
    hubs
}

fn now() -> i64 {
    Utc::now().timestamp_millis()
}

#[actix_web::test]
async fn events_and_feeds_live_by_the_stores_clock() {
    let hubs = skewed(&Setup::redis()).await;
    hubs[0].register("t", "1h").await;
    know(&hubs, "t").await;
    let mut sent = Vec::new();
    for n in 0..9 {
        let before = now();
        let event = hubs[n % 3].send("t", json!(n)).await;
        let created = millis(&event.created_at);
        assert!((before..=now()).contains(&created), "created at {created}, sent at {before}");
        sent.push(event);
    }
    let ids: Vec<u64> = sent.iter().map(|event| number(&event.id)).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "ids rise whichever node gives them: {ids:?}");
    for hub in &hubs {
        let before = now();
        let feed = hub.feed("1s/current?types=t").await;
        let own = link(&feed, "self").expect("a link to itself");
        let at = path_of(&own).split(['/', '?']).nth(5).map(millis).expect("an instant");
        assert!((before - 1000 - SLACK..=now() + 1).contains(&at), "the current second began at {at}: {own}");
        let future = instant(now() + 3000);
        hub.get(&format!("/api/events/feed/1s/{future}")).await.problem(404);
        let listed = hub.get("/api/events/nodes").await.expect(200).json();
        for node in listed["nodes"].as_array().expect("nodes") {
            let since = millis(node["since"].as_str().expect("a time"));
            assert!((now() - 60_000..=now()).contains(&since), "{node}");
            assert!(node["seen_age_ms"].as_u64().expect("an age") < 5000, "{node}");
        }
    }
    // Closed means the same on all: two seconds after its end by the store's clock.
    let created = millis(&sent[8].created_at);
    let end = created.div_euclid(3000) * 3000 + 3000 + 2000;
    let path = format!("/api/events/feed/3s/{}?types=t", sent[8].created_at);
    let mut closed = [false; 3];
    while closed != [true; 3] {
        let looked = now();
        for (hub, closed) in hubs.iter().zip(&mut closed) {
            let answer = hub.get(&path).await.expect(200);
            let caching = answer.header("cache-control").unwrap_or_default().to_owned();
            *closed = caching.contains("immutable");
            if *closed {
                assert!(now() >= end, "closed {} ms too early: {caching}", end - now());
                let age = caching.split("max-age=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<i64>().ok());
                let left = (created + 3_600_000 - now()) / 1000;
                let age = age.expect("an age");
                assert!(age <= 3600 && (left - 12..=left + 1).contains(&age), "{caching}, {left} s are left");
            }
        }
        assert!(closed == [true; 3] || looked < end + SLACK, "closed on {closed:?} only");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix_web::test]
async fn a_lifetime_ends_on_all_nodes_at_the_same_time() {
    let hubs = skewed(&Setup::redis()).await;
    hubs[1].register("short", "3s").await;
    know(&hubs, "short").await;
    for sender in 0..2 {
        let event = hubs[sender].send("short", json!(1)).await;
        let created = millis(&event.created_at);
        let end = created + 3000;
        let mut gone = [false; 3];
        while gone != [true; 3] {
            for (hub, gone) in hubs.iter().zip(&mut gone) {
                let before = now();
                let shown = hub.get(&format!("/api/events/{}", event.id)).await.status;
                let fed =
                    !hub.feed("minute/current?types=short").await["events"].as_array().expect("events").is_empty();
                match shown {
                    200 => assert!(before < end, "shown {} ms after its end", before - end),
                    404 => assert!(now() >= end, "gone {} ms before its end", end - now()),
                    other => panic!("status {other}"),
                }
                assert!(!fed || before < end, "in a feed {} ms after its end", before - end);
                // Another minute may have begun, a little earlier or later than it has here.
                let another_minute = [before - SLACK, now() + SLACK].iter().any(|at| at / 60_000 != created / 60_000);
                assert!(fed || shown == 404 || now() >= end || another_minute, "not in the feed");
                *gone = shown == 404;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// When a webhook got what.
type Arrivals = Arc<Mutex<Vec<(String, i64, i64)>>>;

/// Notes the time, and the time that the sender names.
fn note(arrivals: &Arrivals, r: &Received) {
    let named = r.header("webhook-timestamp").and_then(|t| t.parse::<i64>().ok()).expect("a timestamp");
    arrivals.lock().unwrap().push((r.id(), now(), named * 1000));
}

#[actix_web::test]
async fn leases_and_retries_live_by_the_stores_clock() {
    let hubs = skewed(&Setup::redis().set("streams.lease", "1s")).await;
    let hook = Webhook::start().await;
    let arrivals = Arrivals::default();
    let noted = Arc::clone(&arrivals);
    hook.answers(move |r| {
        note(&noted, r);
        match (r.attempt, r.json()["payload"].as_str()) {
            // Three leases long: whoever holds it renews it, and nobody takes it for lapsed.
            (_, Some("slow")) => Answer::After(Duration::from_secs(3), 200),
            (1, Some("fails")) => Answer::Status(500),
            (1, Some("asks")) => {
                let date = |at: chrono::DateTime<Utc>| at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
                let at = Utc::now();
                let later = date(at + Duration::from_secs(3));
                Answer::With(503, vec![("Date", date(at)), ("Retry-After", later)])
            }
            _ => Answer::Status(200),
        }
    });
    let retry = json!({"attempts": 5, "first": "1s", "max": "10s"});
    let streams = json!([{"source": "webhook", "name": "hook", "uri": hook.uri("/"), "retry": retry}]);
    hubs[0].register_with("t", "1h", streams).await;
    know(&hubs, "t").await;
    let mut created = HashMap::new();
    let mut sent: Vec<(&str, String)> = Vec::new();
    for hub in &hubs {
        for what in ["slow", "fails", "asks"] {
            let event = hub.send("t", json!(what)).await;
            created.insert(event.id.clone(), millis(&event.created_at));
            sent.push((what, event.id));
        }
    }
    within(PATIENCE, "all to be delivered", hook.delivered(9)).await;
    drained(&hubs[2], "t", "hook").await;
    let arrivals = arrivals.lock().unwrap().clone();
    for (what, id) in &sent {
        let at: Vec<i64> = arrivals.iter().filter(|(of, _, _)| of == id).map(|(_, at, _)| *at).collect();
        let gap = at.get(1).map(|second| second - at[0]);
        match *what {
            "slow" => assert_eq!(at.len(), 1, "taken over from a node that lives"),
            // A second, up to a quarter less by chance.
            "fails" => assert!(gap.is_some_and(|gap| (700..4500).contains(&gap)), "{what}: {at:?}"),
            _ => assert!(gap.is_some_and(|gap| (2900..7500).contains(&gap)), "{what}: {at:?}"),
        }
        assert!(at.len() <= 2, "{what}: {at:?}");
    }
    for (id, at, named) in &arrivals {
        // The sender's own clock, whole seconds: a receiver allows minutes.
        assert!((at - named).abs() < 5000 + 1000 + SLACK, "{id} at {at} names {named}");
    }
    // Attempts of all nodes stand in one list, beside times of the store.
    for hub in &hubs {
        let list: Value = hub.get("/api/events/streams/t/hook/attempts").await.expect(200).json();
        let attempts = list["attempts"].as_array().expect("attempts");
        assert!(attempts.len() >= 6, "{list}");
        for attempt in attempts {
            let id = attempt["event_id"].as_str().expect("an id");
            let at = millis(attempt["at"].as_str().expect("a time"));
            assert!((created[id]..=now()).contains(&at), "created at {}, tried at {at}", created[id]);
            let near = arrivals.iter().filter(|(of, _, _)| of == id).map(|(_, arrived, _)| (arrived - at).abs()).min();
            assert!(near.is_some_and(|near| near < SLACK), "{attempt}: {near:?} ms from its arrival");
        }
    }
}
