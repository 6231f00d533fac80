//! What is looked at when a Redis is met: whether it can hold what the hub promises.

use super::address::{Address, Kind, Node};
use super::connection::open;
use super::keys::Keys;
use super::trouble::Trouble;
use super::value::store_error;
use crate::store::{StoreError, StoreWarning};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The storage format this version reads and writes; a store with a later one is refused.
const FORMAT: u64 = 1;
/// The oldest Redis with script flags and sharded pub/sub.
const OLDEST: u32 = 7;

/// Servers whose start is remembered.
const MET: usize = 1000;

/// Checks servers. Warnings are given once for each start of a server, refusals every time.
pub(super) struct Greeter {
    keys: Keys,
    address: Address,
    timeout: Duration,
    /// `run_id` of the servers that were warned about.
    met: Mutex<HashSet<String>>,
    /// The storage format was looked at. On a cluster one master alone knows it.
    format_known: AtomicBool,
}

impl Greeter {
    /// For a store under these keys, of servers at this address.
    pub(super) fn new(keys: Keys, address: Address, timeout: Duration) -> Self {
        Self { keys, address, timeout, met: Mutex::default(), format_known: AtomicBool::new(false) }
    }

    /// Checks the server at the other end of a new connection, which was made to `node`.
    ///
    /// # Errors
    /// When it is too old, or holds a newer storage format: nothing may be read or written then.
    pub(super) async fn greet(&self, connection: &mut MultiplexedConnection, node: &Node) -> Result<(), StoreError> {
        let info: String = redis::cmd("INFO").query_async(connection).await.map_err(|e| store_error(&e))?;
        let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let fact = |name: &str| info.get(name).copied().unwrap_or_default();

        let version = fact("redis_version");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            log::error!("Redis is too old: version={version:?} needed=\"{OLDEST}.0\"");
            return Err(StoreError::Unavailable(format!("Redis {version} is too old: {OLDEST}.0 or newer is needed")));
        }
        self.check_format(connection, node).await?;
        let new = {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            if met.len() >= MET {
                met.clear();
            }
            met.insert(fact("run_id").to_owned())
        };
        if new {
            log::info!("connected to Redis: version={version:?} port={}", fact("tcp_port"));
            let config = settings(connection).await;
            for warning in warnings(&info, config.as_ref(), self.address.kind == Kind::Cluster) {
                log::warn!("Redis does not keep what a 202 promises: {warning}");
            }
        }
        Ok(())
    }

    async fn check_format(&self, connection: &mut MultiplexedConnection, node: &Node) -> Result<(), StoreError> {
        let mut other;
        let mut connection = connection;
        let mut asked = node.clone();
        // Where it is on a cluster, a master that serves another part of it says itself.
        for _ in 0..3 {
            match self.look_at_format(connection, &asked).await {
                Err(Trouble::Moved(_)) if self.format_known.load(Ordering::Acquire) => return Ok(()),
                Err(Trouble::Moved(node)) => {
                    other = open(&self.address.client(&node)?, self.timeout).await?;
                    (connection, asked) = (&mut other, node);
                }
                Err(trouble) => return Err(trouble.error()),
                Ok(()) => {
                    self.format_known.store(true, Ordering::Release);
                    return Ok(());
                }
            }
        }
        Err(StoreError::Unavailable("the cluster does not say who serves the registry".into()))
    }

    async fn look_at_format(&self, connection: &mut MultiplexedConnection, asked: &Node) -> Result<(), Trouble> {
        let key = self.keys.format();
        let known: RedisResult<Option<String>> = redis::cmd("GET").arg(&key).query_async(connection).await;
        match known.map_err(|error| Trouble::of(&error, asked))?.map(|known| known.parse::<u64>()) {
            None => {
                let set: RedisResult<()> =
                    redis::cmd("SET").arg(&key).arg(FORMAT).arg("NX").query_async(connection).await;
                // A Redis that is full or read-only takes no events either; it gets its mark when it can.
                set.or_else(|error| match store_error(&error) {
                    StoreError::Full(_) => Ok(()),
                    _ => Err(Trouble::of(&error, asked)),
                })
            }
            Some(Ok(format)) if format <= FORMAT => Ok(()),
            Some(_) => {
                log::error!("Redis holds a newer storage format: key={key:?} known={FORMAT}");
                let newer = format!("{key} names a storage format newer than {FORMAT}");
                Err(Trouble::Refused(StoreError::Corrupt(newer)))
            }
        }
    }
}

