//! Masters of a cluster whose clocks differ: an operator is told, and told again when they agree.

use crate::support::hub::Setup;
use crate::support::redis::cluster::RedisCluster;
use crate::support::wait::{PATIENCE, eventually};
use serde_json::json;

#[actix_web::test]
async fn masters_whose_clocks_differ_are_named_until_they_agree() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let offset = folder.path().join("offset");
    std::fs::write(&offset, "+3").expect("a file");
    let wrong = [
        // The loader puts the machine's own library folder in place of $LIB. The memory of the C library comes before that
        // of Redis, whose own asks for the time before faketime can tell it.
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1:libc.so.6"),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().expect("a path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let wrong = wrong.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let environments = [Vec::new(), wrong, Vec::new()];
    let cluster = tokio::task::spawn_blocking(|| RedisCluster::in_environments(environments)).await.expect("a cluster");
    let setup = Setup::cluster(cluster);
    let hub = setup.start().await;
    let told = hub.logged("clocks of Redis masters differ").await;
    let fast = format!("fast=127.0.0.1:{}", setup.redis_cluster().nodes[1].port());
    assert!(told.contains(&fast), "{told}");
    let apart = told.split("apart_ms=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i64>().ok());
    assert!(apart.is_some_and(|apart| (2000..4000).contains(&apart)), "{told}");
    // All goes on: types of the fast master are in its feed once the others have come to the same time.
    for number in 0..6 {
        hub.register(&format!("t{number}"), "1h").await;
        hub.send(&format!("t{number}"), json!(number)).await;
    }
    eventually(PATIENCE, "all events in the feed", || async {
        let feed = hub.feed("100days/current?types=t*").await;
        (feed["events"].as_array().map(Vec::len) == Some(6)).then_some(())
    })
    .await;
    std::fs::write(&offset, "+0").expect("a file");
    eventually(PATIENCE, "the clocks to agree", || async {
        hub.get("/readyz").await.expect(200);
        hub.log().iter().any(|line| line.contains("clocks of Redis masters agree again")).then_some(())
    })
    .await;
    let times = hub.log().iter().filter(|line| line.contains("clocks of Redis masters differ")).count();
    assert_eq!(times, 1, "told once, not at each look");
}
