//! Clusters and Sentinels that fail, at length: what `make test` has no time for. Run by `make test-cluster`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on panics"
)]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/guard.rs"]
mod guard;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../store_contract/kit.rs"]
mod kit;
#[path = "../store_contract/load.rs"]
mod load;
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/redis.rs"]
mod redis_server;

mod failover;
mod live;
mod reshard;
mod sentinel;

use event_source_api::store::redis::RedisStore;
use event_source_api::store::{Store, StoreOptions};
use redis_server::cluster::RedisCluster;
use std::sync::Arc;
use std::time::Duration;

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
