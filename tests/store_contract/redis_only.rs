//! What only Redis can do: go away and come back, be full, be wrong; and its keys.

use crate::kit::*;
use crate::redis_server::{RedisServer, free_port};
use crate::registry::put;
use ::redis::Commands;
use bytes::Bytes;
use event_source_api::event::{ClientId, EventId, Position, Ttl};
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

fn connect(url: &str, options: StoreOptions) -> Arc<dyn Store> {
    Arc::new(RedisStore::connect(url, "es:", options, 0).expect("a store"))
}

/// A plain connection, to see what is stored.
fn plain(server: &RedisServer) -> ::redis::Connection {
    ::redis::Client::open(server.url()).expect("a URL").get_connection().expect("a connection")
}

fn impatient() -> StoreOptions {
    StoreOptions { timeout: Duration::from_millis(700), ..options() }
}

async fn unavailable(store: &Arc<dyn Store>) {
    let started = Instant::now();
    let answers = [
        store.append(vec![group(1, 1, &[])]).await.err(),
        store.ping().await.err(),
        store.read(query(vec![ty(1)], 10)).await.err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(started.elapsed() < Duration::from_millis(3 * 700 + 500), "{:?}", started.elapsed());
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
    let store = connect(&format!("redis://127.0.0.1:{}", free_port()), impatient());
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
    ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut plain(&server)).expect("flushed");
    append(&store, group(1, 1, &["hook"])).await;
    ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut plain(&server)).expect("flushed");
    assert_eq!(counts(&store, &stream(1, "hook")).await.backlog, 2);
}

#[tokio::test]
async fn a_full_redis_takes_no_events_and_still_delivers() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb"]);
    let store = connect(&server.url(), options());
    let hook = stream(1, "hook");
    let all = ids(1, &append(&store, group(1, 100, &["hook"])).await);
    let mut plain = plain(&server);
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
    let format: String = plain(&server).get("es:{reg}:format").expect("a format");
    assert_eq!(format, "1");
    let () = plain(&server).set("es:{reg}:format", 2).expect("set");
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
    let mut plain = plain(&replica);
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
async fn prefixes_keep_stores_apart() {
    let server = RedisServer::start();
    let one = connect(&server.url(), options());
    let two: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "other:", options(), 0).expect("a store"));
    append(&one, group(1, 1, &["hook"])).await;
    put(&one, "a", "1h", 0).await;
    assert_eq!(read(&two, query(vec![ty(1)], 10)).await.events, []);
    assert_eq!(two.types().await.expect("types").1.len(), 0);
    assert!(two.due(Duration::ZERO).await.expect("streams").is_empty());
}

/// Keys of Redis and their expiry in seconds, but for those without one.
fn expiring(server: &RedisServer, pattern: &str) -> Vec<(String, i64)> {
    let mut plain = plain(server);
    let keys: Vec<String> = plain.keys(pattern).expect("keys");
    keys.into_iter().map(|key| (key.clone(), plain.ttl(&key).expect("an expiry"))).collect()
}

#[tokio::test]
async fn what_expires_gives_its_memory_back() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    let record = put(&store, "a:b", "1h", 0).await;
    let number = record.type_no.get();
    let events = AppendGroup { ttl: ttl("1h"), ..group(number, 10, &[]) };
    let all = ids(number, &append(&store, events.clone()).await);
    let client: ClientId = "c".parse().expect("a client");
    let marks: Vec<_> = all.iter().map(|id| MarkRequest { id: *id, ttl: ttl("1h"), client: client.clone() }).collect();
    store.mark(&marks).await.expect("marked");
    let patterns = ["es:ev:*", "es:hours:*", "es:ok:*", "es:who:*", "es:m:*"];
    let in_force = |least: i64, most: i64| {
        for pattern in patterns {
            let keys = expiring(&server, pattern);
            assert!(!keys.is_empty(), "{pattern}");
            for (key, expiry) in keys {
                assert!((least..=most).contains(&expiry), "{key} {expiry}");
            }
        }
    };
    in_force(3600, 2 * 3600 + 2);
    // A longer lifetime, none at all, and a shorter one reach every key that is there.
    let record = put(&store, "a:b", "10h", record.revision).await;
    in_force(10 * 3600, 11 * 3600 + 2);
    let record = put(&store, "a:b", "permanent", record.revision).await;
    in_force(-1, -1);
    let record = put(&store, "a:b", "2h", record.revision).await;
    in_force(2 * 3600, 3 * 3600 + 2);
    // A node that knows nothing of it appends: the registration's lifetime counts.
    append(&store, events).await;
    in_force(2 * 3600, 3 * 3600 + 2);
    put(&store, "a:b", "ephemeral", record.revision).await;
    assert!(expiring(&server, "es:ev:*").is_empty());
}