/// The settings that matter; `None` where `CONFIG` is not allowed, as with some hosted servers.
async fn settings(connection: &mut MultiplexedConnection) -> Option<HashMap<String, String>> {
    settings_cmd().query_async(connection).await.ok()
}

/// Asks for them.
pub(super) fn settings_cmd() -> redis::Cmd {
    let mut cmd = redis::cmd("CONFIG");
    cmd.arg("GET").arg("appendonly").arg("appendfsync").arg("maxmemory-policy").arg("cluster-require-full-coverage");
    cmd
}

/// What an operator should change.
pub(super) fn warnings(
    info: &HashMap<&str, &str>,
    config: Option<&HashMap<String, String>>,
    cluster: bool,
) -> Vec<StoreWarning> {
    let mut found = Vec::new();
    let mut warn = |setting: &str, is: &str, risk: &str| {
        found.push(StoreWarning { setting: setting.to_owned(), is: is.to_owned(), risk: risk.to_owned() });
    };
    let is = |name: &str| config.and_then(|config| config.get(name)).map(String::as_str);
    let no_file = info.get("aof_enabled").is_some_and(|on| *on == "0");
    if no_file {
        warn("appendonly", "no", "a restart of Redis loses events that were answered with 202: set appendonly yes");
    }
    if !cluster && info.get("cluster_enabled").is_some_and(|on| *on == "1") {
        warn("cluster-enabled", "yes", "a node of a cluster is used as a single server");
    }
    match config {
        None => {
            warn("CONFIG GET", "refused", "appendfsync and maxmemory-policy cannot be checked: check them yourself")
        }
        Some(_) => {
            // How often it is synced makes no difference to a file that is not written.
            if let Some(other) = is("appendfsync").filter(|is| !no_file && *is != "always") {
                let risk = "a crash of Redis loses up to about a second of events answered with 202: where that is too \
                    much, set appendfsync always";
                warn("appendfsync", other, risk);
            }
            if let Some(other) = is("maxmemory-policy").filter(|is| *is != "noeviction") {
                warn("maxmemory-policy", other, "a full Redis throws events away: set maxmemory-policy noeviction");
            }
            if cluster && is("cluster-require-full-coverage") == Some("yes") {
                let risk = "while one master fails over, none takes anything: set cluster-require-full-coverage no";
                warn("cluster-require-full-coverage", "yes", risk);
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
        assert_eq!(warnings(&right, Some(&config("always", "noeviction")), false), []);
        let wrong = HashMap::from([("aof_enabled", "0"), ("cluster_enabled", "0")]);
        let found = warnings(&wrong, Some(&config("everysec", "allkeys-lru")), false);
        let named: Vec<_> = found.iter().map(|warning| warning.setting.as_str()).collect();
        assert_eq!(named, ["appendonly", "maxmemory-policy"]);
        let lazy = warnings(&right, Some(&config("everysec", "noeviction")), false);
        assert!(lazy.len() == 1 && lazy[0].setting == "appendfsync", "{lazy:?}");
        assert_eq!(warnings(&right, None, false).len(), 1);
        let member = HashMap::from([("aof_enabled", "1"), ("cluster_enabled", "1")]);
        let mut config = config("always", "noeviction");
        config.insert("cluster-require-full-coverage".into(), "yes".into());
        assert_eq!(warnings(&member, Some(&config), true).len(), 1);
        assert!(warnings(&member, Some(&config), false)[0].to_string().contains("cluster-enabled"));
    }
}
