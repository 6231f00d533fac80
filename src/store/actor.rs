//! The StoreActor: many requests, one flush.
//!
//! While one flush is in flight the actor collects what arrives; when the flush ends, everything
//! collected goes out as the next one. Where several servers hold the store, each is a lane of its own with
//! a flush of its own, so that one that is slow or away does not hold up the others; an append that
//! concerns several is split, and answered when all have answered. There is no timer: an idle hub answers at once, a busy one in
//! batches. Requests leave their events in a bounded queue and wait on a oneshot; the actor is told only
//! when it is not going to look anyway, so that its thread is not woken by every request of a busy hub.

use super::{AppendGroup, Appended, Store, StoreError};
use crate::alive::{self, Alive};
use crate::event::TypeNo;
use crate::measure::{COMMITS, SENDS};
use actix::prelude::*;
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most events in one flush: past this Redis' scripts gain nothing and block others for longer.
const MAX_EVENTS: usize = 2000;
/// Most payload bytes in one flush.
const MAX_BYTES: usize = 4 << 20;

/// The answer to an append: one result a group, in order.
pub type AppendReply = Result<Vec<Result<Appended, StoreError>>, StoreError>;

/// Appends that may wait to be told to the actor, one a lane: more lanes than a store has.
const MAILBOX: usize = 1024;

/// Groups of one request and lane, at most one a type.
#[derive(Debug)]
struct Append {
    groups: Vec<AppendGroup>,
    reply: oneshot::Sender<AppendReply>,
}

impl Append {
    fn events(&self) -> usize {
        self.groups.iter().map(|g| g.payloads.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.groups.iter().flat_map(|g| &g.payloads).map(|p| p.len()).sum()
    }
}

/// What requests have handed over and the actor has not taken yet.
#[derive(Debug, Default)]
struct Queue {
    lanes: Vec<Lane>,
    /// Appends in all lanes.
    waiting: usize,
    /// The actor is gone: nobody would answer.
    closed: bool,
}

/// Appends to one server.
#[derive(Debug, Default)]
struct Lane {
    appends: VecDeque<Append>,
    /// The actor will look by itself: it is flushing, or has been told to.
    awake: bool,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Queue>>);

impl Shared {
    // The queue is whole between statements: a panic elsewhere does not make it wrong.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands groups to the StoreActor.
#[derive(Clone)]
pub struct Appender {
    actor: Addr<StoreActor>,
    queue: Shared,
    /// Says which lane a type's appends wait in.
    store: Arc<dyn Store>,
    /// Most appends that may wait; more are refused.
    limit: usize,
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Appender {
    /// Appends groups (at most one a type) and waits until they are durable.
    ///
    /// # Errors
    /// When the store failed for all of them, or too many appends are waiting.
    pub async fn append(&self, groups: Vec<AppendGroup>) -> AppendReply {
        let mut lanes = groups.iter().map(|group| self.store.lane(group.type_no));
        let first = lanes.next().unwrap_or_default();
        if lanes.all(|lane| lane == first) {
            return self.append_in(first, groups).await;
        }
        self.append_apart(groups).await
    }

    /// Appends groups of several lanes; each lane has its own success or failure.
    async fn append_apart(&self, groups: Vec<AppendGroup>) -> AppendReply {
        let count = groups.len();
        let mut lanes: BTreeMap<usize, (Vec<usize>, Vec<AppendGroup>)> = BTreeMap::new();
        for (at, group) in groups.into_iter().enumerate() {
            let (places, of_lane) = lanes.entry(self.store.lane(group.type_no)).or_default();
            places.push(at);
            of_lane.push(group);
        }
        let sent = lanes
            .into_iter()
            .map(|(lane, (places, groups))| async move { (places, self.append_in(lane, groups).await) });
        let mut answers: Vec<Option<Result<Appended, StoreError>>> = (0..count).map(|_| None).collect();
        let mut failed = 0;
        for (places, reply) in join_all(sent).await {
            let mut reply = match reply {
                Ok(answers) => answers.into_iter(),
                Err(error) => {
                    failed += places.len();
                    places.iter().map(|_| Err(error.clone())).collect::<Vec<_>>().into_iter()
                }
            };
            for at in places {
                if let Some(slot) = answers.get_mut(at) {
                    *slot = reply.next();
                }
            }
        }
        let fewer = || Err(StoreError::Corrupt("the store answered fewer groups than it was given".into()));
        let mut answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_or_else(fewer)).collect();
        if failed == count
            && let Some(Err(error)) = answers.pop()
        {
            return Err(error);
        }
        Ok(answers)
    }

