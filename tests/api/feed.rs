//! `GET /api/events/feed/{slice}/{at}`: slices, links, filters, pages.

use crate::both_stores;
use crate::support::api::{ids, instant, link, millis, path_of};
use crate::support::hub::{Hub, Setup};
use serde_json::{Value, json};

both_stores!(
    an_event_shows_in_every_slice_that_holds_it,
    a_feed_is_newest_first,
    links_are_canonical_and_lead_back,
    the_current_slice_has_no_next,
    links_stand_in_a_link_header_too,
    links_use_the_public_url_where_one_is_set,
    types_filter_a_feed,
    pages_cover_a_slice_once,
    pages_cut_inside_a_batch,
    an_empty_slice_is_not_an_error,
    the_future_is_not_there,
    malformed_parameters_are_400,
    a_feed_outlives_a_restart,
);

const SLICES: &[&str] = &["minute", "hour", "day", "week", "month", "15minutes", "6hours", "1s", "2weeks", "366days"];

async fn an_event_shows_in_every_slice_that_holds_it(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!({"a": [1, 2]})).await;
    for slice in SLICES {
        let feed = hub.feed(&format!("{slice}/{}", event.created_at)).await;
        let shown = &feed["events"][0];
        assert_eq!(ids(&feed), [event.id.as_str()], "{slice}");
        assert_eq!(shown["type"], "t");
        assert_eq!(shown["payload"], json!({"a": [1, 2]}));
        assert_eq!(shown["created_at"], event.created_at.as_str());
        assert!(link(shown, "mark-processed").is_none(), "a feed without a client offers no mark");
        let before = millis(&event.created_at) - 400 * 86_400_000;
        assert!(ids(&hub.feed(&format!("{slice}/{}", instant(before))).await).is_empty(), "{slice}");
    }
}

async fn a_feed_is_newest_first(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(hub.send(if n % 3 == 0 { "a" } else { "b" }, json!(n)).await);
        // Ids of different types are ordered by their millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let wanted: Vec<_> = sent.iter().rev().map(|s| s.id.clone()).collect();
    assert_eq!(ids(&hub.feed("100days/current").await), wanted);
}

