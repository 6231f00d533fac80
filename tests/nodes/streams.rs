//! Streams over nodes: who delivers, and that what one node is told holds on all.

use crate::client::{Client, Known};
use crate::hubs::{self, drained, know, stream};
use crate::support::api::webhook;
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook, distinct};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[actix_web::test]
async fn a_delivery_is_made_by_one_node_at_a_time() {
    let hubs = hubs::start(&Setup::redis(), 3).await;
    let hook = Webhook::start().await;
    hook.answers(|r| Answer::After(Duration::from_millis(r.id().len() as u64 + r.body.len() as u64 % 20), 200));
    hubs[0].register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    know(&hubs, "t").await;
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(|hub| hub.address()).collect()));
    let senders = (0..6).map(|sender| {
        let mut client = Client::new(&known, sender);
        async move {
            for n in 0..50 {
                client.send("t", json!("x".repeat(n)), &format!("{sender}/{n}")).await;
            }
        }
    });
    join_all(senders).await;
    hook.delivered(300).await;
    let told = drained(&hubs[1], "t", "hook").await;
    assert_eq!((&told["delivered"], &told["failed"]), (&json!(300), &json!(0)), "{told}");
    assert_eq!(hook.received().len(), 300, "nothing failed, so nothing comes twice");
}

#[actix_web::test]
async fn the_accepting_node_delivers() {
    let hubs = hubs::start(&Setup::redis(), 2).await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Held(200));
    hubs[0].register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    know(&hubs, "t").await;
    for hub in &hubs {
        let before = hook.received().len();
        for n in 0..8 {
            hub.send("t", json!(n)).await;
            hook.until("the attempt", |r| r.len() > before + n).await;
        }
        // Others look for what is due once a second, and may meet an event before its node has claimed it.
        let own = eventually(PATIENCE, "the attempts to be told", || async {
            let own = stream(hub, "t", "hook").await["in_flight"].as_u64();
            own.filter(|own| *own >= 6)
        });
        assert!(own.await <= 10);
    }
    hook.release();
    drained(&hubs[0], "t", "hook").await;
    assert_eq!(hook.received().len(), 16);
}

#[actix_web::test]
async fn a_paused_stream_is_paused_everywhere() {
    let hubs = hubs::start(&Setup::redis(), 3).await;
    let hook = Webhook::start().await;
    let streams = json!([webhook("held", &hook.uri("/held")), webhook("free", &hook.uri("/free"))]);
    hubs[0].register_with("t", "1h", streams).await;
    know(&hubs, "t").await;
    let path = "/api/events/streams/t/held";
    let patch = |state: &'static str| {
        let hub = &hubs[if state == "paused" { 1 } else { 2 }];
        async move {
            let body = format!(r#"{{"state":"{state}"}}"#);
            let json = [("Content-Type", "application/json")];
            hub.call("PATCH", path, &json, Some(body.as_bytes())).await.expect(200);
        }
    };
    let everywhere = |state: &'static str| {
        let hubs = &hubs;
        eventually(PATIENCE, "the state on every node", move || async move {
            let all = join_all(hubs.iter().map(|hub| stream(hub, "t", "held"))).await;
            all.iter().all(|stream| stream["state"] == state).then_some(())
        })
    };
    patch("paused").await;
    everywhere("paused").await;
    for n in 0..12 {
        hubs[n % 3].send("t", json!(n)).await;
    }
    let of = |path: &'static str| move |r: &crate::support::webhook::Received| r.line.contains(path);
    hook.until("the other stream's events", |r| r.iter().filter(|r| of("/free")(r)).count() == 12).await;
    // Twice as long as nodes take to look for what others left.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hook.received().iter().filter(|r| of("/held")(r)).count(), 0);
    patch("active").await;
    everywhere("active").await;
    hook.until("what was held", |r| r.iter().filter(|r| of("/held")(r)).count() == 12).await;
    drained(&hubs[0], "t", "held").await;
    assert_eq!(distinct(&hook.received()).len(), 12);
    assert_eq!(hook.received().len(), 24, "nothing comes twice");
}
