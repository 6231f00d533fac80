//! Real answers against the document: every success of every operation, and every problem that can be brought about in a
//! moment.

use super::contract::Contract;
use crate::support::api::{rabbit, webhook};
use crate::support::http::{self, Connection};
use crate::support::hub::{Hub, Setup};
use crate::support::sse;
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::webhook::{Answer, Webhook};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::BufReader;
use tokio::net::TcpStream;

const EVENTS: &str = "/api/events";
const SEND: &str = "/api/events/send";
const REGISTER: &str = "/api/events/register";
const FEED: &str = "/api/events/feed/{slice}/{at}";
const CLIENT_FEED: &str = "/api/events/feed/{slice}/{at}/client/{client}";
const STREAM: &str = "/api/events/streams/{type}/{name}";
const DEAD: &str = "/api/events/streams/{type}/{name}/dead";
const SESSION: &str = "/api/session";
const MARK: &str = "/api/events/{id}/ok/{client}";

/// A hub and its document.
struct Checked {
    hub: Hub,
    contract: Contract,
}

impl Checked {
    async fn start(setup: Setup) -> Self {
        let hub = setup.start().await;
        let contract = Contract::of(&hub).await;
        Self { hub, contract }
    }

    async fn call(&self, method: &str, template: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let body = body.map(|body| body.to_string());
        let answer = self.contract.call(&self.hub, method, template, path, body.as_deref()).await.expect(status);
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    async fn get(&self, template: &str, path: &str, status: u16) -> Value {
        self.call("GET", template, path, None, status).await
    }

    /// A request that must give this problem.
    async fn fails(&self, method: &str, template: &str, path: &str, body: Option<&str>, code: &str) {
        let answer = self.contract.call(&self.hub, method, template, path, body).await;
        self.contract.check_problem(&answer, code);
    }

    async fn with(&self, template: &str, path: &str, headers: &[(&str, &str)], status: u16) {
        let answer = self.hub.call("GET", path, headers, None).await.expect(status);
        self.contract.check("GET", template, &answer);
    }

    fn assert_seen(&self, wanted: impl IntoIterator<Item = String>) {
        let missing: Vec<_> = wanted.into_iter().filter(|what| !self.contract.has_seen(what)).collect();
        assert!(missing.is_empty(), "never seen: {missing:#?}");
    }
}

#[actix_web::test]
async fn every_success_is_as_it_is_described() {
    let hub = Checked::start(Setup::embedded()).await;
    types_and_events(&hub).await;
    feeds_and_marks(&hub).await;
    sessions(&hub).await;
    streams(&hub).await;
    for (template, path) in [
        ("/", "/"),
        ("/assets/{file}", "/assets/app.js"),
        ("/assets/{file}", "/assets/app.css"),
        ("/assets/{file}", "/assets/icon.svg"),
        ("/api/events/counts", "/api/events/counts"),
        ("/api/events/store", "/api/events/store"),
        ("/healthz", "/healthz"),
        ("/metrics", "/metrics"),
        ("/api/events/overview", "/api/events/overview"),
        ("/readyz", "/readyz"),
        ("/openapi.json", "/openapi.json"),
        ("/docs", "/docs"),
        ("/docs/{file}", "/docs/start.js"),
        ("/docs/{file}", "/docs/swagger-ui.css"),
        (EVENTS, "/api/events"),
        ("/api/events/nodes", "/api/events/nodes"),
    ] {
        let answer = hub.contract.call(&hub.hub, "GET", template, path, None).await.expect(200);
        if let Some(tag) = answer.header("etag") {
            hub.with(template, path, &[("If-None-Match", tag)], 304).await;
        }
    }
    hub.call("POST", SESSION, SESSION, Some(json!({"token": "any"})), 200).await;
    hub.get(SESSION, SESSION, 200).await;
    hub.call("DELETE", SESSION, SESSION, None, 204).await;
    let operations = hub.contract.operations();
    let successes = operations.iter().flat_map(|(path, method, operation)| {
        let statuses = operation["responses"].as_object().into_iter().flatten().map(|(status, _)| status);
        statuses.filter(|status| !status.starts_with(['4', '5'])).map(move |status| format!("{method} {path} {status}"))
    });
    hub.assert_seen(successes);
}

async fn types_and_events(hub: &Checked) {
    let plain = json!({"type": "t:x", "ttl": "1h 30m"});
    hub.call("PUT", REGISTER, REGISTER, Some(plain.clone()), 201).await;
    hub.call("PUT", REGISTER, REGISTER, Some(plain), 200).await;
    let mut all = webhook("many", "http://127.0.0.1:1/");
    all["secret"] = json!(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]);
    all["headers"] = json!({"x-tenant": "7", "authorization": "Bearer x"});
    let mut broker = rabbit("broker", "", "q");
    broker["exchangeType"] = json!("fanout");
    let full = json!({"type": "full", "ttl": "permanent", "streams": [
        {"source": "webhook", "uri": "http://127.0.0.1:1/"}, all, broker, {"source": "rabbit", "exchange": "e", "routingKey": ""},
    ]});
    hub.call("PUT", REGISTER, REGISTER, Some(full), 201).await;
    hub.get(REGISTER, REGISTER, 200).await;
    hub.get("/api/events/register/{type}", "/api/events/register/full", 200).await;
    let one = json!({"type": "t:x", "payload": {"n": 1}});
    hub.call("POST", SEND, SEND, Some(one.clone()), 202).await;
    hub.call("POST", SEND, SEND, Some(json!({"type": "nobody", "payload": null})), 202).await;
    let batch =
        hub.call("POST", SEND, SEND, Some(json!([one, {"type": "nobody", "payload": 1}, {"type": "a b"}])), 202);
    assert_eq!(batch.await.as_array().unwrap().len(), 3);
    let body = one.to_string();
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "k")];
    for status in ["accepted", "duplicate"] {
        let answer = hub.hub.call("POST", SEND, &headers, Some(body.as_bytes())).await.expect(202);
        assert_eq!(answer.json()["status"], status);
        hub.contract.check("POST", SEND, &answer);
    }
    let found = hub.get("/api/events/discarded", "/api/events/discarded", 200).await;
    assert_eq!(found["discarded"][0]["count"], 2, "{found}");
    hub.call("DELETE", "/api/events/register/{type}", "/api/events/register/full", None, 204).await;
}