async fn links_are_canonical_and_lead_back(hub: Hub) {
    hub.register("t", "1h").await;
    let at = "2024-02-29T13:47:12.345Z";
    for (slice, start, before, after) in [
        ("minute", "2024-02-29T13:47:00.000Z", "2024-02-29T13:46:00.000Z", "2024-02-29T13:48:00.000Z"),
        ("hour", "2024-02-29T13:00:00.000Z", "2024-02-29T12:00:00.000Z", "2024-02-29T14:00:00.000Z"),
        ("day", "2024-02-29T00:00:00.000Z", "2024-02-28T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        ("week", "2024-02-26T00:00:00.000Z", "2024-02-19T00:00:00.000Z", "2024-03-04T00:00:00.000Z"),
        ("month", "2024-02-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        ("15minutes", "2024-02-29T13:45:00.000Z", "2024-02-29T13:30:00.000Z", "2024-02-29T14:00:00.000Z"),
        ("6hours", "2024-02-29T12:00:00.000Z", "2024-02-29T06:00:00.000Z", "2024-02-29T18:00:00.000Z"),
    ] {
        for query in ["", "?types=t,x:*", "?limit=5&types=t"] {
            let feed = hub.feed(&format!("{slice}/{at}{query}")).await;
            let own = link(&feed, "self").expect("a self link");
            for (rel, wanted) in [("self", start), ("prev", before), ("next", after), ("current", "current")] {
                let href = link(&feed, rel).unwrap_or_else(|| panic!("{slice}: no {rel} in {feed}"));
                assert!(href.starts_with(&format!("http://hub.localhost/api/events/feed/{slice}/")), "{href}");
                let (path, kept) = href.split_once('?').unwrap_or((&href, ""));
                assert_eq!(plain(path.rsplit('/').next().unwrap()), wanted, "{slice} {rel}");
                assert_eq!(query_of(kept), query_of(query.trim_start_matches('?')), "{rel} keeps the query");
                hub.follow(&href).await.expect(200);
            }
            let prev = hub.follow(&link(&feed, "prev").unwrap()).await.json();
            assert_eq!(link(&prev, "next"), Some(own.clone()), "the slice before leads back");
            let next = hub.follow(&link(&feed, "next").unwrap()).await.json();
            assert_eq!(link(&next, "prev"), Some(own.clone()), "the slice after leads back");
            assert_eq!(link(&hub.follow(&own).await.json(), "self"), Some(own), "self is canonical");
        }
    }
    let offset = hub.feed("hour/2024-02-29T15:47:12%2B02:00").await;
    assert!(plain(&link(&offset, "self").unwrap()).ends_with("2024-02-29T13:00:00.000Z"));
}

async fn the_current_slice_has_no_next(hub: Hub) {
    for slice in SLICES {
        let current = hub.feed(&format!("{slice}/current")).await;
        assert_eq!(link(&current, "next"), None, "{slice}");
        let own = link(&current, "self").expect("a self link");
        assert!(!own.contains("current"), "self names the slice itself: {own}");
        let before = hub.follow(&link(&current, "prev").expect("a prev link")).await.expect(200).json();
        assert_eq!(link(&before, "next"), Some(own), "{slice}");
    }
}

async fn links_stand_in_a_link_header_too(hub: Hub) {
    let answer = hub.get("/api/events/feed/hour/2024-02-29T13:47:12Z").await.expect(200);
    let header = answer.header("link").expect("a Link header").to_owned();
    for rel in ["self", "prev", "next", "current"] {
        let href = link(&answer.json(), rel).unwrap();
        let found = header.split(',').any(|l| l.contains(&format!("<{href}>")) && l.contains(rel));
        assert!(found, "no {rel} <{href}> in {header}");
    }
}

async fn links_use_the_public_url_where_one_is_set(setup: Setup) {
    let hub = setup.set("http.public_url", "https://events.example.com/base").start().await;
    let feed = hub.feed("hour/current").await;
    let own = link(&feed, "self").unwrap();
    assert!(own.starts_with("https://events.example.com/base/api/events/feed/hour/"), "{own}");
}

async fn types_filter_a_feed(hub: Hub) {
    let types = ["financial:end-budget", "financial:start", "campaign:stop", "financial"];
    for ty in types {
        hub.register(ty, "1h").await;
        hub.send(ty, json!(ty)).await;
    }
    for (filter, mut wanted) in [
        ("", types.to_vec()),
        ("?types=*", types.to_vec()),
        ("?types=financial:*", vec![types[0], types[1]]),
        ("?types=financial*", vec![types[0], types[1], types[3]]),
        ("?types=*:stop", vec![types[2]]),
        ("?types=*t*", vec![types[0], types[1], types[2]]),
        ("?types=financial", vec![types[3]]),
        ("?types=financial,campaign:stop", vec![types[2], types[3]]),
        ("?types=campaign:*,financial:start,campaign:stop", vec![types[1], types[2]]),
        ("?types=unknown", vec![]),
        ("?types=unknown:*", vec![]),
        ("?types=financial%3Astart", vec![types[1]]),
    ] {
        let feed = hub.feed(&format!("100days/current{filter}")).await;
        let mut shown: Vec<&str> =
            feed["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
        shown.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(shown, wanted, "{filter}");
    }
}

async fn pages_cover_a_slice_once(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    let mut sent = Vec::new();
    for n in 0..31 {
        sent.push(hub.send(if n % 2 == 0 { "a" } else { "b" }, json!(n)).await.id);
    }
    sent.reverse();
    let whole = ids(&hub.feed("100days/current").await);
    assert_eq!(whole.len(), 31);
    for limit in [1, 2, 7, 30, 31, 32] {
        let query = format!("100days/current?limit={limit}");
        let first = hub.feed(&query).await;
        assert_eq!(ids(&first).len(), limit.min(31));
        assert_eq!(link(&first, "more").is_some(), limit < 31, "limit {limit}");
        if let Some(more) = link(&first, "more") {
            let last = ids(&first).pop().unwrap();
            assert!(more.contains(&format!("after={last}")), "{more}");
            assert!(more.contains(&format!("limit={limit}")), "{more}");
            assert!(!path_of(&more).contains("current"), "a page stays in its slice: {more}");
        }
        assert_eq!(hub.walk(&query).await, whole, "limit {limit}");
    }
    let only_a = hub.walk("100days/current?limit=3&types=a").await;
    assert_eq!(only_a.len(), 16);
}

async fn pages_cut_inside_a_batch(hub: Hub) {
    hub.register("t", "1h").await;
    let batch: Vec<Value> = (0..300).map(|n| json!({"type": "t", "payload": n})).collect();
    hub.post("/api/events/send", Value::from(batch)).await.expect(202);
    let whole = ids(&hub.feed("100days/current").await);
    assert_eq!(whole.len(), 300);
    assert_eq!(hub.walk("100days/current?limit=7").await, whole);
    assert_eq!(hub.walk("100days/current?limit=64").await, whole);
}

async fn an_empty_slice_is_not_an_error(hub: Hub) {
    let feed = hub.feed("hour/2018-02-01T11:12:01.000Z").await;
    assert_eq!(feed["events"], json!([]));
    assert_eq!(hub.feed("hour/current").await["events"], json!([]));
    assert_eq!(hub.feed("hour/1971-01-01T00:00:00Z").await["events"], json!([]));
}

async fn the_future_is_not_there(hub: Hub) {
    let now = chrono::Utc::now().timestamp_millis();
    hub.get(&format!("/api/events/feed/hour/{}", instant(now + 2 * 3_600_000))).await.problem(404);
    hub.get("/api/events/feed/month/2999-01-01T00:00:00Z").await.problem(404);
    hub.get("/api/events/feed/month/2999-01-01T00:00:00Z/client/c").await.problem(404);
    hub.feed(&format!("minute/{}", instant(now - 60_000))).await;
}

async fn malformed_parameters_are_400(hub: Hub) {
    for path in [
        "year/current",
        "0hours/current",
        "-1h/current",
        "1.5h/current",
        "367days/current",
        "99999999999999999999d/current",
        "5ms/current",
        "hour/yesterday",
        "hour/Current",
        "hour/2024-02-30T00:00:00Z",
        "hour/2024-02-29",
        "hour/1517483521000",
        "hour/%00",
        "hour/%ff",
        "hour/current?limit=0",
        "hour/current?limit=10001",
        "hour/current?limit=-1",
        "hour/current?limit=ten",
        "hour/current?limit=",
        "hour/current?limit=99999999999999999999",
        "hour/current?after=abc",
        "hour/current?after=-1",
        "hour/current?after=",
        "hour/current?after=99999999999999999999999",
        "hour/current?types=",
        "hour/current?types=a,,b",
        "hour/current?types=a%20b",
        "hour/current?types=a::b",
        "hour/current?types=%ff",
        "hour/current/client/c?status=done",
        "hour/current/client/c?status=",
        "hour/current/client/a%20b",
        "hour/current/client/a:b",
    ] {
        let answer = hub.get(&format!("/api/events/feed/{path}")).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        answer.problem(400);
    }
    hub.get(&format!("/api/events/feed/hour/current/client/{}", "x".repeat(129))).await.problem(400);
    hub.feed(&format!("hour/current/client/{}", "x".repeat(128))).await;
    hub.feed("hour/current?limit=1").await;
    hub.feed("hour/current?limit=10000").await;
}

async fn a_feed_outlives_a_restart(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send_many("t", 20).await;
    let before = hub.feed("100days/current").await;
    let hub = hub.restart().await;
    assert_eq!(hub.feed("100days/current").await["events"], before["events"]);
}

/// A path or a part of one with its colons unescaped: both spellings are the same URL.
fn plain(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":")
}

fn query_of(query: &str) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
