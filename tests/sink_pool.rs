//! Streams on a pool of arbiters over a real store, with targets that do as they are told: what is
//! delivered, held, given back and rebuilt, whatever the other side does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

use async_trait::async_trait;
use bytes::Bytes;
use event_source_api::event::{EventId, Ttl, TypeNo};
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::{AppendGroup, Appended, Store, StoreOptions, StreamCounts, StreamKey};
use event_source_api::streams::{
    BoxedSink, Delivery, Outcome, Respecify, Retry, Secrets, Sink, SinkEnv, SinkEvent, SinkHandle, SinkPool, SinkSetup,
    StreamSettings, StreamSpec, StreamState, Target,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

/// Longest wait for something that is to happen.
const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

/// What a target does with an attempt: which event (from 0), which attempt of it (from 1).
type Act = dyn Fn(usize, u32) -> Step + Send + Sync;

enum Step {
    End(Outcome),
    After(Duration, Outcome),
    /// Waits for the test to open the gate.
    Gate,
    Never,
    Panic,
}

fn retry(error: &str) -> Outcome {
    Outcome::Retry { error: error.into(), after: None }
}

fn away() -> Outcome {
    Outcome::Unreachable { error: "away".into() }
}

/// An attempt as it was seen by the target.
#[derive(Debug, Clone, Copy)]
struct Seen {
    event: usize,
    at: Instant,
    delivered: bool,
}

struct Other {
    act: Box<Act>,
    timeout: Duration,
    gate: Semaphore,
    ids: Mutex<Vec<EventId>>,
    attempts: Mutex<HashMap<EventId, u32>>,
    log: Mutex<Vec<Seen>>,
}

/// The other side, as a target.
#[derive(Clone)]
struct Scripted(Arc<Other>);

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Target for Scripted {
    fn source(&self) -> &'static str {
        "scripted"
    }

    fn identity(&self) -> String {
        "scripted".into()
    }

    fn fields(&self, _: Secrets) -> Map<String, Value> {
        Map::from_iter([("at".to_owned(), json!(Arc::as_ptr(&self.0).addr()))])
    }

    fn inherit(&self, _: &dyn Target) -> Arc<dyn Target> {
        Arc::new(self.clone())
    }

    fn sink(&self, _: &SinkEnv) -> BoxedSink {
        Box::new(self.clone())
    }
}

#[async_trait(?Send)]
impl Sink for Scripted {
    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let other = &self.0;
        let event = other.ids.lock().unwrap().iter().position(|id| *id == delivery.id).expect("an event of the test");
        let attempt = {
            let mut attempts = other.attempts.lock().unwrap();
            let attempt = attempts.entry(delivery.id).or_default();
            *attempt += 1;
            *attempt
        };
        let at = Instant::now();
        let outcome = match (other.act)(event, attempt) {
            Step::End(outcome) => outcome,
            Step::After(wait, outcome) => {
                tokio::time::sleep(wait).await;
                outcome
            }
            Step::Gate => {
                other.gate.acquire().await.unwrap().forget();
                Outcome::Delivered
            }
            Step::Never => std::future::pending().await,
            Step::Panic => panic!("as it was told"),
        };
        other.log.lock().unwrap().push(Seen { event, at, delivered: outcome == Outcome::Delivered });
        outcome
    }

    fn timeout(&self) -> Duration {
        self.0.timeout
    }
}

/// A store, a pool, and one stream between them.
struct Bench {
    store: Arc<dyn Store>,
    pool: SinkPool,
    events: mpsc::Receiver<SinkEvent>,
    tell: mpsc::Sender<SinkEvent>,
    other: Arc<Other>,
    spec: StreamSpec,
    handle: Option<SinkHandle>,
    _folder: TempDir,
}

fn key() -> StreamKey {
    StreamKey { type_no: TypeNo::new(3).unwrap(), name: "s".parse().unwrap() }
}

