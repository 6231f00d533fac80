//! `PUT`, `GET` and `DELETE /api/events/register`.

use crate::both_stores;
use crate::support::api::{link, webhook};
use crate::support::hub::Hub;
use serde_json::{Value, json};

both_stores!(
    a_new_registration_is_201_and_its_repetition_200,
    defaults_are_filled_in,
    a_stream_without_a_name_gets_a_stable_one,
    a_generated_secret_is_shown_once_and_masked_afterwards,
    a_given_secret_is_masked_in_every_listing,
    every_form_of_ttl_is_taken,
    registrations_are_listed,
    a_replacement_is_whole,
    a_deleted_registration_is_gone_and_can_come_back,
    a_registration_outlives_a_restart,
    a_trailing_slash_changes_nothing,
);

const REGISTER: &str = "/api/events/register";

async fn a_new_registration_is_201_and_its_repetition_200(hub: Hub) {
    let body = json!({"type": "financial:end-budget", "ttl": "24days"});
    let first = hub.put(REGISTER, &body).await.expect(201);
    let second = hub.put(REGISTER, &body).await.expect(200);
    assert_eq!(first.json(), second.json(), "a registration is idempotent");
    assert_eq!(first.json()["type"], "financial:end-budget");
    assert_eq!(first.json()["ttl"], "24days");
    let href = link(&first.json(), "self").expect("a self link");
    assert_eq!(hub.follow(&href).await.expect(200).json()["type"], "financial:end-budget");
}

async fn defaults_are_filled_in(hub: Hub) {
    let streams = json!([
        {"source": "webhook", "uri": "http://127.0.0.1:9/hook"},
        {"source": "rabbit", "exchange": "ex", "routingKey": "key"},
    ]);
    let stored = hub.register_with("t", "1h", streams).await;
    for stream in stored["streams"].as_array().expect("streams") {
        assert!(stream["name"].as_str().is_some_and(|n| !n.is_empty()), "{stream}");
        assert_eq!(stream["mailbox"], 1024, "{stream}");
        assert_eq!(stream["concurrency"], 16, "{stream}");
        assert_eq!(stream["retry"]["attempts"], 40, "{stream}");
        assert_eq!(stream["retry"]["first"], "1s", "{stream}");
        assert_eq!(stream["retry"]["max"], "1h", "{stream}");
    }
    assert_eq!(stored["streams"][0]["uri"], "http://127.0.0.1:9/hook");
    assert_eq!(stored["streams"][1]["exchange"], "ex");
    assert_eq!(stored["streams"][1]["routingKey"], "key");
    assert_eq!(stored["streams"][1]["mandatory"], true);
}

