//! A node that stops between looking a type up and storing its event: what it finds changed when it goes on counts.

use crate::gate::Gate;
use crate::hubs::know;
use crate::support::api::webhook;
use crate::support::http::{Connection, Response, request};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::webhook::Webhook;
use ::redis::Commands;
use serde_json::{Value, json};

/// A send on its way.
async fn start(hub: &Hub, body: Value) -> Connection {
    let mut line = within(PATIENCE, "a connection", Connection::open(hub.address())).await.expect("open");
    let (body, headers) = (body.to_string(), [("Content-Type", "application/json")]);
    line.write(&request("POST", "/api/events/send", &headers, Some(body.as_bytes()))).await.expect("written");
    line
}

async fn end(mut line: Connection) -> Response {
    within(PATIENCE, "an answer", line.read(false)).await.expect("an answer")
}

#[actix_web::test]
async fn an_event_looked_up_before_its_stream_was_dropped_is_given_to_the_streams_there_are() {
    let setup = Setup::redis();
    let port = setup.redis_server().port();
    let gate = Gate::before(port).await;
    let behind = setup.clone().set("store.url", gate.url()).set("store.timeout", "30s").set("http.workers", 1);
    let hubs = [behind.start().await, setup.start().await];
    let (stopped, other) = (&hubs[0], &hubs[1]);
    let hook = Webhook::start().await;
    let both = json!([webhook("kept", &hook.uri("/kept")), webhook("dropped", &hook.uri("/dropped"))]);
    other.register_with("t", "1h", both).await;
    other.register_with("u", "1h", json!([webhook("dropped", &hook.uri("/dropped"))])).await;
    know(&hubs, "t").await;
    know(&hubs, "u").await;
    // Its connection for appends is made with the first.
    other.register("other", "1h").await;
    know(&hubs, "other").await;
    stopped.send("other", json!(0)).await;

    // The first is stored, which the node does not hear; the others wait for that, their types looked up.
    gate.close();
    let first = start(stopped, json!({"type": "t", "payload": "mark-1"})).await;
    eventually(PATIENCE, "the first to be on its way", || async { gate.has_passed(b"mark-1").then_some(()) }).await;
    let single = start(stopped, json!({"type": "t", "payload": "mark-2"})).await;
    let item = |ty: &str| json!({"type": ty, "payload": "of a batch"});
    let batch = start(stopped, json!([item("t"), item("u"), item("t")])).await;
    // They are before this at the only worker.
    for _ in 0..3 {
        stopped.get("/healthz").await.expect(200);
    }
    stopped.signal("STOP");

    other.register_with("t", "1h", json!([webhook("kept", &hook.uri("/kept"))])).await;
    other.delete("/api/events/register/u").await.expect(204);
    for ty in ["t", "u"] {
        let path = format!("/api/events/streams/{ty}/dropped");
        let gone = || async { (other.get(&path).await.status == 404).then_some(()) };
        eventually(PATIENCE, "the dropped stream to be gone", gone).await;
    }
    assert!(!gate.has_passed(b"mark-2"), "it has been stored too early for this test");
    stopped.signal("CONT");
    gate.open();

    assert_eq!(end(first).await.expect(202).json()["streams"], json!(["kept", "dropped"]));
    let single = end(single).await.expect(202).json();
    assert_eq!((&single["status"], &single["streams"]), (&json!("accepted"), &json!(["kept"])));
    let batch = end(batch).await.expect(202).json();
    let status: Vec<_> = (0..3).map(|n| batch[n]["status"].as_str().unwrap_or("none").to_owned()).collect();
    assert_eq!(status, ["accepted", "discarded", "accepted"], "{batch}");
    assert_eq!(batch[2]["streams"], json!(["kept"]));
    for id in [&single["id"], &batch[0]["id"], &batch[2]["id"]] {
        other.until_state(id.as_str().expect("an id"), "kept", "delivered").await;
    }
    hook.until("each event at each of its streams", |r| r.len() >= 5).await;
    let to_dropped = hook.received().iter().filter(|r| r.line.contains("/dropped")).count();
    assert_eq!((hook.received().len(), to_dropped), (5, 1));
    // Nothing lies in an outbox that nobody delivers.
    let left: Vec<String> = setup.redis_server().plain().keys("es:out:*").expect("keys");
    assert_eq!(left, Vec::<String>::new());
}

#[actix_web::test]
async fn a_type_whose_change_a_failover_lost_is_sent_all_the_same() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    let mut redis = setup.redis_server().plain();
    let () = redis.hset("es:ttl:{0}", "0:r", 99).expect("set");
    for n in 0..2 {
        hub.send("t", json!(n)).await;
    }
    let told = hub.log().iter().filter(|line| line.contains("registry has lost a change")).count();
    assert_eq!(told, 1, "once");
    assert_eq!(redis.hget::<_, _, u64>("es:ttl:{0}", "0:r").expect("a revision"), 1);
}
