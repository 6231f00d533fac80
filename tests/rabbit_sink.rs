//! The rabbit sink against a real broker: what it publishes, and what it makes of trouble.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stderr, reason = "the shared support shows the log of a hub that failed")]

mod support;

use event_source_api::event::{EventId, Position, TypeNo, envelope};
use event_source_api::streams::{
    Brokers, Delivery, Outcome, Retry, Sink, SinkEnv, StreamSettings, WebhookClient, parse_streams,
};
use futures_util::future::join_all;
use lapin::options::*;
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::rabbit::RabbitServer;

/// Longest wait for something that is to happen.
const SOON: Duration = Duration::from_secs(60);

/// What sinks share, for a broker.
fn env(url: &str) -> SinkEnv {
    let settings = StreamSettings {
        mailbox: 1024,
        concurrency: 16,
        retry: Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) },
        lease: Duration::from_secs(60),
        webhook_timeout: Duration::from_secs(15),
        webhook_deny: Vec::new(),
        webhook_allow: Vec::new(),
        brokers: BTreeMap::from([(String::new(), url.to_owned())]),
    };
    let (brokers, webhooks) = (Brokers::new(&settings.brokers), WebhookClient::new(&settings));
    SinkEnv { settings: Arc::new(settings), brokers, webhooks }
}

fn sink(env: &SinkEnv, mut stream: Value) -> Box<dyn Sink> {
    stream["source"] = json!("rabbit");
    parse_streams(&json!([stream]), &env.settings).unwrap().remove(0).target.sink(env)
}

fn delivery(n: u64) -> Delivery {
    let position = Position::first_of(1_764_000_000_123).plus(n);
    let id = EventId::new(TypeNo::new(7).unwrap(), position);
    let ty = "financial:end-budget".parse().unwrap();
    let body = envelope(id, &ty, br#"{"amount":1e400}"#).into();
    Delivery { id, ty, created_at: position.ms(), body, trace: None }
}

/// Declares a queue and binds it to an exchange that exists.
async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    bind_only(channel, queue, exchange, key).await;
}

async fn bind_only(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, table).await.unwrap();
}

async fn declare(channel: &Channel, exchange: &str, kind: ExchangeKind, durable: bool) {
    let options = ExchangeDeclareOptions { durable, ..Default::default() };
    channel.exchange_declare(exchange.into(), kind, options, FieldTable::default()).await.unwrap();
}

/// The ids in a queue, in their order.
async fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        ids.push(message.properties.message_id().as_ref().unwrap().to_string());
    }
    ids
}

