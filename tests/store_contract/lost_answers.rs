//! Answers that never arrive: an append that is repeated after one appends nothing twice.

use crate::kit::*;
use crate::load::Load;
use crate::redis_server::RedisServer;
use crate::registry::put;
use event_source_api::store::redis::RedisStore;
use event_source_api::store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands before a Redis and swallows the answer to every `nth` call of a script, together with its connection.
struct Swallower {
    port: u16,
    swallowed: Arc<AtomicUsize>,
}

impl Swallower {
    async fn before(server: u16, nth: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (calls, swallowed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&swallowed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                tokio::spawn(pass(client, server, nth, Arc::clone(&calls), Arc::clone(&count)));
            }
        });
        Self { port, swallowed }
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    nth: usize,
    calls: Arc<AtomicUsize>,
    swallowed: Arc<AtomicUsize>,
) {
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let asked = &from_client[..length];
                if server.write_all(asked).await.is_err() {
                    return;
                }
                let is_call = asked.windows(7).any(|word| word == b"EVALSHA");
                if is_call && calls.fetch_add(1, Ordering::SeqCst) % nth == nth - 1 {
                    // It has been done once there is an answer.
                    if matches!(server.read(&mut from_server).await, Ok(1..)) {
                        swallowed.fetch_add(1, Ordering::SeqCst);
                    }
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&from_server[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_answered_and_stored_once() {
    let server = RedisServer::start();
    let swallower = Swallower::before(server.port(), 5).await;
    let url = format!("redis://127.0.0.1:{}", swallower.port);
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&url, "es:", options(), 0).expect("a store"));
    // Not a single append fails, though every fifth loses its answer.
    let stored = append(&store, group(1, 3, &["hook"])).await;
    let mut all = stored;
    for _ in 0..30 {
        all.extend(append(&store, group(1, 3, &["hook"])).await);
    }
    assert!(swallower.swallowed.load(Ordering::SeqCst) >= 5);
    let straight: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "es:", options(), 0).expect("a store"));
    assert_eq!(read_all(&straight, query(vec![ty(1)], 1000)).await, newest_first(ids(1, &all)));
    let counts = straight.counts(&[stream(1, "hook")]).await.expect("counts");
    assert_eq!(counts[0].backlog, all.len() as u64);
}

#[tokio::test]
async fn a_refusal_whose_answer_was_lost_is_given_again() {
    let server = RedisServer::start();
    let straight: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "es:", options(), 0).expect("a store"));
    let first = put(&straight, "a:b", "1h", 0).await;
    let second = put(&straight, "a:b", "1h", first.revision).await;
    let swallower = Swallower::before(server.port(), 3).await;
    let url = format!("redis://127.0.0.1:{}", swallower.port);
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&url, "es:", options(), 0).expect("a store"));
    let by = |revision| AppendGroup { revision, ..group(first.type_no.get(), 1, &["hook"]) };
    let mut all = Vec::new();
    for _ in 0..10 {
        assert_eq!(append_by(&store, by(first.revision)).await, Appended::Stale(second.revision));
        // The same token is used again, and is not taken for the refusal's.
        let Appended::Stored(stored) = append_by(&store, by(second.revision)).await else { panic!("not stored") };
        all.extend(stored);
    }
    assert!(swallower.swallowed.load(Ordering::SeqCst) >= 5);
    assert_eq!(drain(&straight, &stream(first.type_no.get(), "hook")).await, all);
}

#[tokio::test]
async fn appends_at_once_lose_answers_and_nothing_else() {
    let server = RedisServer::start();
    let swallower = Swallower::before(server.port(), 7).await;
    let url = format!("redis://127.0.0.1:{}", swallower.port);
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&url, "es:", options(), 0).expect("a store"));
    let straight: Arc<dyn Store> = Arc::new(RedisStore::connect(&server.url(), "es:", options(), 0).expect("a store"));
    let load = Load::start(&store, &[1, 2, 65, 66]);
    load.until_more(&[1, 2, 65, 66], 60).await;
    assert!(swallower.swallowed.load(Ordering::SeqCst) >= 5);
    load.end_on(&straight).await;
}
