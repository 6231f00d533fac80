//! Who the masters are: the one server, the one that Sentinels name, or those of a cluster.
//!
//! The crate's own cluster connection is not used: it stops all commands while it looks for a failed master, and repeats
//! some by its own rules. Here only what concerns a failed master waits, and each caller decides what may be repeated.
//!
//! A map is learnt at first use. Answers of `MOVED` correct it, failures have it looked up, and it is looked up once a
//! second anyway, so that those who wait for a master that is silent learn that it is none any more.

use super::address::{Kind, Node};
use super::connection::{Dialer, open};
use super::slots::{Route, Slots};
use super::value::{array, bytes, store_error};
use crate::store::StoreError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Client, Value};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};

/// For how long what was looked up answers those that come after it.
const FRESH: Duration = Duration::from_millis(50);
/// How often it is looked up anyway.
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an opinion.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for those of others, once there is one.
const OTHERS: Duration = Duration::from_millis(100);

/// The masters as this process knows them.
pub(super) struct Masters {
    dialer: Arc<Dialer>,
    slots: RwLock<Arc<Slots>>,
    looking: Mutex<Look>,
    wanted: Notify,
}

/// What a look needs; one at a time.
#[derive(Default)]
struct Look {
    last: Option<(Instant, Result<(), StoreError>)>,
    /// To those that have been asked before.
    connections: HashMap<Node, MultiplexedConnection>,
}

impl Masters {
    /// Knows no masters yet, except where there is one server only.
    pub(super) fn new(dialer: Arc<Dialer>) -> Self {
        let slots = match (&dialer.address.kind, dialer.address.nodes.first()) {
            (Kind::Single, Some(node)) => Slots::sole(node),
            _ => Slots::default(),
        };
        Self { dialer, slots: RwLock::new(Arc::new(slots)), looking: Mutex::default(), wanted: Notify::new() }
    }

    /// Whether partitions are on several servers.
    pub(super) fn are_many(&self) -> bool {
        self.dialer.address.kind == Kind::Cluster
    }

    /// Whether they can change.
    pub(super) fn can_change(&self) -> bool {
        self.dialer.address.kind != Kind::Single
    }

    /// The map in force.
    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The master of a route; looked up when none is known.
    ///
    /// # Errors
    /// When nobody names one.
    pub(super) async fn of(&self, route: Route) -> Result<Node, StoreError> {
        if let Some(node) = self.slots().master(route) {
            return Ok(node.clone());
        }
        self.look(None).await?;
        let none = || StoreError::Unavailable("nobody serves this part of the cluster".into());
        self.slots().master(route).cloned().ok_or_else(none)
    }

