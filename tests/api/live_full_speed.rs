//! Sessions that drop and come back while events are sent at full speed: no gap, by the feed.

use crate::both_stores;
use crate::support::api::number;
use crate::support::hub::{Hub, Setup};
use crate::support::sse::Events;
use crate::support::wait::{PATIENCE, within};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::Duration;

both_stores!(
    websockets_that_drop_and_come_back_miss_nothing,
    streams_that_drop_and_come_back_with_their_last_event_id_miss_nothing,
);

const TYPES: [&str; 3] = ["a", "b", "c"];
const BATCHES: usize = 60;
const BATCH: usize = 100;

/// A session that came back, whatever it speaks.
enum Reader {
    WebSocket(Session),
    Stream(Events),
}

impl Reader {
    async fn open(hub: &Hub, stream: bool, cursor: &str) -> Self {
        let (reader, resumed) = if stream {
            let mut events = Events::open(hub, "", &[("Last-Event-ID", cursor)]).await;
            let resumed = events.next().await.expect("a first message").json();
            (Self::Stream(events), resumed)
        } else {
            let mut session = Session::open(hub, &format!("?since={cursor}")).await;
            let resumed = session.event().await;
            (Self::WebSocket(session), resumed)
        };
        assert_eq!(resumed, json!({"control": "resumed", "from": cursor, "complete": true}));
        reader
    }

    /// The next event's id.
    async fn id(&mut self) -> String {
        match self {
            Self::WebSocket(session) => {
                let event = session.event().await;
                event["id"].as_str().unwrap_or_else(|| panic!("not an event: {event}")).to_owned()
            }
            Self::Stream(events) => events.id().await,
        }
    }
}

/// Sends as fast as the hub takes it; the ids.
async fn send(hub: &Hub) -> BTreeSet<u64> {
    let mut sent = BTreeSet::new();
    for _ in 0..BATCHES {
        let batch: Vec<Value> = (0..BATCH).map(|n| json!({"type": TYPES[n % 3], "payload": n})).collect();
        let answer = hub.post("/api/events/send", Value::from(batch)).await.expect(202).json();
        sent.extend(answer.as_array().expect("a list").iter().map(|e| number(e["id"].as_str().expect("an id"))));
    }
    sent
}

/// Reads by sessions of `turns` events each while events are sent; the last session reads until it has all, or nothing
/// comes any more. (What was sent within `live.seam` comes again each time.)
async fn read(hub: &Hub, stream: bool, turns: usize, done: &OnceCell<BTreeSet<u64>>) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let all = done.get();
        let mut reader = Reader::open(hub, stream, &cursor).await;
        let wait = if all.is_some() { PATIENCE / 2 } else { Duration::from_millis(200) };
        let mut left = turns;
        while left > 0 || all.is_some() {
            left = left.saturating_sub(1);
            if all.is_some_and(|all| all.is_subset(&seen)) {
                return seen;
            }
            match tokio::time::timeout(wait, reader.id()).await {
                Ok(id) => cursor = id,
                // A turn may end between two batches; in the end it says what is missing.
                Err(_) if all.is_some() => return seen,
                Err(_) => break,
            }
            seen.insert(number(&cursor));
        }
    }
}

async fn miss_nothing(setup: Setup, stream: bool) {
    let hub = setup.set("live.mailbox", 64).start().await;
    for ty in TYPES {
        hub.register(ty, "permanent").await;
    }
    let done = OnceCell::new();
    let all = async {
        let sending = async { done.set(send(&hub).await).expect("sent once") };
        let reading = |turns| read(&hub, stream, turns, &done);
        let ((), few, some, many) = tokio::join!(sending, reading(37), reading(450), reading(3000));
        [few, some, many]
    };
    let readers = within(PATIENCE * 4, "all sessions to catch up", all).await;
    let stored: BTreeSet<u64> = hub.walk("100days/current?limit=1000").await.iter().map(|id| number(id)).collect();
    assert_eq!(Some(&stored), done.get());
    assert_eq!(stored.len(), BATCHES * BATCH);
    for seen in readers {
        let missed: Vec<_> = stored.difference(&seen).take(5).collect();
        assert!(
            missed.is_empty() && seen.len() == stored.len(),
            "missed {missed:?}, {} of {}",
            seen.len(),
            stored.len()
        );
    }
}

async fn websockets_that_drop_and_come_back_miss_nothing(setup: Setup) {
    miss_nothing(setup, false).await;
}

async fn streams_that_drop_and_come_back_with_their_last_event_id_miss_nothing(setup: Setup) {
    miss_nothing(setup, true).await;
}
