//! What a queue gets, and what happens while nobody takes it.

use crate::both_stores;
use crate::support::amqp::Broker;
use crate::support::api::{millis, rabbit, stream_of};
use crate::support::hub::{Hub, Setup};
use crate::support::rabbit::shared;
use crate::support::wait::{PATIENCE, eventually};
use lapin::ExchangeKind;
use lapin::types::AMQPValue;
use serde_json::json;

both_stores!(
    a_queue_gets_the_event_with_its_properties,
    a_missing_exchange_is_declared,
    an_existing_exchange_of_any_kind_is_used,
    an_event_that_no_queue_takes_is_kept,
    without_mandatory_an_event_that_no_queue_takes_is_delivered,
    many_events_arrive_once_each,
    named_brokers_are_used,
    a_trace_is_among_the_headers,
);

/// A name that no other test uses on the shared broker.
fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn start(setup: Setup) -> (Hub, Broker) {
    let url = tokio::task::spawn_blocking(|| shared().url()).await.expect("RabbitMQ starts");
    let broker = Broker::connect(&url).await;
    (setup.set("rabbit.url", url).start().await, broker)
}

async fn a_trace_is_among_the_headers(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let (exchange, queue) = (unique("ex"), unique("q"));
    broker.exchange(&exchange, ExchangeKind::Topic).await;
    broker.queue(&queue, &exchange, "#").await;
    let collected = broker.collect(&queue).await;
    hub.register_with("t", "1h", json!([rabbit("mq", &exchange, "key")])).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("Content-Type", "application/json"), ("traceparent", parent), ("tracestate", "a=1")];
    hub.call("POST", "/api/events/send", &headers, Some(br#"{"type":"t","payload":1}"#)).await.expect(202);
    let message = collected.at_least(1).await.remove(0);
    assert_eq!(message.json()["payload"], 1);
    for (name, wanted) in [("traceparent", parent), ("tracestate", "a=1")] {
        let header = message.properties.headers().as_ref().and_then(|h| h.inner().get(name));
        let Some(AMQPValue::LongString(text)) = header else { panic!("{name} is {header:?}") };
        assert_eq!(text.as_bytes(), wanted.as_bytes(), "{name}");
    }
}

async fn a_queue_gets_the_event_with_its_properties(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let (exchange, queue) = (unique("ex"), unique("q"));
    broker.exchange(&exchange, ExchangeKind::Topic).await;
    broker.queue(&queue, &exchange, "orders.*").await;
    let collected = broker.collect(&queue).await;
    hub.register_with("t:x", "1h", json!([rabbit("mq", &exchange, "orders.new")])).await;
    let payload = r#"{"b":123456789012345678901234567890, "a":"\u00e9"}"#;
    let event = hub.send_raw(&format!(r#"{{"type":"t:x","payload":{payload}}}"#)).await;
    let message = collected.at_least(1).await.remove(0);
    let wanted =
        format!(r#"{{"id":"{}","type":"t:x","payload":{payload},"created_at":"{}"}}"#, event.id, event.created_at);
    assert_eq!(String::from_utf8_lossy(&message.body), wanted);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (exchange.as_str(), "orders.new"));
    let properties = &message.properties;
    assert_eq!(properties.content_type().as_ref().map(ToString::to_string).as_deref(), Some("application/json"));
    assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
    assert_eq!(message.id(), event.id);
    assert_eq!(properties.kind().as_ref().map(ToString::to_string).as_deref(), Some("t:x"));
    let created = millis(&event.created_at) / 1000;
    assert!(properties.timestamp().is_some_and(|at| (at as i64 - created).abs() <= 60), "{properties:?}");
    for (name, wanted) in [("event-id", event.id.as_str()), ("event-type", "t:x")] {
        let header = properties.headers().as_ref().and_then(|h| h.inner().get(name));
        let Some(AMQPValue::LongString(text)) = header else { panic!("{name} is {header:?}") };
        assert_eq!(text.as_bytes(), wanted.as_bytes(), "{name}");
    }
    hub.until_state(&event.id, "mq", "delivered").await;
}

async fn a_missing_exchange_is_declared(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let (exchange, queue) = (unique("new"), unique("q"));
    hub.register_with("t", "1h", json!([rabbit("mq", &exchange, "k")])).await;
    let event = hub.send("t", json!(1)).await;
    eventually(PATIENCE, "the exchange to be declared", || async {
        broker.has_exchange(&exchange).await.then_some(())
    })
    .await;
    broker.queue(&queue, &exchange, "#").await;
    let collected = broker.collect(&queue).await;
    assert_eq!(collected.at_least(1).await[0].id(), event.id, "it was kept until a queue took it");
    // Declared as a durable topic: declaring it so again is no conflict.
    broker.exchange(&exchange, ExchangeKind::Topic).await;
}

async fn an_existing_exchange_of_any_kind_is_used(setup: Setup) {
    let (hub, broker) = start(setup).await;
    for kind in [ExchangeKind::Fanout, ExchangeKind::Direct, ExchangeKind::Headers] {
        let (exchange, queue) = (unique("old"), unique("q"));
        broker.exchange(&exchange, kind.clone()).await;
        broker.queue(&queue, &exchange, "k").await;
        let collected = broker.collect(&queue).await;
        hub.register_with("t", "1h", json!([rabbit(&unique("mq"), &exchange, "k")])).await;
        let event = hub.send("t", json!(1)).await;
        assert_eq!(collected.at_least(1).await[0].id(), event.id, "{kind:?}");
    }
}

async fn an_event_that_no_queue_takes_is_kept(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let (exchange, queue) = (unique("ex"), unique("q"));
    broker.exchange(&exchange, ExchangeKind::Topic).await;
    hub.register_with("t", "1h", json!([rabbit("mq", &exchange, "k")])).await;
    let event = hub.send("t", json!(1)).await;
    eventually(PATIENCE, "the return to show as a failure", || async {
        let seen = stream_of(&hub.event(&event.id).await, "mq")?;
        (seen["state"] == "pending" && seen["last_error"].is_string()).then_some(())
    })
    .await;
    broker.queue(&queue, &exchange, "k").await;
    let collected = broker.collect(&queue).await;
    assert_eq!(collected.at_least(1).await[0].id(), event.id);
    hub.until_state(&event.id, "mq", "delivered").await;
}

async fn without_mandatory_an_event_that_no_queue_takes_is_delivered(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let exchange = unique("ex");
    broker.exchange(&exchange, ExchangeKind::Topic).await;
    let mut stream = rabbit("mq", &exchange, "k");
    stream["mandatory"] = json!(false);
    hub.register_with("t", "1h", json!([stream])).await;
    let event = hub.send("t", json!(1)).await;
    hub.until_state(&event.id, "mq", "delivered").await;
}

async fn many_events_arrive_once_each(setup: Setup) {
    let (hub, broker) = start(setup).await;
    let (exchange, queue) = (unique("ex"), unique("q"));
    broker.exchange(&exchange, ExchangeKind::Direct).await;
    broker.queue(&queue, &exchange, "k").await;
    let collected = broker.collect(&queue).await;
    hub.register_with("t", "1h", json!([rabbit("mq", &exchange, "k")])).await;
    for from in [0, 500, 1000] {
        let batch: Vec<_> = (from..from + 500).map(|n| json!({"type": "t", "payload": n})).collect();
        hub.post("/api/events/send", serde_json::Value::from(batch)).await.expect(202);
    }
    let messages = collected.at_least(1500).await;
    assert_eq!(messages.len(), 1500, "nothing fails, so nothing comes twice");
    assert_eq!(collected.ids().len(), 1500);
}

async fn named_brokers_are_used(setup: Setup) {
    let url = tokio::task::spawn_blocking(|| shared().url()).await.expect("RabbitMQ starts");
    let broker = Broker::connect(&url).await;
    let (exchange, queue) = (unique("ex"), unique("q"));
    broker.exchange(&exchange, ExchangeKind::Direct).await;
    broker.queue(&queue, &exchange, "k").await;
    let collected = broker.collect(&queue).await;
    // The default broker is nowhere: only the named one can have delivered it.
    let setup = setup.set("rabbit.url", "amqp://127.0.0.1:9/%2f").set("rabbit.billing.url", url);
    let hub = setup.start().await;
    let mut stream = rabbit("mq", &exchange, "k");
    stream["broker"] = json!("billing");
    hub.register_with("t", "1h", json!([stream])).await;
    let event = hub.send("t", json!(1)).await;
    assert_eq!(collected.at_least(1).await[0].id(), event.id);
}