impl Bench {
    /// A stream of `concurrency` with quick retries, not started yet.
    fn new(concurrency: usize, lease: Duration, act: impl Fn(usize, u32) -> Step + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            max_backlog: 1_000_000,
            dead_ttl: Duration::from_secs(3600),
            timeout: Duration::from_secs(10),
        };
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path(), options).unwrap());
        let retry = Retry { attempts: 5, first: 20 * MS, max: 200 * MS };
        let settings = StreamSettings {
            mailbox: 1024,
            concurrency,
            retry: retry.clone(),
            lease,
            webhook_timeout: Duration::from_secs(5),
            webhook_deny: Vec::new(),
            webhook_allow: Vec::new(),
            brokers: BTreeMap::new(),
        };
        let other = Arc::new(Other {
            act: Box::new(act),
            timeout: Duration::from_secs(5),
            gate: Semaphore::new(0),
            ids: Mutex::default(),
            attempts: Mutex::default(),
            log: Mutex::default(),
        });
        let target = Arc::new(Scripted(Arc::clone(&other)));
        let spec = StreamSpec { name: key().name, mailbox: 1024, concurrency, retry, target };
        let (tell, events) = mpsc::channel(16);
        let pool = SinkPool::new(Arc::new(settings), 1);
        Self { store, pool, events, tell, other, spec, handle: None, _folder: folder }
    }

    fn start(&mut self) -> SinkHandle {
        let handle = self.pool.start(SinkSetup {
            key: key(),
            ty: "t:x".parse().unwrap(),
            spec: self.spec.clone(),
            draining: false,
            paused: false,
            store: Arc::clone(&self.store),
            events: self.tell.clone(),
        });
        self.handle = Some(handle.clone());
        handle
    }

    fn handle(&self) -> &SinkHandle {
        self.handle.as_ref().expect("started")
    }

    /// Appends events and wakes the stream.
    async fn send(&self, count: usize) {
        let group = AppendGroup {
            type_no: key().type_no,
            ttl: Ttl::permanent(),
            streams: [key().name].into(),
            revision: 1,
            payloads: (0..count).map(|n| Bytes::from(n.to_string())).collect(),
            idempotency: None,
        };
        // Known before it can be delivered.
        let mut ids = self.other.ids.lock().unwrap().clone();
        let stored = self.store.append(vec![group]).await.unwrap().remove(0).unwrap();
        let Appended::Stored(positions) = stored else { panic!("{stored:?}") };
        ids.extend(positions.into_iter().map(|position| EventId::new(key().type_no, position)));
        *self.other.ids.lock().unwrap() = ids;
        if let Some(handle) = &self.handle {
            handle.wake();
        }
    }

    async fn counts(&self) -> StreamCounts {
        self.store.counts(&[key()]).await.unwrap().remove(0)
    }

    /// Waits until the outbox is empty.
    async fn drained(&self) {
        until("the outbox is empty", async || self.counts().await.backlog == 0).await;
    }

    fn log(&self) -> Vec<Seen> {
        self.other.log.lock().unwrap().clone()
    }

    /// The events delivered, in the order of it.
    fn delivered(&self) -> Vec<usize> {
        self.log().iter().filter(|seen| seen.delivered).map(|seen| seen.event).collect()
    }

    fn respecify(&self, change: impl FnOnce(&mut Respecify)) {
        let mut new = Respecify { spec: self.spec.clone(), draining: false, paused: false };
        change(&mut new);
        self.handle().respecify(new);
    }

    async fn end(self) {
        if let Some(handle) = &self.handle {
            handle.stop(Duration::ZERO).await;
        }
        self.pool.shutdown().await;
        self.store.close().await.unwrap();
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(5 * MS).await;
    }
}

#[actix_web::test]
async fn every_event_is_delivered_once_and_settled() {
    let mut bench = Bench::new(16, Duration::from_secs(60), |_, _| Step::End(Outcome::Delivered));
    bench.send(2000).await;
    bench.start();
    for _ in 0..20 {
        bench.send(50).await;
    }
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..3000));
    assert_eq!(bench.counts().await.delivered, 3000);
    let status = bench.handle().status().await;
    assert_eq!((status.state, status.in_flight, status.waiting), (StreamState::Active, 0, 0));
    bench.end().await;
}

#[actix_web::test]
async fn no_more_is_in_memory_than_the_mailbox_and_no_more_in_flight_than_concurrency() {
    let mut bench = Bench::new(3, Duration::from_secs(60), |_, _| Step::Gate);
    bench.spec.mailbox = 10;
    bench.send(100).await;
    let handle = bench.start();
    until("events wait in memory", async || handle.status().await.waiting > 0).await;
    for opened in 0..100 {
        let status = handle.status().await;
        assert!(status.in_flight <= 3 && status.in_flight + status.waiting <= 10, "{status:?}");
        bench.other.gate.add_permits(1);
        until("one more is delivered", async || bench.delivered().len() > opened).await;
    }
    bench.drained().await;
    bench.end().await;
}

