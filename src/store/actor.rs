//! The StoreActor: many requests, one flush.
//!
//! While one flush is in flight the actor collects what arrives; when the flush ends, everything
//! collected goes out as the next one. There is no timer: an idle hub answers at once, a busy one in
//! batches. Requests leave their events in a bounded queue and wait on a oneshot; the actor is told only
//! when it is not going to look anyway, so that its thread is not woken by every request of a busy hub.

use super::{AppendGroup, Appended, Store, StoreError};
use crate::alive::{self, Alive};
use crate::measure::{COMMITS, SENDS};
use actix::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most events in one flush: past this Redis' scripts gain nothing and block others for longer.
const MAX_EVENTS: usize = 2000;
/// Most payload bytes in one flush.
const MAX_BYTES: usize = 4 << 20;

/// The answer to an append: one result a group, in order.
pub type AppendReply = Result<Vec<Result<Appended, StoreError>>, StoreError>;

/// Groups of one request, at most one a type.
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
    appends: VecDeque<Append>,
    /// The actor will look by itself: it is flushing, or has been told to.
    awake: bool,
    /// The actor is gone: nobody would answer.
    closed: bool,
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
#[derive(Debug, Clone)]
pub struct Appender {
    actor: Addr<StoreActor>,
    queue: Shared,
    /// Most appends that may wait; more are refused.
    limit: usize,
}

impl Appender {
    /// Appends groups (at most one a type) and waits until they are durable.
    ///
    /// # Errors
    /// When the store failed, or too many appends are waiting.
    pub async fn append(&self, groups: Vec<AppendGroup>) -> AppendReply {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the hub is shutting down".into());
        let tell = {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Err(gone());
            }
            if queue.appends.len() >= self.limit {
                COMMITS.refused.add(1);
                return Err(StoreError::Unavailable("too many appends are waiting".into()));
            }
            queue.appends.push_back(Append { groups, reply });
            !std::mem::replace(&mut queue.awake, true)
        };
        if tell && self.actor.try_send(Look).is_err() {
            // Its mailbox takes one of these at a time, so it can only be closed.
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store actor is gone".into())))
    }
}

/// Something is in the queue.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Look;

/// Collects appends and flushes them one batch at a time.
pub struct StoreActor {
    store: Arc<dyn Store>,
    queue: Shared,
    /// Since when a flush has been in flight.
    flushing: Option<Instant>,
    /// Whoever asked to be told once nothing is waiting or in flight.
    drained: Vec<oneshot::Sender<()>>,
}

impl StoreActor {
    /// Starts an actor on this thread's arbiter, with at most `limit` appends waiting.
    pub fn open(store: Arc<dyn Store>, limit: usize) -> (Addr<Self>, Appender) {
        let queue = Shared::default();
        let actor = Self { store, queue: queue.clone(), flushing: None, drained: Vec::new() }.start();
        (actor.clone(), Appender { actor, queue, limit })
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.flushing.is_some() {
            return;
        }
        let batch = self.next_batch();
        if batch.is_empty() {
            for waiter in self.drained.drain(..) {
                let _ = waiter.send(());
            }
            return;
        }
        let began = Instant::now();
        self.flushing = Some(began);
        let store = Arc::clone(&self.store);
        let flush = async move {
            let (merged, shares) = merge(batch);
            let events = merged.iter().map(|group| group.payloads.len()).sum();
            let answer = store.append(merged).await;
            note(began.elapsed(), events, &answer);
            distribute(shares, answer);
        };
        ctx.spawn(flush.into_actor(self).map(|(), actor, ctx| {
            actor.flushing = None;
            actor.flush(ctx);
        }));
    }

    /// Takes what goes into one flush; when that is nothing, the next append has to tell.
    fn next_batch(&mut self) -> Vec<Append> {
        let (mut events, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut queue = self.queue.lock();
        while let Some(next) = queue.appends.front() {
            events += next.events();
            bytes += next.bytes();
            if !batch.is_empty() && (events > MAX_EVENTS || bytes > MAX_BYTES) {
                break;
            }
            batch.extend(queue.appends.pop_front());
        }
        queue.awake = !batch.is_empty();
        COMMITS.waiting.set(queue.appends.len());
        batch
    }
}

impl Drop for StoreActor {
    /// Whoever still waits is told at once that nobody will answer.
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.appends.clear();
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;
}

impl Handler<Look> for StoreActor {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.flush(ctx);
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
        self.flush(ctx);
    }
}

impl Handler<Alive> for StoreActor {
    type Result = Result<(), String>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        match self.flushing.map(|since| since.elapsed()) {
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
fn note(took: Duration, events: usize, answer: &AppendReply) {
    COMMITS.time.time(took);
    COMMITS.size.note(events as u64);
    let (mut stored, mut duplicate) = (0, 0);
    for group in answer.iter().flatten() {
        match group {
            Ok(Appended::Stored(positions)) => stored += positions.len(),
            Ok(Appended::Duplicate(positions)) => duplicate += positions.len(),
            // A problem says what became of the others.
            Ok(Appended::KeyReused | Appended::BacklogFull(_)) | Err(_) => {}
        }
    }
    SENDS.accepted.add(stored as u64);
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
