//! The live feed: commits of all hubs, as Redis announces them.
//!
//! One task holds a connection to each server that announces something which is wanted, and none to others. It does
//! what its plan says, and tells the plan what came of it. Where announcements may have been missed (a connection was
//! lost, a channel has moved, the reader does not keep up), [`Live::Interrupted`] is said once they come again.
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | which channel is subscribed where, and what is to be done next: pure |
//! | `servers` | who announces what |
//! | `link` | one connection |
//! | `message` | what is announced |

mod link;
mod message;
mod plan;
mod servers;

pub(super) use servers::Servers;

use super::address::Node;
use super::keys::Keys;
use crate::store::{Live, Partition, Partitions, StoreError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use link::{Ends, Link, Said};
use plan::{Do, LinkNo, Plan};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// Commits that wait for the reader; each holds at most a batch of a partition. Past it commits are dropped, and the
/// reader is told with [`Live::Interrupted`] once it has caught up.
const QUEUE: usize = 1024;
/// How often each connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long nothing at all may be due.
const IDLE: Duration = Duration::from_secs(3600);

/// What is wanted, and what is subscribed. Both change together: what is subscribed and wanted again at the moment
/// when it is taken back is either still there, or not said to be.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    wanted: Partitions,
    /// Among `wanted`.
    on: Partitions,
}

/// What the store's feed is to bring. Sharing it is cheap.
#[derive(Clone, Default)]
pub(super) struct Subscriptions(Arc<watch::Sender<State>>);

impl Subscriptions {
    /// Returns once a partition's channel is subscribed, however long that takes.
    pub(super) async fn listen(&self, partition: Partition) {
        let mut state = self.0.subscribe();
        self.0.send_if_modified(|state| {
            let new = !state.wanted.contains(partition);
            state.wanted.insert(partition);
            new
        });
        // An error would mean that the sender is gone, which is held here.
        let _ = state.wait_for(|state| state.on.contains(partition)).await;
    }

    /// A partition is not wanted any more.
    pub(super) fn ignore(&self, partition: Partition) {
        self.0.send_if_modified(|state| {
            let known = state.wanted.contains(partition);
            state.wanted.remove(partition);
            state.on.remove(partition);
            known
        });
    }
}

/// Does the plan.
pub(super) struct Conductor {
    servers: Arc<Servers>,
    keys: Keys,
    feed: mpsc::Sender<Live>,
    state: Subscriptions,
    plan: Plan<Node>,
    /// Connections that stand.
    links: HashMap<LinkNo, (Node, Link)>,
    /// At most one attempt to find servers, and for each connection what was asked of it.
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    /// A connection has something to say.
    signal: Arc<Notify>,
    /// Of which the reader must be told that something is missing, once it has room.
    owed: Partitions,
    pings: u64,
}

/// What came of something that was done.
enum Event {
    Found(Result<Vec<(Node, Partitions)>, StoreError>),
    Connected(LinkNo, Node, Result<Link, StoreError>),
    Subscribed(LinkNo, Partition, Said),
    /// Of a command that changes nothing here.
    Answered(LinkNo, Said),
}

impl Conductor {
    /// Who brings what `state` wants, and the feed.
    pub(super) fn new(servers: Servers, keys: Keys, state: Subscriptions) -> (Self, mpsc::Receiver<Live>) {
        let (feed, reader) = mpsc::channel(QUEUE);
        let conductor = Self {
            plan: Plan::new(servers.change()),
            servers: Arc::new(servers),
            keys,
            feed,
            state,
            links: HashMap::new(),
            work: FuturesUnordered::new(),
            signal: Arc::default(),
            owed: Partitions::NONE,
            pings: 0,
        };
        (conductor, reader)
    }

