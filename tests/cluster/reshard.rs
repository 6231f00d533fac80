//! Slots that move to another master while they are in use.

use crate::connect;
use crate::kit::*;
use crate::load::Load;
use crate::redis_server::cluster::RedisCluster;
use event_source_api::event::ClientId;
use event_source_api::store::*;
use std::time::Duration;
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_while_they_are_sent_to_and_nothing_is_lost() {
    let cluster = RedisCluster::with_replicas(15_000);
    cluster.until_replicated();
    let store = connect(&cluster.url());
    let types = [1, 2, 3];
    let load = Load::start(&store, &types);
    load.until_more(&types, 50).await;
    for round in 0..3 {
        for number in types {
            let tag = number.to_string();
            let to = (cluster.serving(&tag) + 1 + round % 2) % 3;
            block_in_place(|| cluster.reshard(&tag, to, Duration::from_millis(30)));
            assert_eq!(cluster.serving(&tag), to);
        }
        load.until_more(&types, 20).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_a_type_moves_with_it() {
    let cluster = RedisCluster::with_replicas(15_000);
    cluster.until_replicated();
    let store = connect(&cluster.url());
    let hook = stream(7, "hook");
    let first = append(&store, group(7, 5, &["hook"])).await;
    let client: ClientId = "c".parse().expect("a client");
    let id = ids(7, &first)[0];
    let mark = MarkRequest { id, ttl: event_source_api::event::Ttl::permanent(), client: client.clone() };
    assert_eq!(store.mark(&[mark]).await.expect("marked"), [true]);
    let claimed = store.claim(claim(&hook, 3)).await.expect("a claim");
    for _ in 0..3 {
        let to = (cluster.serving("7") + 1) % 3;
        block_in_place(|| cluster.reshard("7", to, Duration::ZERO));
        assert_eq!(read_all(&store, query(vec![ty(7)], 10)).await, newest_first(ids(7, &first)));
        let pending = store.pending(&[ty(7)], &client).await.expect("counts");
        assert_eq!(pending.counts, [4]);
    }
    let settled = store.settle(delivered(&hook, &claimed)).await.expect("settled");
    assert!(matches!(settled, Fenced::Done(_)), "the lease has moved as well");
    assert_eq!(store.counts(&[hook]).await.expect("counts")[0].backlog, 2);
    let next = append(&store, group(7, 1, &[])).await;
    assert!(next[0] > first[4], "positions go on");
}
