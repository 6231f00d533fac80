//! A node is killed under load: what it accepted is not lost, what it had claimed is done by the others.

use crate::client::{Client, Known};
use crate::hubs::{self, drained, know};
use crate::support::api::webhook;
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, within};
use crate::support::webhook::{Answer, Webhook, distinct};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

const SENDERS: usize = 6;
const EACH: usize = 80;

#[actix_web::test]
async fn nothing_is_lost_when_a_node_is_killed_under_load() {
    let mut hubs = hubs::start(&Setup::redis().set("streams.lease", "1s"), 3).await;
    let hook = Webhook::start().await;
    // Slow enough that every node holds something all the time.
    hook.answers(|_| Answer::After(Duration::from_millis(80), 200));
    hubs[0].register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    know(&hubs, "t").await;
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(|hub| hub.address()).collect()));
    let accepted = Rc::new(Cell::new(0));
    let senders = (0..SENDERS).map(|sender| {
        let (mut client, accepted) = (Client::new(&known, sender), Rc::clone(&accepted));
        actix_web::rt::spawn(async move {
            let mut ids = Vec::new();
            for n in 0..EACH {
                ids.push(client.send("t", json!({ "sender": sender, "n": n }), &format!("{sender}/{n}")).await);
                accepted.set(accepted.get() + 1);
            }
            (ids, client.repeated)
        })
    });
    let senders: Vec<_> = senders.collect();
    within(PATIENCE, "a third to be accepted", async {
        while accepted.get() < SENDERS * EACH / 3 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    hubs.remove(1).kill();
    let sent = within(PATIENCE * 2, "the senders to finish", join_all(senders)).await;
    let sent: Vec<_> = sent.into_iter().map(|sender| sender.expect("a sender ran")).collect();
    let repeated: usize = sent.iter().map(|(_, repeated)| repeated).sum();
    assert!(repeated > 0, "the kill met no request");
    let ids: BTreeSet<String> = sent.into_iter().flat_map(|(ids, _)| ids).collect();
    assert_eq!(ids.len(), SENDERS * EACH, "an id was given for two keys");

    let stored: BTreeSet<String> = hubs[0].walk("100days/current?limit=1000&types=t").await.into_iter().collect();
    assert_eq!(stored, ids, "stored under a key twice, or not at all");
    hook.until("every event", |r| distinct(r).len() == ids.len()).await;
    let told = drained(&hubs[1], "t", "hook").await;
    // What the dead node had delivered and not settled is delivered again, and counted once.
    assert_eq!((&told["delivered"], &told["failed"]), (&json!(ids.len()), &json!(0)), "{told}");
    assert_eq!(distinct(&hook.received()).into_iter().collect::<BTreeSet<_>>(), ids);
    eprintln!("repeated requests: {repeated}, deliveries made twice: {}", hook.received().len() - ids.len());
}
