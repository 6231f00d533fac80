//! What only a cluster can do: have several masters, of which some are away.

use crate::kit::*;
use crate::load::{Load, PATIENCE};
use crate::redis_server::cluster::RedisCluster;
use event_source_api::event::{ClientId, Ttl};
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// One cluster for all tests of this binary.
static CLUSTER: LazyLock<RedisCluster> = LazyLock::new(RedisCluster::start);
static HOMES: AtomicUsize = AtomicUsize::new(0);

/// A prefix of its own on the cluster that all tests share.
pub struct ClusterHome(String);

impl Home for ClusterHome {
    const CLAIMS_OUTLIVE: bool = true;

    fn new() -> Self {
        Self(format!("t{}:", HOMES.fetch_add(1, Ordering::Relaxed)))
    }

    fn open(&self, options: StoreOptions) -> Arc<dyn Store> {
        Arc::new(RedisStore::connect(&CLUSTER.url(), &self.0, options, 0).expect("a store"))
    }
}

fn connect(cluster: &RedisCluster, timeout: Duration, wait_replicas: u32) -> Arc<dyn Store> {
    let options = StoreOptions { timeout, ..options() };
    Arc::new(RedisStore::connect(&cluster.url(), "es:", options, wait_replicas).expect("a store"))
}

/// Types whose partitions this node serves, and types whose partitions others serve.
fn sides(cluster: &RedisCluster, node: usize) -> (Vec<u16>, Vec<u16>) {
    (0..64).partition(|number| cluster.serving(&number.to_string()) == node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_loses_nothing_and_stops_no_other() {
    let mut cluster = RedisCluster::with_replicas(1500);
    cluster.until_replicated();
    let store = connect(&cluster, Duration::from_secs(5), 1);
    let victim = cluster.serving("1");
    let (lost, kept) = sides(&cluster, victim);
    let (lost, kept) = (&lost[..2], [&kept[..1], &kept[kept.len() - 1..]].concat());
    let load = Load::start(&store, &[lost, &kept[..]].concat());
    load.until_more(lost, 20).await;
    load.until_more(&kept, 20).await;
    cluster.nodes[victim].kill();
    let before: Vec<usize> = kept.iter().map(|number| load.acknowledged(*number)).collect();
    let moving = || cluster.until_moved("1", victim);
    tokio::task::block_in_place(moving);
    for (number, before) in kept.iter().zip(before) {
        let meanwhile = load.acknowledged(*number) - before;
        assert!(meanwhile >= 10, "while a master failed over, {meanwhile} appends of type {number} were answered");
    }
    // A new master has no replica until the old one is back: until then nothing can be promised.
    cluster.nodes[victim].restart();
    tokio::task::block_in_place(|| cluster.until_replicated());
    load.until_more(lost, 20).await;
    load.end().await;
    store.ping().await.expect("all masters are there");
}

/// Somebody is master at each moment, so that there is no moment at which the store is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_relieved_fails_no_ping() {
    let cluster = RedisCluster::with_replicas(15_000);
    cluster.until_replicated();
    let store = connect(&cluster, Duration::from_secs(5), 1);
    let each = [0, 1, 2].map(|node| sides(&cluster, node).0[0]);
    let load = Load::start(&store, &each);
    load.until_more(&each, 20).await;
    let over = Arc::new(AtomicBool::new(false));
    let pinging: Vec<_> = (0..4)
        .map(|_| {
            let (store, over) = (Arc::clone(&store), Arc::clone(&over));
            tokio::spawn(async move {
                let mut answered = 0_usize;
                while !over.load(Ordering::Acquire) {
                    store.ping().await.unwrap_or_else(|error| panic!("after {answered} pings: {error}"));
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for number in each {
        tokio::task::block_in_place(|| cluster.hand_over(&number.to_string()));
        load.until_more(&[number], 20).await;
    }
    over.store(true, Ordering::Release);
    for task in pinging {
        assert!(task.await.expect("no ping fails") > 0);
    }
    load.end().await;
}

/// A master that is silent when another takes over: nobody can know what became of a mark, and a read is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_reads_and_was_asked_of_a_master_that_is_relieved_is_asked_of_the_next() {
    let cluster = RedisCluster::with_replicas(15_000);
    cluster.until_replicated();
    let store = connect(&cluster, Duration::from_secs(10), 1);
    let number = sides(&cluster, 1).0[0];
    let positions = append(&store, group(number, 3, &["hook"])).await;
    let (hook, id) = (stream(number, "hook"), ids(number, &positions)[0]);
    assert_eq!(counts(&store, &hook).await.backlog, 3, "there is a connection");
    cluster.nodes[1].freeze();
    let streams = [StreamSince { name: hook.name.clone(), since: 1, until: None }];
    let (types, numbers, hooks) = (ty(number), [type_no(number)], [hook.clone()]);
    let stamp = StampQuery { types: vec![ty(number)], from: 0, to: i64::MAX, client: None };
    let client: ClientId = "c".parse().expect("a client");
    let marks = [MarkRequest { id, ttl: Ttl::permanent(), client: client.clone() }];
    let all = [ty(number)];
    let take_over = async { tokio::task::block_in_place(|| cluster.take_over(&number.to_string(), 1)) };
    let (page, counts, event, stamp, last, letters, pending, mark, ()) = tokio::join!(
        store.read(query(vec![ty(number)], 10)),
        store.counts(&hooks),
        store.event(id, &types, &streams),
        store.stamp(stamp),
        store.last_positions(&numbers),
        store.dead_letters(&hook, None, 10),
        store.pending(&all, &client),
        store.mark(&marks),
        take_over,
    );
    assert_eq!(ids_of(&page.expect("a page")).len(), 3);
    assert_eq!(counts.expect("counts")[0].backlog, 3);
    assert!(event.expect("an answer").is_some());
    assert!(stamp.expect("a stamp").digest.is_some());
    assert_eq!(last.expect("the last"), positions[2..]);
    assert!(letters.expect("letters").is_empty());
    assert_eq!(pending.expect("an answer").counts, [3]);
    assert!(matches!(mark, Err(StoreError::Unavailable(_))), "{mark:?}");
    cluster.nodes[1].thaw();
}

/// Behind a translation of addresses each node is known by the address that it was asked by, with a port of its own.
#[tokio::test]
async fn nodes_that_do_not_say_their_host_are_those_that_were_asked() {
    let cluster = RedisCluster::start();
    for node in &cluster.nodes {
        let mut set = ::redis::cmd("CONFIG");
        set.arg("SET").arg("cluster-preferred-endpoint-type").arg("unknown-endpoint");
        set.exec(&mut node.plain()).expect("they keep their names to themselves");
    }
    // The first to be met does not serve the registry, and says who does.
    let number = sides(&cluster, cluster.serving("reg")).1[0];
    let store = connect(&cluster, Duration::from_secs(5), 0);
    append(&store, group(number, 1, &[])).await;
    store.ping().await.expect("all masters are there");
}

#[tokio::test]
async fn groups_of_a_master_that_is_away_fail_alone() {
    let mut cluster = RedisCluster::start();
    let store = connect(&cluster, Duration::from_millis(1500), 0);
    let victim = cluster.serving("reg");
    let (lost, kept) = sides(&cluster, victim);
    let (lost, kept) = (lost[0], kept[0]);
    let both = || vec![group(lost, 2, &["hook"]), group(kept, 2, &["hook"])];
    let answers = store.append(both()).await.expect("an answer");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Appended::Stored(_)))), "{answers:?}");
    assert_ne!(store.lane(type_no(lost)), store.lane(type_no(kept)));

    cluster.nodes[victim].kill();
    let answers = store.append(both()).await.expect("an answer");
    assert!(matches!(answers[0], Err(StoreError::Unavailable(_))), "{answers:?}");
    assert!(matches!(answers[1], Ok(Appended::Stored(_))), "{answers:?}");
    assert!(store.append(vec![group(lost, 1, &[])]).await.is_err(), "all that there is has failed");
    assert!(store.ping().await.is_err(), "not all masters are there");
    store.clock().await.expect("some are");
    assert_eq!(store.due(Duration::ZERO).await.expect("of those that are there"), [stream(kept, "hook")]);
    let claimed = store.claim(claim(&stream(kept, "hook"), 10)).await.expect("a claim");
    assert_eq!(claimed.events.len(), 4);

    cluster.nodes[victim].restart();
    let end = Instant::now() + PATIENCE;
    while store.append(vec![group(lost, 1, &[])]).await.is_err() || store.ping().await.is_err() {
        assert!(Instant::now() < end, "waited in vain for a master that is back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