#[tokio::test]
async fn a_lifetime_that_was_applied_in_part_is_applied_by_an_equal_registration() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    let record = put(&store, "t", "10h", 0).await;
    append(&store, AppendGroup { ttl: ttl("10h"), revision: record.revision, ..group(0, 1, &[]) }).await;
    let mut redis = plain(&server);
    let other: String = redis.keys::<_, Vec<String>>("es:ev:*").expect("keys").remove(0);
    // The hour before has clients that cannot be read.
    let hour = other.rsplit(':').next().and_then(|hour| hour.parse::<i64>().ok()).expect("its hour") - 1;
    let stuck = format!("es:who:{{0}}:0:{hour}");
    let () = redis.hset("es:hours:{0}:0", hour, 1).expect("set");
    let () = redis.set(&stuck, "no set").expect("set");
    let change = PutType {
        name: record.name.clone(),
        ttl: Ttl::permanent(),
        registered: true,
        config: record.config.clone(),
        based_on: record.revision,
    };
    let error = store.put_type(change).await.expect_err("it is stored, and in part in force");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    let stored = store.get_type(&record.name).await.expect("an answer").expect("a record");
    assert_eq!(stored.ttl, Ttl::permanent());
    // The same fault again, and then none.
    store.enforce(&stored, None).await.expect_err("it is tried again");
    let () = redis.del(&stuck).expect("gone");
    let () = redis.expire(&other, 100).expect("set");
    store.enforce(&stored, None).await.expect("in force");
    assert_eq!(redis.ttl::<_, i64>(&other).expect("an expiry"), -1, "kept for ever");
    // It is done once.
    let () = redis.expire(&other, 100).expect("set");
    store.enforce(&stored, None).await.expect("in force");
    assert!(redis.ttl::<_, i64>(&other).expect("an expiry") > 0);
}

#[tokio::test]
async fn a_record_that_was_not_put_in_force_or_was_lost_is_put_in_force_when_asked() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    let mut plain = plain(&server);
    let first = put(&store, "a:b", "1h", 0).await;
    let second = put(&store, "a:b", "2h", first.revision).await;
    let number = first.type_no.get();
    let (key, field) = (format!("es:ttl:{{{}}}", number % 64), format!("{number}:r"));
    let by = |revision: u64| AppendGroup { revision, ..group(number, 1, &[]) };
    // As a registration leaves it that is cut off after its first step, and as a store of before.
    let () = plain.hset(&key, &field, first.revision).expect("set");
    let () = plain.hset(&key, number, 3_600_000).expect("set");
    assert!(matches!(append_by(&store, by(first.revision)).await, Appended::Stored(_)));
    store.enforce(&second, None).await.expect("in force");
    assert_eq!(append_by(&store, by(first.revision)).await, Appended::Stale(second.revision));
    assert_eq!(plain.hget::<_, _, i64>(&key, number).expect("a lifetime"), 7_200_000);
    store.enforce(&first, None).await.expect("an answer");
    assert_eq!(append_by(&store, by(first.revision)).await, Appended::Stale(second.revision), "never back by itself");
    let () = plain.hdel(&key, &field).expect("deleted");
    assert!(matches!(append_by(&store, by(first.revision)).await, Appended::Stored(_)));

    // A failover has lost what came after the second.
    let () = plain.hset(&key, &field, 99).expect("set");
    assert_eq!(append_by(&store, by(second.revision)).await, Appended::Stale(99));
    for other in [None, Some(98)] {
        store.enforce(&second, other).await.expect("an answer");
        assert_eq!(append_by(&store, by(second.revision)).await, Appended::Stale(99), "another was meant");
    }
    store.enforce(&second, Some(99)).await.expect("in force");
    assert!(matches!(append_by(&store, by(second.revision)).await, Appended::Stored(_)));
    assert_eq!(append_by(&store, by(first.revision)).await, Appended::Stale(second.revision));
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
    let mut there = plain(&replica);
    let stored: Vec<u8> = there.hget("es:{reg}:types", "a:b").expect("a record");
    assert_eq!(stored[..8], next.revision.to_be_bytes());
    let field = format!("{}:r", next.type_no.get());
    assert_eq!(there.hget::<_, _, u64>("es:ttl:{0}", field).expect("a revision"), next.revision);
}

/// Stores an event as if it had been appended then; the store's clock cannot be set.
fn backdate(plain: &mut ::redis::Connection, number: u16, position: u64, payload: &str) {
    let hour = Position::new(position).ms().div_euclid(3_600_000);
    let mut chunk = position.to_be_bytes().to_vec();
    chunk.extend([1, 1, payload.len() as u8]);
    chunk.extend(payload.as_bytes());
    let p = number % 64;
    let () = plain.zadd(format!("es:ev:{{{p}}}:{number}:{hour}"), chunk, Position::new(position).ms()).expect("stored");
    let () = plain.hincr(format!("es:hours:{{{p}}}:{number}"), hour, 1).expect("counted");
}

