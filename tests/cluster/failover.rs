//! Masters that are killed, frozen, and come back, one after the other.

use crate::load::Load;
use crate::redis_server::cluster::RedisCluster;
use crate::{connect, one_of_each};
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_master_fails_over_in_turn_and_nothing_is_lost() {
    let mut cluster = RedisCluster::with_replicas(1500);
    cluster.until_replicated();
    let store = connect(&cluster.url());
    let types = one_of_each(&cluster);
    let load = Load::start(&store, &types);
    load.until_more(&types, 50).await;
    for number in &types {
        let (killed, _) = block_in_place(|| cluster.fail_over(&number.to_string()));
        cluster.nodes[killed].restart();
        block_in_place(|| cluster.until_replicated());
        load.until_more(&types, 50).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_is_left_and_its_late_writes_count_for_nothing() {
    let cluster = RedisCluster::with_replicas(1500);
    cluster.until_replicated();
    let store = connect(&cluster.url());
    let types = one_of_each(&cluster);
    let load = Load::start(&store, &types);
    load.until_more(&types, 50).await;
    let tag = types[0].to_string();
    let frozen = cluster.serving(&tag);
    cluster.nodes[frozen].freeze();
    block_in_place(|| cluster.until_moved(&tag, frozen));
    load.until_more(&types[1..], 20).await;
    cluster.nodes[frozen].thaw();
    block_in_place(|| cluster.until_replicated());
    load.until_more(&types, 50).await;
    load.end().await;
}
