//! Requests that nobody sends by accident: none of them gives a 500, a panic, or a hub that is gone.

use crate::both_stores;
use crate::support::http::{self, Connection};
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, within};
use serde_json::json;

both_stores!(no_request_gives_a_500, broken_http_is_refused, a_body_that_never_comes_holds_nobody);

async fn no_request_gives_a_500(hub: Hub) {
    hub.register("t", "1h").await;
    let event = hub.send("t", json!(1)).await;
    let paths = [
        "/%00",
        "/%ff",
        "/%",
        "/%zz",
        "/..",
        "/../../etc/passwd",
        "/api/events/%2e%2e",
        "/api/events/send%00",
        "/api/events/feed/%00/%00",
        "/api/events/feed/hour/9999-12-31T23:59:59Z",
        "/api/events/feed/month/0000-01-01T00:00:00Z",
        "/api/events/feed/week/0000-01-01T00:00:00Z",
        "/api/events/feed/366days/0000-01-01T00:00:00Z",
        "/api/events/feed/hour/-999999-01-01T00:00:00Z",
        "/api/events/feed/month/9999-12-31T23:59:59.999+23:59",
        "/api/events/feed/hour/2024-12-31T23:59:60Z",
        "/api/events/feed/hour/1969-12-31T23:59:59Z",
        "/api/events/feed/1s/2017-12-31T23:59:59Z",
        "/api/events/feed/hour/current?types=%00",
        "/api/events/feed/hour/current?types=*****",
        "/api/events/feed/hour/current?types=a&types=b",
        "/api/events/feed/hour/current?limit=1&limit=2",
        "/api/events/feed/hour/current?&&&===",
        "/api/events/feed/hour/current?after=0",
        "/api/events/feed/hour/current?after=18446744073709551615",
        "/api/events/feed/hour/current?%ff=%fe",
        "/api/events/feed/hour/current/client/%00",
        "/api/events/18446744073709551615",
        "/api/events/18446744073709551616",
        "/api/events/00000000000000000000000001",
        "/api/events/١٢٣",
        "/api/events/register/%00",
        "/api/events/register/%F0%9F%A6%80",
        "/api/events/register/a%2Fb",
        "/api/events/?types=%00",
        "/api/events/?since=-1",
    ];
    let long = format!("/api/events/register/{}", "x".repeat(20_000));
    let stars = format!("/api/events/feed/hour/current?types={}", "*a".repeat(120));
    let many = format!("/api/events/feed/hour/current?types={}", vec!["a*"; 2000].join(","));
    for path in paths.iter().copied().chain([&*long, &*stars, &*many]) {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
            let bytes = http::request(method, path, &[("Content-Type", "application/json")], Some(b"{}"));
            // A connection closed without an answer is a refusal too, for what is not even a request line.
            if let Ok(answer) = within(PATIENCE, path, http::exchange(hub.address(), &bytes)).await {
                assert_ne!(answer.status, 500, "{method} {path}: {}", answer.text());
                assert!(
                    answer.status < 500 || answer.status == 501 || answer.status == 505,
                    "{method} {path}: {}",
                    answer.status
                );
            }
        }
    }
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"[".repeat(100_000),
        b"{\"a\":".repeat(100_000),
        b"\"\\ud800\"".to_vec(),
        br#"{"type":"t","payload":"\ud800"}"#.to_vec(),
        br#"{"type":"\ud800","payload":1}"#.to_vec(),
        br#"{"type":"t","type":"t","payload":1}"#.to_vec(),
        br#"{"type":"t","payload":1,"payload":2}"#.to_vec(),
        br#"{"type":"t","payload":1e999999999999999999999}"#.to_vec(),
        br#"{"$serde_json::private::RawValue":"1"}"#.to_vec(),
        br#"{"type":{"$serde_json::private::RawValue":"t"},"payload":1}"#.to_vec(),
        format!(r#"{{"type":"t","payload":{}}}"#, "9".repeat(500_000)).into_bytes(),
        format!(r#"{{"type":"{}","payload":1}}"#, "t".repeat(500_000)).into_bytes(),
        format!(r#"{{"type":"t","ttl":"{}"}}"#, "1h ".repeat(100_000)).into_bytes(),
        format!(r#"{{"type":"t","ttl":"1h","streams":[{}]}}"#, vec!["{}"; 50_000].join(",")).into_bytes(),
        b"[]".to_vec(),
        b"[[]]".to_vec(),
        b"[{},{},null]".to_vec(),
        br#"{"ids":["x",1,null]}"#.to_vec(),
    ];
    let ok = format!("/api/events/{}/ok/c", event.id);
    for (method, path) in
        [("POST", "/api/events/send"), ("PUT", "/api/events/register"), ("PUT", &*ok), ("PUT", "/api/events/ok/c")]
    {
        for body in &bodies {
            for content_type in ["application/json", "application/json; charset=\"", "\u{1}", ""] {
                let bytes = http::request(method, path, &[("Content-Type", content_type)], Some(body));
                let what = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(60)]));
                if let Ok(answer) = within(PATIENCE, &what, http::exchange(hub.address(), &bytes)).await {
                    assert!(answer.status < 500, "{what}: {} {}", answer.status, answer.text());
                    if answer.status >= 400 && answer.header("content-type").is_some() {
                        answer.problem(answer.status);
                    }
                }
            }
        }
    }
    let odd_headers: [&[(&str, &str)]; 8] = [
        &[("Host", "")],
        &[("Host", "a b")],
        &[("Host", "evil.example\"<>")],
        &[("Content-Length", "-1")],
        &[("Accept", "text/event-stream;q=x")],
        &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
        &[
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "12"),
            ("Sec-WebSocket-Key", "x"),
        ],
        &[("Expect", "nothing"), ("Transfer-Encoding", "gzip")],
    ];
    for headers in odd_headers {
        for path in ["/api/events/", "/api/events/feed/hour/current", "/api/events/1"] {
            let bytes = http::request("GET", path, headers, None);
            if let Ok(answer) = within(PATIENCE, path, http::exchange(hub.address(), &bytes)).await {
                assert!(answer.status < 500 || answer.status == 501, "{headers:?} {path}: {}", answer.status);
            }
        }
    }
    hub.get("/healthz").await.expect(200);
    hub.send("t", json!("still here")).await;
}

async fn broken_http_is_refused(hub: Hub) {
    hub.register("t", "1h").await;
    let requests: [&[u8]; 9] = [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
        b"POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA\0b: c\r\n\r\n",
    ];
    for bytes in requests {
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        connection.write(bytes).await.expect("the hub reads");
        // Some of these look like the beginning of more, and are simply waited for: that is fine as well.
        let read = tokio::time::timeout(std::time::Duration::from_millis(300), connection.read(false)).await;
        if let Ok(Ok(answer)) = read {
            assert!((400..500).contains(&answer.status) || answer.status == 505, "{}", String::from_utf8_lossy(bytes));
        }
        hub.get("/healthz").await.expect(200);
    }
    let flood = [b"GET / HTTP/1.1\r\n".to_vec(), b"X-Flood: yes\r\n".repeat(100_000)].concat();
    let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
    // The hub may close while we are still writing.
    let _ = within(PATIENCE, "the flood of headers", connection.write(&flood)).await;
    hub.send("t", json!("still here")).await;
}

async fn a_body_that_never_comes_holds_nobody(hub: Hub) {
    hub.register("t", "1h").await;
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        let head = b"POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        connection.write(head).await.expect("the hub reads");
        waiting.push(connection);
    }
    hub.send_many("t", 20).await;
    drop(waiting);
    hub.send("t", json!("after they left")).await;
}
