//! Feeds and caches: `ETag`, `If-None-Match`, `Cache-Control`.

use crate::both_stores;
use crate::support::api::{ids, instant, link, millis};
use crate::support::http::Response;
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, eventually};
use serde_json::json;
use std::time::Duration;

both_stores!(
    an_unchanged_feed_is_not_sent_again,
    whatever_changes_a_feed_changes_its_tag,
    a_clients_feed_follows_its_marks,
    a_304_says_what_a_200_would,
    lists_of_tags_and_the_star_are_understood,
    a_closed_slice_is_kept_until_its_first_event_expires,
    a_closed_slice_keeps_its_tag,
    a_head_is_that_of_a_get,
);

async fn ask(hub: &Hub, path: &str, tag: &str) -> Response {
    hub.call("GET", &format!("/api/events/feed/{path}"), &[("If-None-Match", tag)], None).await
}

fn tag(answer: &Response) -> String {
    let tag = answer.header("etag").expect("an ETag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "strong and quoted: {tag}");
    tag
}

async fn an_unchanged_feed_is_not_sent_again(hub: Hub) {
    hub.register("t", "1h").await;
    hub.register("p", "permanent").await;
    hub.send("t", json!(1)).await;
    for path in ["100days/current", "100days/current?types=t", "hour/2020-01-01T00:00:00Z", "100days/current/client/c"]
    {
        let first = hub.get(&format!("/api/events/feed/{path}")).await.expect(200);
        for _ in 0..3 {
            let again = ask(&hub, path, &tag(&first)).await.expect(304);
            assert!(again.body.is_empty());
            assert_eq!(tag(&again), tag(&first));
        }
        ask(&hub, path, "\"other\"").await.expect(200);
        assert_eq!(hub.get(&format!("/api/events/feed/{path}")).await.body, first.body, "{path}");
    }
}

async fn whatever_changes_a_feed_changes_its_tag(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "2s").await;
    let path = "100days/current";
    let mut last = hub.get(&format!("/api/events/feed/{path}")).await.expect(200);
    for (ty, n) in [("a", 1), ("b", 2), ("a", 3), ("a", 4)] {
        hub.send(ty, json!(n)).await;
        let next = ask(&hub, path, &tag(&last)).await.expect(200);
        assert_ne!(tag(&next), tag(&last));
        // Not always the first: events of one millisecond are in the order of their types.
        assert!(next.json()["events"].as_array().unwrap().iter().any(|event| event["payload"] == n));
        last = next;
    }
    // Something else does not.
    let only_a = hub.get("/api/events/feed/100days/current?types=a").await.expect(200);
    hub.send("b", json!(5)).await;
    ask(&hub, "100days/current?types=a", &tag(&only_a)).await.expect(304);
    // Time does, too, and shorter lives.
    let with_b = hub.get("/api/events/feed/100days/current?types=b").await.expect(200);
    assert_eq!(ids(&with_b.json()).len(), 2);
    eventually(PATIENCE, "b to expire and its empty feed to keep its tag", || async {
        // A page may be newer than its tag, when the last event expires between the two.
        let answer = ask(&hub, "100days/current?types=b", &tag(&with_b)).await;
        let gone = answer.status == 200 && ids(&answer.json()).is_empty();
        let same = gone && ask(&hub, "100days/current?types=b", &tag(&answer)).await.status == 304;
        same.then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    hub.register("a", "1s").await;
    let short = ask(&hub, "100days/current?types=a", &tag(&only_a)).await.expect(200);
    assert!(ids(&short.json()).is_empty());
    hub.register("a", "1h").await;
    assert!(ids(&hub.feed("100days/current?types=a").await).is_empty(), "what is gone does not come back");
    ask(&hub, "100days/current?types=a", &tag(&only_a)).await.expect(200);
    // What is asked for shows in the links, and so in the tag.
    let mut tags = Vec::new();
    for query in ["", "?types=*", "?limit=7", "?types=a,b"] {
        tags.push(tag(&hub.get(&format!("/api/events/feed/{path}{query}")).await));
    }
    tags.push(tag(&hub.call("GET", &format!("/api/events/feed/{path}"), &[("Host", "other.localhost")], None).await));
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 5);
}

async fn a_clients_feed_follows_its_marks(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 3).await;
    for status in ["", "?status=processed", "?status=all"] {
        let path = format!("100days/current/client/c{status}");
        let mut last = hub.get(&format!("/api/events/feed/{path}")).await.expect(200);
        assert_eq!(last.header("cache-control"), Some("no-cache"));
        for method in ["PUT", "DELETE"] {
            for event in &sent {
                hub.call(method, &format!("/api/events/{}/ok/c", event.id), &[], None).await.expect(200);
                let next = ask(&hub, &path, &tag(&last)).await.expect(200);
                assert_ne!(next.body, last.body);
                assert_ne!(tag(&next), tag(&last));
                last = next;
                hub.call("PUT", &format!("/api/events/{}/ok/other", event.id), &[], None).await.expect(200);
                ask(&hub, &path, &tag(&last)).await.expect(304);
            }
        }
    }
}

