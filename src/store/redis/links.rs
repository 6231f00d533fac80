//! Commands on their way to whoever serves them: one server, a master behind Sentinel, or many of a cluster.
//!
//! A command is addressed by its [`Route`]. What was certainly not done (it came to the wrong server, or to none) is sent
//! again to the right one; what may have been done is not, for the caller knows best what a repetition means.

use super::address::{Kind, Node};
use super::connection::{Dialer, Link};
use super::masters::Masters;
use super::millis;
use super::slots::Route;
use super::trouble::Trouble;
use super::value::{corrupt, int};
use crate::store::StoreError;
use futures_util::future::join_all;
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// First and longest wait before something that moves is asked for again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// Part of the time-out that replicas may take: a change of the registry waits for them twice.
const REPLICA_SHARE: f64 = 0.4;
/// Times that something is sent on without a pause.
const HOPS: u32 = 3;

/// The links to all masters, for one purpose.
pub(super) struct Links {
    pub(super) masters: Arc<Masters>,
    dialer: Arc<Dialer>,
    links: RwLock<HashMap<Node, Arc<Link>>>,
}

/// How long a caller goes on.
struct Patience {
    end: Instant,
    hops: u32,
    pause: Duration,
}

impl Patience {
    fn new(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, hops: 0, pause: PAUSE.0 }
    }

    /// Waits a little, the longer the more often; not at all the first times when `at_once`. Says no at the end.
    async fn more(&mut self, at_once: bool) -> bool {
        self.hops += 1;
        if !at_once || self.hops > HOPS {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
        Instant::now() < self.end
    }
}

impl Links {
    /// Links that connect when they are first used.
    pub(super) fn new(masters: Arc<Masters>, dialer: Arc<Dialer>) -> Self {
        Self { masters, dialer, links: RwLock::default() }
    }

    /// Runs one command or script.
    pub(super) async fn query(&self, route: Route, cmd: &Cmd) -> Result<Value, StoreError> {
        self.query_from(route, cmd).await.map(|(answer, _)| answer)
    }

