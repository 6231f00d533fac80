//! `GET /api/events/overview`: what needs somebody, and the last quarter of an hour.

use crate::both_stores;
use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use serde_json::{Value, json};

both_stores!(what_needs_somebody_is_said_in_words);

async fn overview(hub: &Hub) -> Value {
    hub.get("/api/events/overview").await.expect(200).json()
}

fn need(overview: &Value, what: &str) -> Option<Value> {
    overview["attention"].as_array()?.iter().find(|need| need["what"] == what).cloned()
}

async fn what_needs_somebody_is_said_in_words(setup: Setup) {
    let hub = setup.set("streams.max_backlog", 5).start().await;
    let quiet = overview(&hub).await;
    assert_eq!((&quiet["attention"], &quiet["ready"], &quiet["interval_ms"]), (&json!([]), &json!(true), &json!(5000)));

    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Text(500, "out of ink".into()));
    hub.register_with("t:fails", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    hub.register_with("t:waits", "1h", json!([webhook("held", &hook.uri("/"))])).await;
    let pause = json!({"state": "paused"}).to_string();
    let json_type = [("Content-Type", "application/json")];
    hub.call("PATCH", "/api/events/streams/t:waits/held", &json_type, Some(pause.as_bytes())).await.expect(200);
    for n in 0..4 {
        hub.send("t:waits", json!(n)).await;
    }
    hub.send("t:fails", json!(1)).await;
    let told = || async {
        let seen = overview(&hub).await;
        let all = ["stream-failing", "stream-paused", "backlog"].map(|what| need(&seen, what));
        let [Some(failing), Some(paused), Some(backlog)] = all else { return None };
        Some((seen, failing, paused, backlog))
    };
    let (seen, failing, paused, backlog) = eventually(PATIENCE, "the overview to say what is wrong", told).await;
    assert_eq!(
        (&failing["level"], &failing["type"], &failing["stream"]),
        (&json!("error"), &json!("t:fails"), &json!("hook"))
    );
    let text = failing["text"].as_str().unwrap();
    assert!(text.starts_with("Stream hook of t:fails has failed since 20") && text.contains("out of ink"), "{text}");
    assert!(text.contains("1 event waits"), "{text}");
    assert!(paused["text"].as_str().unwrap().starts_with("Stream held of t:waits is paused, by an operator; 4 events"));
    assert!(backlog["text"].as_str().unwrap().starts_with("4 of at most 5 events wait for stream held"), "{backlog}");
    assert_eq!(seen["attention"][0]["level"], "error", "the broken first");
    assert_eq!((&seen["now"]["accepted"], &seen["now"]["streams"]["failing"]), (&json!(5), &json!(1)));
}

#[actix_web::test]
async fn samples_come_every_five_seconds() {
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    hub.send_many("t", 20).await;
    let sampled = || async {
        let history = overview(&hub).await["history"].as_array().unwrap().clone();
        history.iter().find(|sample| sample["accepted"].as_f64() > Some(0.0)).cloned()
    };
    let sample = eventually(PATIENCE, "a sample", sampled).await;
    assert!(sample["accepted"].as_f64().unwrap() <= 20.0, "a rate per second: {sample}");
    let (p50, p99) = (sample["commit_p50_ms"].as_f64().unwrap(), sample["commit_p99_ms"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{sample}");
    assert_eq!((&sample["sessions"], &sample["backlog"]), (&json!(0), &json!(0)));
}

both_stores!(a_stream_tells_its_last_quarter_of_an_hour);

async fn a_stream_tells_its_last_quarter_of_an_hour(setup: Setup) {
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let show = || async { hub.get("/api/events/streams/t/hook").await.expect(200).json() };
    assert_eq!(show().await["interval_ms"], 15_000);
    let sampled = || async {
        hub.send("t", json!(1)).await;
        show().await["history"].as_array()?.first().cloned()
    };
    let sample = eventually(PATIENCE * 2, "a sample", sampled).await;
    assert!(sample["delivered"].as_f64().unwrap() > 0.0, "{sample}");
    assert_eq!((&sample["failed"], sample["at"].as_str().map(str::len)), (&json!(0), Some(24)), "{sample}");
    let all = hub.get("/api/events/streams").await.expect(200).json();
    assert_eq!(all["streams"][0]["history"], Value::Null, "a list has none");
}

#[actix_web::test]
async fn a_store_that_is_away_and_dead_letters_are_told() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    let stream = json!({"source": "webhook", "name": "hook", "uri": hook.uri("/"), "retry": {"attempts": 1}});
    hub.register_with("t", "1h", json!([stream])).await;
    hub.send("t", json!(1)).await;
    let dead = || async { need(&overview(&hub).await, "dead-letters") };
    let dead = eventually(PATIENCE, "the dead letter to be told", dead).await;
    assert!(dead["text"].as_str().unwrap().starts_with("Stream hook of t has 1 dead letter:"), "{dead}");
    setup.redis_server().kill();
    let away = || async {
        let seen = overview(&hub).await;
        (seen["now"]["backlog"] == Value::Null).then_some(seen)
    };
    let seen = eventually(PATIENCE, "the overview to say that the store is away", away).await;
    let need = need(&seen, "store-unavailable").unwrap_or_else(|| panic!("{seen}"));
    assert!(need["level"] == "error" && seen["ready"] == false, "{seen}");
}
