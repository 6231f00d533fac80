//! kill -9 of the hub under load: every id that was answered with 202 is afterwards in the feed, and
//! arrives at the webhook and in the queue.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

mod support;

use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::amqp::Broker;
use support::api::{number, rabbit, webhook};
use support::http::{Connection, request};
use support::hub::{Hub, Setup};
use support::wait::{PATIENCE, eventually, within};
use support::webhook::{Answer, Webhook, distinct};

const ROUNDS: usize = 3;
const SENDERS: u64 = 8;
const TYPES: [&str; 3] = ["crash:plain", "crash:marked", "crash:slow"];

both_stores!(nothing_accepted_is_lost_when_the_hub_is_killed);

async fn nothing_accepted_is_lost_when_the_hub_is_killed(setup: Setup) {
    let mut random = Random::seeded();
    let server = tokio::task::spawn_blocking(support::rabbit::shared).await.expect("RabbitMQ starts");
    let (exchange, queue) = (format!("crash-{}", random.next()), format!("crash-{}", random.next()));
    let broker = Broker::connect(&server.url()).await;
    broker.exchange(&exchange, lapin::ExchangeKind::Fanout).await;
    broker.queue(&queue, &exchange, "").await;
    let collected = broker.collect(&queue).await;
    let hook = Webhook::start().await;
    // Now and then a webhook fails or takes its time, so that a kill meets events in every state.
    hook.answers(|r| match r.header("webhook-id").map_or(0, number) % 16 {
        0 if r.attempt == 1 => Answer::Status(500),
        1 => Answer::After(Duration::from_millis(30), 200),
        _ => Answer::Status(200),
    });
    // A dead node's claims come due when their leases run out: soon, here.
    let setup = setup.set("rabbit.url", server.url()).set("streams.lease", "1s");
    let mut hub = setup.start().await;
    for ty in TYPES {
        let streams = json!([webhook("hook", &hook.uri("/")), rabbit("mq", &exchange, "k")]);
        hub.register_with(ty, "1h", streams).await;
    }
    let mut accepted: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let stop = Rc::new(Cell::new(false));
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| actix_web::rt::spawn(send_until_the_end(hub.address(), n, random.next(), Rc::clone(&stop))))
            .collect();
        tokio::time::sleep(Duration::from_millis(500 + random.next() % 700)).await;
        let setup = hub.kill();
        stop.set(true);
        let before = accepted.len();
        for sender in senders {
            accepted.extend(within(PATIENCE, "a sender to notice the kill", sender).await.expect("it ran"));
        }
        eprintln!("round {round}: {} accepted", accepted.len() - before);
        assert!(accepted.len() > before, "nothing was accepted in round {round}");
        hub = setup.start().await;
    }
    verify(&hub, &accepted, &hook, &collected).await;
}

async fn verify(hub: &Hub, accepted: &[String], hook: &Webhook, collected: &support::amqp::Collector) {
    let wanted: HashSet<String> = accepted.iter().cloned().collect();
    assert_eq!(wanted.len(), accepted.len(), "an id was given twice");
    let stored: HashSet<String> = hub.walk("100days/current?limit=1000&types=crash:*").await.into_iter().collect();
    let lost: Vec<_> = wanted.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} accepted events are in no feed: {lost:?}", lost.len(), wanted.len());
    // More may be stored than was accepted: what was committed, and the answer cut off. All of it is delivered.
    let limit = Duration::from_secs(90);
    eventually(limit, "every stored event at the webhook", || async {
        let arrived: HashSet<String> = distinct(&hook.received()).into_iter().collect();
        stored.is_subset(&arrived).then_some(())
    })
    .await;
    eventually(limit, "every stored event in the queue", || async { stored.is_subset(&collected.ids()).then_some(()) })
        .await;
    let phantoms = collected.ids().difference(&stored).count();
    assert_eq!(phantoms, 0, "events were delivered that are not stored");
}

/// Sends single events or batches, one after the other, until the connection breaks; the ids answered with 202.
async fn send_until_the_end(address: SocketAddr, sender: u64, seed: u64, stop: Rc<Cell<bool>>) -> Vec<String> {
    let mut random = Random(seed);
    let mut accepted = Vec::new();
    let Ok(mut connection) = Connection::open(address).await else { return accepted };
    for n in 0u64.. {
        let event = |random: &mut Random, i: u64| {
            let ty = TYPES[(random.next() % 3) as usize];
            json!({"type": ty, "payload": {"sender": sender, "n": n, "i": i, "pad": "x".repeat((random.next() % 300) as usize)}})
        };
        // Every fourth sender sends batches.
        let body = if sender.is_multiple_of(4) {
            let size = 1 + random.next() % 30;
            Value::from((0..size).map(|i| event(&mut random, i)).collect::<Vec<_>>())
        } else {
            event(&mut random, 0)
        };
        let bytes = request(
            "POST",
            "/api/events/send",
            &[("Content-Type", "application/json")],
            Some(body.to_string().as_bytes()),
        );
        let Ok(answer) = connection.exchange(&bytes).await else { return accepted };
        assert_eq!(answer.status, 202, "{}", answer.text());
        let answer = answer.json();
        let results = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
        accepted.extend(results.iter().map(|r| support::api::sent(r).id));
        if stop.get() {
            return accepted;
        }
    }
    accepted
}

/// SplitMix64: small, and the same on every machine for a seed.
struct Random(u64);

impl Random {
    /// By `TEST_SEED`, or the clock; prints the seed so that a failure can be run again.
    fn seeded() -> Self {
        let given = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock);
        eprintln!("TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
