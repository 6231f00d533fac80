//! A broker that is there and does not do its part: it blocks publishers, or confirms nothing.

use crate::support::amqp::Broker;
use crate::support::api::{rabbit, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::rabbit::{RabbitServer, shared};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::Webhook;
use lapin::ExchangeKind;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

async fn stream(hub: &Hub) -> Value {
    hub.get("/api/events/streams/t/mq").await.expect(200).json()
}

async fn until_error(hub: &Hub, limit: Duration, part: &str) {
    let said = || async { stream(hub).await["last_error"].as_str().is_some_and(|e| e.contains(part)).then_some(()) };
    eventually(limit, &format!("an error that says {part:?}"), said).await;
}

async fn on_server(server: RabbitServer, act: impl FnOnce(&RabbitServer) + Send + 'static) -> RabbitServer {
    let done = tokio::task::spawn_blocking(move || {
        act(&server);
        server
    });
    done.await.expect("RabbitMQ does it")
}

#[actix_web::test]
async fn a_broker_that_blocks_publishers_holds_back_and_loses_nothing() {
    let server = tokio::task::spawn_blocking(RabbitServer::start).await.expect("RabbitMQ starts");
    let broker = Broker::connect(&server.url()).await;
    broker.exchange("x", ExchangeKind::Topic).await;
    broker.queue("q", "x", "k").await;
    let hook = Webhook::start().await;
    let mut few = rabbit("mq", "x", "k");
    few["retry"]["attempts"] = json!(3);
    let hub = Setup::embedded().set("rabbit.url", server.url()).start().await;
    hub.register_with("t", "1h", json!([few, webhook("hook", &hook.uri("/"))])).await;
    let mut sent = hub.send_many("t", 5).await;
    let collected = broker.collect("q").await;
    collected.until_within(PATIENCE, "the first events", |m| m.len() >= 5).await;
    let server = on_server(server, |server| server.memory_alarm(true)).await;
    sent.extend(hub.send_many("t", 50).await);
    // The alarm stops this stream alone, and nothing is dead of it, however often it has been tried.
    hook.delivered(55).await;
    until_error(&hub, PATIENCE, "blocked").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let blocked = stream(&hub).await;
    assert_eq!((&blocked["state"], &blocked["dead"]), (&json!("failing"), &json!(0)), "{blocked}");
    let server = on_server(server, |server| server.memory_alarm(false)).await;
    let wanted: HashSet<_> = sent.into_iter().map(|s| s.id).collect();
    collected
        .until_within(Duration::from_secs(40), "every event", |m| wanted.is_subset(&m.iter().map(|m| m.id()).collect()))
        .await;
    drop((hub, server));
}

/// Between a hub and its broker; what the broker says is swallowed while `mute`.
async fn deaf_line(broker: SocketAddr, mute: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    actix_web::rt::spawn(async move {
        while let Ok((hub, _)) = listener.accept().await {
            let mute = mute.clone();
            actix_web::rt::spawn(async move {
                let broker = TcpStream::connect(broker).await.expect("the broker is there");
                let (mut from_hub, to_hub) = hub.into_split();
                let (from_broker, mut to_broker) = broker.into_split();
                actix_web::rt::spawn(async move { copy(&mut from_hub, &mut to_broker).await });
                let mut bytes = [0; 4096];
                loop {
                    from_broker.readable().await.expect("a socket");
                    match from_broker.try_read(&mut bytes) {
                        Ok(0) => break,
                        Ok(_) if *mute.borrow() => {}
                        Ok(length) => {
                            let mut rest = &bytes[..length];
                            while !rest.is_empty() {
                                to_hub.writable().await.expect("a socket");
                                match to_hub.try_write(rest) {
                                    Ok(written) => rest = &rest[written..],
                                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                                    Err(_) => return,
                                }
                            }
                        }
                        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
            });
        }
    });
    address
}

/// A line to the broker at an address that stays, whether or not somebody listens there.
fn lay(line: TcpSocket, broker: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = line.listen(16).expect("nobody else listens");
    let address = listener.local_addr().expect("a bound address");
    let task = actix_web::rt::spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((mut hub, _)) = listener.accept().await {
            lines.spawn_local(async move {
                let mut broker = TcpStream::connect(broker).await.expect("the broker is there");
                // Either side's going away ends it.
                let _ = copy_bidirectional(&mut hub, &mut broker).await;
            });
        }
    });
    (address, task)
}

/// A socket on which nobody listens yet: who calls is refused.
fn held(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket
}

#[actix_web::test]
async fn a_broker_that_is_back_after_long_is_noticed_soon() {
    let server = tokio::task::spawn_blocking(shared).await.expect("RabbitMQ starts");
    let broker = Broker::connect(&server.url()).await;
    broker.exchange("back", ExchangeKind::Topic).await;
    broker.queue("back", "back", "k").await;
    let (line, listening) = lay(held(([127, 0, 0, 1], 0).into()), server.address());
    let hub = Setup::embedded().set("rabbit.url", format!("amqp://guest:guest@{line}/%2f")).start().await;
    hub.register_with("t", "1h", json!([rabbit("mq", "back", "k")])).await;
    let first = hub.send("t", json!(1)).await;
    hub.until_state(&first.id, "mq", "delivered").await;
    listening.abort();
    assert!(listening.await.is_err_and(|error| error.is_cancelled()));
    let nobody = held(line);
    let second = hub.send("t", json!(2)).await;
    until_error(&hub, PATIENCE, "refused").await;
    // So long that the next attempt to connect would be seconds away.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let (_, _listening) = lay(nobody, server.address());
    let back = Instant::now();
    hub.until_state(&second.id, "mq", "delivered").await;
    assert!(back.elapsed() < Duration::from_secs(3), "noticed after {:?}", back.elapsed());
}

#[actix_web::test]
async fn a_confirm_that_never_comes_is_a_failure_in_time() {
    let server = tokio::task::spawn_blocking(shared).await.expect("RabbitMQ starts");
    let broker = Broker::connect(&server.url()).await;
    broker.exchange("mute", ExchangeKind::Topic).await;
    broker.queue("mute", "mute", "k").await;
    let (mute, muted) = watch::channel(false);
    let line = deaf_line(server.address(), muted).await;
    let hub = Setup::embedded().set("rabbit.url", format!("amqp://guest:guest@{line}/%2f")).start().await;
    hub.register_with("t", "1h", json!([rabbit("mq", "mute", "k")])).await;
    let first = hub.send("t", json!(1)).await;
    hub.until_state(&first.id, "mq", "delivered").await;
    mute.send_replace(true);
    let second = hub.send("t", json!(2)).await;
    let waiting = || async { (stream(&hub).await["in_flight"] == 1).then_some(()) };
    eventually(PATIENCE, "the attempt", waiting).await;
    let failed = || async { stream(&hub).await["last_error"].as_str().map(str::to_owned) };
    let why = eventually(Duration::from_secs(30), "the failure", failed).await;
    assert!(why.contains("confirm") || why.contains("connection"), "{why}");
    mute.send_replace(false);
    eventually(Duration::from_secs(60), "the delivery", || async {
        (hub.event(&second.id).await["streams"][0]["state"] == "delivered").then_some(())
    })
    .await;
}