/// Tries until it is delivered; the outcomes before.
async fn until_delivered(sink: &dyn Sink, delivery: &Delivery) -> Vec<Outcome> {
    let (began, mut before) = (Instant::now(), Vec::new());
    loop {
        match sink.deliver(delivery).await.outcome {
            Outcome::Delivered => return before,
            other => before.push(other),
        }
        assert!(began.elapsed() < SOON, "{before:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// One test after the other on one broker: it takes seconds to start.
#[actix_web::test]
async fn the_rabbit_sink() {
    let mut rabbit = RabbitServer::start();
    let env = env(&rabbit.url());
    let connection = lapin::Connection::connect(&rabbit.url(), Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();

    a_message_says_what_it_is(&env, &channel).await;
    a_missing_exchange_is_declared_and_an_existing_one_used(&env, &channel, &connection).await;
    a_message_that_no_queue_takes_is_not_delivered(&env, &channel).await;
    many_attempts_at_a_time_keep_their_order_and_their_own_outcomes(&env, &channel).await;
    trouble_of_one_stream_is_no_trouble_of_another(&env, &channel).await;
    a_broker_that_was_away_is_used_again(&env, &mut rabbit).await;
    env.brokers.close().await;
}

async fn a_message_says_what_it_is(env: &SinkEnv, channel: &Channel) {
    channel.queue_declare("plain".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    let sink = sink(env, json!({"exchange": "", "routingKey": "plain"}));
    let delivery = delivery(1);
    assert_eq!(sink.deliver(&delivery).await.outcome, Outcome::Delivered);
    let message = channel.basic_get("plain".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    assert_eq!(message.data, delivery.body);
    let properties = &message.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().unwrap().to_string();
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(text(properties.message_id()), delivery.id.to_string());
    assert_eq!(text(properties.kind()), "financial:end-budget");
    assert_eq!(*properties.timestamp(), Some(1_764_000_000));
    let headers = properties.headers().as_ref().unwrap().inner();
    let header = |name: &str| headers.get(name).unwrap().as_long_string().unwrap().to_string();
    assert_eq!(header("event-id"), delivery.id.to_string());
    assert_eq!(header("event-type"), "financial:end-budget");
}

async fn a_missing_exchange_is_declared_and_an_existing_one_used(
    env: &SinkEnv,
    channel: &Channel,
    connection: &lapin::Connection,
) {
    // Declared on the way, though nothing is bound to it yet.
    let fresh = sink(env, json!({"exchange": "fresh", "routingKey": "a.b", "mandatory": false}));
    assert_eq!(fresh.deliver(&delivery(1)).await.outcome, Outcome::Delivered);
    // Durable and a topic, or this would be refused.
    declare(channel, "fresh", ExchangeKind::Topic, true).await;
    bind(channel, "fresh-queue", "fresh", "a.*").await;
    assert_eq!(fresh.deliver(&delivery(2)).await.outcome, Outcome::Delivered);
    assert_eq!(drain(channel, "fresh-queue").await, [delivery(2).id.to_string()]);

    declare(channel, "existing", ExchangeKind::Fanout, false).await;
    bind(channel, "existing-queue", "existing", "").await;
    let any = sink(env, json!({"exchange": "existing", "routingKey": ""}));
    assert_eq!(any.deliver(&delivery(3)).await.outcome, Outcome::Delivered);
    let same = sink(env, json!({"exchange": "existing", "routingKey": "", "exchangeType": "fanout"}));
    assert_eq!(same.deliver(&delivery(4)).await.outcome, Outcome::Delivered, "the type is right, durable or not");
    let other = sink(env, json!({"exchange": "existing", "routingKey": "", "exchangeType": "direct"}));
    let outcome = other.deliver(&delivery(5)).await.outcome;
    assert!(matches!(&outcome, Outcome::Retry { error, .. } if error.contains("type")), "{outcome:?}");
    assert_eq!(drain(channel, "existing-queue").await.len(), 2);

    let direct =
        sink(env, json!({"exchange": "typed", "routingKey": "k", "exchangeType": "direct", "mandatory": false}));
    assert_eq!(direct.deliver(&delivery(6)).await.outcome, Outcome::Delivered);
    let probe = connection.create_channel().await.unwrap();
    declare(&probe, "typed", ExchangeKind::Direct, true).await;
    let odd = sink(env, json!({"exchange": "odd", "routingKey": "k", "exchangeType": "no-such-type"}));
    // The broker answers this by closing the connection, which must not be the common one.
    let outcome = odd.deliver(&delivery(7)).await.outcome;
    assert!(matches!(&outcome, Outcome::Retry { error, .. } if error.contains("no-such-type")), "{outcome:?}");
    assert_eq!(direct.deliver(&delivery(8)).await.outcome, Outcome::Delivered);
}

async fn a_message_that_no_queue_takes_is_not_delivered(env: &SinkEnv, channel: &Channel) {
    let stream = json!({"exchange": "lonely", "routingKey": "k"});
    let lonely = sink(env, stream.clone());
    let outcome = lonely.deliver(&delivery(1)).await.outcome;
    assert!(matches!(&outcome, Outcome::Retry { error, .. } if error.contains("no queue")), "{outcome:?}");
    bind(channel, "lonely-queue", "lonely", "k").await;
    assert_eq!(lonely.deliver(&delivery(1)).await.outcome, Outcome::Delivered);
    assert_eq!(drain(channel, "lonely-queue").await, [delivery(1).id.to_string()]);
}

async fn many_attempts_at_a_time_keep_their_order_and_their_own_outcomes(env: &SinkEnv, channel: &Channel) {
    channel.queue_declare("many".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    let sink = sink(env, json!({"exchange": "", "routingKey": "many"}));
    let deliveries: Vec<Delivery> = (0..500).map(delivery).collect();
    let outcomes = join_all(deliveries.iter().map(async |delivery| sink.deliver(delivery).await.outcome)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered));
    let expected: Vec<String> = deliveries.iter().map(|delivery| delivery.id.to_string()).collect();
    assert!(drain(channel, "many").await == expected, "all, in the order of delivery");

    // A durable queue is bound and unbound while messages are under way: it confirms late, what no queue
    // takes comes back at once. Whatever was called delivered is there, whatever was not came back.
    declare(channel, "flicker", ExchangeKind::Topic, true).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("flicker-queue".into(), durable, FieldTable::default()).await.unwrap();
    let sink = self::sink(env, json!({"exchange": "flicker", "routingKey": "k"}));
    let (mut delivered, mut returned) = (0, 0);
    for round in 0..10u64 {
        bind_only(channel, "flicker-queue", "flicker", "k").await;
        let deliveries: Vec<Delivery> = (0..300).map(|n| delivery(1000 * (round + 1) + n)).collect();
        let unbind = async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            let names = ("flicker-queue".into(), "flicker".into());
            channel.queue_unbind(names.0, names.1, "k".into(), FieldTable::default()).await.unwrap();
        };
        let attempts = join_all(deliveries.iter().map(|delivery| async {
            tokio::time::sleep(Duration::from_micros(delivery.id.get() % 512 * 20)).await;
            sink.deliver(delivery).await.outcome
        }));
        let ((), outcomes) = tokio::join!(unbind, attempts);
        let there = drain(channel, "flicker-queue").await;
        for (delivery, outcome) in deliveries.iter().zip(&outcomes) {
            let is_there = there.contains(&delivery.id.to_string());
            assert_eq!(*outcome == Outcome::Delivered, is_there, "{} of round {round}: {outcome:?}", delivery.id);
            *(if is_there { &mut delivered } else { &mut returned }) += 1;
        }
    }
    assert!(delivered > 100 && returned > 100, "both were seen: {delivered} {returned}");
}

async fn trouble_of_one_stream_is_no_trouble_of_another(env: &SinkEnv, channel: &Channel) {
    declare(channel, "short-lived", ExchangeKind::Topic, true).await;
    let troubled = sink(env, json!({"exchange": "short-lived", "routingKey": "k", "mandatory": false}));
    let steady = sink(env, json!({"exchange": "", "routingKey": "many"}));
    for n in 0..3 {
        assert_eq!(troubled.deliver(&delivery(n)).await.outcome, Outcome::Delivered);
        channel.exchange_delete("short-lived".into(), ExchangeDeleteOptions::default()).await.unwrap();
        // The broker closes the channel upon the first; then the exchange is declared anew.
        let before = until_delivered(&*troubled, &delivery(n)).await;
        assert!(before.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{before:?}");
        assert_eq!(steady.deliver(&delivery(n)).await.outcome, Outcome::Delivered);
    }
    assert_eq!(drain(channel, "many").await.len(), 3);
}

async fn a_broker_that_was_away_is_used_again(env: &SinkEnv, rabbit: &mut RabbitServer) {
    let stream = json!({"exchange": "back", "routingKey": "k", "mandatory": false});
    let sink = sink(env, stream);
    assert_eq!(sink.deliver(&delivery(1)).await.outcome, Outcome::Delivered);
    rabbit.kill();
    for n in 0..3 {
        let began = Instant::now();
        let outcome = sink.deliver(&delivery(n)).await.outcome;
        assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let told = tokio::time::timeout(Duration::from_millis(300), sink.recovered()).await;
    assert!(told.is_err(), "it is still away");
    rabbit.restart();
    tokio::time::timeout(SOON, sink.recovered()).await.expect("it is back");
    assert_eq!(sink.deliver(&delivery(1)).await.outcome, Outcome::Delivered);
}

#[actix_web::test]
async fn a_broker_that_accepts_and_says_nothing_is_unreachable_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let env = env(&format!("amqp://{}/%2f", listener.local_addr().unwrap()));
    actix_web::rt::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let sink = sink(&env, json!({"exchange": "e", "routingKey": "k"}));
    let began = Instant::now();
    let outcome = sink.deliver(&delivery(1)).await.outcome;
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
    assert!(began.elapsed() <= sink.timeout() + Duration::from_secs(1));
    env.brokers.close().await;
}
