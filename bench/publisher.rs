//! A bare publisher to RabbitMQ, which `make bench` compares with: persistent messages, publisher confirms,
//! and never more than a window of messages without one.
//!
//! - `publisher URL prepare EXCHANGE QUEUE`: declares both, binds them, and empties the queue.
//! - `publisher URL publish EXCHANGE COUNT WINDOW`: publishes; prints messages a second.
//! - `publisher URL count QUEUE`: prints how many messages wait in the queue.

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use std::error::Error;
use std::io::Write;
use std::time::Instant;

/// An event as the hub publishes it.
const BODY: &[u8] = br#"{"id":"2332345678901234567","type":"bench:rabbit","payload":{"sent_us":1517483521000000,"text":"abcdefgh"},"created_at":"2018-02-01T11:12:01.000Z"}"#;
const USAGE: &str = "usage: publisher URL prepare EXCHANGE QUEUE | publish EXCHANGE COUNT WINDOW | count QUEUE";

type Failure = Box<dyn Error>;

async fn prepare(channel: &Channel, exchange: &str, queue: &str) -> Result<(), Failure> {
    let exchange_options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Topic;
    channel.exchange_declare(exchange.into(), kind, exchange_options, FieldTable::default()).await?;
    let queue_options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), queue_options, FieldTable::default()).await?;
    let (bind, table) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), "#".into(), bind, table).await?;
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    Ok(())
}

/// The same properties as the hub's, so that the broker has the same to do.
fn properties(number: usize) -> BasicProperties {
    let id = format!("{}", 2_332_345_678_901_234_567_usize + number);
    let mut headers = FieldTable::default();
    headers.insert("event-id".into(), AMQPValue::LongString(id.as_str().into()));
    headers.insert("event-type".into(), AMQPValue::LongString("bench:rabbit".into()));
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(id.into())
        .with_type("bench:rabbit".into())
        .with_timestamp(1_517_483_521)
        .with_headers(headers)
}

async fn publish(channel: &Channel, exchange: &str, count: usize, window: usize) -> Result<f64, Failure> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let mut unconfirmed = FuturesUnordered::new();
    let began = Instant::now();
    let mut sent = 0;
    while sent < count || !unconfirmed.is_empty() {
        while sent < count && unconfirmed.len() < window {
            let confirm =
                channel.basic_publish(exchange.into(), "bench".into(), options, BODY, properties(sent)).await?;
            unconfirmed.push(confirm);
            sent += 1;
        }
        // All confirms that are there, so that what follows them goes out together.
        let mut next = unconfirmed.next().await;
        while let Some(confirm) = next {
            match confirm? {
                Confirmation::Ack(None) => {}
                other => return Err(format!("not taken by the broker: {other:?}").into()),
            }
            next = unconfirmed.next().now_or_never().flatten();
        }
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

#[actix_web::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, command @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    match command {
        ["prepare", exchange, queue] => prepare(&channel, exchange, queue).await?,
        ["publish", exchange, count, window] => {
            let rate = publish(&channel, exchange, count.parse()?, window.parse()?).await?;
            writeln!(std::io::stdout(), "{rate:.1}")?;
        }
        ["count", queue] => {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = channel.queue_declare((*queue).into(), options, FieldTable::default()).await?;
            writeln!(std::io::stdout(), "{}", queue.message_count())?;
        }
        _ => return Err(USAGE.into()),
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