#[actix_web::test]
async fn a_slow_event_holds_up_nothing_but_its_slot() {
    let act = |event, attempt| match (event, attempt) {
        (0, _) => Step::Gate,
        (5, 1) => Step::End(retry("once")),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(2, Duration::from_secs(60), act);
    bench.send(200).await;
    bench.start();
    // The failed one too, long before the claim of the slow one is renewed.
    until("all but one are settled", async || bench.counts().await.backlog == 1).await;
    assert_eq!(bench.delivered().len(), 199);
    bench.other.gate.add_permits(1);
    bench.drained().await;
    assert_eq!(bench.counts().await.failed, 1);
    bench.end().await;
}

#[actix_web::test]
async fn an_attempt_may_outlast_the_lease() {
    let act = |_, _| Step::After(3500 * MS, Outcome::Delivered);
    let mut bench = Bench::new(4, Duration::from_secs(1), act);
    bench.send(6).await;
    bench.start();
    bench.drained().await;
    assert_eq!(bench.log().len(), 6, "each was tried once");
    bench.end().await;
}

#[actix_web::test]
async fn attempts_are_counted_up_to_a_dead_letter() {
    let mut bench = Bench::new(4, Duration::from_secs(60), |_, _| Step::End(retry("never")));
    bench.send(1).await;
    let handle = bench.start();
    bench.drained().await;
    assert_eq!(bench.log().len(), 5);
    let counts = bench.counts().await;
    assert_eq!((counts.dead, counts.failed, counts.delivered), (1, 5, 0));
    let dead = bench.store.dead_letters(&key(), None, 10).await.unwrap();
    assert_eq!((dead[0].failure.attempts, dead[0].failure.last_error.as_str()), (5, "never"));
    let status = handle.status().await;
    assert_eq!((status.state, status.last_error.as_deref()), (StreamState::Failing, Some("never")));
    bench.end().await;
}

#[actix_web::test]
async fn a_dead_other_side_uses_up_no_attempts_and_is_probed_one_at_a_time() {
    let began = Instant::now();
    let back = began + 2 * Duration::from_secs(1);
    let act = move |_, _| Step::End(if Instant::now() < back { away() } else { Outcome::Delivered });
    let mut bench = Bench::new(8, Duration::from_secs(60), act);
    bench.spec.retry.attempts = 1;
    bench.send(100).await;
    let handle = bench.start();
    until("it is failing", async || handle.status().await.state == StreamState::Failing).await;
    bench.drained().await;
    let counts = bench.counts().await;
    assert_eq!((counts.delivered, counts.dead), (100, 0));
    let probes = bench.log().iter().filter(|seen| !seen.delivered).count();
    // Eight at once in the beginning, then on the schedule: 2 s of up to 200 ms each.
    assert!((10..40).contains(&probes), "{probes}");
    let last = bench.log().iter().map(|seen| seen.at).max().unwrap();
    assert!(last < back + Duration::from_secs(1), "at full speed once it is back: {:?}", last - back);
    assert_eq!(handle.status().await.state, StreamState::Active);
    bench.end().await;
}

#[actix_web::test]
async fn a_failing_stream_recovers_with_everything_due_at_once() {
    let back = Instant::now() + Duration::from_secs(1);
    let act = move |_, _| Step::End(if Instant::now() < back { retry("no") } else { Outcome::Delivered });
    let mut bench = Bench::new(8, Duration::from_secs(60), act);
    // On its own schedule an event would come again after half a minute.
    bench.spec.retry = Retry { attempts: 40, first: 300 * MS, max: Duration::from_secs(30) };
    bench.send(50).await;
    bench.start();
    bench.drained().await;
    assert!(Instant::now() < back + Duration::from_secs(3));
    assert_eq!(bench.counts().await.dead, 0);
    bench.end().await;
}

#[actix_web::test]
async fn one_bad_event_holds_back_no_other() {
    let act = |event, _| Step::End(if event == 0 { retry("bad") } else { Outcome::Delivered });
    let mut bench = Bench::new(4, Duration::from_secs(60), act);
    bench.spec.retry = Retry { attempts: 10_000, first: 5 * MS, max: 10 * MS };
    bench.send(1).await;
    let handle = bench.start();
    until("it is failing", async || handle.status().await.state == StreamState::Failing).await;
    for n in 1..20 {
        bench.send(1).await;
        until("the new one is delivered", async || bench.delivered().contains(&n)).await;
    }
    bench.end().await;
}

#[actix_web::test]
async fn an_ordered_stream_never_overtakes() {
    let act = |event: usize, attempt| match (event % 7, attempt) {
        (3, 1 | 2) => Step::End(retry("twice")),
        (5, 1) => Step::End(away()),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(1, Duration::from_secs(60), act);
    bench.send(20).await;
    bench.start();
    bench.send(20).await;
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..40), "{:?}", bench.delivered());
    bench.end().await;
}

