//! Clusters and Sentinels that fail, at length, and such that speak TLS: what `make test` has no time for. Run by `make
//! test-cluster`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on panics"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../store_contract/kit.rs"]
mod kit;
#[path = "../store_contract/load.rs"]
mod load;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../nodes/client.rs"]
mod client;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../nodes/follower.rs"]
mod follower;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../nodes/hubs.rs"]
mod hubs;
#[path = "../nodes/rolling.rs"]
mod rolling;

mod failover;
mod live;
mod reshard;
mod restart;
mod secured;
mod sentinel;

use event_source_api::store::redis::RedisStore;
use event_source_api::store::{Store, StoreOptions};
use std::sync::Arc;
use std::time::Duration;
use support::redis as redis_server;
use support::redis::cluster::RedisCluster;

/// A store that waits for one replica.
fn connect(url: &str) -> Arc<dyn Store> {
    let options = StoreOptions { timeout: Duration::from_secs(5), ..kit::options() };
    Arc::new(RedisStore::connect(url, "es:", options, 1).expect("a store"))
}

/// A type of each master: its number is that of its partition.
fn one_of_each(cluster: &RedisCluster) -> Vec<u16> {
    let mut found: Vec<(usize, u16)> = Vec::new();
    for number in 0..64 {
        let node = cluster.serving(&number.to_string());
        if !found.iter().any(|(known, _)| *known == node) {
            found.push((node, number));
        }
    }
    found.into_iter().map(|(_, number)| number).collect()
}
