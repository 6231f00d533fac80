//! A stream's channel: publishes in the order of delivery, awaits confirms together.
//!
//! One task owns the channel. It opens it when there is something to publish, and drops it when the
//! broker closed it or stopped answering; other streams on the connection do not notice.

use super::super::{Delivery, Outcome, Report, Sink, text::one_line};
use super::exchange::{OpenError, open_channel};
use super::{Brokers, Rabbit};
use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ErrorKind};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// Longest attempt: connection, channel, publish and confirm together.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Longest wait for a channel to be opened and its exchange to be there.
const OPEN: Duration = Duration::from_secs(10);
/// Attempts handed over and not yet taken by the task; the stream's `concurrency` is never more.
const QUEUE: usize = 1024;

/// An attempt on its way to the task.
struct Publish {
    delivery: Delivery,
    reply: oneshot::Sender<Outcome>,
}

/// Delivers to one exchange and routing key.
pub(super) struct RabbitSink {
    broker: String,
    brokers: Brokers,
    queue: mpsc::Sender<Publish>,
    shared: Rc<Shared>,
}

/// Between the sink and its task.
#[derive(Default)]
struct Shared {
    /// The channel is being opened: nothing has been sent to the broker yet.
    opening: Cell<bool>,
    /// The connection in use.
    connection: RefCell<Option<Arc<Connection>>>,
    /// An attempt timed out: the channel is to be made anew.
    stuck: Notify,
}

impl RabbitSink {
    /// A sink with its task, which ends when the sink is dropped. On an arbiter only.
    pub fn start(target: Rabbit, brokers: Brokers) -> Self {
        let (queue, attempts) = mpsc::channel(QUEUE);
        let shared = Rc::new(Shared::default());
        let broker = target.broker.clone();
        let publisher = Publisher {
            target,
            brokers: brokers.clone(),
            shared: Rc::clone(&shared),
            open: None,
            unconfirmed: HashMap::new(),
            confirms: FuturesUnordered::new(),
            returned: HashMap::new(),
        };
        actix::spawn(publisher.run(attempts));
        Self { broker, brokers, queue, shared }
    }
}

#[async_trait(?Send)]
impl Sink for RabbitSink {
    async fn deliver(&self, delivery: &Delivery) -> Report {
        let (reply, answer) = oneshot::channel();
        let gone = || Outcome::Retry { error: "the publisher of the stream has ended".into(), after: None };
        let attempt = async {
            // At once where possible: an await could let a later event of the stream pass.
            let sent = match self.queue.try_send(Publish { delivery: delivery.clone(), reply }) {
                Err(mpsc::error::TrySendError::Full(publish)) => self.queue.send(publish).await.is_ok(),
                sent => sent.is_ok(),
            };
            if sent { answer.await.unwrap_or_else(|_| gone()) } else { gone() }
        };
        if let Ok(outcome) = tokio::time::timeout(ATTEMPT, attempt).await {
            return outcome.into();
        }
        if self.shared.opening.get() {
            return Outcome::Unreachable { error: "the broker does not answer".into() }.into();
        }
        if self.shared.connection.borrow().as_ref().is_some_and(|connection| connection.status().blocked()) {
            return blocked().into();
        }
        self.shared.stuck.notify_one();
        let error = format!("no confirm from the broker within {} s", ATTEMPT.as_secs());
        Outcome::Retry { error, after: None }.into()
    }

    fn timeout(&self) -> Duration {
        ATTEMPT
    }

    async fn recovered(&self) {
        self.brokers.recovered(&self.broker).await;
    }
}

/// What came of a publish: whose, and the broker's word.
type Confirm = (String, lapin::Result<Confirmation>);

/// The broker is low on memory or disk and has said so.
fn blocked() -> Outcome {
    Outcome::Unreachable { error: "the broker is not taking messages (connection blocked)".into() }
}