#[actix_web::test]
async fn an_ordered_stream_keeps_its_order_over_pauses_and_stops() {
    let act = |event: usize, attempt| match (event % 5, attempt) {
        (2, 1) => Step::End(retry("once")),
        _ => Step::After(2 * MS, Outcome::Delivered),
    };
    let mut bench = Bench::new(1, Duration::from_secs(60), act);
    bench.send(100).await;
    for round in 0..6usize {
        let handle = bench.start();
        let before = bench.delivered().len();
        until("some are delivered", async || bench.delivered().len() > before + 5).await;
        if round % 2 == 0 {
            bench.respecify(|new| new.paused = true);
            until("nothing is held", async || {
                let status = handle.status().await;
                status.in_flight + status.waiting == 0
            })
            .await;
            bench.respecify(|_| {});
            let before = bench.delivered().len();
            until("it goes on", async || bench.delivered().len() > before + 2).await;
        }
        bench.send(10).await;
        handle.stop(Duration::from_secs(1)).await;
    }
    bench.start();
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..160), "{:?}", bench.delivered());
    bench.end().await;
}

#[actix_web::test]
async fn a_stop_finishes_what_ends_in_time_and_gives_back_the_rest_at_once() {
    let act = |event, attempt| match (event, attempt) {
        (0, _) => Step::After(300 * MS, Outcome::Delivered),
        (1, 1) => Step::Never,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(2, Duration::from_secs(600), act);
    bench.send(20).await;
    let handle = bench.start();
    until("two are under way", async || handle.status().await.in_flight == 2).await;
    let began = Instant::now();
    handle.stop(Duration::from_secs(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(3));
    assert!(bench.delivered().contains(&0));
    assert_eq!(bench.counts().await.backlog as usize, 20 - bench.delivered().len(), "settled");
    // Under its lease it would not come back for ten minutes.
    bench.start();
    bench.drained().await;
    bench.end().await;
}

#[actix_web::test]
async fn a_pause_of_the_other_side_is_told_and_holds_until_it_is_lifted() {
    let act = |event, attempt| match (event, attempt) {
        (0, 1) => Step::End(Outcome::Pause { error: "gone".into() }),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(1, Duration::from_secs(60), act);
    bench.send(5).await;
    let handle = bench.start();
    let told = tokio::time::timeout(SOON, bench.events.recv()).await.unwrap().unwrap();
    assert!(matches!(told, SinkEvent::Paused(k, error) if k == key() && error == "gone"));
    until("nothing is held", async || handle.status().await.waiting == 0).await;
    assert_eq!(handle.status().await.state, StreamState::Paused);
    bench.send(5).await;
    tokio::time::sleep(100 * MS).await;
    assert!(bench.delivered().is_empty());
    bench.respecify(|_| {});
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..10));
    bench.end().await;
}

#[actix_web::test]
async fn a_draining_stream_says_when_it_is_empty() {
    let mut bench = Bench::new(4, Duration::from_secs(60), |_, _| Step::Gate);
    bench.send(10).await;
    let handle = bench.start();
    bench.respecify(|new| new.draining = true);
    until("it is draining", async || handle.status().await.state == StreamState::Draining).await;
    bench.other.gate.add_permits(9);
    until("one is left", async || bench.delivered().len() == 9).await;
    assert!(bench.events.try_recv().is_err());
    bench.other.gate.add_permits(1);
    let told = tokio::time::timeout(SOON, bench.events.recv()).await.unwrap().unwrap();
    assert!(matches!(told, SinkEvent::Drained(k) if k == key()));
    assert_eq!(bench.counts().await.backlog, 0);
    bench.end().await;
}

#[actix_web::test]
async fn a_new_specification_is_followed_with_nothing_lost() {
    let mut bench = Bench::new(1, Duration::from_secs(60), |_, _| Step::After(MS, Outcome::Delivered));
    bench.send(300).await;
    let handle = bench.start();
    for concurrency in [8, 1, 3, 1, 16] {
        let before = bench.delivered().len();
        until("it goes on", async || bench.delivered().len() > before + 10).await;
        bench.respecify(|new| (new.spec.concurrency, new.spec.mailbox) = (concurrency, 20));
        until("it is known", async || handle.status().await.concurrency == concurrency).await;
    }
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..300));
    bench.end().await;
}

#[actix_web::test]
async fn a_stream_that_panics_is_rebuilt_and_loses_nothing() {
    let act = |event, attempt| match (event, attempt) {
        (7, 1) => Step::Panic,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(4, Duration::from_secs(2), act);
    bench.send(20).await;
    bench.start();
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    delivered.dedup();
    assert!(delivered.into_iter().eq(0..20));
    // And hears of what comes next.
    bench.send(1).await;
    bench.drained().await;
    bench.end().await;
}

#[actix_web::test]
async fn an_attempt_that_never_ends_is_a_failed_one() {
    let act = |event, attempt| match (event, attempt) {
        (0, 1) => Step::Never,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(2, Duration::from_secs(60), act);
    bench.send(3).await;
    bench.start();
    bench.drained().await;
    assert_eq!(bench.counts().await.failed, 1);
    bench.end().await;
}
