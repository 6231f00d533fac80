//! What only Redis can do: go away and come back, be full, be wrong, have replicas.

use crate::kit::*;
use crate::port::Port;
use crate::redis_server::RedisServer;
use ::redis::Commands;
use bytes::Bytes;
use event_source_api::event::Ttl;
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A Redis of its own, which crashes between one store and the next.
pub struct RedisHome {
    server: Mutex<RedisServer>,
    opened: AtomicBool,
}

impl Home for RedisHome {
    const CLAIMS_OUTLIVE: bool = true;

    fn new() -> Self {
        Self { server: Mutex::new(RedisServer::start()), opened: AtomicBool::new(false) }
    }

    fn open(&self, options: StoreOptions) -> Arc<dyn Store> {
        let mut server = self.server.lock().expect("the server");
        if self.opened.swap(true, Ordering::Relaxed) {
            server.restart();
        }
        connect(&server.url(), options)
    }
}

pub fn connect(url: &str, options: StoreOptions) -> Arc<dyn Store> {
    Arc::new(RedisStore::connect(url, "es:", options, 0).expect("a store"))
}

fn impatient() -> StoreOptions {
    StoreOptions { timeout: Duration::from_millis(700), ..options() }
}

async fn unavailable(store: &Arc<dyn Store>) {
    quick(Duration::from_millis(3 * 700 + 500), async || {
        let answers = [
            store.append(vec![group(1, 1, &[])]).await.err(),
            store.ping().await.err(),
            store.read(query(vec![ty(1)], 10)).await.err(),
        ];
        for answer in answers {
            assert!(matches!(answer, Some(StoreError::Unavailable(_))), "{answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_is_unavailable_and_comes_back_with_its_data() {
    let mut server = RedisServer::start();
    let store = connect(&server.url(), impatient());
    let mut all = append(&store, group(1, 3, &["hook"])).await;
    server.kill();
    unavailable(&store).await;
    unavailable(&store).await;
    server.restart();
    until("the store is back", || async { store.ping().await.ok() }).await;
    all.extend(append(&store, group(1, 1, &["hook"])).await);
    assert_eq!(read_all(&store, query(vec![ty(1)], 10)).await, newest_first(ids(1, &all)));
    assert_eq!(counts(&store, &stream(1, "hook")).await.backlog, 4);
}

#[tokio::test]
async fn a_store_may_be_made_before_its_redis_is_there() {
    let nobody = Port::free();
    let store = connect(&format!("redis://127.0.0.1:{nobody}"), impatient());
    let mut feed = store.live();
    unavailable(&store).await;
    store.close().await.expect("closed");
    drop(store);
    while feed.recv().await.is_some() {}
}

#[tokio::test]
async fn a_silent_redis_is_given_up_in_time() {
    let server = RedisServer::start();
    let store = connect(&server.url(), impatient());
    append(&store, group(1, 1, &[])).await;
    server.freeze();
    unavailable(&store).await;
    server.thaw();
    until("the store is back", || async { store.ping().await.ok() }).await;
    append(&store, group(1, 1, &[])).await;
}

#[tokio::test]
async fn lost_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    append(&store, group(1, 1, &["hook"])).await;
    ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.plain()).expect("flushed");
    append(&store, group(1, 1, &["hook"])).await;
    ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.plain()).expect("flushed");
    assert_eq!(counts(&store, &stream(1, "hook")).await.backlog, 2);
}

#[tokio::test]
async fn a_full_redis_takes_no_events_and_still_delivers() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]);
    let store = connect(&server.url(), options());
    let hook = stream(1, "hook");
    let all = ids(1, &append(&store, group(1, 100, &["hook"])).await);
    let mut plain = server.plain();
    ::redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec(&mut plain).expect("set");
    assert!(matches!(store.append(vec![group(1, 1, &[])]).await, Err(StoreError::Full(_))));
    assert!(matches!(store.ping().await, Err(StoreError::Full(_))));
    let one = store.claim(claim(&hook, 50)).await.expect("a claim");
    let exceptions = vec![(one.events[0].clone(), Disposition::Release)];
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("settled");
    let mark = MarkRequest { id: all[0], ttl: Ttl::permanent(), client: "c".parse().expect("a client") };
    assert_eq!(store.mark(&[mark]).await.expect("marked"), [true]);
    assert_eq!(read(&store, query(vec![ty(1)], 1000)).await.events.len(), 100);
    ::redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").exec(&mut plain).expect("set");
    append(&store, group(1, 1, &[])).await;
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    append(&store, group(1, 1, &[])).await;
    let format: String = server.plain().get("es:{reg}:format").expect("a format");
    assert_eq!(format, "1");
    let () = server.plain().set("es:{reg}:format", 2).expect("set");
    let other = connect(&server.url(), options());
    assert!(matches!(other.append(vec![group(1, 1, &[])]).await, Err(StoreError::Corrupt(_))));
    assert!(matches!(other.read(query(vec![ty(1)], 1)).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn waiting_for_replicas_that_are_not_there_is_unavailable() {
    let server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "es:", impatient(), 1).expect("a store"));
    assert!(matches!(store.append(vec![group(1, 1, &[])]).await, Err(StoreError::Unavailable(_))));
    store.ping().await.expect("the rest goes on");
}