    /// Works until the feed is dropped.
    pub(super) async fn run(mut self) {
        let (mut changed, feed) = (self.state.0.subscribe(), self.feed.clone());
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.go_on();
            let now = Instant::now();
            let due = self.plan.due(now).unwrap_or(now + IDLE);
            tokio::select! {
                () = feed.closed() => return,
                _ = changed.changed() => {}
                Some(event) = self.work.next(), if !self.work.is_empty() => self.happened(event),
                () = self.signal.notified() => {}
                // There is room, so the reader has seen all that was not dropped.
                permit = feed.reserve(), if !self.owed.is_empty() => match permit {
                    Ok(permit) => permit.send(Live::Interrupted(std::mem::take(&mut self.owed))),
                    Err(_) => return,
                },
                () = sleep_until(due.into()) => {}
                _ = heartbeat.tick() => self.ping(),
            }
        }
    }

    /// Brings everything up to date.
    fn go_on(&mut self) {
        self.hear();
        let mut wanted = Partitions::NONE;
        self.state.0.send_if_modified(|state| {
            // From here on, what is wanted again is subscribed again.
            wanted = state.wanted;
            state.on = state.on.common(wanted);
            false
        });
        let mut todo = self.plan.want(wanted);
        todo.extend(self.plan.next(Instant::now()));
        todo.into_iter().for_each(|act| self.start(act));
        let on = self.plan.on();
        self.state.0.send_if_modified(|state| {
            let on = on.common(state.wanted);
            std::mem::replace(&mut state.on, on) != on
        });
    }

    /// What connections have seen.
    fn hear(&mut self) {
        let seen: Vec<_> = self.links.iter().map(|(no, (_, link))| (*no, link.signals())).collect();
        for (no, (lost, gone, dropped)) in seen {
            if !dropped.is_empty() && self.owed.is_empty() {
                log::warn!("commits were dropped, their reader does not keep up");
            }
            self.owed = self.owed.with(dropped);
            for partition in gone {
                if self.plan.gone(no, partition, Instant::now()) {
                    log::info!("commits of a partition come from another server now: partition={partition}");
                }
            }
            if lost {
                self.lost(no, "disconnected");
            }
        }
    }

    fn start(&mut self, act: Do<Node>) {
        let work: BoxFuture<'static, Event> = match act {
            Do::Find => {
                let servers = Arc::clone(&self.servers);
                // Every node that is asked has its own time.
                Box::pin(async move { Event::Found(servers.find().await) })
            }
            Do::Connect(no, server) => {
                let servers = Arc::clone(&self.servers);
                let ends = Ends { feed: self.feed.clone(), signal: Arc::clone(&self.signal) };
                Box::pin(async move {
                    let connected = Link::connect(&server, &servers.dialer, ends).await;
                    Event::Connected(no, server, connected)
                })
            }
            Do::Subscribe(no, partition) => {
                let Some((_, mut link)) = self.links.get(&no).cloned() else { return };
                let channel = self.keys.live(partition.get());
                Box::pin(async move { Event::Subscribed(no, partition, link.subscribe(&channel).await) })
            }
            Do::Unsubscribe(no, partition) => {
                let Some((_, mut link)) = self.links.get(&no).cloned() else { return };
                let channel = self.keys.live(partition.get());
                Box::pin(async move { Event::Answered(no, link.unsubscribe(&channel).await) })
            }
            Do::Close(no) => {
                if let Some((server, _)) = self.links.remove(&no) {
                    log::info!("subscription to commits ended, nothing is wanted of it: server={server}");
                }
                return;
            }
        };
        self.work.push(work);
    }

    fn happened(&mut self, event: Event) {
        // What was seen before comes first.
        self.hear();
        let now = Instant::now();
        match event {
            Event::Found(Ok(owners)) => {
                let moved = self.plan.found(owners, now);
                moved.into_iter().for_each(|act| self.start(act));
            }
            Event::Found(Err(error)) => {
                if self.plan.not_found(now) {
                    log::warn!("cannot subscribe to commits, the masters are unknown: error=\"{error}\"");
                }
            }
            Event::Connected(no, server, Ok(link)) => {
                log::info!("subscribed to commits: server={server}");
                self.plan.connected(no);
                self.links.insert(no, (server, link));
            }
            Event::Connected(no, server, Err(error)) => {
                if self.plan.lost(no, now) {
                    log::warn!("cannot subscribe to commits: server={server} error=\"{error}\"");
                }
            }
            Event::Subscribed(no, partition, Said::Done) => {
                if self.plan.subscribed(no, partition) == Some(true) {
                    self.owed.insert(partition);
                }
            }
            Event::Subscribed(no, partition, Said::Refused(reason)) => {
                if self.plan.gone(no, partition, now) {
                    log::warn!("cannot subscribe to commits of a partition: partition={partition} error=\"{reason}\"");
                }
            }
            Event::Answered(_, Said::Done | Said::Refused(_)) => {}
            Event::Subscribed(no, _, Said::Lost(reason)) | Event::Answered(no, Said::Lost(reason)) => {
                self.lost(no, &reason);
            }
        }
    }

    /// Drops a connection.
    fn lost(&mut self, no: LinkNo, reason: &str) {
        if let Some((server, _)) = self.links.remove(&no) {
            self.plan.lost(no, Instant::now());
            log::warn!("subscription to commits lost: server={server} error=\"{reason}\"");
        }
    }

    fn ping(&mut self) {
        for (no, (_, link)) in &self.links {
            self.pings += 1;
            let (no, number, mut link) = (*no, self.pings, link.clone());
            self.work.push(Box::pin(async move { Event::Answered(no, link.ping(number).await) }));
        }
    }
}