    /// A server said who serves a route now.
    pub(super) fn moved(&self, route: Route, node: Node) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.master(route) != Some(&node) {
            log::info!("a slot has moved: route={route:?} to={node}");
            Arc::make_mut(&mut slots).put(route, node);
        }
        drop(slots);
        // It is hardly the only one.
        self.wanted.notify_one();
    }

    /// Has it looked up soon, without waiting for it.
    pub(super) fn doubt(&self) {
        self.wanted.notify_one();
    }

    /// Does again what failed while other masters came to be known, for who was relieved has nothing to say. Only for what
    /// reads: it may have been done. Ends when its caller gives up.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) async fn steadily<T, W>(&self, work: impl Fn() -> W) -> Result<T, StoreError>
    where
        W: Future<Output = Result<T, StoreError>>,
    {
        loop {
            let before = self.slots();
            match work().await {
                Err(_) if !Arc::ptr_eq(&before, &self.slots()) => {}
                answer => return answer,
            }
        }
    }

    /// Waits until it should be looked up.
    pub(super) async fn due(&self) {
        if tokio::time::timeout(EVERY, self.wanted.notified()).await.is_ok() {
            // What was found a moment ago may be the very thing that is doubted.
            tokio::time::sleep(FRESH).await;
        }
    }

    /// Looks up who the masters are. `besides` has just failed: it is asked only if there is nobody else.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) async fn look(&self, besides: Option<&Node>) -> Result<(), StoreError> {
        if !self.can_change() {
            return Ok(());
        }
        let mut look = self.looking.lock().await;
        if let Some((at, result)) = &look.last
            && at.elapsed() < FRESH
        {
            return result.clone();
        }
        let result = match self.find(&mut look.connections, besides).await {
            Ok(found) => {
                let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
                if **slots != found {
                    let names: Vec<String> = found.masters().iter().map(|(_, node)| node.to_string()).collect();
                    log::info!("masters of the Redis Cluster: epoch={} masters={}", found.epoch, names.join(","));
                    *slots = Arc::new(found);
                }
                Ok(())
            }
            Err(error) => {
                if look.last.as_ref().is_none_or(|(_, last)| last.is_ok()) {
                    log::warn!("masters of the Redis Cluster are unknown: error=\"{error}\"");
                }
                Err(error)
            }
        };
        look.last = Some((Instant::now(), result.clone()));
        result
    }

    /// Asks everybody who may know, and takes the opinion of the newest epoch: who was cut off has an old one. Of several
    /// of one epoch that of most: a master that comes back hears of the epoch before it hears that it was relieved.
    async fn find(
        &self,
        connections: &mut HashMap<Node, MultiplexedConnection>,
        besides: Option<&Node>,
    ) -> Result<Slots, StoreError> {
        let address = &self.dialer.address;
        let known = self.slots();
        let mut nodes = address.nodes.clone();
        if address.kind == Kind::Cluster {
            nodes.extend(known.masters().into_iter().map(|(_, node)| node.clone()));
            nodes.sort();
            nodes.dedup();
            if nodes.len() > 1 {
                nodes.retain(|node| Some(node) != besides);
            }
        }
        connections.retain(|node, _| nodes.contains(node));
        let asked = nodes.into_iter().map(|node| {
            let connection = connections.remove(&node);
            async move {
                let answer = self.ask(&node, connection).await;
                (node, answer)
            }
        });
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut error = StoreError::Unavailable("nobody names a master in time".into());
        let (mut opinions, mut all) = (Vec::<(Slots, usize)>::new(), true);
        let mut end = Instant::now() + PATIENCE.min(self.dialer.timeout);
        while let Ok(Some((node, answer))) = tokio::time::timeout_at(end.into(), answers.next()).await {
            match answer {
                Ok((connection, slots)) => {
                    connections.insert(node, connection);
                    if slots.masters().is_empty() {
                        continue;
                    }
                    if slots.epoch >= known.epoch {
                        end = end.min(Instant::now() + OTHERS);
                    }
                    match opinions.iter_mut().find(|(opinion, _)| *opinion == slots) {
                        Some((_, votes)) => *votes += 1,
                        None => opinions.push((slots, 1)),
                    }
                }
                Err(why) => (error, all) = (why, false),
            }
        }
        // Where all of them agree on an old epoch, it is another cluster than it was.
        let all = all && answers.is_empty();
        let best = opinions.into_iter().max_by_key(|(slots, votes)| (slots.epoch, *votes));
        best.map(|(slots, _)| slots).filter(|best| all || best.epoch >= known.epoch).ok_or(error)
    }

    /// One node's opinion.
    async fn ask(
        &self,
        node: &Node,
        connection: Option<MultiplexedConnection>,
    ) -> Result<(MultiplexedConnection, Slots), StoreError> {
        let address = &self.dialer.address;
        let connection = match (connection, &address.kind) {
            (Some(connection), _) => Ok(connection),
            (None, Kind::Sentinel(_)) => self.connect(address.sentinel_client(node)?).await,
            (None, _) => self.connect(address.client(node)?).await,
        };
        let mut connection = connection?;
        let slots = match &address.kind {
            Kind::Sentinel(name) => {
                let mut ask = redis::cmd("SENTINEL");
                ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
                let answer: Value = ask.query_async(&mut connection).await.map_err(|e| store_error(&e))?;
                let mut slots = Slots::sole(&named(answer, node, name)?);
                // A Sentinel that was cut off from the others names the master that was.
                let mut ask = redis::cmd("SENTINEL");
                ask.arg("MASTER").arg(name);
                let facts: Vec<String> = ask.query_async(&mut connection).await.map_err(|e| store_error(&e))?;
                let epoch = facts.chunks_exact(2).find(|fact| fact.first().is_some_and(|name| name == "config-epoch"));
                slots.epoch = epoch.and_then(|fact| fact.last()?.parse().ok()).unwrap_or(0);
                slots
            }
            _ => {
                let mut both = redis::pipe();
                both.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
                let answers: Result<(String, Value), _> = both.query_async(&mut connection).await;
                let (info, slots) = answers.map_err(|error| StoreError::Unavailable(format!("{node}: {error}")))?;
                let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
                let epoch = epoch.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0);
                Slots::read(epoch, slots, node)?
            }
        };
        Ok((connection, slots))
    }

    /// On the store's own runtime: the connection outlives whoever looks.
    async fn connect(&self, client: Client) -> Result<MultiplexedConnection, StoreError> {
        let patience = PATIENCE.min(self.dialer.timeout);
        let connecting = self.dialer.runtime.spawn(async move { open(&client, patience).await });
        connecting.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the hub is shutting down".into())))
    }
}

/// The master that a Sentinel names.
fn named(answer: Value, sentinel: &Node, name: &str) -> Result<Node, StoreError> {
    let mut answer = array(answer)?.into_iter();
    let (Some(host), Some(port)) = (answer.next(), answer.next()) else {
        return Err(StoreError::Unavailable(format!("the Sentinel {sentinel} knows no master {name:?}")));
    };
    let host = String::from_utf8_lossy(&bytes(host)?).into_owned();
    let port = String::from_utf8_lossy(&bytes(port)?).parse();
    port.map(|port| Node { host, port })
        .map_err(|_| StoreError::Unavailable(format!("the Sentinel {sentinel} gave a malformed address")))
}
