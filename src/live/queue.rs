//! The queue between the BroadcastActor and one session: the actor's end.
//!
//! Not the session's mailbox: actix allocates an envelope a message, and a mailbox is emptied all at once
//! into the session's write buffer, where nothing bounds it any more. This queue holds references to
//! events that all sessions share, costs no allocation a message, and is taken from only as fast as the
//! peer reads. It knows nothing of WebSockets.

use super::messages::LiveEvent;
use crate::event::{Position, TypeNo};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

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
    items: mpsc::Sender<Item>,
    shared: Arc<Shared>,
    mailbox: usize,
}

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
pub(super) fn channel(mailbox: usize) -> (Outbox, mpsc::Receiver<Item>, Arc<Shared>) {
    let mailbox = mailbox.max(1);
    let shared = Arc::new(Shared::default());
    // Every commit holds at least one event, so the count of events bites first; after the last one there is
    // room for saying that there are no more. The channel allocates as it fills, not its capacity.
    let (tx, rx) = mpsc::channel(mailbox.saturating_add(1).min(1 << 20));
    (Outbox { items: tx, shared: Arc::clone(&shared), mailbox }, rx, shared)
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
        match self.items.try_send(Item::Events(Arc::clone(events))) {
            Ok(()) if before + events.len() >= self.mailbox => Offer::Behind,
            Ok(()) => Offer::Taken,
            Err(error) => {
                self.shared.queued.fetch_sub(events.len(), Ordering::Relaxed);
                match error {
                    mpsc::error::TrySendError::Full(_) => Offer::Refused,
                    mpsc::error::TrySendError::Closed(_) => Offer::Gone,
                }
            }
        }
    }

    /// Says after what was queued that nothing more is. False when there is no room for that, which is never
    /// where nothing is offered afterwards until the session has attached again.
    pub fn stand(&self, stand: Stand) -> bool {
        self.items.try_send(Item::Behind(Box::new(stand))).is_ok()
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
        // Dropping the sender wakes the session.
    }
}
