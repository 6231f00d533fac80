//! A hub on a cluster, and on a master behind Sentinels, that speak TLS and let nobody in without a name: from the start,
//! and after a failover.

use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup, command};
use crate::support::redis::RedisServer;
use crate::support::redis::cluster::RedisCluster;
use crate::support::redis::secured::HUB;
use crate::support::redis::sentinel::Sentinels;
use crate::support::wait::eventually;
use crate::support::webhook::Webhook;
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long servers may take to be themselves again on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two hubs that trust the authority.
async fn two_hubs(url: &str, authority: &Path) -> [Hub; 2] {
    // The store that comes with it is not used.
    let setup = Setup::embedded().set("store.url", url).set("store.wait_replicas", 1);
    let setup = setup.env("SSL_CERT_FILE", authority.display());
    [setup.start().await, setup.start().await]
}

/// Registers types of different partitions with a stream; both know them.
async fn register(hubs: &[Hub; 2], hook: &Webhook) {
    for ty in ["a", "b", "c"] {
        hubs[0].register_with(ty, "1h", json!([webhook("hook", &hook.uri("/"))])).await;
        eventually(PATIENCE, "the other hub to know the type", || async {
            (hubs[1].get(&format!("/api/events/register/{ty}")).await.status == 200).then_some(())
        })
        .await;
    }
}

/// Sends through one hub; the events are stored, delivered, and pushed at the other.
async fn all_works(hubs: &[Hub; 2], session: &mut Session, what: &str) {
    for ty in ["a", "b", "c"] {
        let event = json!({"type": ty, "payload": what});
        let sent = eventually(PATIENCE, "an event to be taken", || async {
            let answer = hubs[0].post("/api/events/send", &event).await;
            // Another 503 may have been stored, and come before it.
            (answer.status == 202).then(|| answer.json())
        })
        .await;
        let id = sent["id"].as_str().expect("an id");
        hubs[1].until_state(id, "hook", "delivered").await;
        session.until(id).await;
        let marked = hubs[1].call("PUT", &format!("/api/events/{id}/ok/me"), &[], None).await.expect(200).json();
        assert_eq!(marked, json!({"acknowledge": true}));
    }
    let feed = hubs[1].feed("100days/current?types=a,b,c").await;
    assert!(feed["events"].as_array().is_some_and(|events| events.iter().any(|event| event["payload"] == what)));
    let streams = hubs[0].get("/api/events/streams").await.expect(200).json();
    assert_eq!(streams["streams"].as_array().map(Vec::len), Some(3));
    let nodes = hubs[0].get("/api/events/nodes").await.expect(200).json();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(2), "{nodes}");
}

/// Whoever is at a server's door for TLS has given the hub's name, but for servers and Sentinels among themselves.
fn known_by_name(server: &RedisServer) -> usize {
    let clients: String = ::redis::cmd("CLIENT").arg("LIST").query(&mut server.plain()).expect("clients");
    let door = format!("laddr=127.0.0.1:{}", server.data_port());
    let at_door = clients.lines().filter(|client| client.contains(&door));
    let named = at_door.filter(|client| client.contains(&format!("user={}", HUB.0)));
    assert!(!clients.contains("user=default"), "{clients}");
    named.count()
}

/// `event-source-api check` finds nothing that is refused.
fn checked(url: &str, authority: &Path) {
    let mut check = command();
    check.args(["check", "--json"]).env("EVENTS__STORE__URL", url).env("EVENTS__STORE__WAIT_REPLICAS", "1");
    let check = check.env("EVENTS__HTTP__BIND", "127.0.0.1:0").env("SSL_CERT_FILE", authority);
    let done = check.stdout(Stdio::piped()).output().expect("it runs");
    let out: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(done.status.code(), Some(0), "{out}");
    assert!(!out.to_string().contains(HUB.1) && !out.to_string().contains("refused"), "{out}");
}

#[actix_web::test]
async fn a_cluster_over_tls_whose_master_is_killed() {
    let cluster = tokio::task::spawn_blocking(|| {
        let cluster = RedisCluster::secured(2000);
        cluster.until_replicated();
        cluster
    });
    let mut cluster = cluster.await.expect("a cluster");
    checked(&cluster.url(), &cluster.authority());
    let hubs = two_hubs(&cluster.url(), &cluster.authority()).await;
    let hook = Webhook::start().await;
    register(&hubs, &hook).await;
    let mut session = Session::open(&hubs[1], "?types=a,b,c").await;
    all_works(&hubs, &mut session, "before").await;
    for node in cluster.nodes.iter().take(3) {
        // Of each hub one for appends, one for the rest, one that asks who is master, and one that listens.
        assert!(known_by_name(node) >= 4, "{}", known_by_name(node));
    }
    let cluster = tokio::task::spawn_blocking(move || {
        let (killed, _) = cluster.fail_over("reg");
        cluster.nodes[killed].restart();
        cluster.until_replicated();
        cluster
    });
    let cluster = cluster.await.expect("a failover");
    all_works(&hubs, &mut session, "after").await;
    checked(&cluster.url(), &cluster.authority());
    let log = hubs.iter().flat_map(Hub::log).collect::<String>();
    assert!(!log.contains(HUB.1) && !log.contains("%40here"), "a password in the log");
}

#[actix_web::test]
async fn a_master_over_tls_that_sentinels_replace() {
    let sentinels = tokio::task::spawn_blocking(|| Sentinels::secured(1500)).await.expect("Sentinels");
    checked(&sentinels.url(), &sentinels.authority());
    let hubs = two_hubs(&sentinels.url(), &sentinels.authority()).await;
    let hook = Webhook::start().await;
    register(&hubs, &hook).await;
    let mut session = Session::open(&hubs[1], "?types=a,b,c").await;
    all_works(&hubs, &mut session, "before").await;
    assert!(known_by_name(&sentinels.servers[0]) >= 4);
    let sentinels = tokio::task::spawn_blocking(move || {
        let mut sentinels = sentinels;
        sentinels.servers[0].kill();
        let now = sentinels.until_moved(0);
        sentinels.servers[0].restart();
        sentinels.until_replicated(now);
        sentinels
    });
    let sentinels = sentinels.await.expect("a failover");
    all_works(&hubs, &mut session, "after").await;
    checked(&sentinels.url(), &sentinels.authority());
    let log = hubs.iter().flat_map(Hub::log).collect::<String>();
    assert!(!log.contains(HUB.1) && !log.contains("%40here"), "a password in the log");
}
