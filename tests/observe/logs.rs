//! Request ids, the access log, and what is never logged.

use crate::support::api::rabbit;
use crate::support::http::{Connection, request};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use crate::support::ws::Session;
use serde_json::json;

/// Asks with an id; the id of the answer.
async fn id_of(hub: &Hub, method: &str, path: &str, given: &[(&str, &str)]) -> (u16, String) {
    let answer = hub.call(method, path, given, None).await;
    let mut ids = answer.headers.iter().filter(|(name, _)| name == "x-request-id");
    let id = ids.next().unwrap_or_else(|| panic!("{method} {path} is answered without an id")).1.clone();
    assert!(ids.next().is_none());
    (answer.status, id)
}

#[actix_web::test]
async fn every_answer_names_its_request() {
    let hub = Setup::embedded().start().await;
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/events/register", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/api/events/feed/nonsense/current", 400),
        ("POST", "/api/events/send", 415),
        ("PUT", "/healthz", 405),
        ("OPTIONS", "/api/events/send", 204),
        ("DELETE", "/api/events/register/nobody", 404),
    ] {
        let (answered, id) = id_of(&hub, method, path, &[("X-Request-Id", "shop-7/order.12")]).await;
        assert_eq!((answered, id.as_str()), (status, "shop-7/order.12"), "{method} {path}");
    }
    // Refused before anything else.
    let bad_host = [("Host", "a b"), ("X-Request-Id", "kept")];
    assert_eq!(id_of(&hub, "GET", "/healthz", &bad_host).await, (400, "kept".to_owned()));
    let mut made = std::collections::HashSet::new();
    let long = "x".repeat(129);
    for bad in ["a b", "a\"b", "", "é", long.as_str()] {
        let (_, id) = id_of(&hub, "GET", "/healthz", &[("X-Request-Id", bad)]).await;
        assert!(id != bad && !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id}");
        assert!(made.insert(id), "never the same");
    }
    let twice = [("X-Request-Id", "one"), ("X-Request-Id", "two")];
    assert!(!["one", "two"].contains(&id_of(&hub, "GET", "/healthz", &twice).await.1.as_str()));
}