struct Publisher {
    target: Rabbit,
    brokers: Brokers,
    shared: Rc<Shared>,
    /// The channel and its connection.
    open: Option<Open>,
    /// By message id: whoever waits for the confirm.
    unconfirmed: HashMap<String, oneshot::Sender<Outcome>>,
    confirms: FuturesUnordered<LocalBoxFuture<'static, Confirm>>,
    /// Messages that came back and whose confirm is still to come, with the broker's reason.
    returned: HashMap<String, String>,
}

struct Open {
    connection: Arc<Connection>,
    channel: Channel,
}

impl Publisher {
    async fn run(mut self, mut attempts: mpsc::Receiver<Publish>) {
        loop {
            let shared = Rc::clone(&self.shared);
            tokio::select! {
                biased;
                () = shared.stuck.notified() => self.rebuild("the channel is being rebuilt"),
                Some(first) = self.confirms.next(), if !self.confirms.is_empty() => self.confirmed(first),
                attempt = attempts.recv() => match attempt {
                    Some(attempt) => self.publish(attempt, &mut attempts).await,
                    None => return,
                },
            }
        }
    }

    async fn publish(&mut self, attempt: Publish, attempts: &mut mpsc::Receiver<Publish>) {
        // Its sender has given up in the meantime, and will come again.
        if attempt.reply.is_closed() {
            return;
        }
        let channel = match self.channel().await {
            Ok(channel) => channel,
            Err(outcome) => {
                // Whoever waits behind would only hear the same, one time-out later each.
                let _ = attempt.reply.send(outcome.clone());
                while let Ok(next) = attempts.try_recv() {
                    let _ = next.reply.send(outcome.clone());
                }
                return;
            }
        };
        let id = attempt.delivery.id.to_string();
        let confirm = publish(channel, self.target.clone(), attempt.delivery);
        let key = id.clone();
        let mut confirm = async move { (key, confirm.await) }.boxed_local();
        self.unconfirmed.insert(id, attempt.reply);
        // The first poll hands the message to the connection: here, in the order of delivery.
        match futures_util::poll!(&mut confirm) {
            std::task::Poll::Ready(confirm) => self.confirmed(confirm),
            std::task::Poll::Pending => self.confirms.push(confirm),
        }
    }

    /// Settles a confirm and all others that are there.
    ///
    /// The library hangs a returned message on whichever confirm it handles next, and within one
    /// acknowledgement of several in no order at all. So everything that has been resolved is
    /// collected first, and then told apart by message id.
    fn confirmed(&mut self, first: Confirm) {
        let mut batch = vec![first];
        if let Some(open) = &self.open {
            // Asking takes the lock under which the library resolves the confirms of one
            // acknowledgement: after this none of them is half done.
            let _ = open.channel.wait_for_confirms().now_or_never();
        }
        // Twice, for the set yields now and then with more to give.
        for _ in 0..2 {
            while let Some(Some(next)) = self.confirms.next().now_or_never() {
                batch.push(next);
            }
        }
        for (_, answer) in &mut batch {
            if let Ok(Confirmation::Ack(message) | Confirmation::Nack(message)) = answer
                && let Some(message) = message.take()
            {
                self.note_return(&message);
            }
        }
        let mut broken = None;
        for (id, answer) in batch {
            let returned = self.returned.remove(&id);
            let outcome = match (answer, returned) {
                (Ok(_), Some(reason)) => {
                    Outcome::Retry { error: format!("no queue takes the message: {reason}"), after: None }
                }
                (Ok(Confirmation::Ack(_)), None) => Outcome::Delivered,
                (Ok(_), None) => Outcome::Retry { error: "the broker refused the message (nack)".into(), after: None },
                (Err(error), _) => {
                    let outcome = explain(&error);
                    broken = Some(one_line(&error.to_string()));
                    outcome
                }
            };
            if let Some(reply) = self.unconfirmed.remove(&id) {
                let _ = reply.send(outcome);
            }
        }
        if let Some(error) = broken {
            self.rebuild(&error);
        }
    }

