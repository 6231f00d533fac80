//! One connection of the live feed: to one server, subscribed to what it announces.

use super::super::address::Node;
use super::super::connection::Dialer;
use super::super::value::store_error;
use super::message::{self, channel_partition};
use super::plan::LinkNo;
use crate::store::{Live, Partition, Partitions, StoreError};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, Value};
use redis::{RedisError, ServerErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc};

/// A connection that stands. Dropping all copies closes it.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    signals: Arc<Signals>,
}

/// What the connection's own task has seen since it was asked last.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The connection is gone.
    lost: AtomicBool,
    /// Channels that the server has taken away.
    gone: AtomicU64,
    /// Channels of which commits were dropped, because the reader does not keep up.
    dropped: AtomicU64,
}

/// What came of a command.
#[derive(Debug)]
pub(super) enum Said {
    /// It was done.
    Done,
    /// The server will not do it: another has the channel, or none, or it is not allowed.
    Refused(String),
    /// There is no answer, or not to this: the connection is good for nothing any more.
    Lost(String),
}

/// Says where a link's signals go.
pub(super) struct Ends {
    /// Commits go here.
    pub(super) feed: mpsc::Sender<Live>,
    /// Told of every other signal.
    pub(super) signal: Arc<Notify>,
}

impl Link {
    /// Connects, and checks the server.
    pub(super) async fn connect(node: &Node, dialer: &Dialer, ends: Ends) -> Result<Self, StoreError> {
        // Announcements travel beside answers only in the newer protocol.
        let info = dialer.address.client(node)?.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|e| store_error(&e))?;
        let signals = Arc::<Signals>::default();
        let told = Arc::clone(&signals);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(dialer.timeout))
            .set_response_timeout(Some(dialer.timeout))
            .set_push_sender(move |push: PushInfo| {
                told.receive(push, &ends);
                Ok::<(), redis::aio::SendError>(())
            });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        dialer.greeter.greet(&mut connection, node).await?;
        Ok(Self { connection, signals })
    }

    /// What has been seen since the last call: whether the connection is gone, which channels were taken away, and
    /// of which commits were dropped.
    pub(super) fn signals(&self) -> (bool, Partitions, Partitions) {
        let take = |bits: &AtomicU64| Partitions::from_bits(bits.swap(0, Ordering::AcqRel));
        (self.signals.lost.load(Ordering::Acquire), take(&self.signals.gone), take(&self.signals.dropped))
    }

    /// Subscribes to a channel.
    pub(super) async fn subscribe(&mut self, channel: &str) -> Said {
        self.change("SSUBSCRIBE", channel, PushKind::SSubscribe).await
    }

    /// Takes a subscription back.
    pub(super) async fn unsubscribe(&mut self, channel: &str) -> Said {
        self.change("SUNSUBSCRIBE", channel, PushKind::SUnsubscribe).await
    }

    // One channel a command: each is then answered once, like any other command.
    async fn change(&mut self, name: &str, channel: &str, answer: PushKind) -> Said {
        let sent = redis::cmd(name).arg(channel).query_async::<Value>(&mut self.connection).await;
        match sent.and_then(Value::extract_error) {
            Ok(Value::Push { kind, data }) if kind == answer && is_first(&data, channel) => Said::Done,
            Ok(other) => Said::Lost(format!("{name} was answered with {other:?}")),
            Err(error) if is_refusal(&error) => Said::Refused(error.to_string()),
            Err(error) => Said::Lost(error.to_string()),
        }
    }

    /// Whether the server answers, and what it answers is the answer to what was asked: a subscription that it takes
    /// away looks like an answer, and would be taken for the one to the command in flight.
    pub(super) async fn ping(&mut self, number: LinkNo) -> Said {
        let number = number.to_string();
        match redis::cmd("PING").arg(&number).query_async::<Value>(&mut self.connection).await {
            Ok(Value::BulkString(answer)) if answer == number.as_bytes() => Said::Done,
            Ok(other) => Said::Lost(format!("PING was answered with {other:?}")),
            Err(error) => Said::Lost(error.to_string()),
        }
    }
}

fn is_first(data: &[Value], channel: &str) -> bool {
    matches!(data.first(), Some(Value::BulkString(name)) if name == channel.as_bytes())
}

/// Whether the server has answered with an error, and is otherwise well.
fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => false,
        ErrorKind::Server(_) | ErrorKind::Extension => true,
        _ => false,
    }
}

impl Signals {
    /// Takes what Redis pushes. Runs on the connection's task: it decodes without copying payloads, and never waits.
    fn receive(&self, push: PushInfo, ends: &Ends) {
        let mut data = push.data.into_iter();
        let mut next = || match data.next() {
            Some(Value::BulkString(bytes)) => Some(bytes),
            _ => None,
        };
        let mark = |bits: &AtomicU64, partition: Partition| {
            bits.fetch_or(Partitions::from(partition).bits(), Ordering::AcqRel);
            ends.signal.notify_one();
        };
        match push.kind {
            PushKind::Disconnection => {
                self.lost.store(true, Ordering::Release);
                ends.signal.notify_one();
            }
            PushKind::SUnsubscribe => {
                if let Some(partition) = next().and_then(|channel| channel_partition(&channel)) {
                    mark(&self.gone, partition);
                }
            }
            PushKind::SMessage => {
                let (Some(channel), Some(message)) = (next(), next()) else { return };
                let partition = channel_partition(&channel);
                let Some(runs) = message::runs(&Bytes::from(message)) else {
                    log::error!("a message of commits cannot be understood");
                    return;
                };
                if let (Err(_), Some(partition)) = (ends.feed.try_send(Live::Commit(runs)), partition) {
                    mark(&self.dropped, partition);
                }
            }
            _ => {}
        }
    }
}
