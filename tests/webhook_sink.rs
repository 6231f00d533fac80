//! The webhook sink against a real HTTP server: what it sends, and what it makes of answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use event_source_api::event::{EventId, Position, TypeNo, envelope};
use event_source_api::streams::{
    Brokers, Delivery, Outcome, Retry, Sink, SinkEnv, StreamSettings, WebhookClient, parse_streams,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEY: [u8; 24] = [42; 24];

fn settings(deny: &[&str]) -> StreamSettings {
    StreamSettings {
        mailbox: 1024,
        concurrency: 16,
        retry: Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) },
        lease: Duration::from_secs(60),
        webhook_timeout: Duration::from_millis(1500),
        webhook_deny: deny.iter().map(|net| net.parse().unwrap()).collect(),
        webhook_allow: Vec::new(),
        brokers: BTreeMap::new(),
    }
}

/// A sink for one stream, on this arbiter.
fn sink(settings: &StreamSettings, stream: Value) -> Box<dyn Sink> {
    let spec = parse_streams(&json!([stream]), settings).unwrap().remove(0);
    let env = SinkEnv {
        settings: Arc::new(settings.clone()),
        brokers: Brokers::new(&settings.brokers),
        webhooks: WebhookClient::new(settings),
    };
    spec.target.sink(&env)
}

fn hook(uri: impl std::fmt::Display) -> Box<dyn Sink> {
    sink(&settings(&[]), json!({"source": "webhook", "uri": uri.to_string()}))
}

fn delivery(n: u64) -> Delivery {
    let position = Position::first_of(1_764_000_000_123).plus(n);
    let id = EventId::new(TypeNo::new(7).unwrap(), position);
    let ty = "financial:end-budget".parse().unwrap();
    let body = envelope(id, &ty, br#"{"amount":1e400}"#).into();
    Delivery { id, ty, created_at: position.ms(), body, trace: None }
}

/// What a request looked like.
#[derive(Debug, Clone)]
struct Seen {
    peer: SocketAddr,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: web::Bytes,
}

type Log = Arc<Mutex<Vec<Seen>>>;

/// A server on a free port that notes every request and answers as its path says.
fn server() -> (SocketAddr, Log) {
    let log = Log::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let noted = Arc::clone(&log);
    let app = move || App::new().app_data(web::Data::new(Arc::clone(&noted))).default_service(web::to(answer));
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
    actix_web::rt::spawn(server);
    (addr, log)
}

async fn answer(request: HttpRequest, body: web::Bytes, log: web::Data<Log>) -> HttpResponse {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let (peer, method) = (request.peer_addr().unwrap(), request.method().to_string());
    let path = request.uri().to_string();
    log.lock().unwrap().push(Seen { peer, method, path: path.clone(), headers, body });
    let mut parts = path.trim_start_matches('/').split('/');
    let status = parts.next().and_then(|status| status.parse().ok()).unwrap_or(200);
    let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap());
    match (parts.next(), parts.next()) {
        (Some("after"), Some(after)) => answer.insert_header(("retry-after", after.replace('_', " "))).finish(),
        (Some("to"), Some(_)) => answer.insert_header(("location", "/200")).finish(),
        (Some("large"), Some(size)) => answer.body("x".repeat(size.parse().unwrap())),
        (Some("nasty"), _) => answer.body("no\r\n\u{1b}[31mway\0".to_owned() + &"y".repeat(5000)),
        (Some("late"), _) => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            answer.finish()
        }
        _ => answer.finish(),
    }
}

/// A server that reads a request and then does as `answer` says with its socket.
async fn raw_server<F, R>(answer: F) -> SocketAddr
where
    F: Fn(tokio::net::TcpStream) -> R + 'static,
    R: Future<Output = ()> + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let _ = stream.read(&mut buffer).await;
            actix_web::rt::spawn(answer(stream));
        }
    });
    addr
}

#[actix_web::test]
async fn an_event_is_posted_as_standard_webhooks_has_it() {
    let (addr, log) = server();
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    let other = format!("whsec_{}", STANDARD.encode([9; 32]));
    let sink = sink(
        &settings(&[]),
        json!({
            "source": "webhook", "uri": format!("http://{addr}/200?q=1#part"), "secret": [secret, other],
            "headers": {"X-Tenant": "a", "User-Agent": "mine"},
        }),
    );
    let delivery = delivery(1);
    assert_eq!(sink.deliver(&delivery).await.outcome, Outcome::Delivered);

    let seen = log.lock().unwrap().remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str(), &seen.body), ("POST", "/200?q=1", &delivery.body));
    let header = |name: &str| seen.headers.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("webhook-id"), delivery.id.to_string());
    assert_eq!((header("x-tenant"), header("user-agent"), header("host")), ("a", "mine", addr.to_string().as_str()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let timestamp = header("webhook-timestamp");
    assert!(timestamp.parse::<u64>().unwrap().abs_diff(now) <= 2);
    // Checked as a receiver would, not with the sink's own code.
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&KEY).unwrap();
    mac.update(format!("{}.{timestamp}.", delivery.id).as_bytes());
    mac.update(&delivery.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let signatures: Vec<&str> = header("webhook-signature").split(' ').collect();
    assert_eq!((signatures.len(), signatures[0]), (2, expected.as_str()));
}

#[actix_web::test]
async fn a_connection_is_kept_and_used_again() {
    let (addr, log) = server();
    let sink = hook(format!("http://{addr}/204"));
    for n in 0..10 {
        assert_eq!(sink.deliver(&delivery(n)).await.outcome, Outcome::Delivered);
    }
    let peers: HashSet<SocketAddr> = log.lock().unwrap().iter().map(|seen| seen.peer).collect();
    assert_eq!(peers.len(), 1);
}

#[actix_web::test]
async fn a_kept_connection_that_was_closed_is_no_failure() {
    // Answers one request a connection as if it were kept, and closes it at the next one.
    let addr = raw_server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let _ = stream.read(&mut [0; 16]).await;
    })
    .await;
    let sink = hook(format!("http://{addr}/"));
    for n in 0..5 {
        assert_eq!(sink.deliver(&delivery(n)).await.outcome, Outcome::Delivered);
    }
}

