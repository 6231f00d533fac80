//! Peers that never read: they cost little, and soon nothing; the others get everything.

use crate::raw::Raw;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::time::Duration;

const STALLED: usize = 200;
const EVENTS: usize = 3000;

/// Connections between others and the hub, by the kernel's table.
fn connections(hub: &Hub) -> usize {
    let port = format!("{:04X}", hub.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    };
    table.lines().skip(1).filter(established).count()
}

#[actix_web::test]
async fn sessions_that_never_read_are_freed_and_disturb_nobody() {
    let hub = Setup::embedded().start().await;
    hub.register("t", "1h").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(Raw::open_with(&hub, Some(4096)).await);
    }
    let mut good = Vec::new();
    for _ in 0..4 {
        let mut session = Session::open(&hub, "?types=t").await;
        good.push(actix_web::rt::spawn(async move {
            let mut ids = Vec::with_capacity(EVENTS);
            while ids.len() < EVENTS {
                ids.push(session.event().await["id"].as_str().expect("an event").to_owned());
            }
            ids
        }));
    }
    eventually(PATIENCE, "all sessions", || async { (connections(&hub) >= STALLED + 4).then_some(()) }).await;
    let mut sent = Vec::new();
    let text = "x".repeat(1000);
    while sent.len() < EVENTS {
        let batch: Vec<_> = (0..50).map(|n| json!({"type": "t", "payload": {"n": n, "text": text}})).collect();
        let answers = hub.post("/api/events/send", Value::from(batch)).await.expect(202).json();
        let ids = answers.as_array().expect("a list").iter().map(|a| a["id"].as_str().expect("an id").to_owned());
        sent.extend(ids);
    }
    for session in good {
        assert_eq!(session.await.expect("a good session"), sent);
    }
    // They are still there on their side, and have read nothing.
    let freed = || async { (connections(&hub) <= 8).then_some(()) };
    eventually(Duration::from_secs(30), "the stalled sockets to be freed", freed).await;
    assert_eq!(stalled.len(), STALLED);
}
