//! Registrations that are refused, and where the problem points.

use crate::both_stores;
use crate::support::hub::Hub;
use serde_json::{Value, json};

both_stores!(
    what_is_wrong_is_pointed_at,
    every_error_is_listed_at_once,
    a_refused_registration_changes_nothing,
    bodies_that_are_no_registration_are_refused,
);

const REGISTER: &str = "/api/events/register";

async fn what_is_wrong_is_pointed_at(hub: Hub) {
    let hook = |change: &dyn Fn(&mut Value)| {
        let mut stream = json!({"source": "webhook", "uri": "http://127.0.0.1:9/"});
        change(&mut stream);
        json!({"type": "t", "ttl": "1h", "streams": [stream]})
    };
    let with = |field: &str, value: Value| hook(&|s| s[field] = value.clone());
    let uri = |uri: &str| with("uri", json!(uri));
    let rabbit = |field: &str, value: Value| {
        let mut stream = json!({"source": "rabbit", "exchange": "e", "routingKey": "k"});
        stream[field] = value;
        json!({"type": "t", "ttl": "1h", "streams": [stream]})
    };
    let long = "x".repeat(256);
    let table = [
        ("/type", json!({"ttl": "1h"})),
        ("/type", json!({"type": "", "ttl": "1h"})),
        ("/type", json!({"type": "a b", "ttl": "1h"})),
        ("/type", json!({"type": "a::b", "ttl": "1h"})),
        ("/type", json!({"type": "a*", "ttl": "1h"})),
        ("/type", json!({"type": long, "ttl": "1h"})),
        ("/type", json!({"type": 7, "ttl": "1h"})),
        ("/type", json!({"type": null, "ttl": "1h"})),
        ("/ttl", json!({"type": "t"})),
        ("/ttl", json!({"type": "t", "ttl": ""})),
        ("/ttl", json!({"type": "t", "ttl": "forever"})),
        ("/ttl", json!({"type": "t", "ttl": "24"})),
        ("/ttl", json!({"type": "t", "ttl": "1 month"})),
        ("/ttl", json!({"type": "t", "ttl": "1M"})),
        ("/ttl", json!({"type": "t", "ttl": "500ms"})),
        ("/ttl", json!({"type": "t", "ttl": "0s"})),
        ("/ttl", json!({"type": "t", "ttl": "101 years"})),
        ("/ttl", json!({"type": "t", "ttl": "99999999999999999999days"})),
        ("/ttl", json!({"type": "t", "ttl": -1})),
        ("/tttl", json!({"type": "t", "ttl": "1h", "tttl": 1})),
        ("/streams", json!({"type": "t", "ttl": "1h", "streams": {}})),
        ("/streams", json!({"type": "t", "ttl": "1h", "streams": null})),
        ("/streams/0", json!({"type": "t", "ttl": "1h", "streams": [7]})),
        ("/streams/0/source", json!({"type": "t", "ttl": "1h", "streams": [{}]})),
        ("/streams/0/source", json!({"type": "t", "ttl": "1h", "streams": [{"source": "kafka"}]})),
        ("/streams/0/uri", json!({"type": "t", "ttl": "1h", "streams": [{"source": "webhook"}]})),
        (
            "/streams/0/exchange",
            json!({"type": "t", "ttl": "1h", "streams": [{"source": "rabbit", "routingKey": "k"}]}),
        ),
        (
            "/streams/0/routingKey",
            json!({"type": "t", "ttl": "1h", "streams": [{"source": "rabbit", "exchange": "e"}]}),
        ),
        ("/streams/0/uri", uri("")),
        ("/streams/0/uri", uri("not a uri")),
        ("/streams/0/uri", uri("ftp://example.com/")),
        ("/streams/0/uri", uri("file:///etc/passwd")),
        ("/streams/0/uri", uri("http://user:pass@example.com/")),
        ("/streams/0/uri", uri("http://user@example.com/")),
        ("/streams/0/uri", uri("http://169.254.169.254/latest")),
        ("/streams/0/uri", uri("http://169.254.169.254./latest")),
        ("/streams/0/uri", uri("http://0xA9FEA9FE/")),
        ("/streams/0/uri", uri("http://2852039166/")),
        ("/streams/0/uri", uri("http://0251.0376.0251.0376/")),
        ("/streams/0/uri", uri("http://[::ffff:169.254.169.254]/")),
        ("/streams/0/uri", uri("http://[fe80::1]/")),
        ("/streams/0/urii", with("urii", json!("x"))),
        ("/streams/0/exchange", with("exchange", json!("x"))),
        ("/streams/0/name", with("name", json!("a b"))),
        ("/streams/0/name", with("name", json!(""))),
        ("/streams/0/name", with("name", json!(1))),
        ("/streams/0/mailbox", with("mailbox", json!(0))),
        ("/streams/0/mailbox", with("mailbox", json!(-1))),
        ("/streams/0/mailbox", with("mailbox", json!("many"))),
        ("/streams/0/concurrency", with("concurrency", json!(0))),
        ("/streams/0/concurrency", with("concurrency", json!(1.5))),
        ("/streams/0/retry/attempts", with("retry", json!({"attempts": 0}))),
        ("/streams/0/retry/first", with("retry", json!({"first": "soon"}))),
        ("/streams/0/retry/max", with("retry", json!({"max": 5}))),
        ("/streams/0/retry/tries", with("retry", json!({"tries": 5}))),
        ("/streams/0/secret", with("secret", json!("password"))),
        ("/streams/0/exchange", rabbit("exchange", json!(long))),
        ("/streams/0/routingKey", rabbit("routingKey", json!(long))),
        ("/streams/0/mandatory", rabbit("mandatory", json!("yes"))),
        ("/streams/0/uri", rabbit("uri", json!("http://127.0.0.1/"))),
        ("/streams/0/broker", rabbit("broker", json!("nowhere"))),
    ];
    for (pointer, body) in table {
        let answer = hub.put(REGISTER, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.invalid_at(pointer);
    }
    let twice = json!([
        {"source": "webhook", "name": "same", "uri": "http://127.0.0.1:9/1"},
        {"source": "webhook", "name": "same", "uri": "http://127.0.0.1:9/2"},
    ]);
    hub.put(REGISTER, json!({"type": "t", "ttl": "1h", "streams": twice})).await.invalid_at("/streams/1/name");
}

async fn every_error_is_listed_at_once(hub: Hub) {
    let body = json!({"type": "a b", "ttl": "x", "streams": [{"source": "webhook"}, {"source": "kafka"}]});
    let answer = hub.put(REGISTER, body).await;
    for pointer in ["/type", "/ttl", "/streams/0/uri", "/streams/1/source"] {
        answer.invalid_at(pointer);
    }
}

async fn a_refused_registration_changes_nothing(hub: Hub) {
    hub.register("t", "1h").await;
    hub.put(REGISTER, json!({"type": "t", "ttl": "2h", "streams": [{"source": "webhook"}]})).await.problem(422);
    assert_eq!(hub.get(&format!("{REGISTER}/t")).await.expect(200).json()["ttl"], "1h");
}

async fn bodies_that_are_no_registration_are_refused(hub: Hub) {
    for body in ["", "{", "{\"type\":", "nul", "{'type':1}", "{\"type\":\"t\",\"ttl\":\"1h\"} x"] {
        assert_eq!(hub.put(REGISTER, body).await.problem(400)["type"], "/problems/malformed-json", "{body}");
    }
    for body in ["[]", "null", "7", "\"t\""] {
        hub.put(REGISTER, body).await.problem(422);
    }
    let body = br#"{"type":"t","ttl":"1h"}"#;
    hub.call("PUT", REGISTER, &[("Content-Type", "text/plain")], Some(body)).await.problem(415);
    hub.call("PUT", REGISTER, &[], Some(body)).await.problem(415);
    hub.call("PUT", REGISTER, &[("Content-Type", "application/json; charset=utf-8")], Some(body)).await.expect(201);
}
