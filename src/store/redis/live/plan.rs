//! Which channel is subscribed on which server, and what is to be done next about it. Pure: time is a parameter, and
//! what it says is done by others, who tell it what came of it.
//!
//! A channel that is wanted is subscribed on the server that announces it. When that connection is lost, the server
//! says that the channel has moved, or another is found to announce it, the channel is subscribed again, and what may
//! have been missed is owed to the reader. One server's trouble is nothing to the channels of others.

use crate::store::{Partition, Partitions};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// First and longest wait between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often it is looked who announces what, where that may change without a sign.
const REVIEW: Duration = Duration::from_secs(2);

/// A connection's number; never given twice.
pub(super) type LinkNo = u64;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Do<S> {
    /// Find out who announces what.
    Find,
    /// Connect to a server.
    Connect(LinkNo, S),
    /// Subscribe on a connection.
    Subscribe(LinkNo, Partition),
    /// Take a subscription back.
    Unsubscribe(LinkNo, Partition),
    /// Drop a connection.
    Close(LinkNo),
}

/// Grows with each failure.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    wait: Duration,
    /// Nothing before this.
    after: Option<Instant>,
}

impl Backoff {
    const NONE: Self = Self { wait: BACKOFF.0, after: None };

    fn fail(&mut self, now: Instant) {
        self.after = Some(now + self.wait);
        self.wait = (self.wait * 2).min(BACKOFF.1);
    }

    fn allows(&self, now: Instant) -> bool {
        self.after.is_none_or(|after| now >= after)
    }

    /// When it allows something, if it does not yet.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.after.filter(|after| now < *after)
    }
}

#[derive(Debug)]
struct Channel<S> {
    wanted: bool,
    owner: Option<S>,
    at: At,
    /// It was subscribed, and has been wanted ever since: commits may have been missed.
    broken: bool,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Nowhere,
    Asked(LinkNo),
    On(LinkNo),
}

impl At {
    fn link(self) -> Option<LinkNo> {
        match self {
            Self::Nowhere => None,
            Self::Asked(link) | Self::On(link) => Some(link),
        }
    }
}

#[derive(Debug)]
struct Server {
    link: Link,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Connecting(LinkNo),
    Up(LinkNo),
}

/// The state of all subscriptions.
#[derive(Debug)]
pub(super) struct Plan<S> {
    channels: Vec<Channel<S>>,
    servers: HashMap<S, Server>,
    /// Whether who announces what may change.
    changes: bool,
    finding: bool,
    /// Something does not fit what was found last.
    stale: bool,
    find: Backoff,
    /// When it was found last.
    found: Option<Instant>,
    links: LinkNo,
}

impl<S: Clone + Eq + Hash> Plan<S> {
    /// A plan for servers that may change, or not.
    pub(super) fn new(changes: bool) -> Self {
        let channel =
            |_| Channel { wanted: false, owner: None, at: At::Nowhere, broken: false, backoff: Backoff::NONE };
        Self {
            channels: (0..Partition::COUNT).map(channel).collect(),
            servers: HashMap::new(),
            changes,
            finding: false,
            stale: true,
            find: Backoff::NONE,
            found: None,
            links: 0,
        }
    }

    /// These are wanted, and no others. Answers what is to be taken back.
    pub(super) fn want(&mut self, wanted: Partitions) -> Vec<Do<S>> {
        let mut back = Vec::new();
        for (partition, channel) in each(&mut self.channels) {
            if channel.wanted && !wanted.contains(partition) {
                back.extend(channel.at.link().map(|link| Do::Unsubscribe(link, partition)));
                (channel.at, channel.broken, channel.backoff) = (At::Nowhere, false, Backoff::NONE);
            }
            channel.wanted = wanted.contains(partition);
        }
        back
    }

    /// What is subscribed.
    pub(super) fn on(&self) -> Partitions {
        let on = |p: &Partition| matches!(self.channels[p.index()].at, At::On(_));
        Partitions::ALL.into_iter().filter(on).collect()
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Instant) -> Vec<Do<S>> {
        let mut todo = Vec::new();
        if self.must_find(now) && self.find.allows(now) {
            self.finding = true;
            todo.push(Do::Find);
        }
        for (partition, channel) in each(&mut self.channels) {
            let Some(owner) = channel.owner.as_ref().filter(|_| channel.wanted && channel.at == At::Nowhere) else {
                continue;
            };
            let server =
                self.servers.entry(owner.clone()).or_insert(Server { link: Link::Down, backoff: Backoff::NONE });
            match server.link {
                Link::Up(link) if channel.backoff.allows(now) => {
                    channel.at = At::Asked(link);
                    todo.push(Do::Subscribe(link, partition));
                }
                Link::Down if server.backoff.allows(now) => {
                    self.links += 1;
                    server.link = Link::Connecting(self.links);
                    todo.push(Do::Connect(self.links, owner.clone()));
                }
                _ => {}
            }
        }
        // A connection is kept for as long as something may be subscribed on it.
        let channels = &self.channels;
        self.servers.retain(|name, server| {
            let used = channels.iter().any(|channel| {
                let here = matches!(server.link, Link::Up(link) if channel.at.link() == Some(link));
                here || channel.wanted && channel.owner.as_ref() == Some(name)
            });
            if let (false, Link::Up(link)) = (used, server.link) {
                todo.push(Do::Close(link));
            }
            used || matches!(server.link, Link::Connecting(_))
        });
        todo
    }

