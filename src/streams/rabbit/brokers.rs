//! One connection a broker and process, shared by the channels of all streams.
//!
//! Connections live on a thread of their own: an arbiter that ends takes none with it. Each has one
//! keeper that connects, watches, and connects again with backoff for as long as the process runs;
//! the client library's own recovery stays off.

use super::super::{Backoff, text::one_line};
use crate::trust::system_pem;
use futures_util::{FutureExt, StreamExt};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

/// Longest wait for a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Waits between attempts to connect: from, to.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How often a connection is looked at whose end was not announced, and whether anybody listens again where nobody did.
const LOOK: Duration = Duration::from_secs(1);
/// Heartbeat in seconds, unless the URL says another: a broker that vanished is noticed in two.
const HEARTBEAT: u16 = 10;
/// Longest farewell to a broker.
const CLOSE: Duration = Duration::from_secs(2);

/// How the connection to a broker is.
#[derive(Debug, Clone)]
enum State {
    /// The first attempt has not ended.
    Connecting,
    Up(Arc<Connection>),
    /// What went wrong last; the next attempt is on its way.
    Down(Arc<str>),
}

/// A broker of the settings.
struct Broker {
    name: String,
    url: String,
    state: watch::Sender<State>,
    /// Starts the keeper with the first stream that needs it.
    keeper: OnceLock<()>,
    /// A user of the connection found it unusable.
    suspect: Notify,
}

struct Inner {
    brokers: BTreeMap<String, Arc<Broker>>,
    /// Of the thread that the connections live on; `None` when it could not be started.
    runtime: OnceLock<Option<tokio::runtime::Handle>>,
    stop: watch::Sender<bool>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Connections to brokers, shared by all sinks of a process. Cloning shares them. Nothing is connected
/// before a stream needs it.
#[derive(Clone)]
pub struct Brokers(Arc<Inner>);

impl Brokers {
    /// The brokers of the settings, by name; the default one is named "".
    pub fn new(urls: &BTreeMap<String, String>) -> Self {
        let broker = |(name, url): (&String, &String)| {
            let (name, url) = (name.clone(), url.clone());
            let (state, keeper) = (watch::Sender::new(State::Connecting), OnceLock::new());
            (name.clone(), Arc::new(Broker { name, url, state, keeper, suspect: Notify::new() }))
        };
        let brokers = urls.iter().map(broker).collect();
        Self(Arc::new(Inner { brokers, runtime: OnceLock::new(), stop: watch::Sender::new(false) }))
    }

    /// The connection to a broker; waits only for the very first attempt.
    ///
    /// # Errors
    /// Why there is none at the moment, one line.
    pub(super) async fn connection(&self, name: &str) -> Result<Arc<Connection>, String> {
        let broker = self.kept(name)?;
        let mut state = broker.state.subscribe();
        loop {
            let seen = state.borrow_and_update().clone();
            match seen {
                State::Up(connection) if connection.status().connected() => return Ok(connection),
                State::Up(_) => return Err("the connection to the broker was lost".into()),
                State::Down(error) => return Err(error.to_string()),
                State::Connecting => {}
            }
            if state.changed().await.is_err() {
                return Err("the hub is shutting down".into());
            }
        }
    }

    /// Whether a broker can be connected to, as the first stream that needs it would.
    ///
    /// # Errors
    /// Why not, one line.
    pub async fn probe(&self, name: &str) -> Result<(), String> {
        self.connection(name).await.map(drop)
    }

    /// A connection for its caller alone, not kept.
    ///
    /// # Errors
    /// Why there is none, one line.
    pub(super) async fn connect_apart(&self, name: &str) -> Result<Connection, String> {
        let url = self.kept(name)?.url.clone();
        let runtime = self.0.runtime.get().and_then(Option::as_ref).ok_or("there is no thread for connections")?;
        let connecting = runtime.spawn(async move { connect(&url).await });
        connecting.await.unwrap_or_else(|_| Err("the hub is shutting down".into()))
    }

    /// Resolves once the broker is connected and takes messages.
    pub(super) async fn recovered(&self, name: &str) {
        let Ok(broker) = self.kept(name) else { return std::future::pending().await };
        let mut state = broker.state.subscribe();
        loop {
            let usable = match &*state.borrow_and_update() {
                State::Up(connection) => connection.status().connected() && !connection.status().blocked(),
                _ => false,
            };
            if usable {
                return;
            }
            // The end of a block is not announced here, hence the second look.
            let _ = tokio::time::timeout(LOOK, state.changed()).await;
        }
    }

    /// Tells that a connection does not answer: it is closed and made anew.
    pub(super) fn suspect(&self, name: &str, connection: &Arc<Connection>) {
        if let Some(broker) = self.0.brokers.get(name)
            && matches!(&*broker.state.borrow(), State::Up(current) if Arc::ptr_eq(current, connection))
        {
            broker.suspect.notify_one();
        }
    }

    /// Closes every connection and ends their thread.
    pub async fn close(&self) {
        self.0.stop.send_replace(true);
        for broker in self.0.brokers.values() {
            let last = broker.state.send_replace(State::Down("the hub is shutting down".into()));
            if let State::Up(connection) = last {
                let _ = tokio::time::timeout(CLOSE, connection.close(200, "shutting down".into())).await;
            }
        }
    }

