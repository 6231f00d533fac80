//! A node that stands still for longer than its lease and goes on: others have taken over, and what it knows by then
//! counts for nothing.

use crate::hubs::{self, drained, know, stream};
use crate::support::api::webhook;
use crate::support::http::{Connection, request};
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::webhook::{Answer, Webhook};
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn what_a_node_learns_after_its_lease_settles_nothing() {
    let hubs = hubs::start(&Setup::redis().set("streams.lease", "1s"), 2).await;
    let (frozen, other) = (&hubs[0], &hubs[1]);
    let hook = Webhook::start().await;
    // The first node gets its answers late; the second is refused one event, once.
    hook.answers(|r| match (r.attempt, r.json()["payload"].as_u64()) {
        (1, _) => Answer::Held(200),
        (2, Some(0)) => Answer::Status(500),
        _ => Answer::Status(200),
    });
    let retry = json!({"attempts": 10, "first": "5s", "max": "5s"});
    let streams =
        json!([{"source": "webhook", "name": "hook", "uri": hook.uri("/"), "concurrency": 3, "retry": retry}]);
    frozen.register_with("t", "1h", streams).await;
    know(&hubs, "t").await;
    let refused = frozen.send("t", json!(0)).await.id;
    for n in 1..3 {
        frozen.send("t", json!(n)).await;
    }
    hook.until("the first node's attempts", |r| r.len() == 3).await;
    frozen.signal("STOP");
    hook.until("the second node's attempts", |r| r.len() == 6).await;
    let settled = |told: &Value| told["delivered"] == 2 && told["failed"] == 1 && told["backlog"] == 1;
    eventually(PATIENCE, "the second node to settle", || async {
        settled(&stream(other, "t", "hook").await).then_some(())
    })
    .await;

    hook.release();
    frozen.signal("CONT");
    eventually(PATIENCE, "the first node to find its claim gone", || async {
        frozen.log().iter().any(|line| line.contains("claim is gone") && line.contains("end=lost")).then_some(())
    })
    .await;
    // All three were delivered to it; the one that was refused later is still to be delivered all the same.
    let told = stream(other, "t", "hook").await;
    assert!(settled(&told), "{told}");
    let event = other.event(&refused).await;
    assert_eq!((&event["streams"][0]["state"], &event["streams"][0]["attempts"]), (&json!("pending"), &json!(1)));

    let told = drained(other, "t", "hook").await;
    assert_eq!((&told["delivered"], &told["failed"]), (&json!(3), &json!(1)), "{told}");
    assert_eq!(hook.received().len(), 7, "each once by the first, once by the second, and the refused one again");
    // It goes on as if nothing had been.
    hook.answers(|_| Answer::Status(200));
    let sent = frozen.send("t", json!("after")).await;
    frozen.until_state(&sent.id, "hook", "delivered").await;
}

#[actix_web::test]
async fn a_node_that_stood_still_goes_on_where_it_was() {
    let hubs = hubs::start(&Setup::redis().set("streams.lease", "1s"), 2).await;
    hubs[0].register("old", "1h").await;
    know(&hubs, "old").await;
    let mut session = crate::support::ws::Session::open(&hubs[0], "").await;
    hubs[0].signal("STOP");
    hubs[1].register("new", "1h").await;
    let mut sent = Vec::new();
    for n in 0..40 {
        sent.push(hubs[1].send(["old", "new"][n % 2], json!(n)).await.id);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    hubs[0].signal("CONT");
    let mut seen = Vec::new();
    for _ in 0..40 {
        seen.push(session.event().await["id"].as_str().expect("an id").to_owned());
    }
    for ty in 0..2 {
        let of = |ids: &[String]| {
            ids.iter()
                .filter(|id| sent.iter().position(|s| s == *id).expect("sent") % 2 == ty)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&seen), of(&sent), "in order per type, once");
    }
    let fresh = hubs[0].send("new", json!("x")).await.id;
    assert_eq!(session.event().await["id"], fresh.as_str());
}

#[actix_web::test]
async fn a_node_that_stood_still_gives_events_to_the_streams_there_are_now() {
    let hubs = hubs::start(&Setup::redis(), 2).await;
    let hook = Webhook::start().await;
    hubs[0].register("t", "1h").await;
    know(&hubs, "t").await;
    let body = json!({"type": "t", "payload": 1}).to_string();
    let bytes = request("POST", "/api/events/send", &[("Content-Type", "application/json")], Some(body.as_bytes()));
    for round in 0..4 {
        hubs[0].signal("STOP");
        let name = format!("hook-{round}");
        hubs[1].register_with("t", "1h", json!([webhook(&name, &hook.uri("/"))])).await;
        // Sent when the change is in force everywhere, to a node that does not know it.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut lines = Vec::new();
        for _ in 0..8 {
            let mut line = within(PATIENCE, "a connection", Connection::open(hubs[0].address())).await.expect("open");
            line.write(&bytes).await.expect("written");
            lines.push(line);
        }
        hubs[0].signal("CONT");
        for mut line in lines {
            let answer = within(PATIENCE, "an answer", line.read(false)).await.expect("an answer").expect(202).json();
            assert_eq!(answer["streams"], json!([name]), "round {round}: {answer}");
        }
    }
}