async fn feeds_and_marks(hub: &Checked) {
    let feed = hub.get(FEED, "/api/events/feed/100days/current?limit=1", 200).await;
    let id = feed["events"][0]["id"].as_str().unwrap().to_owned();
    assert!(feed["links"].as_array().unwrap().iter().any(|link| link["rel"] == "more"), "{feed}");
    hub.get(FEED, "/api/events/feed/hour/2018-02-01T11:12:01Z?types=t:*", 200).await;
    let of_client = "/api/events/feed/100days/current/client/c";
    let marked = format!("/api/events/{id}/ok/c");
    hub.get(CLIENT_FEED, of_client, 200).await;
    hub.get("/api/events/clients/{client}", "/api/events/clients/c", 200).await;
    hub.call("PUT", MARK, &marked, None, 200).await;
    let all = hub.get(CLIENT_FEED, &format!("{of_client}?status=all"), 200).await;
    assert!(all["events"].as_array().unwrap().iter().any(|event| event["processed_at"].is_string()), "{all}");
    hub.get("/api/events/{id}", &format!("/api/events/{id}"), 200).await;
    hub.call("DELETE", MARK, &marked, None, 200).await;
    let ids = json!({"ids": [id, "x"]});
    hub.call("PUT", "/api/events/ok/{client}", "/api/events/ok/c", Some(ids), 200).await;
    hub.get("/api/events/clients/{client}", "/api/events/clients/new?types=none", 200).await;
    for (template, path) in [(FEED, "/api/events/feed/100days/current"), (CLIENT_FEED, of_client)] {
        let tag = hub.hub.get(path).await.header("etag").unwrap().to_owned();
        hub.with(template, path, &[("If-None-Match", &tag)], 304).await;
        hub.with(template, path, &[("If-None-Match", &tag), ("Prefer", "wait=1")], 304).await;
    }
}

async fn sessions(hub: &Checked) {
    let accept = [("Accept", "text/event-stream")];
    let bytes = http::request("GET", "/api/events?types=t:x", &accept, None);
    let mut stream = BufReader::new(TcpStream::connect(hub.hub.address()).await.unwrap());
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
    let line = within(PATIENCE, "the stream to begin", http::read_line(&mut stream)).await.unwrap();
    assert!(line.contains(" 200 "), "{line}");
    let headers = http::read_headers(&mut stream).await.unwrap();
    let answer = http::Response { status: 200, headers, body: Vec::new() };
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    hub.contract.check("GET", EVENTS, &answer);
    let upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut connection = Connection::open(hub.hub.address()).await.unwrap();
    let answer = connection.exchange(&http::request("GET", EVENTS, &upgrade, None)).await.unwrap();
    assert_eq!(answer.status, 101);
    hub.contract.check("GET", EVENTS, &answer);
}

