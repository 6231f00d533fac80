//! One stream on a pool of arbiters, between a real store and a target that does as it is told.

use super::support::redis::RedisServer;
use async_trait::async_trait;
use bytes::Bytes;
use event_source_api::event::{EventId, Ttl, TypeNo};
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::redis::RedisStore;
use event_source_api::store::{AppendGroup, Appended, Store, StoreOptions, StreamCounts, StreamKey};
use event_source_api::streams::{
    BoxedSink, Delivery, Outcome, Report, Respecify, Retry, Secrets, Sink, SinkEnv, SinkEvent, SinkHandle, SinkPool,
    SinkSetup, StreamSettings, StreamSpec, Target,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, watch};

/// Longest wait for something that is to happen.
pub const SOON: Duration = Duration::from_secs(30);
pub const MS: Duration = Duration::from_millis(1);

/// What a target does with an attempt: which event (from 0), which attempt of it (from 1).
type Act = dyn Fn(usize, u32) -> Step + Send + Sync;

pub enum Step {
    End(Outcome),
    After(Duration, Outcome),
    /// Waits for the test to open the gate.
    Gate,
    Never,
    Panic,
}

pub fn retry(error: &str) -> Outcome {
    Outcome::Retry { error: error.into(), after: None }
}

pub fn away() -> Outcome {
    Outcome::Unreachable { error: "away".into() }
}

/// An attempt as it was seen by the target.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub event: usize,
    pub at: Instant,
    pub delivered: bool,
}

pub struct Other {
    act: Box<Act>,
    timeout: Duration,
    pub gate: Semaphore,
    /// Whether a sink that waits for the other side is told that it is there again.
    pub back: watch::Sender<bool>,
    /// How often a sink was asked to wait for that.
    pub waits: AtomicUsize,
    ids: Mutex<Vec<EventId>>,
    attempts: Mutex<HashMap<EventId, u32>>,
    log: Mutex<Vec<Seen>>,
}

impl Other {
    /// Which event it is; an attempt may begin before the test has been told the id.
    async fn number(&self, id: EventId) -> usize {
        let began = Instant::now();
        loop {
            if let Some(number) = self.ids.lock().unwrap().iter().position(|known| *known == id) {
                return number;
            }
            assert!(began.elapsed() < SOON, "an event of the test");
            tokio::time::sleep(MS).await;
        }
    }
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
    async fn deliver(&self, delivery: &Delivery) -> Report {
        let other = &self.0;
        let event = other.number(delivery.id).await;
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
        outcome.into()
    }

    fn timeout(&self) -> Duration {
        self.0.timeout
    }

    async fn recovered(&self) {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        let _ = self.0.back.subscribe().wait_for(|back| *back).await;
    }
}

/// Where the stream's outbox is, until it is dropped.
pub enum Home {
    Embedded(TempDir),
    Redis(RedisServer),
}

impl Home {
    pub fn embedded() -> Self {
        Self::Embedded(tempfile::tempdir().unwrap())
    }

    pub fn redis() -> Self {
        Self::Redis(RedisServer::start())
    }

    fn open(&self) -> Arc<dyn Store> {
        let options = StoreOptions {
            max_backlog: 1_000_000,
            dead_ttl: Duration::from_secs(3600),
            timeout: Duration::from_secs(5),
        };
        match self {
            Self::Embedded(folder) => Arc::new(EmbeddedStore::open(folder.path(), options).unwrap()),
            Self::Redis(server) => Arc::new(RedisStore::connect(&server.url(), "es:", options, 0).unwrap()),
        }
    }
}

/// A store, a pool, and one stream between them.
pub struct Bench {
    pub store: Arc<dyn Store>,
    pool: SinkPool,
    pub events: mpsc::Receiver<SinkEvent>,
    tell: mpsc::Sender<SinkEvent>,
    pub other: Arc<Other>,
    pub spec: StreamSpec,
    handle: Option<SinkHandle>,
    pub home: Home,
}

pub fn key() -> StreamKey {
    StreamKey { type_no: TypeNo::new(3).unwrap(), name: "s".parse().unwrap() }
}

impl Bench {
    /// A stream of `concurrency` with quick retries, not started yet.
    pub fn new(
        home: Home,
        concurrency: usize,
        lease: Duration,
        act: impl Fn(usize, u32) -> Step + Send + Sync + 'static,
    ) -> Self {
        let store = home.open();
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
            back: watch::Sender::new(false),
            waits: AtomicUsize::new(0),
            ids: Mutex::default(),
            attempts: Mutex::default(),
            log: Mutex::default(),
        });
        let target = Arc::new(Scripted(Arc::clone(&other)));
        let spec = StreamSpec { name: key().name, mailbox: 1024, concurrency, retry, target };
        let (tell, events) = mpsc::channel(16);
        let pool = SinkPool::new(Arc::new(settings), 1);
        Self { store, pool, events, tell, other, spec, handle: None, home }
    }

    pub fn start(&mut self) -> SinkHandle {
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

    pub fn handle(&self) -> &SinkHandle {
        self.handle.as_ref().expect("started")
    }

    /// Appends events and wakes the stream.
    pub async fn send(&self, count: usize) {
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

    pub async fn counts(&self) -> StreamCounts {
        self.store.counts(&[key()]).await.unwrap().remove(0)
    }

    /// Waits until the outbox is empty.
    pub async fn drained(&self) {
        until("the outbox is empty", async || self.counts().await.backlog == 0).await;
    }

    pub fn log(&self) -> Vec<Seen> {
        self.other.log.lock().unwrap().clone()
    }

    /// The events delivered, in the order of it.
    pub fn delivered(&self) -> Vec<usize> {
        self.log().iter().filter(|seen| seen.delivered).map(|seen| seen.event).collect()
    }

    pub fn respecify(&self, change: impl FnOnce(&mut Respecify)) {
        let mut new = Respecify { spec: self.spec.clone(), draining: false, paused: false };
        change(&mut new);
        self.handle().respecify(new);
    }

    pub async fn end(self) {
        if let Some(handle) = &self.handle {
            handle.stop(Duration::ZERO).await;
        }
        self.pool.shutdown().await;
        self.store.close().await.unwrap();
    }
}

pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(5 * MS).await;
    }
}