async fn a_304_says_what_a_200_would(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send_many("t", 5).await;
    let past = instant(chrono::Utc::now().timestamp_millis() - 86_400_000);
    for path in [
        "100days/current".to_owned(),
        "100days/current?limit=2".to_owned(),
        "100days/current/client/c?limit=2".to_owned(),
        format!("hour/{past}"),
    ] {
        let full = hub.get(&format!("/api/events/feed/{path}")).await.expect(200);
        let cut = path.contains("limit=2");
        assert_eq!(link(&full.json(), "more").is_some(), cut);
        let same = ask(&hub, &path, &tag(&full)).await.expect(304);
        for header in ["etag", "link", "cache-control"] {
            assert_eq!(same.header(header), full.header(header), "{header} of {path}");
        }
        assert_eq!(same.header("link").expect("links").contains("rel=\"more\""), cut);
    }
}

async fn lists_of_tags_and_the_star_are_understood(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send_many("t", 3).await;
    let path = "100days/current?limit=2";
    let own = tag(&hub.get(&format!("/api/events/feed/{path}")).await.expect(200));
    let bare = own.trim_matches('"');
    for known in [
        own.clone(),
        format!("W/{own}"),
        format!("\"x\", {own}"),
        format!("\"a,b\",W/\"c\" ,W/{own},\"d\""),
        "*".to_owned(),
    ] {
        let answer = ask(&hub, path, &known).await.expect(304);
        assert_eq!(tag(&answer), own, "{known}");
    }
    let forged = own.replace(bare.split('.').next().unwrap(), "AAAAAAAAAAAAAAAAAAAAAAAA");
    for unknown in ["", "\"\"", bare, "W/", "\"", ",,", &forged, &own.replace('.', ".1"), "\"x*\""] {
        ask(&hub, path, unknown).await.expect(200);
    }
}

async fn a_closed_slice_is_kept_until_its_first_event_expires(hub: Hub) {
    hub.register("short", "20s").await;
    hub.register("long", "1h").await;
    hub.register("p", "permanent").await;
    let age = |answer: &Response| {
        let header = answer.header("cache-control").expect("Cache-Control").to_owned();
        let age = header.strip_prefix("private, max-age=").and_then(|rest| rest.strip_suffix(", immutable"));
        age.map(|age| age.parse::<i64>().expect("seconds")).ok_or(header)
    };
    let first = hub.send("short", json!(1)).await;
    hub.send("long", json!(1)).await;
    hub.send("p", json!(1)).await;
    let at = |types: &str| format!("/api/events/feed/1s/{}?types={types}", first.created_at);
    assert_eq!(age(&hub.get("/api/events/feed/hour/current").await).unwrap_err(), "no-cache");
    let end = (millis(&first.created_at) / 1000 + 1) * 1000;
    eventually(PATIENCE, "the slice to close", || async {
        let before = chrono::Utc::now().timestamp_millis();
        let answer = hub.get(&at("short")).await.expect(200);
        let after = chrono::Utc::now().timestamp_millis();
        match age(&answer) {
            Err(header) => {
                assert_eq!(header, "no-cache");
                assert!(before < end + 3000, "a slice closes 2 s after its end");
                None
            }
            Ok(age) => {
                assert!(after >= end + 1900, "closed {} ms too early", end + 2000 - after);
                let left = (millis(&first.created_at) + 20_000 - after) / 1000;
                assert!((left - 1..=left + 1).contains(&age), "{age} s, {left} s left");
                Some(())
            }
        }
    })
    .await;
    let all = age(&hub.get(&at("*")).await).expect("immutable");
    assert!(all <= 18, "the first that expires counts: {all}");
    let long = age(&hub.get(&at("long")).await).expect("immutable");
    // It may stand in the next second's slice, and then nothing expires in this one.
    assert!((3500..=3600).contains(&long) || long == 365 * 86_400, "{long}");
    for path in ["/api/events/feed/hour/2020-01-01T00:00:00Z".to_owned(), at("p")] {
        assert_eq!(age(&hub.get(&path).await), Ok(365 * 86_400), "nothing expires in {path}");
    }
    let own = hub.get(&format!("/api/events/feed/1s/{}/client/c", first.created_at)).await;
    assert_eq!(age(&own).unwrap_err(), "no-cache");
}

async fn a_closed_slice_keeps_its_tag(hub: Hub) {
    hub.register("t", "1h").await;
    let first = hub.send("t", json!(1)).await;
    let path = format!("1s/{}", first.created_at);
    let closed = eventually(PATIENCE, "the slice to close", || async {
        let answer = hub.get(&format!("/api/events/feed/{path}")).await.expect(200);
        answer.header("cache-control")?.contains("immutable").then_some(answer)
    })
    .await;
    hub.send_many("t", 2).await;
    hub.register("new", "1h").await;
    hub.send_many("new", 2).await;
    let again = hub.get(&format!("/api/events/feed/{path}")).await;
    assert_eq!((tag(&again), &again.body), (tag(&closed), &closed.body));
    let hub = hub.restart().await;
    ask(&hub, &path, &tag(&closed)).await.expect(304);
}

async fn a_head_is_that_of_a_get(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send_many("t", 3).await;
    let get = hub.get("/api/events/feed/100days/current?limit=2").await.expect(200);
    let head = hub.call("HEAD", "/api/events/feed/100days/current?limit=2", &[], None).await.expect(200);
    for header in ["etag", "link", "cache-control", "content-type", "content-length"] {
        assert_eq!(head.header(header), get.header(header), "{header}");
    }
    let known = [("If-None-Match", get.header("etag").unwrap())];
    hub.call("HEAD", "/api/events/feed/100days/current?limit=2", &known, None).await.expect(304);
}
