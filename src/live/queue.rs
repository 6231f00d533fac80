//! The queue between the BroadcastActor and one session: the actor's end.
//!
//! Not the session's mailbox: actix allocates an envelope a message, and a mailbox is emptied all at once
//! into the session's write buffer, where nothing bounds it any more. This queue holds references to
//! events that all sessions share, costs no allocation a message, and is taken from only as fast as the
//! peer reads. Nor a channel of tokio's, which takes a kilobyte for a session that never got anything. It
//! knows nothing of WebSockets.

use super::messages::LiveEvent;
use crate::event::{Position, TypeNo};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Room for so many items is kept when the queue is empty.
const KEPT: usize = 16;

/// Why a session's events have come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did not keep up; what was queued is not worth writing any more.
    TooSlow,
    /// The hub is stopping; what was queued has been taken.
    GoingAway,
}

/// What both ends see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Events handed over and not yet taken.
    pub(super) queued: AtomicUsize,
    /// 0, or 1 + the [`Ending`].
    ending: AtomicU8,
    /// Grows whenever the session gets anywhere: what does not grow belongs to a peer that does not read.
    progress: AtomicU64,
    /// The session waits for the store.
    reading: AtomicBool,
    /// Held for a few instructions at a time.
    line: Mutex<Line>,
}

/// What is on its way.
#[derive(Debug, Default)]
struct Line {
    items: VecDeque<Item>,
    /// The session, when it waits for the next one.
    waiting: Option<Waker>,
    /// Nothing more comes.
    closed: bool,
    /// Nobody takes anything any more.
    gone: bool,
}

impl Shared {
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            1 => Some(Ending::TooSlow),
            2 => Some(Ending::GoingAway),
            _ => None,
        }
    }

    /// The session has got somewhere.
    pub(super) fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session begins or ends to wait for the store.
    pub(super) fn set_reading(&self, reading: bool) {
        self.reading.store(reading, Ordering::Relaxed);
    }
}

/// What travels to a session.
#[derive(Debug)]
pub(super) enum Item {
    /// Events committed together. Never empty.
    Events(Arc<[LiveEvent]>),
    /// Nothing more is queued: everything after this is to be read from the store.
    Behind(Box<Stand>),
}

/// Where a session stands when nothing more is queued for it.
#[derive(Debug, Clone)]
pub struct Stand {
    /// Everything of a type up to here has been queued, or was not wanted.
    pub reached: HashMap<TypeNo, Position>,
    /// The same for types that are not there.
    pub floor: Position,
}

/// The BroadcastActor's end.
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
    mailbox: usize,
}

/// The session's end.
#[derive(Debug)]
pub(super) struct Items(Arc<Shared>);

/// What became of events that were offered to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Queued.
    Taken,
    /// Queued, and now `live.mailbox` or more are waiting: the session has a short while to take some.
    Behind,
    /// Not queued: `live.mailbox` or more were waiting already.
    Refused,
    /// Not queued: the session has ended.
    Gone,
}

/// A queue in which `mailbox` events may wait, and one commit more: both ends.
pub(super) fn channel(mailbox: usize) -> (Outbox, Items, Arc<Shared>) {
    let shared = Arc::new(Shared::default());
    (Outbox { shared: Arc::clone(&shared), mailbox: mailbox.max(1) }, Items(Arc::clone(&shared)), shared)
}

impl Items {
    /// The next item; `None` when there are no more, and none will come.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut line = self.0.line();
        if let Some(item) = line.next() {
            return Poll::Ready(Some(item));
        }
        if line.closed {
            return Poll::Ready(None);
        }
        if line.waiting.as_ref().is_none_or(|waiting| !waiting.will_wake(cx.waker())) {
            line.waiting = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The next item, if it is there.
    pub(super) fn try_recv(&mut self) -> Option<Item> {
        self.0.line().next()
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.gone = true;
        let (items, waiting) = (std::mem::take(&mut line.items), line.waiting.take());
        drop(line);
        drop((items, waiting));
    }
}

impl Line {
    fn next(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        item
    }
}

impl Outbox {
    /// Queues the events of a commit. They are taken whole, however many: what counts is how many were
    /// waiting before.
    pub fn offer(&self, events: &Arc<[LiveEvent]>) -> Offer {
        let before = self.shared.queued.load(Ordering::Relaxed);
        if before >= self.mailbox {
            return Offer::Refused;
        }
        // Counted before it can be taken, so that the count never falls below zero.
        self.shared.queued.fetch_add(events.len(), Ordering::Relaxed);
        match self.push(Item::Events(Arc::clone(events))) {
            Offer::Taken if before + events.len() >= self.mailbox => Offer::Behind,
            Offer::Taken => Offer::Taken,
            refused => {
                self.shared.queued.fetch_sub(events.len(), Ordering::Relaxed);
                refused
            }
        }
    }

    /// Says after what was queued that nothing more is. False when there is no room for that, which is never
    /// where nothing is offered afterwards until the session has attached again.
    pub fn stand(&self, stand: Stand) -> bool {
        self.push(Item::Behind(Box::new(stand))) == Offer::Taken
    }

    fn push(&self, item: Item) -> Offer {
        let mut line = self.shared.line();
        if line.gone {
            return Offer::Gone;
        }
        // Every commit holds at least one event, so the count of events bites first; after the last one there is
        // room for saying that there are no more.
        if line.items.len() > self.mailbox {
            return Offer::Refused;
        }
        line.items.push_back(item);
        let waiting = line.waiting.take();
        drop(line);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Offer::Taken
    }

    /// Whether `live.mailbox` or more events are waiting.
    pub fn is_behind(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) >= self.mailbox
    }

    /// A number that grows whenever the session gets anywhere.
    pub fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Whether the session waits for the store rather than for its peer, as far as it knows.
    pub fn is_reading(&self) -> bool {
        self.shared.reading.load(Ordering::Relaxed)
    }

    /// Ends the session's events.
    pub fn end(self, ending: Ending) {
        let code = match ending {
            Ending::TooSlow => 1,
            Ending::GoingAway => 2,
        };
        self.shared.ending.store(code, Ordering::Release);
        // Being dropped wakes the session.
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut line = self.shared.line();
        line.closed = true;
        let waiting = line.waiting.take();
        drop(line);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}