    async fn append_in(&self, lane: usize, groups: Vec<AppendGroup>) -> AppendReply {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the hub is shutting down".into());
        let tell = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Err(gone());
            }
            if queue.waiting >= self.limit {
                COMMITS.refused.add(1);
                return Err(StoreError::Unavailable("too many appends are waiting".into()));
            }
            queue.waiting += 1;
            if queue.lanes.len() <= lane {
                queue.lanes.resize_with(lane + 1, Lane::default);
            }
            queue.lanes[lane].appends.push_back(Append { groups, reply });
            !std::mem::replace(&mut queue.lanes[lane].awake, true)
        };
        if tell && self.actor.try_send(Look(lane)).is_err() {
            // Its mailbox takes one of these for each lane at a time, so it can only be closed.
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store actor is gone".into())))
    }
}

/// Something is in the queue of a lane.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Look(usize);

/// Collects appends and flushes them one batch at a time.
pub struct StoreActor {
    store: Arc<dyn Store>,
    queue: Shared,
    /// The lanes that have a flush in flight, and since when.
    flushing: HashMap<usize, Instant>,
    /// Whoever asked to be told once nothing is waiting or in flight.
    drained: Vec<oneshot::Sender<()>>,
}

impl StoreActor {
    /// Starts an actor on this thread's arbiter, with at most `limit` appends waiting.
    pub fn open(store: Arc<dyn Store>, limit: usize) -> (Addr<Self>, Appender) {
        let queue = Shared::default();
        let (flushing, drained) = (HashMap::new(), Vec::new());
        let actor = Self { store: Arc::clone(&store), queue: queue.clone(), flushing, drained }.start();
        (actor.clone(), Appender { actor, queue, store, limit })
    }

    fn flush(&mut self, lane: usize, ctx: &mut Context<Self>) {
        if self.flushing.contains_key(&lane) {
            return;
        }
        let batch = self.next_batch(lane);
        if batch.is_empty() {
            self.tell_drained();
            return;
        }
        let began = Instant::now();
        self.flushing.insert(lane, began);
        let store = Arc::clone(&self.store);
        let flush = async move {
            let (merged, shares) = merge(batch);
            let events = merged.iter().map(|group| group.payloads.len()).sum();
            let types: Vec<_> = merged.iter().map(|group| group.type_no).collect();
            let answer = store.append(merged).await;
            note(began.elapsed(), events, &types, &answer);
            distribute(shares, answer);
        };
        ctx.spawn(flush.into_actor(self).map(move |(), actor, ctx| {
            actor.flushing.remove(&lane);
            actor.flush(lane, ctx);
        }));
    }

    /// Takes what goes into one flush; when that is nothing, the next append has to tell.
    fn next_batch(&mut self, lane: usize) -> Vec<Append> {
        let (mut events, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        let Some(lane) = queue.lanes.get_mut(lane) else { return batch };
        while let Some(next) = lane.appends.front() {
            events += next.events();
            bytes += next.bytes();
            if !batch.is_empty() && (events > MAX_EVENTS || bytes > MAX_BYTES) {
                break;
            }
            batch.extend(lane.appends.pop_front());
        }
        lane.awake = !batch.is_empty();
        queue.waiting -= batch.len();
        COMMITS.waiting.set(queue.waiting);
        batch
    }

    /// Tells those who wait for it that nothing is waiting or in flight.
    fn tell_drained(&mut self) {
        if self.flushing.is_empty() && self.queue.lock().waiting == 0 {
            for waiter in self.drained.drain(..) {
                let _ = waiter.send(());
            }
        }
    }
}

impl Drop for StoreActor {
    /// Whoever still waits is told at once that nobody will answer.
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.lanes.clear();
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Look> for StoreActor {
    type Result = ();

    fn handle(&mut self, Look(lane): Look, ctx: &mut Self::Context) {
        self.flush(lane, ctx);
    }
}

/// Asks to be told once everything appended before has been answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain(pub oneshot::Sender<()>);

impl Handler<Drain> for StoreActor {
    type Result = ();

