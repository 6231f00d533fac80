//! Resuming over more events than fit into any queue: the hub's memory stays bounded, the session is not closed as
//! slow, and gets everything in order. `make bench-live` does it over a million.

use crate::both_stores;
use crate::support::api::number;
use crate::support::hub::Hub;
use crate::support::wait::within;
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::time::Duration;

both_stores!(a_long_replay_is_bounded_in_memory_and_complete);

/// Events stored, in batches.
const EVENTS: usize = 120_000;
const BATCH: usize = 500;
/// Bytes of their text: all together far more than the memory that a replay may take.
const TEXT: usize = 1500;
/// Kilobytes that the hub may grow by: the embedded store's cache of 48 MB, what it merges meanwhile of what was just
/// stored, a page, what the session has taken.
const GROWTH: u64 = 100 << 10;
/// After which event the client rests, for longer than a live session could.
const REST: usize = 5000;

/// A line of the hub's status, in kilobytes.
fn memory(hub: &Hub, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("the hub's status");
    let found = status.lines().find_map(|l| l.strip_prefix(line)).expect("the line");
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("kilobytes")
}

async fn fill(hub: &Hub) -> Vec<u64> {
    let text = "x".repeat(TEXT);
    let batch = Value::from(vec![json!({"type": "t", "payload": text}); BATCH]).to_string();
    let mut sent = Vec::with_capacity(EVENTS);
    while sent.len() < EVENTS {
        let answers = hub.post("/api/events/send", &batch).await.expect(202).json();
        sent.extend(answers.as_array().expect("a list").iter().map(|a| number(a["id"].as_str().expect("an id"))));
    }
    sent
}

async fn a_long_replay_is_bounded_in_memory_and_complete(hub: Hub) {
    hub.register("t", "1day").await;
    let sent = within(Duration::from_secs(120), "the events to be stored", fill(&hub)).await;
    std::fs::write(format!("/proc/{}/clear_refs", hub.pid()), "5").expect("the peak is forgotten");
    let before = memory(&hub, "VmRSS");
    let mut session = Session::open(&hub, &format!("?since={}", sent[0])).await;
    let resumed = json!({"control": "resumed", "from": sent[0].to_string(), "complete": true});
    assert_eq!(session.event().await, resumed);
    let read = async {
        for (n, wanted) in sent.iter().enumerate().skip(1) {
            let event = session.text().await;
            assert!(event.starts_with(&format!("{{\"id\":\"{wanted}\"")), "{n}: {}", &event[..60.min(event.len())]);
            if n == REST {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    };
    within(Duration::from_secs(120), "the replay to end", read).await;
    let grown = memory(&hub, "VmHWM").saturating_sub(before);
    assert!(grown <= GROWTH, "the hub grew by {grown} kB");
    let new = hub.send("t", json!("new")).await;
    assert_eq!(session.event().await["id"], new.id.as_str());
}