#[actix_web::test]
async fn lines_about_a_request_name_it_and_its_event() {
    let hub = Setup::embedded().env("RUST_LOG", "event_source_api=debug").start().await;
    let call = async |method: &str, path: &str, id: &str, body: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Request-Id", id)];
        hub.call(method, path, &headers, Some(body.as_bytes())).await
    };
    let hook = Webhook::start().await;
    let stream = json!({"source": "webhook", "name": "hook", "uri": hook.uri("/")});
    let body = json!({"type": "t", "ttl": "1h", "streams": [stream]}).to_string();
    call("PUT", "/api/events/register", "r-1", &body).await.expect(201);
    let sent = call("POST", "/api/events/send", "r-2", r#"{"type":"t","payload":1}"#).await.expect(202).json();
    let event = sent["id"].as_str().unwrap();
    hub.until_state(event, "hook", "delivered").await;
    call("PATCH", "/api/events/streams/t/hook", "r-3", r#"{"concurrency":2}"#).await.expect(200);
    call("DELETE", "/api/events/streams/t/hook", "r-4", "").await.expect(200);
    call("GET", "/api/events/feed/hour/current?types=t&limit=7", "r-5", "").await.expect(200);
    call("DELETE", "/api/events/register/t", "r-6", "").await.expect(204);
    let wanted = [
        "type registered: type=t created=true streams=1 request_id=r-1".to_owned(),
        "request: method=PUT path=\"/api/events/register\" status=201 duration_us=".to_owned(),
        format!("event stored: event_id={event} type=t status=accepted request_id=r-2"),
        format!("attempt has ended: stream=t/hook event_id={event} outcome=delivered duration_us="),
        "stream tuned: type=t stream=hook".to_owned(),
        "stream deleted: type=t stream=hook dead_letters=0 request_id=r-4".to_owned(),
        "request: method=GET path=\"/api/events/feed/hour/current\" status=200".to_owned(),
        "type deleted: type=t request_id=r-6".to_owned(),
    ];
    for wanted in wanted {
        let logged = || async { hub.log().iter().any(|line| line.contains(&wanted)).then_some(()) };
        eventually(PATIENCE, &format!("the line {wanted:?}"), logged).await;
    }
    for n in 1..=6 {
        let end = format!(" request_id=r-{n}");
        let logged = || async {
            let lines = hub.log().iter().filter(|line| line.contains("request: ") && line.ends_with(&end)).count();
            assert!(lines <= 1, "one line of access{end}");
            (lines == 1).then_some(())
        };
        eventually(PATIENCE, &format!("the line of access{end}"), logged).await;
    }
    assert!(!hub.log().iter().any(|line| line.contains("limit=7")), "no query in the log");
}

#[actix_web::test]
async fn whoever_sends_nonsense_does_not_fill_the_log() {
    let nonsense = async |hub: &Hub| {
        for bytes in
            ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"]
        {
            let mut raw = Connection::open(hub.address()).await.unwrap();
            assert_eq!(raw.exchange(bytes.as_bytes()).await.unwrap().status, 400);
        }
    };
    let hub = Setup::embedded().env("RUST_LOG", "info").start().await;
    let before = hub.log().len();
    nonsense(&hub).await;
    // Lines come in order: one that is logged for certain, afterwards.
    hub.register("t", "1h").await;
    hub.logged("type registered: type=t").await;
    assert_eq!(hub.log().len(), before + 1, "{:#?}", hub.log());
    let curious = Setup::embedded().env("RUST_LOG", "debug").start().await;
    nonsense(&curious).await;
    curious.logged("a request cannot be read: error=\"request parse error: invalid Header provided\"").await;
}

/// What must be nowhere in a log, each in its place.
const MARKS: [&str; 9] = [
    "MARKpayload",
    "MARKdiscarded",
    "TUFSS3NlY3JldE1BUktzZWNyZXRNQVJLc2VjcmV0",
    "MARKheader",
    "MARKtoken",
    "MARKquery",
    "MARKuri",
    "MARKbroker",
    "MARKanswer",
];

#[actix_web::test]
async fn no_secret_token_or_payload_is_ever_logged() {
    for setup in [Setup::embedded(), Setup::redis()] {
        no_mark_is_logged(setup).await;
    }
}

async fn no_mark_is_logged(setup: Setup) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let setup = setup.env("RUST_LOG", "trace").log_to(file.clone());
    let hub = setup.set("rabbit.url", "amqp://guest:MARKbroker@127.0.0.1:1/%2f").start().await;
    let hook = Webhook::start().await;
    // Fails, echoes what it got, and in the end wants no more.
    hook.answers(|received| {
        let echo = format!("MARKanswer {}", String::from_utf8_lossy(&received.body));
        let status = if received.line.contains("/hook") && received.attempt >= 3 { 410 } else { 500 };
        Answer::Text(status, echo)
    });
    let secret = "whsec_TUFSS3NlY3JldE1BUktzZWNyZXRNQVJLc2VjcmV0";
    let streams = json!([
        {"source": "webhook", "uri": hook.uri("/hook?key=MARKuri"), "secret": secret,
         "headers": {"x-api-key": "MARKheader"}, "retry": {"attempts": 9, "first": "20ms", "max": "20ms"}},
        {"source": "webhook", "name": "once", "uri": hook.uri("/once"), "retry": {"attempts": 1}},
        rabbit("mq", "ex", "key"),
    ]);
    hub.register_with("t", "1h", streams).await;
    let headers = [
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer MARKtoken"),
        ("Cookie", "session=MARKtoken"),
        ("Idempotency-Key", "k"),
    ];
    let send = async |path: &str, body: &str| hub.call("POST", path, &headers, Some(body.as_bytes())).await;
    send("/api/events/send?token=MARKquery", r#"{"type":"t","payload":"MARKpayload"}"#).await.expect(202);
    send("/api/events/send", r#"[{"type":"u","payload":"MARKdiscarded"},{"type":1,"payload":"MARKpayload"}]"#).await;
    send("/api/events/send", r#"{"type":"t","payload":"MARKpayload""#).await.problem(400);
    send("/api/events/send", r#"{"type":"t","payload":"MARKpayload","x":"MARKpayload"}"#).await.problem(422);
    hub.put("/api/events/register", json!({"type": "t2", "ttl": "MARKpayload"})).await.problem(422);
    hub.get("/api/events/feed/hour/current?token=MARKquery").await;
    let mut session = Session::open(&hub, "?types=t&token=MARKquery").await;
    session.say(r#"{"subscribe":"MARKpayload"}"#).await;
    session.text().await;
    let mut raw = Connection::open(hub.address()).await.unwrap();
    let odd = request("GET", "/api/events/streams", &[("X-Request-Id", "bad MARKtoken")], None);
    raw.exchange(&odd).await.unwrap();
    let paused = || async {
        let list = hub.get("/api/events/streams").await.expect(200).json();
        let of = |name: &str| list["streams"].as_array().unwrap().iter().find(|s| s["name"] == name).cloned();
        let hook = list["streams"].as_array().unwrap().iter().any(|s| s["state"] == "paused");
        let (once, mq) = (of("once")?, of("mq")?);
        (hook && once["dead"] == 1 && mq["state"] == "failing").then_some(())
    };
    eventually(PATIENCE, "the streams to fail, each in its way", paused).await;
    hub.stop().await;
    let log = std::fs::read_to_string(&file).unwrap();
    for told in ["request: method=POST", "event stored: event_id=", "dead letters: ", "is paused by", "RabbitMQ"] {
        assert!(log.contains(told), "the log tells of everything, but not of {told:?}");
    }
    for line in log.lines() {
        let mark = MARKS.iter().find(|mark| line.contains(*mark));
        assert!(mark.is_none(), "{mark:?} is in the log: {line}");
    }
}
