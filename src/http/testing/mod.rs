//! What tests of handlers stand on: the real routes over a store in memory and a registry that only
//! keeps the view. What the stores and the registry do is tested with the real ones.

mod store;

pub use store::FakeStore;

use super::{AppState, HttpSettings, StoreClock, configure};
use crate::error::ApiError;
use crate::event::*;
use crate::live::LiveSettings;
use crate::registry::*;
use crate::store::*;
use crate::streams::*;
use actix::prelude::*;
use actix_web::test::TestRequest;
use actix_web::{App, web};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

/// Settings with small bounds.
pub fn settings() -> HttpSettings {
    HttpSettings {
        max_body: 4096,
        max_batch: 5,
        max_depth: 128,
        public_url: None,
        max_in_flight: 8,
        origins: Vec::new(),
        reject_unregistered: false,
        idempotency_window: Duration::from_secs(60),
    }
}

fn retry() -> Retry {
    Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) }
}

/// Settings of delivery with the contract's defaults.
pub fn stream_settings() -> StreamSettings {
    StreamSettings {
        mailbox: 1024,
        concurrency: 16,
        retry: retry(),
        lease: Duration::from_secs(60),
        webhook_timeout: Duration::from_secs(15),
        webhook_deny: Vec::new(),
        webhook_allow: Vec::new(),
        brokers: Default::default(),
    }
}

/// A registered, permanent type with streams of these names.
pub fn entry(name: &str, type_no: u16, streams: &[&str]) -> Arc<TypeEntry> {
    let spec = |name: &&str| StreamSpec {
        name: name.parse().unwrap(),
        mailbox: 1024,
        concurrency: 16,
        retry: retry(),
        target: Arc::new(NoTarget),
    };
    let streams: Vec<_> = streams.iter().map(|name| StreamEntry { spec: spec(name), since: 1, paused: None }).collect();
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

/// A view that holds the entries.
pub fn view_of(entries: impl IntoIterator<Item = Arc<TypeEntry>>) -> TypeView {
    let view = TypeView::default();
    entries.into_iter().for_each(|entry| view.put_in_test(entry));
    view
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

/// The routes over a [`FakeStore`].
pub struct Hub {
    pub state: AppState,
    pub store: Arc<FakeStore>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut HttpSettings)) -> Self {
        let mut http = settings();
        change(&mut http);
        let store = Arc::new(FakeStore::default());
        let types = TypeView::loaded_in_test();
        let shared: Arc<dyn Store> = store.clone();
        let state = AppState {
            http: Arc::new(http),
            live: Arc::new(LiveSettings {
                heartbeat: Duration::from_secs(15),
                mailbox: 256,
                max_sessions: 10,
                seam: Duration::from_secs(2),
            }),
            streams: Arc::new(stream_settings()),
            appender: Appender::new(StoreActor::new(shared.clone(), 64).start()),
            store: shared,
            registry: FakeRegistry { types: types.clone(), next: 100 }.start().into(),
            types,
            clock: Arc::new(StoreClock::default()),
            broadcast: Context::<crate::live::BroadcastActor>::new().address(),
            stopping: Arc::new(AtomicBool::new(false)),
            in_flight: Arc::new(AtomicUsize::new(0)),
        };
        Self { state, store }
    }

    /// One request: status, headers and body.
    pub async fn call(&self, request: TestRequest) -> (u16, actix_web::http::header::HeaderMap, Bytes) {
        let app = App::new().app_data(web::Data::new(self.state.clone())).configure(configure);
        let app = actix_web::test::init_service(app).await;
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

struct FakeRegistry {
    types: TypeView,
    next: u16,
}

impl Actor for FakeRegistry {
    type Context = Context<Self>;
}

impl Handler<Register> for FakeRegistry {
    type Result = Result<Registered, ApiError>;

    fn handle(&mut self, register: Register, _: &mut Self::Context) -> Self::Result {
        let known = self.types.get(register.name.as_str());
        self.next += 1;
        let fresh = entry(register.name.as_str(), known.as_ref().map_or(self.next, |e| e.type_no.get()), &[]);
        let fresh = Arc::new(TypeEntry {
            ttl: register.ttl,
            revision: u64::from(self.next),
            ..Arc::try_unwrap(fresh).unwrap()
        });
        self.types.put_in_test(fresh.clone());
        Ok(Registered { created: known.is_none_or(|e| !e.registered), entry: fresh, new_secrets: Vec::new() })
    }
}

impl Handler<Unregister> for FakeRegistry {
    type Result = Result<(), ApiError>;

    fn handle(&mut self, Unregister(name): Unregister, _: &mut Self::Context) -> Self::Result {
        let known = self.types.get(name.as_str()).filter(|e| e.registered).ok_or_else(|| ApiError::not_found("x"))?;
        self.next += 1;
        let gone = entry(name.as_str(), known.type_no.get(), &[]);
        let gone = TypeEntry { registered: false, revision: u64::from(self.next), ..Arc::try_unwrap(gone).unwrap() };
        self.types.put_in_test(Arc::new(gone));
        Ok(())
    }
}

impl Handler<Learn> for FakeRegistry {
    type Result = ();

    fn handle(&mut self, Learn(records): Learn, _: &mut Self::Context) {
        for record in records {
            self.types.put_in_test(entry(record.name.as_str(), record.type_no.get(), &[]));
        }
    }
}

impl Handler<Statuses> for FakeRegistry {
    type Result = MessageResult<Statuses>;

    fn handle(&mut self, _: Statuses, _: &mut Self::Context) -> Self::Result {
        MessageResult(Vec::new())
    }
}