async fn streams(hub: &Checked) {
    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    let mut once = webhook("hook", &hook.uri("/"));
    once["retry"] = json!({"attempts": 1, "first": "20ms", "max": "50ms"});
    hub.call("PUT", REGISTER, REGISTER, Some(json!({"type": "s", "ttl": "1h", "streams": [once]})), 201).await;
    let sent = hub.call("POST", SEND, SEND, Some(json!({"type": "s", "payload": 1})), 202).await;
    let id = sent["id"].as_str().unwrap();
    let (stream, dead) = ("/api/events/streams/s/hook", "/api/events/streams/s/hook/dead");
    let letters = || async {
        let page = hub.get(DEAD, dead, 200).await;
        (page["dead"].as_array().unwrap().len() == 1).then_some(())
    };
    eventually(PATIENCE, "a dead letter", letters).await;
    hub.get("/api/events/{id}", &format!("/api/events/{id}"), 200).await;
    let attempts = || async {
        let all = hub.get("/api/events/streams/{type}/{name}/attempts", &format!("{stream}/attempts"), 200).await;
        (!all["attempts"].as_array().unwrap().is_empty()).then_some(())
    };
    eventually(PATIENCE, "the attempt to be told", attempts).await;
    hub.get("/api/events/streams", "/api/events/streams", 200).await;
    hub.get(STREAM, stream, 200).await;
    let paused = hub.call("PATCH", STREAM, stream, Some(json!({"state": "paused"})), 200).await;
    assert_eq!(paused["state"], "paused");
    let retry = format!("{dead}/retry");
    let count = hub.call("POST", "/api/events/streams/{type}/{name}/dead/retry", &retry, None, 200).await;
    assert_eq!(count, json!({"count": 1}));
    let range = json!({"from": "2018-02-01T00:00:00Z", "to": "2100-02-01T00:00:00Z", "dry_run": true});
    hub.call("POST", "/api/events/streams/{type}/{name}/replay", &format!("{stream}/replay"), Some(range), 200).await;
    hub.call("DELETE", STREAM, stream, None, 200).await;
    hub.get("/api/events/{id}", &format!("/api/events/{id}"), 200).await;
    hub.call("DELETE", DEAD, dead, Some(json!({"ids": [id]})), 200).await;
}