    /// The broker, with its keeper running.
    fn kept(&self, name: &str) -> Result<&Arc<Broker>, String> {
        let broker = self.0.brokers.get(name).ok_or("the broker is not in the settings any more")?;
        let runtime = self.0.runtime.get_or_init(|| start_thread(self.0.stop.subscribe())).as_ref();
        let runtime = runtime.ok_or("the thread for broker connections could not be started")?;
        broker.keeper.get_or_init(|| {
            runtime.spawn(keep(Arc::clone(broker), self.0.stop.subscribe()));
        });
        Ok(broker)
    }
}

/// The thread of the connections, until `stop`.
fn start_thread(mut stop: watch::Receiver<bool>) -> Option<tokio::runtime::Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.inspect_err(|error| log::error!("no runtime for RabbitMQ: error=\"{error}\"")).ok()?;
    let handle = runtime.handle().clone();
    let run = move || {
        runtime.block_on(async {
            let _ = stop.wait_for(|stop| *stop).await;
            // Keepers and farewells end on this runtime.
            tokio::time::sleep(CLOSE).await;
        });
    };
    let thread = std::thread::Builder::new().name("rabbit".into()).spawn(run);
    thread.inspect_err(|error| log::error!("no thread for RabbitMQ: error=\"{error}\"")).ok()?;
    Some(handle)
}

/// Keeps one broker connected.
async fn keep(broker: Arc<Broker>, mut stop: watch::Receiver<bool>) {
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let until_stop = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let work = async {
        let mut listens = false;
        loop {
            match connect(&broker.url).await {
                Ok(connection) => {
                    backoff.reset();
                    listens = false;
                    log::info!("connected to RabbitMQ: broker={:?}", broker.name);
                    let connection = Arc::new(connection);
                    broker.state.send_replace(State::Up(Arc::clone(&connection)));
                    let error = watch_over(&broker, &connection).await;
                    log::warn!("connection to RabbitMQ lost: broker={:?} error={error:?}", broker.name);
                    broker.state.send_replace(State::Down(error.into()));
                    let _ = tokio::time::timeout(CLOSE, connection.close(200, "unusable".into())).await;
                }
                Err(error) => {
                    if backoff.failures() == 0 {
                        log::warn!("cannot connect to RabbitMQ: broker={:?} error={error:?}", broker.name);
                    }
                    broker.state.send_replace(State::Down(error.into()));
                }
            }
            listens = pause(backoff.next_wait(rand::random()), &broker.url, listens).await;
        }
    };
    tokio::select! {
        () = until_stop => {}
        () = work => {}
    }
}

/// Waits before the next attempt to connect, but no longer than until somebody `listens` where nobody did: a broker that is
/// back need not wait for what it missed while it was away. One that listens and refuses is not asked more often for that.
/// Answers whether somebody listens, as far as is known.
async fn pause(wait: Duration, url: &str, mut listens: bool) -> bool {
    let end = Instant::now() + wait;
    let uri = url.parse::<AMQPUri>().ok();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(LOOK)).await;
        let Some(uri) = uri.as_ref().filter(|_| left > LOOK) else { return listens };
        let dial = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port));
        let before = std::mem::replace(&mut listens, matches!(tokio::time::timeout(LOOK, dial).await, Ok(Ok(_))));
        if listens && !before {
            return true;
        }
    }
}

async fn connect(url: &str) -> Result<Connection, String> {
    let mut uri: AMQPUri = url.parse().map_err(|error| one_line(&format!("the broker's URL: {error}")))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    let properties = ConnectionProperties::default().with_connection_name("event-source-api".into());
    let Ok(runtime) = lapin::runtime::default_runtime() else { return Err("there is no runtime to connect on".into()) };
    let trust = OwnedTLSConfig { identity: None, cert_chain: Some(system_pem()).filter(|pem| !pem.is_empty()) };
    let connecting = Connection::connect_uri_with_config(uri, properties, trust, runtime);
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(one_line(&error.to_string())),
        Err(_) => Err("the broker does not answer".into()),
    }
}

/// Waits until a connection has ended; why.
async fn watch_over(broker: &Broker, connection: &Connection) -> String {
    let mut events = connection.events_listener().fuse();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                // Errors of a channel are told here too; they are its user's business.
                Some(Event::Error(error)) if error.is_amqp_soft_error() => {}
                Some(Event::Error(error)) => return one_line(&error.to_string()),
                Some(Event::ConnectionBlocked(reason)) => {
                    log::warn!("RabbitMQ takes no messages for now: broker={:?} reason={:?}", broker.name, one_line(&reason));
                }
                Some(Event::ConnectionUnblocked) => log::info!("RabbitMQ takes messages again: broker={:?}", broker.name),
                Some(_) => {}
                None => look.tick().map(drop).await,
            },
            () = broker.suspect.notified() => return "the broker does not answer".into(),
            _ = look.tick() => {}
        }
        if !connection.status().connected() {
            return "the connection to the broker was lost".into();
        }
    }
}
