//! A rolling restart under load: nodes are stopped and replaced one by one, and clients that repeat what fails notice
//! nothing but that.

use crate::client::{Client, Known};
use crate::follower::Follower;
use crate::hubs::{self, drained, know};
use crate::support::api::{number, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::webhook::{Answer, Webhook, distinct};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

#[actix_web::test]
async fn nodes_are_replaced_one_by_one_and_nothing_is_lost_or_doubled() {
    one_by_one(Setup::redis()).await;
}

/// Replaces three nodes on a store under load.
pub async fn one_by_one(setup: Setup) {
    let setup = setup.set("streams.lease", "2s");
    let mut hubs = hubs::start(&setup, 3).await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::After(Duration::from_millis(10), 200));
    hubs[0].register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    know(&hubs, "t").await;
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(Hub::address).collect()));
    let first = hubs[0].send("t", json!("first")).await.id;
    let followers: Vec<_> = (0..3).map(|n| Follower::start(&known, n, "t", &first)).collect();
    let stop = Rc::new(Cell::new(false));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (mut client, stop) = (Client::new(&known, sender), Rc::clone(&stop));
            actix_web::rt::spawn(async move {
                let mut ids = Vec::new();
                while !stop.get() {
                    let key = format!("{sender}/{}", ids.len());
                    ids.push(client.send("t", json!(key), &key).await);
                    // A steady load, not all that the machine can do.
                    tokio::time::sleep(Duration::from_millis(4)).await;
                }
                (ids, client.repeated)
            })
        })
        .collect();
    for place in 0..3 {
        // The balancer goes on asking the old node until it has noticed.
        hubs.remove(0).stop().await;
        let new = setup.start().await;
        known.borrow_mut()[place] = new.address();
        hubs.push(new);
    }
    stop.set(true);
    let sent = within(PATIENCE, "the senders to finish", join_all(senders)).await;
    let sent: Vec<_> = sent.into_iter().map(|sender| sender.expect("a sender ran")).collect();
    let repeated: usize = sent.iter().map(|(_, repeated)| repeated).sum();
    let count: usize = sent.iter().map(|(ids, _)| ids.len()).sum();
    let ids: BTreeSet<u64> = sent.iter().flat_map(|(ids, _)| ids).map(|id| number(id)).collect();
    assert_eq!(ids.len(), count, "an id was given for two keys");
    assert!(count > 100, "there was no load: {count}");

    let mut all: BTreeSet<u64> = ids.clone();
    all.insert(number(&first));
    let stored = hubs[0].walk("100days/current?limit=1000&types=t").await;
    assert_eq!(stored.iter().map(|id| number(id)).collect::<BTreeSet<_>>(), all, "lost, or stored twice");
    hook.until("every event", |r| distinct(r).len() >= all.len()).await;
    let told = drained(&hubs[0], "t", "hook").await;
    assert_eq!((&told["delivered"], &told["failed"]), (&json!(all.len()), &json!(0)), "{told}");
    // Nodes that were told to stop finish what they deliver, and give back the rest.
    assert_eq!(hook.received().len(), all.len(), "an orderly stop delivers nothing twice");

    let wanted: Vec<u64> = ids.into_iter().collect();
    let mut resumed = 0;
    for follower in followers {
        eventually(PATIENCE, "a session to have seen every event", || async {
            (follower.seen.borrow().len() >= wanted.len()).then_some(())
        })
        .await;
        assert_eq!(*follower.seen.borrow(), wanted, "in order, once, without a gap");
        resumed += follower.opened.get() - 1;
    }
    assert!(resumed >= 3, "every node went, and with it its sessions: resumed {resumed}");
    eprintln!("events: {count}, repeated requests: {repeated}, sessions resumed: {resumed}");
}
