//! The keys of Redis: apart by prefix, gone when their time is over, few and small.

use crate::kit::*;
use crate::redis_only::connect;
use crate::redis_server::RedisServer;
use crate::registry::put;
use ::redis::Commands;
use bytes::Bytes;
use event_source_api::event::{ClientId, EventId, Position, Ttl};
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

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
    let mut plain = server.plain();
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
    let mut redis = server.plain();
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
    let mut plain = server.plain();
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
    let mut plain = server.plain();
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
    let mut plain = server.plain();
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
