//! The live feed of Redis: it is subscribed to what is listened to, and to nothing else, whatever happens to its
//! connection.

use crate::kit::*;
use crate::live::next;
use crate::port::Port;
use crate::redis_server::RedisServer;
use crate::redis_server::cluster::RedisCluster;
use event_source_api::event::Position;
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

fn connect(server: &RedisServer, timeout: Duration) -> Arc<dyn Store> {
    let options = StoreOptions { timeout, ..options() };
    Arc::new(RedisStore::connect(&server.url(), "es:", options, 0).expect("a store"))
}

fn started() -> (RedisServer, Arc<dyn Store>) {
    let server = RedisServer::start();
    let store = connect(&server, Duration::from_secs(10));
    (server, store)
}

/// Partitions whose channels somebody is subscribed to.
fn channels(connection: &mut ::redis::Connection) -> BTreeSet<String> {
    ::redis::cmd("PUBSUB").arg("SHARDCHANNELS").query(connection).expect("channels")
}

fn named(numbers: &[u16]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("es:live:{{{number}}}")).collect()
}

fn partition(number: u16) -> Partition {
    Partition::new(number).expect("a partition")
}

async fn interrupted(feed: &mut Receiver<Live>) -> Partitions {
    loop {
        let live = tokio::time::timeout(Duration::from_secs(20), feed.recv()).await;
        if let Live::Interrupted(partitions) = live.expect("in time").expect("the feed is open") {
            return partitions;
        }
    }
}

/// Ends every subscribed connection; how many there were.
fn kill_subscribers(connection: &mut ::redis::Connection) -> usize {
    ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query(connection).expect("killed")
}

#[tokio::test]
async fn exactly_what_is_listened_to_is_subscribed() {
    let (server, store) = started();
    let _feed = store.live();
    let mut redis = server.plain();
    append(&store, group(3, 1, &[])).await;
    assert_eq!(channels(&mut redis), named(&[]));
    store.listen(partition(3)).await.expect("brought");
    assert_eq!(channels(&mut redis), named(&[3]));
    for number in [63, 0, 3] {
        store.listen(partition(number)).await.expect("brought");
    }
    assert_eq!(channels(&mut redis), named(&[0, 3, 63]));
    store.ignore(partition(3));
    until("the channel is left", || async { (channels(&mut server.plain()) == named(&[0, 63])).then_some(()) }).await;
    store.listen(partition(3)).await.expect("brought");
    assert_eq!(channels(&mut redis), named(&[0, 3, 63]));
    // The last one closes the connection.
    for number in [0, 3, 63] {
        store.ignore(partition(number));
    }
    until("nobody is subscribed", || async { (kill_subscribers(&mut server.plain()) == 0).then_some(()) }).await;
}

#[tokio::test]
async fn the_live_feed_says_what_was_interrupted_and_goes_on() {
    let (mut server, store) = started();
    let mut feed = store.live();
    for number in [1, 2] {
        store.listen(partition(number)).await.expect("brought");
    }
    let first = append(&store, group(1, 1, &[])).await;
    assert_eq!(next(&mut feed).await[0].previous, Position::default());
    server.restart();
    let mut said = Partitions::NONE;
    while said.len() < 2 {
        said = said.with(interrupted(&mut feed).await);
    }
    assert_eq!(said, [partition(1), partition(2)].into_iter().collect());
    until("an append", || async { store.append(vec![group(1, 1, &[])]).await.ok() }).await;
    assert_eq!(next(&mut feed).await[0].previous, first[0]);
}

#[tokio::test]
async fn a_silent_redis_is_not_listened_to_and_is_when_it_speaks_again() {
    let server = RedisServer::start();
    let store = connect(&server, Duration::from_millis(700));
    let mut feed = store.live();
    server.freeze();
    let asked = Instant::now();
    assert!(matches!(store.listen(partition(1)).await, Err(StoreError::Unavailable(_))));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    server.thaw();
    until("the partition is brought", || async { store.listen(partition(1)).await.ok() }).await;
    append(&store, group(1, 1, &[])).await;
    assert_eq!(next(&mut feed).await[0].type_no, type_no(1));
}

#[tokio::test]
async fn a_feed_that_nobody_reads_any_more_lets_its_connection_go() {
    let server = RedisServer::start();
    let store = connect(&server, Duration::from_millis(700));
    let feed = store.live();
    store.listen(partition(1)).await.expect("brought");
    drop(feed);
    until("nobody is subscribed", || async { channels(&mut server.plain()).is_empty().then_some(()) }).await;
    // A store without its Redis closes its feed all the same.
    let nobody = Port::free();
    let nowhere = RedisStore::connect(&format!("redis://127.0.0.1:{nobody}"), "es:", options(), 0);
    let nowhere: Arc<dyn Store> = Arc::new(nowhere.expect("a store"));
    let mut feed = nowhere.live();
    nowhere.close().await.expect("closed");
    drop(nowhere);
    while feed.recv().await.is_some() {}
}

