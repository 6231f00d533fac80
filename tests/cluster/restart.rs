//! A rolling restart on a cluster, whose masters all have a replica to wait for.

use crate::rolling::one_by_one;
use crate::support::hub::Setup;
use crate::support::redis::cluster::RedisCluster;

#[actix_web::test]
async fn nodes_on_a_cluster_are_replaced_one_by_one_and_nothing_is_lost_or_doubled() {
    let cluster = tokio::task::spawn_blocking(|| {
        let cluster = RedisCluster::with_replicas(15_000);
        cluster.until_replicated();
        cluster
    });
    one_by_one(Setup::cluster(cluster.await.expect("a cluster")).set("store.wait_replicas", 1)).await;
}
