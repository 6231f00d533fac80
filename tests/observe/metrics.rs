//! `/metrics`: every metric of the table is there, nothing else is, and the figures are what happened.

use super::figures::Figures;
use crate::both_stores;
use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use crate::support::ws::Session;
use event_source_api::error::Code;
use event_source_api::measure::{Kind, TABLE};
use serde_json::json;
use std::collections::BTreeSet;

both_stores!(the_figures_are_what_happened, a_stream_that_fails_shows);

/// What is documented: name, kind, labels, meaning.
fn documented() -> Vec<(String, String, String, String)> {
    let rows = include_str!("../../docs/metrics.md").lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let [name, kind, labels, help, ""] = cells[..] else { panic!("not a row: {line}") };
        let text = |cell: &str| cell.replace('`', "");
        Some((text(name), kind.to_owned(), text(labels), help.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_documentation_is_the_table() {
    let table: Vec<_> = TABLE
        .iter()
        .map(|m| (m.name.to_owned(), m.kind.as_str().to_owned(), m.labels.join(", "), m.help.to_owned()))
        .collect();
    assert_eq!(documented(), table);
}

async fn the_figures_are_what_happened(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let mut session = Session::open(&hub, "?types=t").await;
    for n in 0..3 {
        hub.send("t", json!(n)).await;
    }
    let keyed = [("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    for _ in 0..2 {
        hub.call("POST", "/api/events/send", &keyed, Some(br#"{"type":"t","payload":3}"#)).await.expect(202);
    }
    for _ in 0..4 {
        session.event().await;
    }
    hook.delivered(4).await;
    let batch = json!([{"type": "nobody", "payload": 1}, {"type": "nobody", "payload": 2}, {"type": 5, "payload": 1}]);
    hub.post("/api/events/send", batch).await.expect(202);
    hub.post("/api/events/send", "{").await.problem(400);
    hub.get("/api/events/nowhere").await.problem(404);
    let feed = hub.get("/api/events/feed/day/current").await.expect(200);
    let tag = [("If-None-Match", feed.header("etag").unwrap())];
    hub.call("GET", "/api/events/feed/day/current", &tag, None).await.expect(304);
    // The last settlement may be on its way, and what is asked of the store is asked at most every two seconds.
    let settled = || async {
        let page = Figures::of(&hub).await;
        let done = page.values.get("events_backlog_events") == Some(&0.0) && page.get("events_live_sessions") == 1.0;
        (done && page.get("events_delivery_seconds_count") == 4.0).then_some(page)
    };
    let page = eventually(PATIENCE, "everything to be counted", settled).await;

    let shown: BTreeSet<_> = page.families.keys().map(String::as_str).collect();
    let table: BTreeSet<_> = TABLE.iter().map(|m| m.name).collect();
    assert_eq!(shown, table, "what is shown is what is documented");
    for metric in TABLE {
        let (kind, help) = &page.families[metric.name];
        assert_eq!((kind.as_str(), help.as_str()), (metric.kind.as_str(), metric.help), "{}", metric.name);
        assert!(page.sampled.contains(metric.name), "{} has no value", metric.name);
        for (series, _) in page.series(metric.name).iter().filter(|_| metric.kind != Kind::Histogram) {
            let labels: Vec<_> = series.split(['{', ',']).skip(1).map(|l| l.split('=').next().unwrap()).collect();
            assert_eq!(labels, metric.labels, "{series}");
        }
    }
    for (series, wanted) in [
        ("events_ready", 1.0),
        ("events_accepted_total", 4.0),
        ("events_duplicate_total", 1.0),
        ("events_discarded_total{type=\"nobody\"}", 2.0),
        ("events_discarded_total{type=\"other types\"}", 0.0),
        ("events_refused_total{reason=\"invalid\"}", 1.0),
        ("events_refused_total{reason=\"malformed-json\"}", 1.0),
        ("events_refused_total{reason=\"not-found\"}", 1.0),
        ("events_delivery_attempts_total{source=\"webhook\",outcome=\"delivered\"}", 4.0),
        ("events_delivery_attempts_total{source=\"webhook\",outcome=\"retry\"}", 0.0),
        ("events_delivery_attempt_seconds_count", 4.0),
        ("events_feed_answers_total{answer=\"page\"}", 1.0),
        ("events_feed_answers_total{answer=\"not_modified\"}", 1.0),
        ("events_feed_seconds_count", 2.0),
        ("events_stream_backlog_events{type=\"t\",stream=\"hook\"}", 0.0),
        ("events_stream_mailbox_limit_events{type=\"t\",stream=\"hook\"}", 1024.0),
        ("events_streams{state=\"active\"}", 1.0),
        ("events_store_errors_total{kind=\"unavailable\"}", 0.0),
        ("events_http_answers_total{status=\"1xx\"}", 1.0),
        ("events_http_answers_total{status=\"3xx\"}", 1.0),
    ] {
        assert_eq!(page.get(series), wanted, "{series}");
    }
    let reasons: Vec<_> = page.series("events_refused_total").iter().map(|(s, _)| s.len()).collect();
    assert_eq!(reasons.len(), Code::ALL.len(), "a reason a code");
    // Events of one request go out together; each repetition with a key goes alone.
    assert!(page.get("events_commit_seconds_count") >= 1.0 && page.get("events_commit_batch_events_sum") >= 5.0);
    assert!(page.get("events_live_lag_seconds_count") >= 1.0);
    assert!(page.get("process_resident_memory_bytes") > 1e6 && page.get("process_start_time_seconds") > 1e9);
    assert!(page.get("events_http_answers_total{status=\"2xx\"}") >= 8.0);
}

async fn a_stream_that_fails_shows(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    let mut stream = webhook("hook", &hook.uri("/"));
    stream["retry"] = json!({"attempts": 1000, "first": "100ms", "max": "200ms"});
    hub.register_with("t:x", "1h", json!([stream])).await;
    let fatal = json!({"source": "webhook", "name": "dead", "uri": hook.uri("/"), "retry": {"attempts": 1}});
    hub.register_with("t:y", "1h", json!([fatal])).await;
    hub.send("t:x", json!(1)).await;
    hub.send("t:y", json!(1)).await;
    let failing = || async {
        let page = Figures::of(&hub).await;
        let value = |series: &str| page.values.get(series).copied().unwrap_or(-1.0);
        let fails = value("events_stream_failing{type=\"t:x\",stream=\"hook\"}") == 1.0;
        (fails && value("events_dead_letters") == 1.0).then_some(page)
    };
    let page = eventually(PATIENCE, "the stream to be shown as failing", failing).await;
    assert_eq!(page.get("events_stream_backlog_events{type=\"t:x\",stream=\"hook\"}"), 1.0);
    assert_eq!(page.get("events_stream_dead_letters{type=\"t:y\",stream=\"dead\"}"), 1.0);
    assert!(page.get("events_oldest_age_seconds") > 0.0);
    assert!(page.get("events_streams{state=\"failing\"}") >= 1.0);
    assert!(page.get("events_delivery_attempts_total{source=\"webhook\",outcome=\"retry\"}") >= 3.0);
    assert_eq!(page.get("events_delivery_attempts_total{source=\"webhook\",outcome=\"dead\"}"), 1.0);
}

#[actix_web::test]
async fn types_that_senders_make_up_are_bounded() {
    let hub = Setup::embedded().start().await;
    let items: Vec<_> = (0..130).map(|n| json!({"type": format!("typo:{n}"), "payload": 1})).collect();
    hub.post("/api/events/send", json!(items)).await.expect(202);
    let page = Figures::of(&hub).await;
    let series = page.series("events_discarded_total");
    assert_eq!(series.len(), 101, "100 types and the rest");
    assert_eq!(page.get("events_discarded_total{type=\"other types\"}"), 30.0);
    assert_eq!(series.iter().map(|(_, value)| value).sum::<f64>(), 130.0);
}

#[actix_web::test]
async fn streams_beyond_a_bound_are_in_the_totals_alone() {
    let hub = Setup::embedded().start().await;
    // Nobody listens there; nothing is sent either.
    let streams: Vec<_> = (0..41)
        .map(|n| json!({"source": "webhook", "name": format!("s{n:02}"), "uri": "http://127.0.0.1:1/"}))
        .collect();
    for ty in ["a", "b", "c", "d", "e"] {
        hub.register_with(ty, "1h", json!(streams)).await;
    }
    let all = || async {
        let page = Figures::of(&hub).await;
        (page.get("events_streams{state=\"active\"}") == 205.0).then_some(page)
    };
    let page = eventually(PATIENCE, "all streams to be counted", all).await;
    assert_eq!(page.series("events_stream_backlog_events").len(), 200);
    assert_eq!(page.get("events_streams_not_shown"), 5.0);
    assert!(!page.values.contains_key("events_stream_in_flight{type=\"e\",stream=\"s40\"}"));
}

#[actix_web::test]
async fn without_its_store_a_hub_shows_what_it_knows() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    hub.register_with("t", "1h", json!([webhook("hook", "http://127.0.0.1:1/")])).await;
    setup.redis_server().kill();
    let away = || async {
        let page = Figures::of(&hub).await;
        (page.get("events_ready") == 0.0 && !page.families.contains_key("events_backlog_events")).then_some(page)
    };
    let page = eventually(PATIENCE, "the hub to say that it is not ready", away).await;
    assert!(page.get("events_store_errors_total{kind=\"unavailable\"}") >= 1.0);
    assert!(page.series("events_stream_backlog_events").is_empty());
    assert_eq!(page.get("events_stream_mailbox_limit_events{type=\"t\",stream=\"hook\"}"), 1024.0);
}