/// Subscribers are killed again and again while two types are sent to. Whoever reads as a live reader must (runs that
/// begin where the last ended, else the store) knows every event once, in order.
#[tokio::test]
async fn what_a_killed_subscriber_misses_is_named_by_the_next_run_or_an_interruption() {
    let (server, store) = started();
    let mut feed = store.live();
    for number in [1, 2] {
        store.listen(partition(number)).await.expect("brought");
    }
    let done = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        async move {
            let mut sent: [Vec<Position>; 2] = Default::default();
            while !done.load(Ordering::Relaxed) {
                for number in [1, 2_u16] {
                    sent[usize::from(number) - 1].extend(append(&store, group(number, 3, &[])).await);
                }
            }
            sent
        }
    });
    let mut killer = server.plain();
    let killing = std::thread::spawn(move || {
        let mut kills = 0;
        while kills < 12 {
            kills += kill_subscribers(&mut killer);
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let patience = Instant::now() + Duration::from_secs(60);
    let mut heard: [Vec<Position>; 2] = Default::default();
    let mut last = [Position::default(); 2];
    let (mut interruptions, mut gaps) = (0, 0);
    loop {
        let live = match tokio::time::timeout(Duration::from_millis(500), feed.recv()).await {
            Ok(live) => live.expect("the feed is open"),
            // Nothing comes after the end; until that is known, the feed is only slow.
            Err(_) if sending.is_finished() => {
                let stand = store.last_positions(&[type_no(1), type_no(2)]).await.expect("positions");
                if last[..] == stand[..] {
                    break;
                }
                assert!(Instant::now() < patience, "the end is known");
                continue;
            }
            Err(_) => continue,
        };
        let runs = match live {
            Live::Interrupted(partitions) => {
                interruptions += 1;
                assert!(partitions.within([partition(1), partition(2)].into_iter().collect()));
                let stand = store.last_positions(&[type_no(1), type_no(2)]).await.expect("positions");
                last = [last[0].max(stand[0]), last[1].max(stand[1])];
                Vec::new()
            }
            Live::Commit(runs) => runs,
        };
        for run in runs {
            let i = usize::from(run.type_no.get()) - 1;
            let (first, end) = (run.events[0].0, run.events[run.events.len() - 1].0);
            if first > last[i] && run.previous > last[i] {
                gaps += 1;
            }
            heard[i].extend(run.events.iter().map(|(position, _)| *position));
            last[i] = last[i].max(end);
        }
        if killing.is_finished() && !done.swap(true, Ordering::Relaxed) {
            // What comes after the last interruption comes whole.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    killing.join().expect("killed");
    let sent = sending.await.expect("sent");
    assert!(interruptions > 0);
    for (i, sent) in sent.iter().enumerate() {
        assert_eq!(last[i], *sent.last().expect("an event"), "the end is known");
        assert!(heard[i].windows(2).all(|pair| pair[0] < pair[1]), "nothing comes twice, or out of order");
        assert!(heard[i].iter().all(|position| sent.binary_search(position).is_ok()));
    }
    println!("interruptions={interruptions} gaps={gaps}");
}

/// Partitions whose channels somebody is subscribed to at a node.
fn channels_at(cluster: &RedisCluster, node: usize) -> BTreeSet<String> {
    channels(&mut cluster.nodes[node].plain())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_follow_their_slots_and_masters_and_the_others_are_not_disturbed() {
    let mut cluster = RedisCluster::with_replicas(1500);
    cluster.until_replicated();
    let options = StoreOptions { timeout: Duration::from_secs(10), ..options() };
    let store = RedisStore::connect(&cluster.url(), "es:", options, 0).expect("a store");
    let store: Arc<dyn Store> = Arc::new(store);
    let mut feed = store.live();
    // Two partitions of one master, and one of another.
    let home = cluster.serving("1");
    let beside = (2..64).find(|p| cluster.serving(&p.to_string()) == home).expect("another of that master");
    let far = (2..64).find(|p| cluster.serving(&p.to_string()) != home).expect("one of another master");
    for number in [1, beside, far] {
        store.listen(partition(number)).await.expect("brought");
        assert_eq!(comes_through(&store, &mut feed, number).await, Partitions::NONE);
    }
    let there = cluster.serving(&far.to_string());
    assert_eq!(channels_at(&cluster, home), named(&[1, beside]));
    assert_eq!(channels_at(&cluster, there), named(&[far]));

    // A slot moves: its channel is subscribed where it is now.
    tokio::task::block_in_place(|| cluster.reshard("1", there, Duration::ZERO));
    until("the channel to follow", || async { channels_at(&cluster, there).contains("es:live:{1}").then_some(()) })
        .await;
    let mut interrupted = Partitions::NONE;
    for number in [1, beside, far] {
        interrupted = interrupted.with(comes_through(&store, &mut feed, number).await);
    }
    assert_eq!(interrupted, partition(1).into(), "nothing else was disturbed");
    assert_eq!(channels_at(&cluster, home), named(&[beside]));

    // Its master dies: another takes over, and the rest goes on meanwhile.
    tokio::task::block_in_place(|| cluster.nodes[home].kill());
    for number in [1, far] {
        assert_eq!(comes_through(&store, &mut feed, number).await, Partitions::NONE);
    }
    let after = tokio::task::block_in_place(|| cluster.until_moved(&beside.to_string(), home));
    assert_eq!(comes_through(&store, &mut feed, beside).await, partition(beside).into());
    assert!(channels_at(&cluster, after).contains(&format!("es:live:{{{beside}}}")));
}
