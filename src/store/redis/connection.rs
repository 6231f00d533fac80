//! A connection that comes back by itself.
//!
//! A [`Link`] is one multiplexed connection to one server. It is made at first use, thrown away when it fails, and made
//! again by the next caller, so that Redis may come and go at any time, also before the hub starts. While Redis is
//! away, callers are told at once: only one of them tries to connect, and a failure is good for [`RETRY`].

use super::check::Greeter;
use super::scripts::SCRIPTS;
use super::value::store_error;
use crate::store::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

/// For how long a failed attempt to connect answers those that come after it.
const RETRY: Duration = Duration::from_millis(50);
/// Commands that wait for the connection's task before senders wait; the crate's 50 is few for hundreds of requests.
const QUEUE: usize = 1024;

/// One multiplexed connection, shared by all callers.
pub(super) struct Link {
    client: Client,
    greeter: Arc<Greeter>,
    timeout: Duration,
    /// Where the connection's task runs. Arbiters come and go; the runtime the store was made on stays.
    runtime: Handle,
    /// The connection in use and its number, which says whether a failure is this connection's.
    current: RwLock<Option<(u64, MultiplexedConnection)>>,
    connecting: Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// Connections made so far.
    made: u64,
    failed: Option<(Instant, StoreError)>,
}

impl Link {
    /// A link that connects when it is first used.
    pub(super) fn new(client: Client, greeter: Arc<Greeter>, timeout: Duration, runtime: Handle) -> Self {
        let (current, connecting) = (RwLock::default(), Mutex::default());
        Self { client, greeter, timeout, runtime, current, connecting }
    }

    /// Runs one command or script.
    pub(super) async fn query(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        let (number, mut connection) = self.connection().await?;
        let answer = match connection.send_packed_command(cmd).await.and_then(Value::extract_error) {
            Err(error) if lost_scripts(&error) => {
                self.load(&mut connection).await?;
                connection.send_packed_command(cmd).await.and_then(Value::extract_error)
            }
            answer => answer,
        };
        answer.map_err(|error| self.failed(number, &error))
    }

    /// Runs commands in one round trip. They must bear repetition: after a loss of scripts they are sent again.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let (number, mut connection) = self.connection().await?;
        let answer = match pipeline.query_async(&mut connection).await {
            Err(error) if lost_scripts(&error) => {
                self.load(&mut connection).await?;
                pipeline.query_async(&mut connection).await
            }
            answer => answer,
        };
        answer.map_err(|error| self.failed(number, &error))
    }

    /// Drops the connection; callers that have it finish on it.
    pub(super) fn close(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), StoreError> {
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
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                attempts.made += 1;
                attempts.failed = None;
                let current = (attempts.made, connection);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current.clone());
                Ok(current)
            }
            Err(error) => {
                if attempts.failed.is_none() {
                    log::warn!("Redis cannot be reached, the next need tries again: error=\"{error}\"");
                }
                attempts.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects on the store's own runtime, so that the connection outlives whoever needed it first.
    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let (client, greeter, timeout) = (self.client.clone(), Arc::clone(&self.greeter), self.timeout);
        let connecting = self.runtime.spawn(async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                .set_response_timeout(Some(timeout))
                .set_pipeline_buffer_size(QUEUE);
            // Whatever is said before a connection stands (too many clients, a wrong password) is about reaching it.
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            greeter.greet(&mut connection).await?;
            load_scripts(&mut connection).await.map_err(|e| store_error(&e))?;
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the hub is shutting down".into())))
    }

    async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        log::warn!("Redis has lost its scripts, they are loaded again");
        load_scripts(connection).await.map_err(|e| store_error(&e))
    }

    /// What an error means; one that is the connection's own ends it.
    fn failed(&self, number: u64, error: &RedisError) -> StoreError {
        // A time-out too: on a silent network the connection would stay stuck until TCP gives up.
        let ends = error.is_io_error()
            || error.is_unrecoverable_error()
            || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if ends {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|(in_use, _)| *in_use == number) {
                *current = None;
                log::warn!("connection to Redis lost: error=\"{error}\"");
            }
        }
        store_error(error)
    }
}

fn lost_scripts(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

async fn load_scripts(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut load = redis::pipe();
    for script in SCRIPTS.all() {
        load.cmd("SCRIPT").arg("LOAD").arg(&script.code);
    }
    load.query_async::<Vec<String>>(connection).await.map(drop)
}
