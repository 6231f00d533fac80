//! A connection that comes back by itself.
//!
//! A [`Link`] is one multiplexed connection to one server. It is made at first use, thrown away when it fails, and made
//! again by the next caller, so that Redis may come and go at any time, also before the hub starts. While Redis is
//! away, callers are told at once: only one of them tries to connect, and a failure is good for [`RETRY`].

use super::address::{Address, Kind, Node};
use super::check::Greeter;
use super::scripts::SCRIPTS;
use super::trouble::Trouble;
use super::value::store_error;
use crate::store::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as PlainMutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

/// For how long a failed attempt to connect answers those that come after it.
const RETRY: Duration = Duration::from_millis(50);
/// Commands that wait for the connection's task before senders wait; the crate's 50 is few for hundreds of requests.
const QUEUE: usize = 1024;

/// What every link of a store is made with.
pub(super) struct Dialer {
    pub(super) address: Address,
    pub(super) greeter: Arc<Greeter>,
    /// Longest wait for a connection, and for an answer.
    pub(super) timeout: Duration,
    /// Where the connections' tasks run. Arbiters come and go; the runtime the store was made on stays.
    pub(super) runtime: Handle,
    /// Connections made so far, to whomever.
    pub(super) made: AtomicU64,
}

/// A connection that nothing was said on yet, with a limit to every wait: shorter than that of who waits, so that what is
/// stuck is noticed here, and made anew.
pub(super) async fn open(client: &Client, timeout: Duration) -> Result<MultiplexedConnection, StoreError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout.mul_f64(0.75)))
        .set_response_timeout(Some(timeout.mul_f64(0.9)))
        .set_pipeline_buffer_size(QUEUE);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    // Whatever is said before a connection stands (too many clients, a wrong password) is about reaching it.
    connecting.await.map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// One multiplexed connection, shared by all callers.
pub(super) struct Link {
    pub(super) node: Node,
    dialer: Arc<Dialer>,
    current: RwLock<Option<Open>>,
    connecting: Mutex<Attempts>,
    /// Since when nothing has been answered.
    failing: PlainMutex<Option<Instant>>,
}

/// A connection in use.
#[derive(Clone)]
struct Open {
    /// Says whether a failure is this connection's: no other of the store has it.
    number: u64,
    connection: MultiplexedConnection,
    /// True once nobody may wait on it any more.
    cut: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct Attempts {
    failed: Option<(Instant, StoreError)>,
}

impl Link {
    /// A link that connects when it is first used.
    pub(super) fn new(node: Node, dialer: Arc<Dialer>) -> Self {
        let (current, connecting) = (RwLock::default(), Mutex::default());
        Self { node, dialer, current, connecting, failing: PlainMutex::default() }
    }

    /// Runs one command or script.
    pub(super) async fn query(&self, cmd: &Cmd) -> Result<Value, Trouble> {
        self.query_from(cmd).await.map(|(answer, _)| answer)
    }

    /// Runs one command or script; answers the connection's number, too.
    pub(super) async fn query_from(&self, cmd: &Cmd) -> Result<(Value, u64), Trouble> {
        let open = self.connection().await?;
        let mut connection = open.connection.clone();
        // On the heap: it is large, and would be moved about with whatever waits for it.
        let answer = self.attend(&open, Box::pin(connection.send_packed_command(cmd))).await?;
        let answer = self.read(&open, answer);
        if matches!(answer, Err(Trouble::Again)) {
            self.load(&open).await?;
        }
        Ok((answer?, open.number))
    }

    /// Runs `count` commands in one round trip; answers for each.
    pub(super) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        count: usize,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let open = self.connection().await?;
        let mut connection = open.connection.clone();
        let answers = self.attend(&open, Box::pin(connection.send_packed_commands(pipeline, 0, count))).await?;
        let found: Vec<_> = answers.into_iter().map(|answer| self.read(&open, answer)).collect();
        if found.iter().any(|answer| matches!(answer, Err(Trouble::Again))) {
            self.load(&open).await?;
        }
        Ok(found)
    }

