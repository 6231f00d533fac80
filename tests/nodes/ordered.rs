//! `concurrency: 1` over several nodes: one at a time in all of them together, and strictly in order.

use crate::client::{Client, Known};
use crate::hubs::{self, drained, know, stream};
use crate::support::api::number;
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::webhook::{Answer, Webhook, distinct};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

fn ordered(uri: &str) -> Value {
    let retry = json!({"attempts": 1000, "first": "50ms", "max": "200ms"});
    json!([{"source": "webhook", "name": "hook", "uri": uri, "concurrency": 1, "retry": retry}])
}

#[actix_web::test]
async fn events_arrive_in_order_whichever_nodes_take_and_deliver_them() {
    let hubs = hubs::start(&Setup::redis(), 3).await;
    let hook = Webhook::start().await;
    hook.answers(|r| match r.json()["payload"].as_u64() {
        Some(n) if n % 20 == 7 && r.attempt == 1 => Answer::Status(500),
        _ => Answer::After(Duration::from_millis(2), 200),
    });
    hubs[0].register_with("t", "1h", ordered(&hook.uri("/"))).await;
    know(&hubs, "t").await;
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(|hub| hub.address()).collect()));
    let mut client = Client::new(&known, 0);
    let mut sent = Vec::new();
    for n in 0..150 {
        sent.push(client.send("t", json!(n), &format!("key-{n}")).await);
    }
    assert_eq!(hook.delivered(150).await, sent);
    drained(&hubs[2], "t", "hook").await;
    let arrived: Vec<u64> = hook.received().iter().map(|r| number(&r.id())).collect();
    assert!(arrived.is_sorted(), "two were under way at the same time: {arrived:?}");
    assert_eq!(arrived.len(), 150 + 8, "only what failed comes again");
}

#[actix_web::test]
async fn a_dead_holders_events_come_first_from_another_node() {
    let mut hubs = hubs::start(&Setup::redis().set("streams.lease", "1s"), 3).await;
    let hook = Webhook::start().await;
    hook.answers(|r| match r.json()["payload"].as_u64() {
        Some(0) if r.attempt == 1 => Answer::Hang,
        _ => Answer::Status(200),
    });
    hubs[0].register_with("t", "1h", ordered(&hook.uri("/"))).await;
    know(&hubs, "t").await;
    let mut sent = Vec::new();
    for n in 0..9 {
        sent.push(hubs[n % 3].send("t", json!(n)).await.id);
    }
    hook.until("the first attempt", |r| !r.is_empty()).await;
    let holder = eventually(PATIENCE, "a node to say that it delivers", || async {
        for (n, hub) in hubs.iter().enumerate() {
            if stream(hub, "t", "hook").await["in_flight"] == 1 {
                return Some(n);
            }
        }
        None
    })
    .await;
    // Longer than two leases: a node that lives keeps what it holds.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(hook.received().len(), 1);
    hubs.remove(holder).kill();
    let delivered = within(PATIENCE, "the others to deliver", hook.delivered(9)).await;
    assert_eq!(delivered, sent);
    drained(&hubs[0], "t", "hook").await;
    assert_eq!(distinct(&hook.received()).len() + 1, hook.received().len(), "only what hung comes again");
}