async fn a_stream_without_a_name_gets_a_stable_one(hub: Hub) {
    let stream = |uri: &str| json!([{"source": "webhook", "uri": uri}]);
    let name = |stored: &Value| stored["streams"][0]["name"].as_str().expect("a name").to_owned();
    let first = name(&hub.register_with("t", "1h", stream("http://127.0.0.1:9/a")).await);
    let again = name(&hub.register_with("t", "1h", stream("http://127.0.0.1:9/a")).await);
    let other = name(&hub.register_with("t", "1h", stream("http://127.0.0.1:9/b")).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{first}");
}

async fn a_generated_secret_is_shown_once_and_masked_afterwards(hub: Hub) {
    let streams = json!([webhook("hook", "http://127.0.0.1:9/hook")]);
    let first = hub.register_with("t", "1h", streams.clone()).await;
    let secret = first["streams"][0]["secret"].as_str().expect("a generated secret").to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let again = hub.register_with("t", "1h", streams).await;
    assert!(!again.to_string().contains(&secret), "the second answer shows the secret: {again}");
    let read = hub.get(&format!("{REGISTER}/t")).await.expect(200).text();
    assert!(!read.contains(&secret), "reading shows the secret: {read}");
    let listed = hub.get(REGISTER).await.expect(200).text();
    assert!(!listed.contains(&secret), "the list shows the secret: {listed}");
}

async fn a_given_secret_is_masked_in_every_listing(hub: Hub) {
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
    let mut stream = webhook("hook", "http://127.0.0.1:9/hook");
    stream["secret"] = json!(secret);
    hub.register_with("t", "1h", json!([stream])).await;
    for path in [REGISTER.to_owned(), format!("{REGISTER}/t")] {
        let read = hub.get(&path).await.expect(200).text();
        assert!(!read.contains(secret), "{path} shows the secret: {read}");
    }
}

async fn every_form_of_ttl_is_taken(hub: Hub) {
    for ttl in [
        "permanent",
        "ephemeral",
        "24days",
        "1h30m",
        "2 weeks",
        "1s",
        "5 sec",
        "1 second",
        "90 seconds",
        "3m",
        "3 min",
        "1 minute",
        "2 minutes",
        "1h",
        "1 hour",
        "2 hours",
        "1d",
        "1 day",
        "1w",
        "1 week",
        "1 day 2 hours",
        "36500days",
    ] {
        let stored = hub.put(REGISTER, json!({"type": "t", "ttl": ttl})).await;
        assert!(matches!(stored.status, 200 | 201), "{ttl}: {}", stored.text());
        assert_eq!(stored.json()["ttl"], ttl);
    }
}

async fn registrations_are_listed(hub: Hub) {
    for ty in ["b:two", "a:one", "c"] {
        hub.register(ty, "1h").await;
    }
    hub.delete(&format!("{REGISTER}/c")).await.expect(204);
    let listed = registered(&hub).await;
    let mut names: Vec<_> = listed.iter().map(|r| r["type"].as_str().expect("a type")).collect();
    names.sort_unstable();
    assert_eq!(names, ["a:one", "b:two"]);
    assert!(listed.iter().all(|r| r["ttl"] == "1h" && r["streams"] == json!([])), "{listed:?}");
}

async fn a_replacement_is_whole(hub: Hub) {
    let one = webhook("one", "http://127.0.0.1:9/1");
    let two = webhook("two", "http://127.0.0.1:9/2");
    hub.register_with("t", "1h", json!([one])).await;
    let stored = hub.register_with("t", "2h", json!([two])).await;
    assert_eq!(stored["ttl"], "2h");
    let read = hub.get(&format!("{REGISTER}/t")).await.expect(200).json();
    let names: Vec<_> = read["streams"].as_array().expect("streams").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["two"]);
    assert_eq!(read["ttl"], "2h");
}

async fn a_deleted_registration_is_gone_and_can_come_back(hub: Hub) {
    let one = format!("{REGISTER}/t:x");
    hub.get(&one).await.problem(404);
    hub.delete(&one).await.problem(404);
    hub.register("t:x", "1h").await;
    hub.get(&one).await.expect(200);
    let before = hub.send("t:x", json!(1)).await;
    let deleted = hub.delete(&one).await.expect(204);
    assert!(deleted.body.is_empty());
    hub.get(&one).await.problem(404);
    let later = hub.post("/api/events/send", json!({"type": "t:x", "payload": 2})).await.expect(202).json();
    assert_eq!(later["status"], "discarded");
    assert_eq!(hub.event(&before.id).await["payload"], 1, "stored events stay readable until their TTL");
    hub.put(REGISTER, json!({"type": "t:x", "ttl": "1h"})).await.expect(201);
    let after = hub.send("t:x", json!(3)).await;
    assert_eq!(hub.event(&after.id).await["payload"], 3);
    assert_eq!(hub.event(&before.id).await["payload"], 1);
}

async fn a_registration_outlives_a_restart(hub: Hub) {
    let streams = json!([webhook("hook", "http://127.0.0.1:9/hook")]);
    hub.register_with("t:x", "1h30m", streams).await;
    let before = hub.get(&format!("{REGISTER}/t:x")).await.expect(200).json();
    let hub = hub.restart().await;
    let after = hub.get(&format!("{REGISTER}/t:x")).await.expect(200).json();
    // Links hold the port, which is another one now.
    for field in ["type", "ttl", "streams"] {
        assert_eq!(before[field], after[field]);
    }
}

async fn a_trailing_slash_changes_nothing(hub: Hub) {
    hub.put(&format!("{REGISTER}/"), json!({"type": "t", "ttl": "1h"})).await.expect(201);
    hub.get(&format!("{REGISTER}/")).await.expect(200);
    hub.get(&format!("{REGISTER}/t/")).await.expect(200);
    hub.delete(&format!("{REGISTER}/t/")).await.expect(204);
}

/// The registrations in the list document, whatever its member is called.
async fn registered(hub: &Hub) -> Vec<Value> {
    let listed = hub.get(REGISTER).await.expect(200).json();
    let of = |member: &Value| member.as_array().filter(|a| a.iter().all(|r| r["type"].is_string())).cloned();
    of(&listed)
        .or_else(|| listed.as_object()?.iter().filter(|(name, _)| *name != "links").find_map(|(_, m)| of(m)))
        .unwrap_or_else(|| panic!("no list of registrations in {listed}"))
}
