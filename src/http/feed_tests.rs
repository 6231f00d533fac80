//! Feeds against their tags: whatever is done to the store, a 304 stands for the very bytes that a 200 would have.

use super::StoreClock;
use super::testing::Hub;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// 2025-06-15T10:00:00Z.
const START: i64 = 1_749_981_600_000;

/// A random source that gives the same numbers for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const TYPES: [&str; 3] = ["a", "b", "c"];
const LIVES: [&str; 5] = ["permanent", "10s", "1m", "1h", "ephemeral"];
const FEEDS: [&str; 12] = [
    "hour/current",
    "hour/current?types=a",
    "minute/current?limit=2",
    "10s/current?types=b,c",
    "2days/current?limit=3",
    "hour/2025-06-15T10:00:00Z",
    "minute/2025-06-15T10:00:00Z?types=a*",
    "10s/2025-06-15T10:00:10Z",
    "10s/2025-06-15T10:00:20Z?limit=1",
    "hour/current/client/x",
    "2days/current/client/x?status=processed",
    "minute/2025-06-15T10:00:00Z/client/y?status=all",
];

struct Run {
    hub: Hub,
    now: i64,
    dice: Dice,
    ids: Vec<String>,
    /// Every body that a tag of a feed has ever stood for.
    bodies: HashMap<(usize, String), Bytes>,
    last: HashMap<usize, String>,
    same: usize,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let hub = Hub::start().await;
        hub.store.set_clock(START);
        let mut run = Self {
            hub,
            now: START,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            ids: Vec::new(),
            bodies: HashMap::new(),
            last: HashMap::new(),
            same: 0,
        };
        for ty in TYPES {
            run.register(ty, "1m").await;
        }
        run
    }

    async fn register(&mut self, ty: &str, ttl: &str) {
        let body = json!({"type": ty, "ttl": ttl}).to_string();
        let (status, answer) = self.hub.send("PUT", "/api/events/register", body).await;
        assert!(matches!(status, 200 | 201), "{answer}");
    }

    /// One thing that may change a feed.
    async fn step(&mut self) {
        match self.dice.below(20) {
            0..7 => {
                let count = 1 + self.dice.below(3);
                let ty = self.dice.of(&TYPES);
                let batch: Vec<_> = (0..count).map(|n| json!({"type": ty, "payload": n})).collect();
                let (status, answer) = self.hub.send("POST", "/api/events/send", Value::from(batch).to_string()).await;
                assert_eq!(status, 202);
                let ids = answer.as_array().unwrap().iter().filter_map(|item| Some(item["id"].as_str()?.to_owned()));
                self.ids.extend(ids);
            }
            7..11 if !self.ids.is_empty() => {
                let recent = self.ids.len().saturating_sub(6);
                let id = &self.ids[recent + self.dice.below(self.ids.len() - recent)];
                let (client, method) = (self.dice.of(&["x", "y"]), self.dice.of(&["PUT", "PUT", "DELETE"]));
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let path = format!("/api/events/{id}/ok/{client}");
                let (status, _) = self.hub.json(TestRequest::with_uri(&path).method(method)).await;
                assert!(matches!(status, 200 | 404));
            }
            11..17 => {
                let step = [1, 1, 7, 500, 3000, 9000, 10_000, 31_000, 60_000, 3_600_000];
                self.now += step[self.dice.below(step.len())];
                self.hub.store.set_clock(self.now);
            }
            17 => {
                // Backwards, which positions do not follow.
                self.now = (self.now - [1, 500, 9000][self.dice.below(3)]).max(START);
                self.hub.store.set_clock(self.now);
            }
            18 => {
                let (ty, ttl) = (self.dice.of(&TYPES), self.dice.of(&LIVES));
                self.register(ty, ttl).await;
            }
            _ if self.dice.below(3) == 0 => {
                let path = format!("/api/events/register/{}", self.dice.of(&TYPES));
                self.hub.json(TestRequest::with_uri(&path).method(Method::DELETE)).await;
            }
            _ => self.hub.store.sweep().await.unwrap(),
        }
    }

    async fn ask(&self, feed: usize, tag: Option<&str>) -> (u16, Option<String>, Option<String>, Bytes) {
        let mut request = TestRequest::with_uri(&format!("/api/events/feed/{}", FEEDS[feed]));
        if let Some(tag) = tag {
            request = request.insert_header(("if-none-match", tag));
        }
        let (status, headers, body) = self.hub.call(request).await;
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (status, header("etag"), header("link"), body)
    }

    async fn look(&mut self, feed: usize, seen: &str) {
        // The clock is asked anew: real time plays no part.
        self.hub.state.clock = Arc::new(StoreClock::default());
        let kept = self.ask(feed, None).await;
        let shared = std::mem::take(&mut self.hub.state.feeds);
        let read = self.ask(feed, None).await;
        self.hub.state.feeds = shared;
        let at = format!("{} {seen}", FEEDS[feed]);
        assert_eq!(kept, read, "a page that is kept is that of the store: {at}");
        let (status, tag, links, body) = read;
        if status == 404 {
            // The slice has not begun, by a clock that was put back.
            return;
        }
        let tag = tag.expect("a tag");
        let known = self.bodies.entry((feed, tag.clone())).or_insert_with(|| body.clone());
        assert_eq!(known, &body, "a tag stands for one body: {at}");
        if let Some(last) = self.last.insert(feed, tag.clone()) {
            let (status, again, same_links, _) = self.ask(feed, Some(&last)).await;
            assert_eq!((status == 304, again.as_ref()), (last == tag, Some(&tag)), "{at}");
            assert_eq!(same_links, links, "{at}");
            self.same += usize::from(status == 304);
        }
    }
}

#[actix_web::test]
async fn a_304_is_given_only_for_the_very_same_bytes() {
    let mut same = 0;
    for seed in 1..=3 {
        let mut run = Run::start(seed).await;
        for step in 0..80 {
            run.step().await;
            for feed in 0..FEEDS.len() {
                run.look(feed, &format!("seed {seed} step {step} now {}", run.now - START)).await;
            }
        }
        same += run.same;
    }
    assert!(same > 300, "{same}: most of the time most feeds do not change");
}

#[actix_web::test]
async fn an_unchanged_feed_is_answered_without_reading_events() {
    use crate::store::testing::Gate;
    use std::sync::atomic::Ordering;
    let mut hub = Hub::start().await;
    hub.store.set_clock(START);
    hub.register("a", &[]).await;
    hub.send("POST", "/api/events/send", json!({"type": "a", "payload": 1}).to_string()).await;
    let gate = Gate::before(hub.store.shared());
    hub.state.store = gate.clone();
    for path in ["hour/current", "hour/current/client/x", "hour/2025-06-15T09:00:00Z"] {
        let uri = format!("/api/events/feed/{path}");
        let (status, headers, _) = hub.call(TestRequest::with_uri(&uri)).await;
        assert_eq!(status, 200);
        let reads = gate.reads.load(Ordering::SeqCst);
        let known = TestRequest::with_uri(&uri).insert_header(("if-none-match", headers.get("etag").unwrap().clone()));
        assert_eq!(hub.call(known).await.0, 304);
        assert_eq!(gate.reads.load(Ordering::SeqCst), reads);
    }
    // And one that many read, is read once.
    let reads = gate.reads.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(hub.call(TestRequest::with_uri("/api/events/feed/hour/current")).await.0, 200);
    }
    assert_eq!(gate.reads.load(Ordering::SeqCst), reads);
}
