//! Peers that never read: they cost little, and soon nothing; the others get everything.

use crate::raw::{Raw, connections, stream};
use crate::support::hub::{Hub, Setup};
use crate::support::sse::Events;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::time::Duration;

const STALLED: usize = 200;
const EVENTS: usize = 3000;

/// Two WebSockets and two streams that read; each answers the ids that it got.
async fn readers(hub: &Hub) -> Vec<actix_web::rt::task::JoinHandle<Vec<String>>> {
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut session = Session::open(hub, "?types=t").await;
        readers.push(actix_web::rt::spawn(async move {
            let mut ids = Vec::with_capacity(EVENTS);
            while ids.len() < EVENTS {
                ids.push(session.event().await["id"].as_str().expect("an event").to_owned());
            }
            ids
        }));
        let mut events = Events::open(hub, "?types=t", &[]).await;
        readers.push(actix_web::rt::spawn(async move {
            let mut ids = Vec::with_capacity(EVENTS);
            while ids.len() < EVENTS {
                ids.push(events.id().await);
            }
            ids
        }));
    }
    readers
}

/// Sends much more than all buffers hold; the ids.
async fn send(hub: &Hub) -> Vec<String> {
    let mut sent = Vec::new();
    let text = "x".repeat(1000);
    while sent.len() < EVENTS {
        let batch: Vec<_> = (0..50).map(|n| json!({"type": "t", "payload": {"n": n, "text": text}})).collect();
        let answers = hub.post("/api/events/send", Value::from(batch)).await.expect(202).json();
        let ids = answers.as_array().expect("a list").iter().map(|a| a["id"].as_str().expect("an id").to_owned());
        sent.extend(ids);
    }
    sent
}

/// With peers that have read nothing, and are still there on their side.
async fn are_freed_and_disturb_nobody<T>(hub: Hub, stalled: Vec<T>) {
    let readers = readers(&hub).await;
    eventually(PATIENCE, "all sessions", || async { (connections(&hub) >= STALLED + 4).then_some(()) }).await;
    let sent = send(&hub).await;
    for reader in readers {
        assert_eq!(reader.await.expect("a good session"), sent);
    }
    let freed = || async { (connections(&hub) <= 8).then_some(()) };
    eventually(Duration::from_secs(30), "the stalled sockets to be freed", freed).await;
    assert_eq!(stalled.len(), STALLED);
}

#[actix_web::test]
async fn sessions_that_never_read_are_freed_and_disturb_nobody() {
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(Raw::open_with(&hub, Some(4096)).await);
    }
    are_freed_and_disturb_nobody(hub, stalled).await;
}

#[actix_web::test]
async fn streams_that_nobody_reads_are_freed_and_disturb_nobody() {
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let (status, stream) = stream(&hub, Some(4096)).await;
        assert_eq!(status, 200);
        stalled.push(stream);
    }
    are_freed_and_disturb_nobody(hub, stalled).await;
}