#[actix_web::test]
async fn answers_mean_what_the_contract_says() {
    let (addr, log) = server();
    let deliver = async |path: &str| hook(format!("http://{addr}{path}")).deliver(&delivery(0)).await.outcome;
    for path in ["/200", "/201", "/202", "/204", "/200/large/1000000"] {
        assert_eq!(deliver(path).await, Outcome::Delivered, "{path}");
    }
    for path in ["/400", "/401", "/404", "/408", "/500", "/502", "/304"] {
        let Outcome::Retry { error, after: None } = deliver(path).await else { panic!("{path}") };
        assert!(error.starts_with(&path[1..]), "{error}");
    }
    log.lock().unwrap().clear();
    let Outcome::Retry { error, .. } = deliver("/302/to/200").await else { panic!() };
    assert!(error.contains("redirects"), "{error}");
    assert_eq!(log.lock().unwrap().len(), 1, "not followed");
    assert!(matches!(deliver("/410").await, Outcome::Pause { .. }));
    for status in [429, 503] {
        let outcome = deliver(&format!("/{status}/after/7")).await;
        assert!(matches!(outcome, Outcome::Retry { after: Some(after), .. } if after.as_secs() == 7), "{outcome:?}");
    }
    let date = "Fri,_01_Jan_2100_00:00:00_GMT";
    let outcome = deliver(&format!("/503/after/{date}")).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(after), .. } if after.as_secs() > 86_400), "{outcome:?}");
    assert!(matches!(deliver("/500/after/7").await, Outcome::Retry { after: None, .. }));
}

#[actix_web::test]
async fn an_error_line_is_short_and_harmless() {
    let (addr, _) = server();
    let outcome = hook(format!("http://{addr}/500/nasty")).deliver(&delivery(0)).await.outcome;
    let Outcome::Retry { error, .. } = outcome else { panic!() };
    assert!(error.starts_with("500 Internal Server Error: no [31mway y"), "{error}");
    assert!(error.len() < 320 && !error.chars().any(char::is_control), "{error}");
}

#[actix_web::test]
async fn an_exchange_ends_in_time_wherever_it_hangs() {
    let (addr, _) = server();
    let hang = Duration::from_secs(60);
    let silent = raw_server(move |stream| async move {
        tokio::time::sleep(hang).await;
        drop(stream);
    })
    .await;
    let dribble = raw_server(move |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for uri in [format!("http://{addr}/200/late"), format!("http://{silent}/"), format!("http://{dribble}/")] {
        let began = Instant::now();
        let Outcome::Retry { error, .. } = hook(&uri).deliver(&delivery(0)).await.outcome else { panic!("{uri}") };
        assert!(error.contains("1s500ms"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(3), "{uri}");
    }
}

#[actix_web::test]
async fn no_more_of_an_answer_is_read_than_is_worth_it() {
    let written = Arc::new(Mutex::new(0));
    let count = Arc::clone(&written);
    let endless = raw_server(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {
                *count.lock().unwrap() += 8192;
            }
        }
    })
    .await;
    let began = Instant::now();
    assert_eq!(hook(format!("http://{endless}/")).deliver(&delivery(0)).await.outcome, Outcome::Delivered);
    assert!(began.elapsed() < Duration::from_millis(1400), "less than the time-out");
    // What the sockets buffer is more than what is read.
    assert!(*written.lock().unwrap() < 32 << 20);
}

#[actix_web::test]
async fn a_host_that_is_not_there_is_unreachable() {
    // Held by somebody who does not listen.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed = nobody.local_addr().unwrap();
    for uri in [format!("http://{closed}/"), "http://no-such-host.invalid/".into()] {
        let outcome = hook(&uri).deliver(&delivery(0)).await.outcome;
        assert!(matches!(outcome, Outcome::Unreachable { .. }), "{uri} {outcome:?}");
    }
    // A server that speaks no TLS.
    let (addr, _) = server();
    let outcome = hook(format!("https://{addr}/")).deliver(&delivery(0)).await.outcome;
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
    let dropped = raw_server(|stream| async move { drop(stream) }).await;
    let outcome = hook(format!("http://{dropped}/")).deliver(&delivery(0)).await.outcome;
    assert!(matches!(outcome, Outcome::Retry { .. }), "it was there, and took the request: {outcome:?}");
}

#[actix_web::test]
async fn a_name_that_resolves_to_a_denied_address_is_not_connected_to() {
    let (addr, log) = server();
    let settings = settings(&["127.0.0.0/8", "::1/128"]);
    let sink = sink(&settings, json!({"source": "webhook", "uri": format!("http://localhost:{}/", addr.port())}));
    let outcome = sink.deliver(&delivery(0)).await.outcome;
    let Outcome::Retry { error, .. } = outcome else { panic!("{outcome:?}") };
    assert!(error.contains("webhook.deny"), "{error}");
    assert!(log.lock().unwrap().is_empty());
    let stream = json!([{"source": "webhook", "uri": format!("http://{addr}/")}]);
    assert!(parse_streams(&stream, &settings).is_err(), "and a literal one is not even registered");
}