    fn must_find(&self, now: Instant) -> bool {
        let wanted = || self.channels.iter().any(|channel| channel.wanted);
        let old = || self.changes && self.found.is_none_or(|found| now >= found + REVIEW);
        !self.finding && wanted() && (self.stale || old())
    }

    /// When there is something to be done next, if nothing happens before.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wanted = || self.channels.iter().filter(|channel| channel.wanted);
        wanted().next()?;
        let review = self.found.filter(|_| self.changes).map(|found| found + REVIEW);
        let find = (!self.finding).then(|| self.find.due(now).or(review)).flatten();
        let waiting = wanted().filter(|channel| channel.at == At::Nowhere);
        let retries = waiting.flat_map(|channel| {
            let server = channel.owner.as_ref().and_then(|owner| self.servers.get(owner));
            [channel.backoff.due(now), server.and_then(|server| server.backoff.due(now))]
        });
        retries.flatten().chain(find).min()
    }

    /// It was found out who announces what; nothing is known of the rest.
    pub(super) fn found(&mut self, owners: Vec<(S, Partitions)>, now: Instant) -> Vec<Do<S>> {
        (self.finding, self.stale, self.found) = (false, false, Some(now));
        let mut moved = Vec::new();
        let mut known = Partitions::NONE;
        for (owner, partitions) in owners {
            known = known.with(partitions);
            for partition in partitions {
                let channel = &mut self.channels[partition.index()];
                if channel.owner.as_ref() == Some(&owner) {
                    continue;
                }
                channel.owner = Some(owner.clone());
                moved.extend(channel.at.link().map(|link| Do::Unsubscribe(link, partition)));
                channel.leave();
            }
        }
        // Somebody will have the others soon; where they are subscribed they stay until then.
        self.stale = !Partitions::ALL.within(known);
        if self.stale {
            self.find.fail(now);
        } else {
            self.find = Backoff::NONE;
        }
        moved
    }

    /// It could not be found out. Answers whether it could before.
    pub(super) fn not_found(&mut self, now: Instant) -> bool {
        (self.finding, self.stale) = (false, true);
        let first = self.find.wait == BACKOFF.0;
        self.find.fail(now);
        first
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, link: LinkNo) {
        if let Some(server) = self.server(link) {
            server.link = Link::Up(link);
        }
    }

    /// A connection could not be made, or was lost. Answers whether it had not failed before.
    pub(super) fn lost(&mut self, link: LinkNo, now: Instant) -> bool {
        let Some(server) = self.server(link) else { return false };
        let first = server.backoff.wait == BACKOFF.0;
        server.link = Link::Down;
        server.backoff.fail(now);
        for channel in self.channels.iter_mut().filter(|channel| channel.at.link() == Some(link)) {
            channel.leave();
        }
        // Another may be in its place.
        self.look_again(now);
        first
    }

    /// A channel is subscribed. Answers whether commits may have been missed since it was before; `None` when it is
    /// not wanted there any more.
    pub(super) fn subscribed(&mut self, link: LinkNo, partition: Partition) -> Option<bool> {
        let channel = &mut self.channels[partition.index()];
        if channel.at != At::Asked(link) {
            return None;
        }
        (channel.at, channel.backoff) = (At::On(link), Backoff::NONE);
        let broken = std::mem::take(&mut channel.broken);
        if let Some(server) = self.server(link) {
            server.backoff = Backoff::NONE;
        }
        Some(broken)
    }

    /// A channel is not, or no longer, subscribed on a connection that stands: another server announces it, or none
    /// for now. Answers whether that had not happened before.
    pub(super) fn gone(&mut self, link: LinkNo, partition: Partition, now: Instant) -> bool {
        let channel = &mut self.channels[partition.index()];
        if channel.at.link() != Some(link) {
            return false;
        }
        let first = channel.backoff.wait == BACKOFF.0;
        channel.leave();
        channel.backoff.fail(now);
        self.look_again(now);
        first
    }

    fn look_again(&mut self, now: Instant) {
        // The first look is at once; when it does not help, others follow with growing pauses.
        if !std::mem::replace(&mut self.stale, true) && self.found.is_some_and(|found| now < found + BACKOFF.1) {
            self.find.fail(now);
        }
    }

    fn server(&mut self, link: LinkNo) -> Option<&mut Server> {
        self.servers.values_mut().find(|server| server.link == Link::Connecting(link) || server.link == Link::Up(link))
    }
}

impl<S> Channel<S> {
    fn leave(&mut self) {
        self.broken |= matches!(self.at, At::On(_));
        self.at = At::Nowhere;
    }
}

fn each<S>(channels: &mut [Channel<S>]) -> impl Iterator<Item = (Partition, &mut Channel<S>)> {
    Partitions::ALL.into_iter().zip(channels)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
