//! The other end of a rabbit stream: exchanges, queues, and a consumer that collects.

use super::wait::{PATIENCE, within};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A connection with a channel.
pub struct Broker {
    connection: Connection,
    channel: Channel,
}

impl Broker {
    /// Connects.
    pub async fn connect(url: &str) -> Self {
        let connect = async {
            loop {
                // The port of a starting broker is open before the broker is, and who comes too early may be
                // left waiting for ever.
                let dial = Connection::connect(url, ConnectionProperties::default());
                match tokio::time::timeout(Duration::from_secs(3), dial).await {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                    Err(_) => {}
                }
            }
        };
        let connection = within(3 * PATIENCE, "a connection to RabbitMQ", connect).await;
        let channel = connection.create_channel().await.expect("a channel");
        Self { connection, channel }
    }

    /// Declares a durable exchange of a kind.
    pub async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declared = self.channel.exchange_declare(name.into(), kind, options, FieldTable::default());
        declared.await.expect("the exchange is declared");
    }

    /// Whether an exchange of that name and kind exists as a durable one.
    pub async fn has_exchange(&self, name: &str) -> bool {
        // A passive declaration that fails closes its channel, so it gets one of its own.
        let channel = self.connection.create_channel().await.expect("a channel");
        let options = ExchangeDeclareOptions { passive: true, durable: true, ..Default::default() };
        let found = channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default()).await;
        found.is_ok()
    }

    /// Declares a durable queue bound to an exchange.
    pub async fn queue(&self, queue: &str, exchange: &str, key: &str) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("the queue is declared");
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.expect("the queue is bound");
    }

    /// How many messages lie in a durable queue, ready to be consumed.
    pub async fn waiting(&self, queue: &str) -> usize {
        let options = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let found = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        found.expect("the queue is there").message_count() as usize
    }

    /// Consumes a queue from now on.
    pub async fn collect(&self, queue: &str) -> Collector {
        let consumer =
            self.channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = consumer.await.expect("the queue is consumed");
        let collector = Collector::default();
        let writer = collector.clone();
        actix_web::rt::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let message = Message {
                    exchange: delivery.exchange.to_string(),
                    routing_key: delivery.routing_key.to_string(),
                    properties: delivery.properties.clone(),
                    body: delivery.data.clone(),
                };
                writer.messages().push(message);
                writer.shared.1.notify_waiters();
                if delivery.ack(BasicAckOptions::default()).await.is_err() {
                    return;
                }
            }
        });
        collector
    }
}

/// A message that arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// Through which exchange.
    pub exchange: String,
    /// With which key.
    pub routing_key: String,
    /// Its properties and headers.
    pub properties: BasicProperties,
    /// The exact bytes.
    pub body: Vec<u8>,
}

impl Message {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a message's body is JSON")
    }

    /// The event's id by the message's properties.
    pub fn id(&self) -> String {
        self.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// What a queue has given so far.
#[derive(Clone, Default)]
pub struct Collector {
    shared: Arc<(Mutex<Vec<Message>>, Notify)>,
}

impl Collector {
    /// In order of arrival.
    pub fn received(&self) -> Vec<Message> {
        self.messages().clone()
    }

    /// Ids of what arrived, each once.
    pub fn ids(&self) -> HashSet<String> {
        self.messages().iter().map(Message::id).collect()
    }

    /// Waits until what has arrived satisfies `enough`.
    pub async fn until_within(&self, limit: Duration, what: &str, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        let wait = async {
            loop {
                let notified = self.shared.1.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if enough(&self.messages()) {
                    return;
                }
                notified.await;
            }
        };
        within(limit, &format!("the queue: {what}"), wait).await;
        self.received()
    }

    /// Waits for `n` messages.
    pub async fn at_least(&self, n: usize) -> Vec<Message> {
        self.until_within(PATIENCE, &format!("{n} messages"), |m| m.len() >= n).await
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