    /// Runs one command or script; answers by which connection, too: no two of a store have the same number.
    pub(super) async fn query_from(&self, route: Route, cmd: &Cmd) -> Result<(Value, u64), StoreError> {
        let mut patience = Patience::new(self.dialer.timeout);
        loop {
            let link = self.link(route).await?;
            match link.query_from(cmd).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => self.go_on(route, &link, trouble, &mut patience).await?,
            }
        }
    }

    /// Runs one command or script, and waits until so many replicas have all that its server had then.
    ///
    /// # Errors
    /// Also when they are too few: it has been done all the same, and a failover may lose it.
    pub(super) async fn kept(&self, route: Route, cmd: &Cmd, replicas: u32) -> Result<Value, StoreError> {
        if replicas == 0 {
            return self.query(route, cmd).await;
        }
        // `WAIT` is about what its own connection has seen: the two go together.
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd.clone());
        pipeline.cmd("WAIT").arg(replicas).arg(millis(self.dialer.timeout.mul_f64(REPLICA_SHARE)));
        let mut patience = Patience::new(self.dialer.timeout);
        loop {
            let link = self.link(route).await?;
            let (answer, reached) = match link.pipeline(&pipeline, 2).await.map(<[_; 2]>::try_from) {
                Ok(Ok([answer, reached])) => (answer, reached.ok()),
                Ok(Err(_)) => return Err(corrupt("Redis did not answer for every command")),
                Err(trouble) => (Err(trouble), None),
            };
            match answer {
                // A master that was demoted while it waited has none.
                Ok(answer) => {
                    let reached = reached.and_then(|reached| int(&reached).ok()).unwrap_or(0);
                    if reached >= i64::from(replicas) {
                        return Ok(answer);
                    }
                    let short = format!("{reached} of {replicas} replicas of {} have it", link.node);
                    return Err(StoreError::Unavailable(short));
                }
                Err(trouble) => self.go_on(route, &link, trouble, &mut patience).await?,
            }
        }
    }

    /// Runs commands, in one round trip to each server that is concerned. The first failure is that of all.
    pub(super) async fn pipeline(&self, batch: &[(Route, Cmd)]) -> Result<Vec<Value>, StoreError> {
        self.each(batch).await.into_iter().collect()
    }

    /// Runs commands, in one round trip to each server that is concerned; answers for each.
    pub(super) async fn each(&self, batch: &[(Route, Cmd)]) -> Vec<Result<Value, StoreError>> {
        let mut patience = Patience::new(self.dialer.timeout);
        let mut answers: Vec<Option<Result<Value, StoreError>>> = batch.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..batch.len()).collect();
        while !open.is_empty() {
            let mut again = Vec::new();
            for (link, at, found) in self.round(batch, &open).await {
                let mut failed: Option<(Route, Trouble, Vec<usize>)> = None;
                for (at, answer) in at.into_iter().zip(found) {
                    let (Some(slot), Some((route, _))) = (answers.get_mut(at), batch.get(at)) else { continue };
                    let trouble = match answer {
                        Ok(answer) => {
                            *slot = Some(Ok(answer));
                            continue;
                        }
                        Err(trouble) => trouble,
                    };
                    *slot = Some(Err(trouble.clone().error()));
                    match trouble {
                        Trouble::Refused(_) => {}
                        Trouble::Lost(_) => self.masters.doubt(),
                        // Where it belongs is noted for each; waiting is for all of a server together.
                        Trouble::Moved(ref node) => {
                            self.masters.moved(*route, node.clone());
                            failed.get_or_insert((*route, trouble, Vec::new())).2.push(at);
                        }
                        trouble => failed.get_or_insert((*route, trouble, Vec::new())).2.push(at),
                    }
                }
                if let (Some(link), Some((route, trouble, at))) = (link, failed) {
                    again.push((link, route, trouble, at));
                }
            }
            open.clear();
            for (link, route, trouble, at) in again {
                if self.go_on(route, &link, trouble, &mut patience).await.is_ok() {
                    open.extend(at);
                }
            }
        }
        let none = || Err(StoreError::Unavailable("there was no answer".into()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(none)).collect()
    }

    /// Sends those that are open to where they belong, and takes what is answered.
    #[allow(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
    async fn round(
        &self,
        batch: &[(Route, Cmd)],
        open: &[usize],
    ) -> Vec<(Option<Arc<Link>>, Vec<usize>, Vec<Result<Value, Trouble>>)> {
        let mut groups: Vec<(Result<Arc<Link>, StoreError>, Vec<usize>)> = Vec::new();
        for at in open {
            let Some((route, _)) = batch.get(*at) else { continue };
            let link = self.link(*route).await;
            let same = |(known, _): &&mut (Result<Arc<Link>, StoreError>, Vec<usize>)| match (&link, known) {
                (Ok(link), Ok(known)) => Arc::ptr_eq(link, known),
                _ => false,
            };
            match groups.iter_mut().find(same) {
                Some((_, group)) => group.push(*at),
                None => groups.push((link, vec![*at])),
            }
        }
        let sent = groups.into_iter().map(|(link, group)| async move {
            let all = |trouble: Trouble| group.iter().map(|_| Err(trouble.clone())).collect::<Vec<_>>();
            let link = match link {
                Ok(link) => link,
                Err(error) => return (None, group.clone(), all(Trouble::Refused(error))),
            };
            let mut pipeline = redis::pipe();
            for (_, cmd) in group.iter().filter_map(|at| batch.get(*at)) {
                pipeline.add_command(cmd.clone());
            }
            let answers = link.pipeline(&pipeline, group.len()).await.unwrap_or_else(all);
            (Some(link), group, answers)
        });
        join_all(sent).await
    }

    /// The link to whoever serves a route.
    ///
    /// # Errors
    /// When nobody does.
    pub(super) async fn link(&self, route: Route) -> Result<Arc<Link>, StoreError> {
        let link = self.to(self.masters.of(route).await?);
        // Sentinels are asked at each connect: the master that was may be a replica, or somebody else.
        if link.is_open() || !matches!(self.dialer.address.kind, Kind::Sentinel(_)) {
            return Ok(link);
        }
        self.masters.look(None).await?;
        Ok(self.to(self.masters.of(route).await?))
    }

    fn to(&self, node: Node) -> Arc<Link> {
        if let Some(link) = self.links.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            return Arc::clone(link);
        }
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Link::new(node.clone(), Arc::clone(&self.dialer)));
        Arc::clone(links.entry(node.clone()).or_insert_with(make))
    }

    /// What is to be done before something is sent again.
    ///
    /// # Errors
    /// When it is not to be.
    async fn go_on(
        &self,
        route: Route,
        link: &Link,
        trouble: Trouble,
        patience: &mut Patience,
    ) -> Result<(), StoreError> {
        let at_once = match &trouble {
            Trouble::Again => true,
            Trouble::Moved(node) => {
                self.masters.moved(route, node.clone());
                true
            }
            Trouble::Moving => false,
            Trouble::Away(_) => {
                // Somebody else may have taken over.
                self.masters.look(Some(&link.node)).await?;
                self.tidy();
                if self.masters.slots().master(route) == Some(&link.node) {
                    return Err(trouble.error());
                }
                true
            }
            Trouble::Lost(_) => {
                self.masters.doubt();
                return Err(trouble.error());
            }
            Trouble::Refused(_) => return Err(trouble.error()),
        };
        if patience.more(at_once).await { Ok(()) } else { Err(trouble.error()) }
    }

    /// Ends connections to servers that are no masters any more: who waits on one waits in vain.
    pub(super) fn tidy(&self) {
        let slots = self.masters.slots();
        if !self.masters.can_change() || !slots.is_complete() {
            return;
        }
        let masters = slots.masters();
        self.links.write().unwrap_or_else(PoisonError::into_inner).retain(|node, link| {
            let stays = masters.iter().any(|(_, master)| *master == node);
            if !stays {
                link.cut();
            }
            stays
        });
    }

    /// Tries links to masters that have failed, and answered nothing since.
    ///
    /// # Errors
    /// When one does not answer.
    pub(super) async fn revive(&self) -> Result<(), StoreError> {
        let slots = self.masters.slots();
        let masters = slots.masters();
        let is_master = |node: &Node| masters.iter().any(|(_, master)| *master == node);
        let failed: Vec<_> = {
            let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
            let failed = links.values().filter(|link| !link.failing_for().is_zero() && is_master(&link.node));
            failed.cloned().collect()
        };
        for link in failed {
            link.query(&redis::cmd("PING")).await.map_err(Trouble::error)?;
        }
        Ok(())
    }

    /// Drops all connections; callers that have one finish on it.
    pub(super) fn close(&self) {
        for link in self.links.read().unwrap_or_else(PoisonError::into_inner).values() {
            link.close();
        }
    }
}
