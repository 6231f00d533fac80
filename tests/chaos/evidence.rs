//! What is to be seen at the end: waits until nothing is under way, then reads feed, queues, and what the hub says.

use crate::check::{self, Evidence, Stored};
use crate::ledger::{Ledger, Mark};
use crate::receiver::{Arrival, Outcome, identify};
use crate::scenario::{STREAMS, TYPES};
use crate::support::api::{link, path_of, stream_of};
use crate::world::World;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the backlogs may stay as they are once nothing is wrong any more.
const STUCK: Duration = Duration::from_secs(30);
/// How long they may take in all.
const DRAIN: Duration = Duration::from_secs(600);
/// Between two looks at the backlogs.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until all backlogs are empty; what is left of them if they do not become so.
pub async fn quiet(world: &World) -> Result<(), String> {
    let began = Instant::now();
    let (mut empty, mut least, mut fell) = (0, u64::MAX, began);
    loop {
        let streams = world.get("/api/events/streams").await["streams"].take();
        let streams = streams.as_array().cloned().unwrap_or_default();
        let backlog = |stream: &serde_json::Value| stream["backlog"].as_u64().unwrap_or(1);
        let total: u64 = streams.iter().map(backlog).sum();
        // Twice, since a request may have been on its way when its sender had given up.
        empty = if total == 0 && streams.len() == world.streams.len() { empty + 1 } else { 0 };
        if empty == 2 {
            return Ok(());
        }
        if total < least {
            (least, fell) = (total, Instant::now());
        }
        if fell.elapsed() > STUCK || began.elapsed() > DRAIN {
            let busy: Vec<_> = streams.iter().filter(|stream| backlog(stream) > 0).collect();
            return Err(format!("{:?} after the last fault streams are not empty: {busy:?}", began.elapsed()));
        }
        sleep(LOOK).await;
    }
}

/// Gathers everything.
pub async fn gather<'a>(world: &World, ledger: &'a Ledger, bounds: Vec<u64>) -> Evidence<'a> {
    // The feed first: whatever is in it has been committed before anything else is looked at.
    let feed = feed(world).await;
    let mut arrivals = world.receiver.arrivals();
    if let Some(broker) = world.broker().await {
        for &stream in world.streams.iter().filter(|stream| !STREAMS[**stream].hook) {
            let queue = World::queue(stream);
            let waiting = broker.waiting(&queue).await;
            let collected = broker.collect(&queue).await;
            let messages = collected.until_within(DRAIN, "what lies in it", |messages| messages.len() >= waiting).await;
            let arrival = |message: &crate::support::amqp::Message| {
                let (id, mark) = identify(&message.json(), Some(&message.id())).expect("a message is an event");
                Arrival { id, mark, outcome: Outcome::Delivered }
            };
            arrivals[stream] = messages.iter().map(arrival).collect();
        }
    }
    let said = vec![HashMap::new(); STREAMS.len()];
    let mut evidence = Evidence { ledger, streams: world.streams.clone(), feed, arrivals, said, bounds };
    for &stream in &world.streams {
        for id in check::missing(&evidence, stream).into_iter().filter(|_| TYPES[STREAMS[stream].ty].stored) {
            let event = world.get(&format!("/api/events/{id}")).await;
            let state = stream_of(&event, STREAMS[stream].name).map(|found| found["state"].clone());
            let state = state.as_ref().and_then(serde_json::Value::as_str).unwrap_or("nothing").to_owned();
            evidence.said[stream].insert(id, state);
        }
    }
    evidence
}

/// The whole feed, page by page.
async fn feed(world: &World) -> Vec<Stored> {
    let mut all = Vec::new();
    let mut next = Some("/api/events/feed/100days/current?limit=10000&types=chaos:*".to_owned());
    while let Some(path) = next {
        let page = world.get(&path).await;
        for event in page["events"].as_array().expect("a feed") {
            let id = event["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            let ty = TYPES.iter().position(|ty| event["type"] == ty.name).expect("a type of the scenario");
            let mark = Mark::of_payload(&event["payload"]).expect("a mark");
            all.push(Stored { id, mark, ty });
        }
        next = link(&page, "more").map(|href| path_of(&href).to_owned());
    }
    all
}
