//! A master of a cluster that is away: its types are, and no others.

use crate::support::hub::Setup;
use crate::support::redis::cluster::RedisCluster;
use crate::support::wait::{PATIENCE, eventually};
use serde_json::json;
use std::time::Instant;

#[actix_web::test]
async fn a_master_that_is_away_stops_its_own_types_alone() {
    let setup = Setup::cluster(RedisCluster::start()).set("store.timeout", "3s");
    let hub = setup.start().await;
    // Types get their numbers, and so their partitions, in turn.
    for number in 0..12 {
        hub.register(&format!("t{number}"), "1h").await;
    }
    let (victim, lost, kept) = {
        let cluster = setup.redis_cluster();
        let registry = cluster.serving("reg");
        let at: Vec<usize> = (0..12).map(|number| cluster.serving(&number.to_string())).collect();
        let victim = *at.iter().find(|node| **node != registry).expect("a master without the registry");
        let (lost, kept): (Vec<usize>, Vec<usize>) = (0..12).partition(|number| at[*number] == victim);
        (victim, format!("t{}", lost[0]), format!("t{}", kept[0]))
    };
    let event = |name: &str| json!({"type": name, "payload": 1});
    setup.redis_cluster().nodes[victim].kill();

    // While what was sent to it waits, what is sent to others is answered.
    let waiting = async {
        let answer = hub.post("/api/events/send", event(&lost)).await;
        assert_eq!(answer.problem(503)["type"], "/problems/store-unavailable");
        Instant::now()
    };
    let going_on = async {
        for payload in 0..20 {
            hub.send(&kept, json!(payload)).await;
        }
        Instant::now()
    };
    let (given_up, gone_on) = tokio::join!(waiting, going_on);
    assert!(gone_on < given_up, "{:?} later", gone_on - given_up);
    hub.get("/healthz").await.expect(200);
    hub.get("/readyz").await.problem(503);
    hub.get(&format!("/api/events/feed/hour/current?types={kept}")).await.expect(200);
    hub.get(&format!("/api/events/feed/hour/current?types={lost}")).await.problem(503);
    let batch =
        hub.post("/api/events/send", json!([event(&lost), event(&kept), event(&lost)])).await.expect(202).json();
    assert_eq!([&batch[0]["status"], &batch[2]["status"]], [503, 503], "{batch}");
    assert_eq!(batch[1]["status"], "accepted", "{batch}");

    setup.redis_cluster().nodes[victim].restart();
    eventually(PATIENCE, "the master to be met again", || async {
        (hub.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    eventually(PATIENCE, "its types to be taken", || async {
        (hub.post("/api/events/send", event(&lost)).await.status == 202).then_some(())
    })
    .await;
}