#[tokio::test]
async fn an_append_is_answered_once_its_replica_has_it() {
    let master = RedisServer::start();
    let port = master.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&master.url(), "es:", options(), 1).expect("a store"));
    until("the replica is there", || async { store.append(vec![group(1, 1, &[])]).await.ok() }).await;
    let mut plain = replica.plain();
    for _ in 0..20 {
        let last = append(&store, group(1, 1, &[])).await[0];
        assert_eq!(plain.hget::<_, _, u64>("es:last:{1}", 1).expect("a position"), last.get());
    }
    // A replica takes no writes, which may pass.
    let other = connect(&replica.url(), impatient());
    assert!(matches!(other.append(vec![group(1, 1, &[])]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(other.ping().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_change_of_the_registry_is_answered_once_a_replica_has_it() {
    let server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "es:", impatient(), 1).expect("a store"));
    let change = |based_on| PutType {
        name: "a:b".parse().expect("a type"),
        ttl: ttl("1h"),
        registered: true,
        config: Bytes::from_static(b"{}"),
        based_on,
    };
    // Nobody else has it: a failover would lose it.
    assert!(matches!(store.put_type(change(0)).await, Err(StoreError::Unavailable(_))));
    let name = "a:b".parse().expect("a type");
    let record = store.get_type(&name).await.expect("an answer").expect("it is there all the same");
    assert!(matches!(store.enforce(&record, None).await, Err(StoreError::Unavailable(_))), "a repetition says so, too");

    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    until("the repetition is answered", || async { store.enforce(&record, None).await.ok() }).await;
    let Put::Stored(next) = store.put_type(change(record.revision)).await.expect("an answer") else {
        panic!("not stored")
    };
    let mut there = replica.plain();
    let stored: Vec<u8> = there.hget("es:{reg}:types", "a:b").expect("a record");
    assert_eq!(stored[..8], next.revision.to_be_bytes());
    let field = format!("{}:r", next.type_no.get());
    assert_eq!(there.hget::<_, _, u64>("es:ttl:{0}", field).expect("a revision"), next.revision);
}

#[tokio::test]
async fn a_wrong_address_is_refused_at_once() {
    for (url, prefix) in [("http://127.0.0.1", "es:"), ("redis://", "{es}:"), ("redis://127.0.0.1:99999", "es:")] {
        assert!(RedisStore::connect(url, prefix, options(), 0).is_err(), "{url} {prefix}");
    }
    let nobody = Port::free();
    let store = connect(&format!("rediss://127.0.0.1:{nobody}"), impatient());
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}