    fn handle(&mut self, drain: Drain, ctx: &mut Self::Context) {
        self.drained.push(drain.0);
        let lanes = self.queue.lock().lanes.len();
        for lane in 0..lanes {
            self.flush(lane, ctx);
        }
        self.tell_drained();
    }
}

impl Handler<Alive> for StoreActor {
    type Result = Result<(), String>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        match self.flushing.values().map(Instant::elapsed).max() {
            Some(time) if time > alive::LIMIT => Err(format!("a flush has been under way for {} s", time.as_secs())),
            _ => Ok(()),
        }
    }
}

/// What a request gets of the merged groups: for each of its groups, which merged one and how many
/// payloads from where.
struct Share {
    reply: oneshot::Sender<AppendReply>,
    parts: Vec<(usize, std::ops::Range<usize>)>,
}

/// Joins groups of a type that may share a chunk. Idempotent groups stay alone: their key names exactly
/// their events.
fn merge(batch: Vec<Append>) -> (Vec<AppendGroup>, Vec<Share>) {
    let mut merged: Vec<AppendGroup> = Vec::new();
    let mut open: HashMap<(u16, u64), usize> = HashMap::new();
    let mut shares = Vec::with_capacity(batch.len());
    for append in batch {
        let mut parts = Vec::with_capacity(append.groups.len());
        for group in append.groups {
            let count = group.payloads.len();
            if group.idempotency.is_some() {
                parts.push((merged.len(), 0..count));
                merged.push(group);
                continue;
            }
            let at = *open.entry((group.type_no.get(), group.revision)).or_insert(merged.len());
            if at == merged.len() {
                parts.push((at, 0..count));
                merged.push(group);
            } else {
                let start = merged[at].payloads.len();
                parts.push((at, start..start + count));
                merged[at].payloads.extend(group.payloads);
            }
        }
        shares.push(Share { reply: append.reply, parts });
    }
    (merged, shares)
}

/// Counts a flush and what became of its events.
fn note(took: Duration, events: usize, types: &[TypeNo], answer: &AppendReply) {
    COMMITS.time.time(took);
    COMMITS.size.note(events as u64);
    let mut duplicate = 0;
    let stored = types.iter().zip(answer.iter().flatten()).filter_map(|(ty, group)| match group {
        Ok(Appended::Stored(positions)) => Some((*ty, positions.len() as u64)),
        Ok(Appended::Duplicate(positions)) => {
            duplicate += positions.len();
            None
        }
        // A problem says what became of the others; what is stale is sent again.
        Ok(Appended::KeyReused | Appended::BacklogFull(_) | Appended::Stale(_)) | Err(_) => None,
    });
    SENDS.accept(stored);
    SENDS.duplicate.add(duplicate as u64);
}

fn distribute(shares: Vec<Share>, answer: AppendReply) {
    for Share { reply, parts } in shares {
        let own = match &answer {
            Err(error) => Err(error.clone()),
            Ok(groups) => Ok(parts.into_iter().map(|(at, range)| share_of(groups.get(at), range)).collect()),
        };
        // A requester that has given up gets nothing; its time-out has already said "unknown".
        let _ = reply.send(own);
    }
}

fn share_of(
    group: Option<&Result<Appended, StoreError>>,
    range: std::ops::Range<usize>,
) -> Result<Appended, StoreError> {
    let cut = |positions: &[crate::event::Position]| {
        positions
            .get(range.clone())
            .map(<[_]>::to_vec)
            .ok_or_else(|| StoreError::Corrupt("the store answered fewer positions than it was given events".into()))
    };
    match group {
        None => Err(StoreError::Corrupt("the store answered fewer groups than it was given".into())),
        Some(Err(error)) => Err(error.clone()),
        Some(Ok(Appended::Stored(positions))) => cut(positions).map(Appended::Stored),
        Some(Ok(Appended::Duplicate(positions))) => cut(positions).map(Appended::Duplicate),
        Some(Ok(other)) => Ok(other.clone()),
    }
}
