//! The live feed: commits of all hubs, as Redis announces them.
//!
//! One task holds a connection of its own, subscribed to the channels of all partitions, and makes it again with
//! backoff when it is lost. Announcements may be missed meanwhile, so [`Live::Interrupted`] is the first thing said on
//! every connection, the very first included, for until then nothing was heard at all.

use super::check::Greeter;
use super::chunk::decode;
use super::keys::{Keys, PARTITIONS};
use super::masters::Masters;
use super::slots::Route;
use super::value::store_error;
use crate::event::{Position, TypeNo};
use crate::store::{Live, LiveRun, StoreError};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

/// Commits that wait for the reader; each holds at most a batch of a partition. Past it commits are dropped, and the
/// reader is told with [`Live::Interrupted`] once it has caught up.
const QUEUE: usize = 1024;
/// First and longest wait between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often a silent connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Makes the task.
pub(super) struct Subscriber {
    masters: Arc<Masters>,
    greeter: Arc<Greeter>,
    keys: Keys,
}

/// Why the task looks up from waiting.
#[derive(Default)]
struct Signals {
    lost: Notify,
    dropped: Notify,
}

impl Subscriber {
    pub(super) fn new(masters: Arc<Masters>, greeter: Arc<Greeter>, keys: Keys) -> Self {
        Self { masters, greeter, keys }
    }

    /// Starts the task; it ends when the feed is dropped.
    pub(super) fn start(self, runtime: &Handle, timeout: Duration) -> (AbortHandle, mpsc::Receiver<Live>) {
        let (sender, feed) = mpsc::channel(QUEUE);
        (runtime.spawn(self.run(sender, timeout)).abort_handle(), feed)
    }

    async fn run(self, feed: mpsc::Sender<Live>, timeout: Duration) {
        let mut wait = BACKOFF.0;
        while !feed.is_closed() {
            let signals = Arc::new(Signals::default());
            match self.subscribe(&feed, &signals, timeout).await {
                Ok(connection) => {
                    log::info!("subscribed to commits: channels={PARTITIONS}");
                    wait = BACKOFF.0;
                    let error = attend(connection, &feed, &signals).await;
                    log::warn!("subscription to commits lost: error={error:?}");
                }
                // Once an outage is enough.
                Err(error) if wait == BACKOFF.0 => log::warn!("cannot subscribe to commits: error=\"{error}\""),
                Err(error) => log::debug!("cannot subscribe to commits: error=\"{error}\""),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACKOFF.1),
                () = feed.closed() => {}
            }
        }
    }

    /// A connection on which every partition's channel is subscribed.
    async fn subscribe(
        &self,
        feed: &mpsc::Sender<Live>,
        signals: &Arc<Signals>,
        timeout: Duration,
    ) -> Result<MultiplexedConnection, StoreError> {
        // Announcements travel beside answers only in the newer protocol.
        let (_, client) = self.masters.client(Route::Registry).await?;
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings)).map_err(|e| store_error(&e))?;
        let (pushed, told) = (feed.clone(), Arc::clone(signals));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_push_sender(move |push: PushInfo| {
                receive(push, &pushed, &told);
                Ok::<(), redis::aio::SendError>(())
            });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.greeter.greet(&mut connection).await?;
        let mut subscribe = redis::pipe();
        for p in 0..PARTITIONS {
            // One channel a command: each is then answered once, like any other command.
            subscribe.cmd("SSUBSCRIBE").arg(self.keys.live(p)).ignore();
        }
        subscribe.query_async::<()>(&mut connection).await.map_err(|e| store_error(&e))?;
        Ok(connection)
    }
}

/// Stays with a connection until it fails; answers why.
async fn attend(mut connection: MultiplexedConnection, feed: &mpsc::Sender<Live>, signals: &Signals) -> String {
    if feed.send(Live::Interrupted).await.is_err() {
        return "the reader is gone".to_owned();
    }
    loop {
        tokio::select! {
            () = feed.closed() => return "the reader is gone".to_owned(),
            () = signals.lost.notified() => return "disconnected".to_owned(),
            () = signals.dropped.notified() => {
                log::warn!("commits were dropped, their reader does not keep up");
                // Waits for room, so the reader has then seen all that was not dropped.
                if feed.send(Live::Interrupted).await.is_err() {
                    return "the reader is gone".to_owned();
                }
            }
            () = tokio::time::sleep(HEARTBEAT) => {
                if let Err(error) = redis::cmd("PING").exec_async(&mut connection).await {
                    return error.to_string();
                }
            }
        }
    }
}

/// Takes what Redis pushes. Runs on the connection's task: it decodes without copying payloads, and never waits.
fn receive(push: PushInfo, feed: &mpsc::Sender<Live>, signals: &Signals) {
    match push.kind {
        PushKind::Disconnection => signals.lost.notify_one(),
        PushKind::SMessage => {
            let Some(Value::BulkString(message)) = push.data.into_iter().nth(1) else { return };
            let Some(runs) = runs(&Bytes::from(message)) else {
                log::error!("a message of commits cannot be understood");
                return;
            };
            if feed.try_send(Live::Commit(runs)).is_err() {
                signals.dropped.notify_one();
            }
        }
        _ => {}
    }
}

/// Reads an announcement, as `redis/append.lua` writes it: for each run the type (2 bytes), the position before it (8),
/// the number of chunks (4), and each chunk with its length (4).
fn runs(message: &Bytes) -> Option<Vec<LiveRun>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let type_no = TypeNo::new(u16::from_be_bytes(take(message, &mut at)?))?;
        let previous = Position::new(u64::from_be_bytes(take(message, &mut at)?));
        let chunks = u32::from_be_bytes(take(message, &mut at)?);
        let mut events = Vec::new();
        for _ in 0..chunks {
            let length = usize::try_from(u32::from_be_bytes(take(message, &mut at)?)).ok()?;
            let end = at.checked_add(length).filter(|end| *end <= message.len())?;
            events.extend(decode(&message.slice(at..end)).ok()?.events);
            at = end;
        }
        runs.push(LiveRun { type_no, previous, events });
    }
    Some(runs)
}

fn take<const N: usize>(message: &[u8], at: &mut usize) -> Option<[u8; N]> {
    let end = at.checked_add(N)?;
    let taken = message.get(*at..end)?.try_into().ok()?;
    *at = end;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::super::chunk::encode;
    use super::*;

    #[test]
    fn an_announcement_is_read_whole_and_damage_is_noticed() {
        let mut message = 7_u16.to_be_bytes().to_vec();
        message.extend(99_u64.to_be_bytes());
        message.extend(1_u32.to_be_bytes());
        let mut chunk = 512_u64.to_be_bytes().to_vec();
        chunk.extend(encode(1, &[Bytes::from_static(b"1"), Bytes::from_static(b"2")]));
        message.extend((chunk.len() as u32).to_be_bytes());
        message.extend(chunk);
        let message = Bytes::from(message);
        let read = runs(&message).unwrap();
        let events = vec![(Position::new(512), Bytes::from("1")), (Position::new(513), Bytes::from("2"))];
        assert_eq!(read, [LiveRun { type_no: TypeNo::new(7).unwrap(), previous: Position::new(99), events }]);
        for length in 1..message.len() {
            assert!(runs(&message.slice(..length)).is_none());
        }
    }
}