#[actix_web::test]
async fn problems_are_as_they_are_described() {
    let setup = Setup::embedded().set("http.max_batch", 2).set("http.max_body", "2KiB").set("live.max_sessions", 1);
    let hub = Checked::start(setup.set("streams.max_backlog", 1).set("webhook.timeout", "60s")).await;
    hub.fails("POST", SEND, SEND, Some("{"), "malformed-json").await;
    hub.fails("POST", SEND, SEND, Some("{}"), "invalid").await;
    hub.fails("POST", SEND, SEND, Some("[1,2,3]"), "batch-too-large").await;
    hub.fails("POST", SEND, SEND, Some(&" ".repeat(4096)), "body-too-large").await;
    let deep = format!(r#"{{"type":"t","payload":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    hub.fails("POST", SEND, SEND, Some(&deep), "too-deep").await;
    hub.fails("PUT", REGISTER, REGISTER, Some(r#"{"type":"t","ttl":"1h","streams":[{}]}"#), "invalid").await;
    hub.fails("GET", FEED, "/api/events/feed/hours/current", None, "bad-parameter").await;
    hub.fails("GET", FEED, "/api/events/feed/hour/9999-01-01T00:00:00Z", None, "not-found").await;
    hub.fails("GET", STREAM, "/api/events/streams/no/no", None, "not-found").await;
    hub.fails("GET", EVENTS, "/api/events?since=x", None, "bad-parameter").await;
    let plain = hub.hub.call("POST", SEND, &[("Content-Type", "text/plain")], Some(b"{}")).await;
    hub.contract.check("POST", SEND, &plain);
    hub.contract.check_problem(&plain, "unsupported-media-type");
    hub.contract.check_problem(&hub.hub.delete(SEND).await, "method-not-allowed");

    let hook = Webhook::start().await;
    hook.answers(|_| Answer::Status(500));
    hub.hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let send = |key: &'static str, payload: u32| {
        let body = json!({"type": "t", "payload": payload}).to_string();
        let hub = &hub.hub;
        async move {
            let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
            hub.call("POST", SEND, &headers, Some(body.as_bytes())).await
        }
    };
    send("k", 1).await.expect(202);
    let reused = send("k", 2).await;
    hub.contract.check("POST", SEND, &reused);
    hub.contract.check_problem(&reused, "idempotency-key-reused");
    let full = send("l", 3).await;
    hub.contract.check("POST", SEND, &full);
    hub.contract.check_problem(&full, "stream-backlog-full");
    hub.hub.register("t", "1h").await;
    let retry = "/api/events/streams/t/hook/dead/retry";
    hub.fails("POST", "/api/events/streams/{type}/{name}/dead/retry", retry, None, "stream-dropped").await;

    let accept = [("Accept", "text/event-stream")];
    let first = sse::Events::open(&hub.hub, "", &[]).await;
    let second = hub.hub.call("GET", EVENTS, &accept, None).await;
    hub.contract.check("GET", EVENTS, &second);
    hub.contract.check_problem(&second, "too-many-sessions");
    drop(first);
    let foreign = hub.hub.call("GET", EVENTS, &[accept[0], ("Origin", "https://evil.example")], None).await;
    hub.contract.check("GET", EVENTS, &foreign);
}

#[actix_web::test]
async fn problems_of_settings_and_of_the_store_are_as_they_are_described() {
    let hub = Checked::start(Setup::redis().set("events.unregistered", "reject")).await;
    hub.fails("POST", SEND, SEND, Some(r#"{"type":"nobody","payload":1}"#), "unregistered-type").await;
    hub.hub.register("t", "1h").await;
    hub.hub.setup().redis_server().kill();
    hub.fails("POST", SEND, SEND, Some(r#"{"type":"t","payload":1}"#), "store-unavailable").await;
    hub.fails("GET", "/readyz", "/readyz", None, "store-unavailable").await;
    hub.fails("GET", FEED, "/api/events/feed/hour/current", None, "store-unavailable").await;
    hub.hub.setup().redis_server().restart();
}

#[actix_web::test]
async fn refusals_are_as_they_are_described() {
    let hash: String = Sha256::digest("secret").iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    let token = format!("name = \"n\"\nsha256 = \"{hash}\"\nscopes = [\"feed\"]\nrate = 1\nburst = 3\n");
    std::fs::write(&file, format!("[[auth.tokens]]\n{token}")).unwrap();
    let hub = Checked::start(Setup::embedded().argument("--config").argument(file.to_str().unwrap())).await;
    let types = format!("{REGISTER}/{{type}}");
    hub.fails("GET", REGISTER, REGISTER, None, "unauthorized").await;
    let wrong = hub.contract.call(&hub.hub, "POST", SESSION, SESSION, Some(r#"{"token":"wrong"}"#)).await;
    hub.contract.check_problem(&wrong, "unauthorized");
    hub.call("POST", SESSION, SESSION, Some(json!({"token": "secret"})), 200).await;
    let refused = hub.hub.by("secret", "DELETE", "/api/events/register/t", None).await;
    hub.contract.check("DELETE", &types, &refused);
    hub.contract.check_problem(&refused, "forbidden");
    let own = hub.hub.by("secret", "GET", SESSION, None).await.expect(200);
    hub.contract.check("GET", SESSION, &own);
    // Its three are used up before another has come back, unless the machine is very slow: then it takes longer.
    let path = "/api/events/feed/hour/current";
    let limited = eventually(PATIENCE, "the rate to be used up", || async {
        let answer = hub.hub.by("secret", "GET", path, None).await;
        hub.contract.check("GET", FEED, &answer);
        (answer.status == 429).then_some(answer)
    });
    hub.contract.check_problem(&limited.await, "too-many-requests");
    let foreign = Checked::start(Setup::embedded()).await;
    let answer = foreign.hub.call("GET", "/healthz", &[("Host", "evil.example")], None).await;
    foreign.contract.check("GET", "/healthz", &answer);
    foreign.contract.check_problem(&answer, "foreign-host");
    let headers = [("Origin", "https://evil.example"), ("Content-Type", "application/json")];
    let answer = foreign.hub.call("POST", SEND, &headers, Some(b"{}")).await;
    foreign.contract.check("POST", SEND, &answer);
    foreign.contract.check_problem(&answer, "cross-origin");
}
