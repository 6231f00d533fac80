//! What only a real connection shows: bodies that nobody reads, chunks, heads without bodies.

use super::app;
use super::testing::Hub;
use actix_web::HttpServer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

async fn serve(hub: &Hub) -> (SocketAddr, actix_web::dev::ServerHandle) {
    let state = hub.state.clone();
    let server = HttpServer::new(move || app(state.clone()));
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let addr = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix::spawn(server);
    (addr, handle)
}

/// Writes, and reads until the answer holds `end` or the connection ends.
async fn exchange(stream: &mut TcpStream, request: &[u8], end: &str) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains(end) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => answer.extend_from_slice(&buffer[..n]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
    String::from_utf8(answer).unwrap()
}

#[actix_web::test]
async fn connections_survive_what_they_can() {
    let hub = Hub::start().await;
    hub.register("a", &[]).await;
    let (addr, server) = serve(&hub).await;
    let mut one = TcpStream::connect(addr).await.unwrap();
    let json = "Host: localhost\r\nContent-Type: application/json\r\n";

    let body = r#"{"type":"a","payload":[1,2]}"#;
    let (left, right) = body.split_at(9);
    let chunked = format!(
        "POST /api/events/send HTTP/1.1\r\n{json}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\n\r\n",
        left.len(),
        right.len()
    );
    let answer = exchange(&mut one, chunked.as_bytes(), "]}").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let id = answer.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();

    // A mark's body is of no use, and does not cost the connection.
    for _ in 0..3 {
        let mark = format!("PUT /api/events/{id}/ok/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}");
        let answer = exchange(&mut one, mark.as_bytes(), "}").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("{\"acknowledge\":true}"), "{answer}");
    }
    let head = exchange(&mut one, b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "\r\n\r\n").await;
    assert!(head.contains("content-length: 15") && head.ends_with("\r\n\r\n"), "{head}");

    // An answer that does not wait for the body it refuses.
    for (headers, status) in [
        ("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n", "413"),
        ("Host: localhost\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n", "415"),
        ("Host: \"h\r\nContent-Length: 99999999\r\n", "400"),
    ] {
        let mut other = TcpStream::connect(addr).await.unwrap();
        let request = format!("POST /api/events/send HTTP/1.1\r\n{headers}\r\n");
        let answer = exchange(&mut other, request.as_bytes(), "}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }

    // HTTP/1.0 without a Host, and a target in absolute form.
    let mut old = TcpStream::connect(addr).await.unwrap();
    let answer = exchange(&mut old, b"GET /api/events HTTP/1.0\r\n\r\n", "]}").await;
    assert!(answer.contains(&format!("http://{addr}/api/events/")), "{answer}");
    let answer =
        exchange(&mut one, b"GET http://named.localhost:81/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n", "]}").await;
    assert!(answer.contains("http://named.localhost:81/api/events/"), "{answer}");
    // No path at all, and still a problem.
    let answer = exchange(&mut one, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", "}").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("application/problem+json"), "{answer}");
    server.stop(false).await;
}
