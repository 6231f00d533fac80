//! A master behind Sentinel that is replaced.

use crate::connect;
use crate::load::Load;
use crate::redis_server::sentinel::Sentinels;
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_and_nothing_is_lost() {
    let mut sentinels = Sentinels::start(1000);
    let store = connect(&sentinels.url());
    let load = Load::start(&store, &[1, 2]);
    load.until_more(&[1, 2], 50).await;
    sentinels.servers[0].kill();
    let now = block_in_place(|| sentinels.until_moved(0));
    sentinels.servers[0].restart();
    block_in_place(|| sentinels.until_replicated(now));
    load.until_more(&[1, 2], 50).await;
    load.end().await;
    store.ping().await.expect("the new master is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_demoted_is_left() {
    let sentinels = Sentinels::start(1000);
    let store = connect(&sentinels.url());
    let load = Load::start(&store, &[1]);
    load.until_more(&[1], 50).await;
    // In order: the old master is told to be a replica, and refuses what comes on connections that stand.
    block_in_place(|| sentinels.fail_over());
    let now = block_in_place(|| sentinels.until_moved(0));
    block_in_place(|| sentinels.until_replicated(now));
    load.until_more(&[1], 50).await;
    load.end().await;
}

#[tokio::test]
async fn sentinels_that_know_no_such_master_are_said_so() {
    let sentinels = Sentinels::start(1000);
    let store = connect(&sentinels.url().replace("/main", "/other"));
    let error = store.ping().await.expect_err("no such master").to_string();
    assert!(error.contains("knows no master \"other\""), "{error}");
}
