//! Live sessions over nodes: every event of their types, whichever node took it, once, in order per type.

use crate::client::{Client, Known};
use crate::hubs::{self, know};
use crate::support::api::number;
use crate::support::hub::Setup;
use crate::support::ws::Session;
use futures_util::future::join_all;
use serde_json::json;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const TYPES: [&str; 3] = ["a:x", "a:y", "b:z"];
const EACH: usize = 40;

#[actix_web::test]
async fn a_session_on_any_node_gets_every_event_of_its_types_once_and_in_order() {
    let hubs = hubs::start(&Setup::redis(), 3).await;
    for (hub, ty) in hubs.iter().zip(TYPES) {
        hub.register(ty, "1h").await;
    }
    for ty in TYPES {
        know(&hubs, ty).await;
    }
    let filters = ["?types=a:*", "?types=b:z", "", "?types=a:y"];
    let mut sessions = Vec::new();
    for (n, hub) in hubs.iter().enumerate() {
        for filter in filters {
            sessions.push((n, filter, Session::open(hub, filter).await));
        }
    }
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(|hub| hub.address()).collect()));
    let senders = (0..6).map(|sender| {
        let mut client = Client::new(&known, sender);
        async move {
            let mut sent = Vec::new();
            for n in 0..EACH {
                let ty = TYPES[(sender + n) % 3];
                sent.push((ty, number(&client.send(ty, json!(n), &format!("{sender}/{n}")).await)));
            }
            sent
        }
    });
    let mut sent: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (ty, id) in join_all(senders).await.into_iter().flatten() {
        assert!(sent.entry(ty).or_default().insert(id));
    }
    for (n, filter, session) in &mut sessions {
        let wanted: Vec<&str> = TYPES
            .into_iter()
            .filter(|ty| match *filter {
                "?types=a:*" => ty.starts_with("a:"),
                "" => true,
                one => one.ends_with(ty),
            })
            .collect();
        let count: usize = wanted.iter().map(|ty| sent[ty].len()).sum();
        let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for _ in 0..count {
            let event = session.event().await;
            let ty = event["type"].as_str().expect("a type").to_owned();
            seen.entry(ty).or_default().push(number(event["id"].as_str().expect("an id")));
        }
        for ty in wanted {
            let all: Vec<u64> = sent[ty].iter().copied().collect();
            assert_eq!(seen.get(ty), Some(&all), "{ty} at node {n}, {filter}");
        }
    }
    // Nothing came twice: the next of each session is what is sent now.
    for ty in TYPES {
        hubs[0].send(ty, json!("last")).await;
    }
    for (n, filter, session) in &mut sessions {
        assert_eq!(session.event().await["payload"], "last", "at node {n}, {filter}");
    }
}