#[tokio::test]
async fn a_feed_spans_hours_and_skips_those_that_are_done() {
    let server = RedisServer::start();
    let store = connect(&server.url(), options());
    let mut plain = plain(&server);
    let now = store.ping().await.expect("the clock");
    let mut all: Vec<EventId> = Vec::new();
    // Three types over forty days: one every 40 minutes, one in bursts, one with two events only.
    for i in 1..1440 {
        all.push(EventId::new(type_no(1), Position::first_of(now - i * 2_400_000)));
    }
    for burst in 1..20 {
        for i in 0..60 {
            all.push(EventId::new(type_no(2), Position::first_of(now - burst * 170_000_000 + i * 1000).plus(3)));
        }
    }
    for i in [35, 39] {
        all.push(EventId::new(type_no(66), Position::first_of(now - i * 86_400_000)));
    }
    for id in &all {
        backdate(&mut plain, id.type_no().get(), id.position().get(), "{}");
    }
    let all = newest_first(all);
    let types = || [1, 2, 66, 7].map(ty).to_vec();
    for limit in [1, 50, 999, 10_000] {
        let page = quick(Duration::from_secs(1), async || read(&store, query(types(), limit)).await).await;
        assert_eq!(ids_of(&page), all[..limit.min(all.len())]);
        assert_eq!(page.more, limit < all.len());
    }
    assert_eq!(read_all(&store, query(types(), 100)).await, all);
    for days in [1, 31] {
        let from = now - days * 86_400_000;
        let expected: Vec<_> = all.iter().copied().filter(|id| id.ms() >= from && id.ms() < now - 7_000_000).collect();
        let month = ReadQuery { from, to: now - 7_000_000, ..query(types(), 400) };
        assert_eq!(read_all(&store, month).await, expected);
    }
    // A lifetime cuts in the middle of an hour.
    let lasting = TypeRef { type_no: type_no(1), ttl: ttl("100h") };
    let found = read_all(&store, query(vec![lasting], 50)).await;
    assert_eq!(found, all.iter().copied().filter(|id| id.type_no() == type_no(1)).take(149).collect::<Vec<_>>());
    // Everything but two old events is marked: the hours between hold nothing for this client.
    let client: ClientId = "c".parse().expect("a client");
    let left = [all[800], all[1500]];
    let marks: Vec<_> = all.iter().filter(|id| !left.contains(id)).collect();
    for some in marks.chunks(1000) {
        let some: Vec<_> =
            some.iter().map(|id| MarkRequest { id: **id, ttl: Ttl::permanent(), client: client.clone() }).collect();
        assert!(store.mark(&some).await.expect("marked").into_iter().all(|exists| exists));
    }
    let pending = ReadQuery { marked: Marked::Pending(client.clone()), ..query(types(), 10) };
    let page = read(&store, pending.clone()).await;
    assert_eq!((ids_of(&page), page.more), (left.to_vec(), false));
    let page = read(&store, ReadQuery { limit: 1, ..pending }).await;
    assert_eq!((ids_of(&page), page.more), (left[..1].to_vec(), true));
    let processed = ReadQuery { marked: Marked::Processed(client), ..query(types(), 300) };
    assert_eq!(read_all(&store, processed).await.len(), all.len() - 2);
}

#[tokio::test]
async fn rest_is_small() {
    let server = RedisServer::start_with(&["--appendfsync", "no"]);
    let store = connect(&server.url(), options());
    let mut plain = plain(&server);
    append(&store, group(9, 1, &[])).await;
    let used = |plain: &mut ::redis::Connection| -> f64 {
        let info: String = ::redis::cmd("INFO").arg("memory").query(plain).expect("info");
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("used_memory");
        line.parse().expect("a number")
    };
    let payload = Bytes::from_static(b"{\"number\":1234567890123}");
    assert_eq!(payload.len(), 24);
    let hook = |number| stream(number, "hook");
    for (number, batch, batches, most) in [(1, 1, 50_000, 150.0), (2, 8, 4_000, 60.0), (3, 64, 1_000, 60.0)] {
        let before = used(&mut plain);
        let events =
            AppendGroup { payloads: vec![payload.clone(); batch], ttl: ttl("1 day"), ..group(number, 0, &["hook"]) };
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (store, events) = (store.clone(), events.clone());
            senders.spawn(async move {
                for _ in 0..batches / 10 {
                    append(&store, events.clone()).await;
                }
            });
        }
        while let Some(sent) = senders.join_next().await {
            sent.expect("a sender");
        }
        loop {
            let claim = store.claim(claim(&hook(number), 5000)).await.expect("a claim");
            if claim.events.is_empty() {
                break;
            }
            store.settle(delivered(&hook(number), &claim)).await.expect("settled");
        }
        let bytes = (used(&mut plain) - before) / (batch * batches) as f64;
        assert!(bytes <= most, "batches of {batch}: {bytes} bytes an event");
    }
}

#[tokio::test]
async fn a_wrong_address_is_refused_at_once() {
    for (url, prefix) in [("http://127.0.0.1", "es:"), ("redis://", "{es}:"), ("redis://127.0.0.1:99999", "es:")] {
        assert!(RedisStore::connect(url, prefix, options(), 0).is_err(), "{url} {prefix}");
    }
    let store = connect(&format!("rediss://127.0.0.1:{}", free_port()), impatient());
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}
