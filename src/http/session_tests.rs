//! Sessions over real sockets: a server on a free port, a WebSocket client that is not ours, and a
//! BroadcastActor that is fed by hand over an embedded store.

use super::*;
use crate::access::Caller;
use crate::event::TypeNo;
use crate::http::socket::on_connect;
use crate::http::{HttpSettings, Problem};
use crate::live::testing::{Rig, append_payloads, settings};
use crate::live::{CountSessions, LiveSettings};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const SOON: Duration = Duration::from_secs(20);

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Server {
    rig: Rig,
    address: SocketAddr,
    handle: ServerHandle,
    a: TypeNo,
    b: TypeNo,
}

impl Server {
    async fn start(live: LiveSettings) -> Self {
        let rig = Rig::start(live);
        let http = HttpSettings { origins: vec!["https://app.example".into()], ..crate::http::testing::settings() };
        let state = (http, rig.door.clone());
        type State = web::Data<(HttpSettings, Door)>;
        async fn open(req: HttpRequest, payload: Payload, state: State) -> Result<HttpResponse, Problem> {
            let (http, door) = &**state;
            let pass = Pass::new(Caller::anyone(), Arc::default());
            Ok(start(&req, payload, http, door, pass).await?)
        }
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(state.clone())).route("/api/events/", web::get().to(open))
        })
        .workers(1)
        .on_connect(on_connect)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix::spawn(server);
        let (a, b) = (rig.register("a:x", "1h").await, rig.register("b", "1h").await);
        Self { rig, address, handle, a, b }
    }

    /// Commits so many events of this length, and answers what the feed is to say.
    async fn append_large(&self, events: usize, length: usize) -> crate::store::LiveRun {
        let payload = format!("\"{}\"", "x".repeat(length));
        append_payloads(&self.rig.store, self.a, vec![payload.into(); events]).await
    }

    fn url(&self, query: &str) -> String {
        format!("ws://{}/api/events/{query}", self.address)
    }

    async fn client(&self, query: &str) -> Client {
        timeout(SOON, connect_async(self.url(query))).await.unwrap().unwrap().0
    }

    /// The status and problem code with which a handshake is refused.
    async fn refused(&self, query: &str, origin: Option<&str>) -> (u16, String) {
        let mut request = self.url(query).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        match timeout(SOON, connect_async(request)).await.unwrap() {
            Err(Error::Http(response)) => {
                let problem: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
                (response.status().as_u16(), problem["type"].as_str().unwrap().to_owned())
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Waits until so many sessions are left.
    async fn sessions(&self, wanted: usize) {
        let settled = async {
            while self.rig.broadcast.send(CountSessions).await.unwrap() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, settled).await.unwrap_or_else(|_| panic!("not {wanted} sessions"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn message(client: &mut Client) -> Message {
    timeout(SOON, client.next()).await.expect("a message in time").expect("a message").unwrap()
}

/// The next text frame; answers pings on the way.
async fn event(client: &mut Client) -> Value {
    loop {
        match message(client).await {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

/// Reads until the close frame, and then until the connection has ended.
async fn closed(client: &mut Client) -> (CloseCode, String) {
    let close = loop {
        if let Message::Close(close) = message(client).await {
            break close.expect("a code");
        }
    };
    while let Some(Ok(_)) = timeout(SOON, client.next()).await.expect("the connection ends") {}
    (close.code, close.reason.to_string())
}

#[actix::test]
async fn events_arrive_filtered_and_in_order() {
    let server = Server::start(settings()).await;
    let mut all = server.client("").await;
    let mut some = server.client("?types=a:*&unknown=1").await;
    server.rig.commit(server.b, 0..1).await;
    assert_eq!(event(&mut all).await["type"], "b");
    server.rig.commit(server.a, 0..100).await;
    server.rig.commit(server.a, 100..101).await;
    for place in 0..101 {
        for client in [&mut all, &mut some] {
            let event = event(client).await;
            assert_eq!((&event["type"], &event["payload"]), (&json!("a:x"), &json!(place)));
        }
    }
}

#[actix::test]
async fn a_commit_larger_than_the_queue_and_any_buffer_arrives_whole() {
    let server = Server::start(LiveSettings { mailbox: 4, ..settings() }).await;
    let mut client = server.client("").await;
    let run = server.append_large(500, 10_000).await;
    server.rig.say(vec![run]).await;
    let mut last = 0;
    for _ in 0..500 {
        let event = event(&mut client).await;
        let id: u64 = event["id"].as_str().unwrap().parse().unwrap();
        assert!(id > last);
        last = id;
        assert_eq!(event["payload"].as_str().unwrap().len(), 10_000);
    }
}

#[actix::test]
async fn a_ping_is_answered_and_one_that_answers_stays() {
    let server = Server::start(LiveSettings { heartbeat: Duration::from_millis(100), ..settings() }).await;
    let mut client = server.client("").await;
    client.send(Message::Ping("hello".into())).await.unwrap();
    let (mut pings, mut answered) = (0, false);
    while pings < 6 || !answered {
        match message(&mut client).await {
            Message::Ping(_) => pings += 1,
            Message::Pong(data) => answered = data == "hello",
            other => panic!("{other:?}"),
        }
    }
    server.sessions(1).await;
}

#[actix::test]
async fn a_silent_client_is_dropped() {
    let server = Server::start(LiveSettings { heartbeat: Duration::from_millis(200), ..settings() }).await;
    // Its frames are read by nobody, so no ping is answered.
    let _client = server.client("").await;
    server.sessions(1).await;
    server.sessions(0).await;
}

#[actix::test]
async fn a_close_is_answered_at_once_with_its_code() {
    let server = Server::start(settings()).await;
    // At its best: on a busy machine anything may take long at times.
    let mut took = Vec::new();
    while took.iter().all(|took| *took >= CLOSING * 9 / 10) {
        assert!(took.len() < 5, "{took:?}");
        let mut client = server.client("").await;
        let frame =
            tokio_tungstenite::tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        let begun = Instant::now();
        client.close(Some(frame)).await.unwrap();
        assert_eq!(closed(&mut client).await.0, CloseCode::Normal);
        took.push(begun.elapsed());
        server.sessions(0).await;
    }
}

#[actix::test]
async fn a_client_that_vanishes_is_forgotten() {
    let server = Server::start(settings()).await;
    let client = server.client("").await;
    server.sessions(1).await;
    drop(client);
    server.sessions(0).await;
}

#[actix::test]
async fn a_message_that_is_none_is_answered_and_the_session_goes_on() {
    let server = Server::start(settings()).await;
    let mut client = server.client("").await;
    for text in ["no json", "", r#"{"unknown": true}"#, "[]", "1"] {
        client.send(Message::text(text)).await.unwrap();
        assert_eq!(event(&mut client).await["control"], "error", "{text}");
    }
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(event(&mut client).await["control"], "error");
    client.send(Message::text("x".repeat(MAX_MESSAGE))).await.unwrap();
    assert_eq!(event(&mut client).await["control"], "error");
    server.rig.commit(server.a, 0..1).await;
    assert_eq!(event(&mut client).await["payload"], 0);
}

#[actix::test]
async fn a_flood_of_messages_is_answered_one_by_one() {
    let server = Server::start(settings()).await;
    let (mut sink, mut stream) = server.client("").await.split();
    let send = async {
        for _ in 0..5000 {
            sink.feed(Message::text("{}")).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let read = async {
        for _ in 0..5000 {
            assert!(matches!(stream.next().await, Some(Ok(Message::Text(_)))));
        }
    };
    timeout(SOON, async { tokio::join!(send, read) }).await.unwrap();
}

#[actix::test]
async fn a_message_that_is_too_large_closes_with_1009() {
    let server = Server::start(settings()).await;
    let mut client = server.client("").await;
    client.send(Message::text("x".repeat(MAX_MESSAGE + 1))).await.unwrap();
    assert_eq!(closed(&mut client).await.0, CloseCode::Size);
    server.sessions(0).await;
}

#[actix::test]
async fn a_frame_that_only_announces_too_much_closes_with_1009() {
    let server = Server::start(settings()).await;
    let mut raw = raw(server.address, None).await;
    raw.write_all(&[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(close_code(&mut raw).await, 1009);
}

#[actix::test]
async fn what_is_no_frame_closes_with_a_protocol_error() {
    let server = Server::start(settings()).await;
    for (bytes, code) in [
        (&[0x81, 0x01, b'x'][..], 1002),
        (&[0xf1, 0x80, 0, 0, 0, 0][..], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0][..], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
    ] {
        let mut raw = raw(server.address, None).await;
        raw.write_all(bytes).await.unwrap();
        assert_eq!(close_code(&mut raw).await, code, "{bytes:?}");
    }
    server.sessions(0).await;
}

#[actix::test]
async fn pages_of_other_origins_are_refused() {
    let server = Server::start(settings()).await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(server.refused("", Some(origin)).await, (403, "/problems/cross-origin".to_owned()), "{origin}");
    }
    for origin in [format!("http://{}", server.address), "https://app.example".to_owned()] {
        let mut request = server.url("").into_client_request().unwrap();
        request.headers_mut().insert("Origin", origin.parse().unwrap());
        timeout(SOON, connect_async(request)).await.unwrap().unwrap();
    }
}

#[actix::test]
async fn a_malformed_filter_is_refused() {
    let server = Server::start(settings()).await;
    for query in ["?types=", "?types=a,,b", "?types=a%20b", "?types=%ff", "?types=a&types=b"] {
        assert_eq!(server.refused(query, None).await, (400, "/problems/bad-parameter".to_owned()), "{query}");
    }
    server.sessions(0).await;
}

#[actix::test]
async fn more_sessions_than_allowed_are_refused_until_one_leaves() {
    let server = Server::start(LiveSettings { max_sessions: 2, ..settings() }).await;
    let (one, _two) = (server.client("").await, server.client("").await);
    assert_eq!(server.refused("", None).await, (503, "/problems/too-many-sessions".to_owned()));
    drop(one);
    server.sessions(1).await;
    let _three = server.client("").await;
}

#[actix::test]
async fn at_shutdown_sessions_get_1001() {
    let server = Server::start(settings()).await;
    let mut client = server.client("").await;
    server.rig.commit(server.a, 0..3).await;
    for place in 0..3 {
        assert_eq!(event(&mut client).await["payload"], place);
    }
    let (gone, (code, _)) = tokio::join!(server.rig.broadcast.send(crate::live::CloseAll), closed(&mut client));
    gone.unwrap();
    assert_eq!(code, CloseCode::Away);
    assert_eq!(server.refused("", None).await, (503, "/problems/shutting-down".to_owned()));
}

#[actix::test]
async fn a_reader_that_stalls_is_told_and_cut_and_disturbs_nobody() {
    let server = Server::start(LiveSettings { mailbox: 16, ..settings() }).await;
    let stalled = raw(server.address, Some(4096)).await;
    let mut reads = server.client("").await;
    server.sessions(2).await;
    for _ in 0..200 {
        let run = server.append_large(1, 20_000).await;
        server.rig.say(vec![run]).await;
        assert_eq!(event(&mut reads).await["payload"].as_str().unwrap().len(), 20_000);
    }
    // The peer never reads, so only a cut can end it: the socket is gone although this side stays open.
    server.sessions(1).await;
    drop(stalled);
}

#[actix::test]
async fn a_reader_that_was_too_slow_is_told_where_to_go_on() {
    let server = Server::start(LiveSettings { mailbox: 4, ..settings() }).await;
    let mut slow = server.client("").await;
    let mut runs = Vec::new();
    for _ in 0..80 {
        runs.push(server.append_large(1, 200_000).await);
    }
    server.rig.say(vec![runs.remove(0)]).await;
    let mut last = event(&mut slow).await["id"].as_str().unwrap().to_owned();
    for run in runs {
        server.rig.say(vec![run]).await;
    }
    server.rig.heard().await;
    // Flooded with sixteen megabytes, it begins to read when it has been given up, and before it is cut.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let close = loop {
        match message(&mut slow).await {
            Message::Text(text) => {
                last = serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().to_owned();
            }
            Message::Close(close) => break close.unwrap(),
            _ => {}
        }
    };
    assert_eq!(close.code, CloseCode::from(4000));
    assert_eq!(close.reason.to_string(), format!("slow consumer: reconnect with since={last}"));
}

/// A client that speaks no WebSocket beyond the handshake.
async fn raw(address: SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    let mut stream = timeout(SOON, socket.connect(address)).await.unwrap().unwrap();
    let head = format!(
        "GET /api/events/ HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// The code of the close frame that comes next, after which the connection ends.
async fn close_code(stream: &mut TcpStream) -> u16 {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes[0], 0x88, "{bytes:?}");
    u16::from_be_bytes([bytes[2], bytes[3]])
}