    /// Waits for an answer, unless the connection is cut.
    async fn attend<T>(&self, open: &Open, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, Trouble> {
        let mut cut = open.cut.subscribe();
        let cut = async move {
            // A sender that is gone has cut nothing.
            if cut.wait_for(|cut| *cut).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            answer = work => answer.map_err(|error| self.failed(open, &error)),
            () = cut => Err(Trouble::Lost(StoreError::Unavailable(format!("the connection to {} was given up", self.node)))),
        }
    }

    fn read(&self, open: &Open, answer: Value) -> Result<Value, Trouble> {
        let answer = answer.extract_error().map_err(|error| self.failed(open, &error))?;
        if let Some(since) = self.failing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            log::info!("Redis answers again: node={} after_ms={}", self.node, since.elapsed().as_millis());
        }
        Ok(answer)
    }

    /// Gives the server its scripts again. When it cannot, what stood beside the call in a pipeline may have been done.
    async fn load(&self, open: &Open) -> Result<(), Trouble> {
        log::warn!("Redis has lost its scripts, they are loaded again: node={}", self.node);
        let loaded = load_scripts(&mut open.connection.clone()).await;
        loaded.map_err(|error| Trouble::Lost(self.failed(open, &error).error()))
    }

    /// For how long it has answered nothing at all.
    pub(super) fn failing_for(&self) -> Duration {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether a connection stands, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Drops the connection; callers that have it finish on it.
    pub(super) fn close(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Nothing came in time: the connection may be stuck.
    pub(super) fn give_up(&self) {
        self.note_failure();
        self.cut();
    }

    /// Drops the connection, and tells those who wait on it that nothing will come.
    pub(super) fn cut(&self) {
        if let Some(open) = self.current.write().unwrap_or_else(PoisonError::into_inner).take() {
            open.cut.send_replace(true);
        }
    }

    async fn connection(&self) -> Result<Open, Trouble> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut attempts = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if let Some((at, error)) = &attempts.failed
            && at.elapsed() < RETRY
        {
            return Err(Trouble::Away(error.clone()));
        }
        match self.connect().await {
            Ok(connection) => {
                attempts.failed = None;
                let number = self.dialer.made.fetch_add(1, Ordering::Relaxed) + 1;
                let open = Open { number, connection, cut: Arc::new(watch::channel(false).0) };
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(open.clone());
                Ok(open)
            }
            Err(error) => {
                if attempts.failed.is_none() {
                    log::warn!(
                        "Redis cannot be reached, the next need tries again: node={} error=\"{error}\"",
                        self.node
                    );
                }
                attempts.failed = Some((Instant::now(), error.clone()));
                self.note_failure();
                Err(Trouble::Away(error))
            }
        }
    }

    fn current(&self) -> Option<Open> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects on the store's own runtime, so that the connection outlives whoever needed it first.
    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let (node, dialer) = (self.node.clone(), Arc::clone(&self.dialer));
        let connecting = self.dialer.runtime.spawn(async move {
            let mut connection = open(&dialer.address.client(&node)?, dialer.timeout).await?;
            if matches!(dialer.address.kind, Kind::Sentinel(_)) {
                check_role(&mut connection, &node).await?;
            }
            dialer.greeter.greet(&mut connection, &node).await?;
            load_scripts(&mut connection).await.map_err(|e| store_error(&e))?;
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the hub is shutting down".into())))
    }

    fn note_failure(&self) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    /// What an error means; one that is the connection's own ends it.
    fn failed(&self, open: &Open, error: &RedisError) -> Trouble {
        let trouble = Trouble::of(error, &self.node);
        // A time-out too: on a silent network the connection would stay stuck until TCP gives up. And one to a master
        // that was demoted: whoever connects anew asks who is master.
        let ends = matches!(trouble, Trouble::Lost(_)) || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if ends {
            self.note_failure();
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|in_use| in_use.number == open.number) {
                *current = None;
                log::warn!("connection to Redis lost: node={} error=\"{error}\"", self.node);
            }
        }
        trouble
    }
}

/// Sentinels may name a server that has not learnt of its promotion, or was master once.
async fn check_role(connection: &mut MultiplexedConnection, node: &Node) -> Result<(), StoreError> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await.map_err(|e| store_error(&e))?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => Err(StoreError::Unavailable(format!("{node} is not a master"))),
    }
}

async fn load_scripts(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut load = redis::pipe();
    for script in SCRIPTS.all() {
        load.cmd("SCRIPT").arg("LOAD").arg(&script.code);
    }
    load.query_async::<Vec<String>>(connection).await.map(drop)
}
