//! `GET /api/events/nodes`: who is there, and how it does.

use crate::both_stores;
use crate::hubs;
use crate::support::api::{link, millis};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

both_stores!(a_node_lists_itself);

async fn a_node_lists_itself(hub: Hub) {
    let node = until_own(&hub, "a node to list itself", |_| true).await;
    let id = node["id"].as_str().expect("an id");
    let started = hub.log().into_iter().find(|line| line.contains("listening")).expect("a line of the start");
    assert!(started.contains(&format!("node={id}")), "{started}");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(node["addresses"], json!([hub.address().to_string()]));
    assert_eq!((&node["state"], &node["sessions"], &node["in_flight"]), (&json!("running"), &json!(0), &json!(0)));
    let now = chrono::Utc::now().timestamp_millis();
    let since = millis(node["since"].as_str().expect("a time"));
    assert!((now - 60_000..=now).contains(&since), "it started {} ms ago", now - since);
    assert!(node["seen_age_ms"].as_u64().expect("an age") < 10_000, "{node}");

    let entry = hub.get("/api/events").await.expect(200).json();
    let list = hub.follow(&link(&entry, "nodes").expect("a link to the nodes")).await.expect(200).json();
    assert_eq!(link(&list, "self"), link(&entry, "nodes"));
    hub.call("POST", "/api/events/nodes", &[], None).await.problem(405);

    let session = Session::open(&hub, "").await;
    let now = until_own(&hub, "the session to be counted", |node| node["sessions"] == 1).await;
    assert_eq!((&now["id"], &now["since"]), (&node["id"], &node["since"]), "a node is the same while it lives");
    drop(session);
    until_own(&hub, "the session's end to be counted", |node| node["sessions"] == 0).await;
}

#[actix_web::test]
async fn nodes_see_who_is_there_and_who_has_gone() {
    let setup = Setup::redis();
    let [a, b, c]: [Hub; 3] = hubs::start(&setup, 3).await.try_into().ok().expect("three");
    for hub in [&a, &b, &c] {
        until_there(hub, "every node to list all three", 3).await;
    }
    let ids = [id(&a).await, id(&b).await, id(&c).await];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    c.stop().await;
    assert_eq!(there(&a).await.len(), 2, "a node that was stopped is gone when its process is");
    assert!(!there(&b).await.contains(&ids[2]));

    // One is killed, one stands still: nobody can tell them apart for now.
    let d = setup.start().await;
    until_there(&a, "the new node", 3).await;
    let since = Instant::now();
    d.kill();
    b.signal("STOP");
    assert_eq!(there(&a).await.len(), 3, "silence of a moment is nothing");
    until_there(&a, "those that are silent to be gone", 1).await;
    let gone = since.elapsed();
    assert!(gone > Duration::from_secs(7), "after {gone:?}: before it could have been late");
    b.signal("CONT");
    until_there(&a, "the node that goes on", 2).await;
    assert_eq!(id(&b).await, ids[1], "it is the same node as before");
}

#[actix_web::test]
async fn a_node_says_what_it_delivers() {
    let setup = Setup::redis();
    let hubs = hubs::start(&setup, 2).await;
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Held(200));
    let stream = json!({"source": "webhook", "name": "hook", "uri": hook.uri("/"), "concurrency": 2});
    hubs[0].register_with("t", "1h", json!([stream])).await;
    hubs::know(&hubs, "t").await;
    hubs[0].send_many("t", 2).await;
    // Whichever took them: the other may meet an event before the node that accepted it has claimed it.
    let told = async |attempts: u64| {
        let list = list(&hubs[0]).await;
        let mut sum = 0;
        for hub in &hubs {
            let node = list.iter().find(|node| node["addresses"] == json!([hub.address().to_string()]))?;
            let own = hubs::stream(hub, "t", "hook").await["in_flight"].as_u64()?;
            if node["in_flight"] != own || node["waiting"] != 0 {
                return None;
            }
            sum += own;
        }
        (sum == attempts).then_some(())
    };
    eventually(PATIENCE, "the attempts to be told", || told(2)).await;
    hook.release();
    eventually(PATIENCE, "their end to be told", || told(0)).await;
}

#[actix_web::test]
async fn a_node_that_cannot_announce_itself_works_and_says_so() {
    let setup = Setup::redis();
    setup.redis_server().kill();
    let hub = setup.spawn().await;
    let said = |words: &'static str| {
        let hub = &hub;
        move || async move { hub.log().iter().any(|line| line.contains(words)).then_some(()) }
    };
    eventually(PATIENCE, "a line of the log", said("the node is not announced")).await;
    hub.get("/healthz").await.expect(200);
    hub.get("/api/events/nodes").await.problem(503);
    setup.redis_server().restart();
    until_own(&hub, "the node to list itself", |_| true).await;
    eventually(PATIENCE, "a line of the log", said("the node is announced again")).await;
    let warnings = hub.log().iter().filter(|line| line.contains("the node is not announced")).count();
    assert_eq!(warnings, 1, "once an outage is enough");
}

#[actix_web::test]
async fn a_hub_stops_while_its_store_is_away() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    until_own(&hub, "the node to list itself", |_| true).await;
    setup.redis_server().freeze();
    let since = Instant::now();
    hub.stop().await;
    assert!(since.elapsed() < Duration::from_secs(15), "it took {:?}", since.elapsed());
    setup.redis_server().thaw();
}

/// The list of a hub that can read it.
async fn list(hub: &Hub) -> Vec<Value> {
    let list = hub.get("/api/events/nodes").await;
    // While its store is away there is none.
    if list.status == 503 {
        return Vec::new();
    }
    list.expect(200).json()["nodes"].as_array().expect("nodes").clone()
}

/// Waits until the hub's own entry is as `wanted`.
async fn until_own(hub: &Hub, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(PATIENCE, what, || async {
        let own: Vec<_> = list(hub).await.into_iter().filter(|node| node["self"] == true).collect();
        assert!(own.len() < 2, "{own:?}");
        own.into_iter().find(&wanted)
    })
    .await
}

async fn until_there(hub: &Hub, what: &str, count: usize) {
    eventually(PATIENCE, what, || async { (list(hub).await.len() == count).then_some(()) }).await;
}

/// The ids that a hub lists.
async fn there(hub: &Hub) -> Vec<String> {
    list(hub).await.iter().map(|node| node["id"].as_str().expect("an id").to_owned()).collect()
}

async fn id(hub: &Hub) -> String {
    until_own(hub, "a node to list itself", |_| true).await["id"].as_str().expect("an id").to_owned()
}