    fn note_return(&mut self, message: &BasicReturnMessage) {
        if let Some(id) = message.delivery.properties.message_id() {
            let reason = one_line(&format!("{} {}", message.reply_code, message.reply_text));
            self.returned.insert(id.to_string(), reason);
        }
    }

    /// Gives the channel up; what it had not confirmed has failed.
    fn rebuild(&mut self, why: &str) {
        let lost = match self.open.take() {
            Some(open) if !open.connection.status().connected() => true,
            // Dropping the channel closes it.
            _ => false,
        };
        self.confirms = FuturesUnordered::new();
        self.returned.clear();
        for (_, reply) in self.unconfirmed.drain() {
            let error = why.to_owned();
            let outcome = if lost { Outcome::Unreachable { error } } else { Outcome::Retry { error, after: None } };
            let _ = reply.send(outcome);
        }
    }

    /// The channel in use, or a new one.
    async fn channel(&mut self) -> Result<Channel, Outcome> {
        if let Some(open) = &self.open {
            if open.connection.status().blocked() {
                return Err(blocked());
            }
            if open.channel.status().connected() && open.connection.status().connected() {
                return Ok(open.channel.clone());
            }
            self.rebuild("the channel was closed");
        }
        self.shared.opening.set(true);
        let opened = self.reopen().await;
        self.shared.opening.set(false);
        let open = opened?;
        let channel = open.channel.clone();
        self.shared.connection.replace(Some(Arc::clone(&open.connection)));
        self.open = Some(open);
        Ok(channel)
    }

    async fn reopen(&self) -> Result<Open, Outcome> {
        let connection = self.brokers.connection(&self.target.broker).await;
        let connection = connection.map_err(|error| Outcome::Unreachable { error })?;
        match tokio::time::timeout(OPEN, open_channel(&connection, &self.brokers, &self.target)).await {
            Ok(Ok(channel)) => Ok(Open { connection, channel }),
            Ok(Err(OpenError::Broker(error))) => Err(explain(&error)),
            Ok(Err(OpenError::Type(error))) => Err(Outcome::Retry { error, after: None }),
            Err(_) => {
                self.brokers.suspect(&self.target.broker, &connection);
                Err(Outcome::Unreachable { error: "the broker does not answer".into() })
            }
        }
    }
}

/// What an error of the broker or the library means for an attempt.
fn explain(error: &lapin::Error) -> Outcome {
    let line = one_line(&error.to_string());
    // Errors of a channel are answers to what was sent; all others concern the connection.
    if error.is_amqp_soft_error() || matches!(error.kind(), ErrorKind::InvalidChannelState(..)) {
        Outcome::Retry { error: line, after: None }
    } else {
        Outcome::Unreachable { error: line }
    }
}

async fn publish(channel: Channel, target: Rabbit, delivery: Delivery) -> lapin::Result<Confirmation> {
    let id = delivery.id.to_string();
    let mut headers = FieldTable::default();
    headers.insert("event-id".into(), AMQPValue::LongString(id.as_str().into()));
    headers.insert("event-type".into(), AMQPValue::LongString(delivery.ty.as_str().into()));
    if let Some(trace) = delivery.trace {
        headers.insert("traceparent".into(), AMQPValue::LongString(trace.parent.into()));
        if let Some(state) = trace.state {
            headers.insert("tracestate".into(), AMQPValue::LongString(state.into()));
        }
    }
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(id.into())
        .with_type(delivery.ty.as_str().into())
        .with_timestamp(u64::try_from(delivery.created_at / 1000).unwrap_or(0))
        .with_headers(headers);
    let options = BasicPublishOptions { mandatory: target.mandatory, immediate: false };
    let (exchange, key) = (target.exchange.into(), target.routing_key.into());
    channel.basic_publish(exchange, key, options, &delivery.body, properties).await?.await
}
