//! Targets that are away: sends go on, and what waits is delivered when they are back.

use crate::both_stores;
use crate::support::amqp::Broker;
use crate::support::api::{rabbit, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::port::Port;
use crate::support::rabbit::RabbitServer;
use crate::support::wait::within;
use crate::support::webhook::Webhook;
use lapin::ExchangeKind;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;

both_stores!(a_webhook_that_is_not_there_blocks_nothing);

/// On a broker of its own, which the other tests do not miss; both stores in turn, since it starts slowly.
#[actix_web::test]
async fn rabbitmq_may_stop_and_come_back() {
    let mut server = tokio::task::spawn_blocking(RabbitServer::start).await.expect("RabbitMQ starts");
    for (name, setup) in [("embedded", Setup::embedded()), ("redis", Setup::redis())] {
        let hub = setup.set("rabbit.url", server.url()).start().await;
        let broker = Broker::connect(&server.url()).await;
        broker.exchange(name, ExchangeKind::Topic).await;
        broker.queue(name, name, "k").await;
        let mut stream = rabbit("mq", name, "k");
        // An unreachable broker uses up no attempts, so these few are enough.
        stream["retry"]["attempts"] = json!(5);
        hub.register_with("t", "1h", json!([stream])).await;
        let mut sent: Vec<_> = hub.send_many("t", 20).await;
        server = blocking(server, RabbitServer::stop).await;
        sent.extend(hub.send_many("t", 100).await);
        // Long enough for more attempts than there are.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server = blocking(server, RabbitServer::restart).await;
        sent.extend(hub.send_many("t", 20).await);
        let broker = Broker::connect(&server.url()).await;
        let collected = broker.collect(name).await;
        let wanted: HashSet<_> = sent.into_iter().map(|s| s.id).collect();
        collected
            .until_within(Duration::from_secs(60), "every event after the restart", |m| {
                wanted.len() <= m.len() && wanted.is_subset(&m.iter().map(|m| m.id()).collect())
            })
            .await;
    }
}

async fn a_webhook_that_is_not_there_blocks_nothing(hub: Hub) {
    let here = Webhook::start().await;
    let nobody = Port::free();
    let nowhere = format!("http://127.0.0.1:{nobody}/");
    let mut lost = webhook("lost", &nowhere);
    lost["retry"]["attempts"] = json!(2);
    hub.register_with("t", "1h", json!([lost, webhook("here", &here.uri("/"))])).await;
    let sent = hub.send_many("t", 50).await;
    here.delivered(50).await;
    // It listens at last: an unreachable host has used up no attempts.
    let late = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("lost", &late.uri("/")), webhook("here", &here.uri("/"))])).await;
    let mut delivered = late.delivered(50).await;
    delivered.sort_unstable();
    assert_eq!(delivered, sent.into_iter().map(|s| s.id).collect::<Vec<_>>());
}

async fn blocking(mut server: RabbitServer, act: fn(&mut RabbitServer)) -> RabbitServer {
    let done = tokio::task::spawn_blocking(move || {
        act(&mut server);
        server
    });
    within(Duration::from_secs(120), "RabbitMQ to stop or start", done).await.expect("it did")
}
