//! What tests of handlers stand on: the hub's parts, put together over an embedded store in a temporary
//! folder.

use super::{AppState, HttpSettings, Outgoing, Outlook, StoreClock, app};
use crate::event::*;
use crate::live::{BroadcastActor, LiveSettings};
use crate::registry::*;
use crate::store::testing::TempStore;
use crate::store::*;
use crate::streams::testing::retry;
use crate::streams::{self, *};
use actix::prelude::*;
use actix_web::test::TestRequest;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

/// JSON as others write it: any blanks between tokens, any order, escapes, numbers that no machine type holds.
pub fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})([.][0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        // What a scan could stumble over: quotes, backslashes, brackets.
        "[\\[\\]{}a:, \u{e9}]{0,8}(\\\\\"|\\\\\\\\|\\\\u00e9|\\\\n)?".prop_map(|inner| format!("\"{inner}\"")),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let blank = "[ \n\r\t]{0,2}";
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), blank)
                .prop_map(|(items, blank)| format!("[{blank}{}]", items.join(&format!("{blank},")))),
            (prop::collection::vec(("[a-c]{0,3}", inner), 0..4), blank).prop_map(|(members, blank)| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("{blank}\"{name}\"{blank}:{value}")).collect();
                format!("{{{}{blank}}}", members.join(","))
            }),
        ]
    })
}

/// Settings with small bounds.
pub fn settings() -> HttpSettings {
    HttpSettings {
        max_body: 4096,
        max_batch: 5,
        max_depth: 128,
        public_url: None,
        max_in_flight: 8,
        max_in_flight_bytes: 8192,
        body_timeout: Duration::from_secs(30),
        any_host: false,
        origins: Vec::new(),
        reject_unregistered: false,
        idempotency_window: Duration::from_secs(60),
    }
}

/// A registered, permanent type with streams of these names, for what only renders it.
pub fn entry(name: &str, type_no: u16, streams: &[&str]) -> Arc<TypeEntry> {
    let spec = |name: &&str| StreamSpec {
        name: name.parse().unwrap(),
        mailbox: 1024,
        concurrency: 16,
        retry: retry(),
        target: Arc::new(NoTarget),
    };
    let streams: Vec<_> = streams
        .iter()
        .map(|name| StreamEntry { spec: spec(name), since: 1, until: None, paused: None, deleted: false })
        .collect();
    Arc::new(TypeEntry {
        name: name.parse().unwrap(),
        type_no: TypeNo::new(type_no).unwrap(),
        ttl: Ttl::permanent(),
        registered: true,
        revision: 1,
        names: streams.iter().map(|s| s.spec.name.clone()).collect(),
        streams,
        draining: Vec::new(),
        unreadable: Vec::new(),
    })
}

#[derive(Debug)]
struct NoTarget;

impl Target for NoTarget {
    fn source(&self) -> &'static str {
        "test"
    }
    fn identity(&self) -> String {
        String::new()
    }
    fn fields(&self, _: Secrets) -> Map<String, Value> {
        Map::new()
    }
    fn inherit(&self, _: &dyn Target) -> Arc<dyn Target> {
        Arc::new(Self)
    }
    fn sink(&self, _: &SinkEnv) -> Box<dyn Sink> {
        unreachable!("nothing is delivered here")
    }
}

/// The routes, the actors behind them and a store of their own.
pub struct Hub {
    pub state: AppState,
    pub store: TempStore,
}

impl Hub {
    /// One at the start of 2018.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// One with other settings; ready for requests when it answers.
    pub async fn with(change: impl FnOnce(&mut HttpSettings)) -> Self {
        let mut http = settings();
        change(&mut http);
        let store = TempStore::open(HUB_EPOCH_MS);
        let types = TypeView::default();
        let streams = Arc::new(streams::testing::settings());
        let live = LiveSettings {
            heartbeat: Duration::from_secs(15),
            mailbox: 256,
            max_sessions: 10,
            seam: Duration::from_secs(2),
        };
        let pool = SinkPool::new(Arc::clone(&streams), 1);
        let registry = RegistryActor::new(store.shared(), Arc::clone(&streams), types.clone(), pool).start();
        let broadcast = BroadcastActor::new(store.shared(), Arc::new(types.clone()), live.clone()).start();
        let outgoing = Arc::new(Outgoing::new(http.max_in_flight_bytes));
        let state = AppState {
            outgoing,
            node: NodeId::new(7),
            http: Arc::new(http),
            access: Arc::default(),
            live: Arc::new(live),
            streams,
            appender: StoreActor::open(store.shared(), 64).1,
            store: store.shared(),
            registry: registry.into(),
            types,
            clock: Arc::new(StoreClock::default()),
            feeds: Arc::default(),
            outlook: Arc::new(Outlook::new(1_000_000)),
            broadcast,
            progress: Arc::default(),
            stopping: Arc::new(AtomicBool::new(false)),
            in_flight: Arc::new(AtomicUsize::new(0)),
            in_flight_bytes: Arc::default(),
        };
        let loaded = async {
            while !state.types.is_loaded() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), loaded).await.expect("the registry is read in time");
        Self { state, store }
    }

    /// Registers a permanent type as a client does. Its streams are webhooks to a port where nobody listens.
    pub async fn register(&self, name: &str, streams: &[&str]) -> TypeNo {
        let stream = |name: &&str| json!({"source": "webhook", "name": name, "uri": "http://127.0.0.1:1/"});
        let streams: Vec<_> = streams.iter().map(stream).collect();
        let body = json!({"type": name, "ttl": "permanent", "streams": streams}).to_string();
        let (status, stored) = self.send("PUT", "/api/events/register", body).await;
        assert_eq!(status, 201, "{stored}");
        self.state.types.get(name).unwrap().type_no
    }

    /// One request: status, headers and body.
    pub async fn call(&self, request: TestRequest) -> (u16, actix_web::http::header::HeaderMap, Bytes) {
        let app = actix_web::test::init_service(app(self.state.clone())).await;
        let response = actix_web::test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, actix_web::test::read_body(response).await)
    }

    /// One request: status and JSON body (`Null` for an empty one).
    pub async fn json(&self, request: TestRequest) -> (u16, Value) {
        let (status, headers, body) = self.call(request).await;
        if status >= 400 {
            assert_eq!(headers.get("content-type").unwrap(), "application/problem+json");
        }
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    /// A request with a JSON body.
    pub async fn send(&self, method: &str, path: &str, body: impl Into<String>) -> (u16, Value) {
        let method = actix_web::http::Method::from_bytes(method.as_bytes()).unwrap();
        let request = TestRequest::with_uri(path).method(method);
        self.json(request.insert_header(("content-type", "application/json")).set_payload(body.into())).await
    }

    /// A request without a body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.json(TestRequest::with_uri(path)).await
    }
}
