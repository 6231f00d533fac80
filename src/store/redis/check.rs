//! What is looked at when a Redis is met: whether it can hold what the hub promises.

use super::keys::Keys;
use super::value::store_error;
use crate::store::StoreError;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The storage format this version reads and writes; a store with a later one is refused.
const FORMAT: u64 = 1;
/// The oldest Redis with script flags and sharded pub/sub.
const OLDEST: u32 = 7;

/// Servers whose facts are remembered.
const REMEMBERED: usize = 1000;

/// What is known of a server since it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// The port it listens on; its own word, behind whatever stands in between.
    pub port: String,
    /// Replicas that are connected to it.
    pub replicas: u32,
    /// What an operator should change.
    pub warnings: Vec<Warning>,
}

/// A setting of Redis that does not keep what the hub promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its name.
    pub setting: &'static str,
    /// Its value.
    pub is: String,
    /// What may happen, and what to do.
    pub risk: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting={:?} is={:?} risk={:?}", self.setting, self.is, self.risk)
    }
}

/// Checks servers. Warnings are given once for each start of a server, refusals every time.
pub(super) struct Greeter {
    keys: Keys,
    /// `run_id` of the server that was warned about last.
    met: Mutex<String>,
    /// By `run_id`.
    facts: Mutex<BTreeMap<String, ServerFacts>>,
}

impl Greeter {
    /// For a store under these keys.
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, met: Mutex::default(), facts: Mutex::default() }
    }

    /// The servers that were met.
    pub(super) fn facts(&self) -> Vec<ServerFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Checks the server at the other end of a new connection.
    ///
    /// # Errors
    /// When it is too old, or holds a newer storage format: nothing may be read or written then.
    pub(super) async fn greet(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let info: String = redis::cmd("INFO").query_async(connection).await.map_err(|e| store_error(&e))?;
        let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let fact = |name: &str| info.get(name).copied().unwrap_or_default();

        let version = fact("redis_version");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            log::error!("event=redis_too_old version={version:?} needed=\"{OLDEST}.0\"");
            return Err(StoreError::Unavailable(format!("Redis {version} is too old: {OLDEST}.0 or newer is needed")));
        }
        self.check_format(connection).await?;
        let new = {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            let new = *met != fact("run_id");
            fact("run_id").clone_into(&mut met);
            new
        };
        if new {
            log::info!("event=redis_connected version={version:?}");
            let config = settings(connection).await;
            let warnings = warnings(&info, config.as_ref());
            for warning in &warnings {
                log::warn!("event=redis_check {warning}");
            }
            let replicas = fact("connected_slaves").parse().unwrap_or(0);
            let facts = ServerFacts { version: version.into(), port: fact("tcp_port").into(), replicas, warnings };
            let mut known = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(fact("run_id").to_owned(), facts);
        }
        Ok(())
    }

    async fn check_format(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let key = self.keys.format();
        let known: Option<String> =
            redis::cmd("GET").arg(&key).query_async(connection).await.map_err(|e| store_error(&e))?;
        match known.map(|known| known.parse::<u64>()) {
            None => {
                let set: RedisResult<()> =
                    redis::cmd("SET").arg(&key).arg(FORMAT).arg("NX").query_async(connection).await;
                // A Redis that is full or read-only takes no events either; it gets its mark when it can.
                set.or_else(|error| match store_error(&error) {
                    StoreError::Full(_) => Ok(()),
                    other => Err(other),
                })
            }
            Some(Ok(format)) if format <= FORMAT => Ok(()),
            Some(_) => {
                log::error!("event=redis_newer_format key={key:?} known=\"{FORMAT}\"");
                Err(StoreError::Corrupt(format!("{key} names a storage format newer than {FORMAT}")))
            }
        }
    }
}

/// The settings that matter; `None` where `CONFIG` is not allowed, as with some hosted servers.
async fn settings(connection: &mut MultiplexedConnection) -> Option<HashMap<String, String>> {
    let mut cmd = redis::cmd("CONFIG");
    cmd.arg("GET").arg("appendonly").arg("appendfsync").arg("maxmemory-policy");
    cmd.query_async(connection).await.ok()
}

/// What an operator should change, a line each.
fn warnings(info: &HashMap<&str, &str>, config: Option<&HashMap<String, String>>) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |setting: &'static str, is: &str, risk: &'static str| {
        found.push(Warning { setting, is: is.to_owned(), risk });
    };
    let is = |name: &str| config.and_then(|config| config.get(name)).map(String::as_str);
    if info.get("aof_enabled").is_some_and(|on| *on == "0") {
        warn("appendonly", "no", "a restart of Redis loses events that were answered with 202: set appendonly yes");
    }
    if info.get("cluster_enabled").is_some_and(|on| *on == "1") {
        warn("cluster-enabled", "yes", "a node of a cluster is used as a single server");
    }
    match config {
        None => {
            warn("CONFIG GET", "refused", "appendfsync and maxmemory-policy cannot be checked: check them yourself")
        }
        Some(_) => {
            if let Some(other) = is("appendfsync").filter(|is| *is != "always") {
                warn("appendfsync", other, "a crash of Redis loses up to about a second of events answered with 202");
            }
            if let Some(other) = is("maxmemory-policy").filter(|is| *is != "noeviction") {
                warn("maxmemory-policy", other, "a full Redis throws events away: set maxmemory-policy noeviction");
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fsync: &str, policy: &str) -> HashMap<String, String> {
        [("appendfsync", fsync), ("maxmemory-policy", policy)].map(|(k, v)| (k.into(), v.into())).into()
    }

    #[test]
    fn a_right_redis_is_met_in_silence_and_every_fault_is_named() {
        let right = HashMap::from([("aof_enabled", "1"), ("cluster_enabled", "0")]);
        assert_eq!(warnings(&right, Some(&config("always", "noeviction"))), []);
        let wrong = HashMap::from([("aof_enabled", "0"), ("cluster_enabled", "0")]);
        let found = warnings(&wrong, Some(&config("everysec", "allkeys-lru")));
        let named: Vec<_> = found.iter().map(|warning| warning.setting).collect();
        assert_eq!(named, ["appendonly", "appendfsync", "maxmemory-policy"]);
        assert_eq!(warnings(&right, None).len(), 1);
    }
}
