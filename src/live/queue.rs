//! The queue between the BroadcastActor and one session.
//!
//! Not the session's mailbox: actix allocates an envelope a message, and a mailbox is emptied all at once
//! into the session's write buffer, where nothing bounds it any more. This queue holds references to
//! events that all sessions share, costs no allocation a message, and is taken from only as fast as the
//! peer reads. It knows nothing of WebSockets.

use super::messages::{LiveEvent, LiveSettings, Unsubscribe};
use super::{BroadcastActor, Cut, Refused, SessionId, Subscribe};
use crate::event::{EventId, TypeFilter};
use actix::Addr;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Past this many times `live.mailbox` a session is closed at once. Up to there it is given a moment: two
/// batches of a thousand in a row make no reader slow.
const BURST: usize = 8;

/// Why a session's events have come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It did not keep up; what was queued is not worth writing any more.
    TooSlow,
    /// The hub is stopping; what was queued has been taken.
    GoingAway,
}

#[derive(Debug, Default)]
struct Shared {
    /// Events handed over and not yet taken.
    queued: AtomicUsize,
    /// 0, or 1 + the [`Ending`].
    ending: AtomicU8,
}

/// The BroadcastActor's end.
#[derive(Debug)]
pub struct Outbox {
    events: mpsc::Sender<Arc<[LiveEvent]>>,
    shared: Arc<Shared>,
    mailbox: usize,
    /// Events handed over so far.
    handed: Cell<u64>,
}

/// What became of events that were offered to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Queued.
    Taken,
    /// Queued, and now `live.mailbox` or more are waiting: the session has a short while to take some.
    Behind,
    /// Not queued: far more than `live.mailbox` are waiting.
    TooSlow,
    /// Not queued: the session has ended.
    Gone,
}

impl Outbox {
    /// Queues the events of a commit. They are taken whole, however many: what counts is how many were
    /// waiting before.
    pub fn offer(&self, events: &Arc<[LiveEvent]>) -> Offer {
        let before = self.shared.queued.load(Ordering::Relaxed);
        if before >= self.mailbox.saturating_mul(BURST) {
            return Offer::TooSlow;
        }
        // Counted before it can be taken, so that the count never falls below zero.
        self.shared.queued.fetch_add(events.len(), Ordering::Relaxed);
        match self.events.try_send(Arc::clone(events)) {
            Ok(()) => {
                self.handed.set(self.handed.get() + events.len() as u64);
                if before + events.len() >= self.mailbox { Offer::Behind } else { Offer::Taken }
            }
            Err(mpsc::error::TrySendError::Full(_)) => Offer::TooSlow,
            Err(mpsc::error::TrySendError::Closed(_)) => Offer::Gone,
        }
    }

    /// Whether `live.mailbox` or more events are waiting.
    pub fn is_behind(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) >= self.mailbox
    }

    /// Events the session has taken since the beginning.
    pub fn taken(&self) -> u64 {
        self.handed.get().saturating_sub(self.shared.queued.load(Ordering::Relaxed) as u64)
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

/// The session's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Inbox {
    events: mpsc::Receiver<Arc<[LiveEvent]>>,
    shared: Arc<Shared>,
    /// A commit of which only a part has been taken, and how much.
    begun: Option<(Arc<[LiveEvent]>, usize)>,
    /// The last event taken.
    last: Option<EventId>,
    /// Unsubscribes when dropped; `None` in tests of the queue alone.
    _ticket: Option<Ticket>,
}

/// A queue for a session that may have `mailbox` events waiting.
pub fn queue(mailbox: usize) -> (Outbox, Inbox) {
    let mailbox = mailbox.max(1);
    let shared = Arc::new(Shared::default());
    // Every message holds at least one event, so the count of events bites first. The channel allocates
    // as it fills, not its capacity.
    let (tx, rx) = mpsc::channel(mailbox.saturating_mul(BURST).min(1 << 20));
    let outbox = Outbox { events: tx, shared: Arc::clone(&shared), mailbox, handed: Cell::new(0) };
    (outbox, Inbox { events: rx, shared, begun: None, last: None, _ticket: None })
}

impl Inbox {
    /// Subscribes a session, and has it unsubscribed when the inbox is dropped. Every event committed after
    /// the answer comes out of the inbox. `cut` must free the session's socket.
    ///
    /// # Errors
    /// When there are too many sessions, or the hub is stopping.
    pub async fn open(
        broadcast: &Addr<BroadcastActor>,
        settings: &LiveSettings,
        filter: TypeFilter,
        cut: Cut,
    ) -> Result<Self, Refused> {
        let (outbox, mut inbox) = queue(settings.mailbox);
        let id = SessionId::unused();
        // Before the question: whoever gives up waiting for the answer drops it, and unsubscribes.
        inbox._ticket = Some(Ticket { id, broadcast: broadcast.clone() });
        broadcast.send(Subscribe { id, filter, outbox, cut }).await.map_err(|_| Refused::Stopping)??;
        Ok(inbox)
    }

    /// Takes events until about `budget` bytes of JSON have been taken; at least one when there is any.
    /// `Ok` when some were taken, with `true` when it must be asked again for more (with `false` it wakes the
    /// task when there is more); `Err` at the end.
    pub fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        budget: usize,
        mut take: impl FnMut(&LiveEvent),
    ) -> Poll<Result<bool, Ending>> {
        if self.ending() == Some(Ending::TooSlow) {
            return Poll::Ready(Err(Ending::TooSlow));
        }
        let (mut bytes, mut taken) = (0, 0);
        while bytes < budget {
            let (events, from) = match self.begun.take() {
                Some(begun) => begun,
                None => match self.events.poll_recv(cx) {
                    Poll::Ready(Some(events)) => (events, 0),
                    Poll::Pending if taken > 0 => return Poll::Ready(Ok(false)),
                    // What was taken is handed on first; the next call finds the end again.
                    Poll::Ready(None) if taken > 0 => break,
                    other => {
                        ready!(other);
                        return Poll::Ready(Err(self.ending().unwrap_or(Ending::GoingAway)));
                    }
                },
            };
            let mut at = from;
            for event in events.iter().skip(from) {
                if bytes >= budget {
                    break;
                }
                bytes += event.json.len();
                at += 1;
                self.last = Some(event.id);
                take(event);
            }
            taken += at - from;
            self.shared.queued.fetch_sub(at - from, Ordering::Relaxed);
            if at < events.len() {
                self.begun = Some((events, at));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// The cursor after which a session that ends now would go on: the last event taken, else what stands
    /// just before the first one waiting. `None` when there was none.
    pub fn cursor(&mut self) -> Option<u64> {
        if self.last.is_none()
            && let Some(first) = self.events.try_recv().ok().and_then(|events| events.first().map(|e| e.id))
        {
            return Some(first.get().saturating_sub(1));
        }
        self.last.map(EventId::get)
    }

    fn ending(&self) -> Option<Ending> {
        match self.shared.ending.load(Ordering::Acquire) {
            1 => Some(Ending::TooSlow),
            2 => Some(Ending::GoingAway),
            _ => None,
        }
    }
}

/// A subscription that ends when this is dropped, on whatever way the session ends.
#[derive(Debug)]
struct Ticket {
    id: SessionId,
    broadcast: Addr<BroadcastActor>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // One a session, and it must arrive whatever the mailbox holds: a lost one would leak the session.
        #[allow(clippy::disallowed_methods)]
        self.broadcast.do_send(Unsubscribe(self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Position, TypeNo};
    use futures_util::task::noop_waker;

    fn events(n: u64) -> Arc<[LiveEvent]> {
        let ty = TypeNo::new(1).unwrap();
        (0..n).map(|i| LiveEvent { id: EventId::new(ty, Position::new(i)), json: "0123456789".into() }).collect()
    }

    fn take(inbox: &mut Inbox, budget: usize) -> Poll<Result<usize, Ending>> {
        let waker = noop_waker();
        let mut n = 0;
        inbox.poll_take(&mut Context::from_waker(&waker), budget, |_| n += 1).map(|done| done.map(|_| n))
    }

    #[test]
    fn a_commit_larger_than_the_mailbox_reaches_an_idle_session() {
        let (outbox, mut inbox) = queue(4);
        assert_eq!(outbox.offer(&events(1000)), Offer::Behind);
        assert_eq!(outbox.offer(&events(1)), Offer::TooSlow);
        assert_eq!(take(&mut inbox, usize::MAX), Poll::Ready(Ok(1000)));
        assert!(!outbox.is_behind());
        assert_eq!(outbox.offer(&events(1)), Offer::Taken);
    }

    #[test]
    fn a_burst_is_borne_up_to_eight_mailboxes() {
        let (outbox, _inbox) = queue(4);
        let offers: Vec<_> = (0..33).map(|_| outbox.offer(&events(1))).collect();
        assert!(offers[..3].iter().all(|o| *o == Offer::Taken));
        assert!(offers[3..32].iter().all(|o| *o == Offer::Behind));
        assert_eq!(offers[32], Offer::TooSlow);
    }

    #[test]
    fn a_large_commit_is_taken_in_pieces() {
        let (outbox, mut inbox) = queue(4);
        outbox.offer(&events(7));
        outbox.offer(&events(1));
        assert_eq!(take(&mut inbox, 30), Poll::Ready(Ok(3)));
        assert!(outbox.is_behind());
        assert_eq!(take(&mut inbox, 25), Poll::Ready(Ok(3)));
        assert_eq!(take(&mut inbox, 1000), Poll::Ready(Ok(2)));
        assert_eq!(take(&mut inbox, 1000), Poll::Pending);
    }

    #[test]
    fn a_slow_session_hears_it_before_what_is_queued_and_a_closed_one_after() {
        let (outbox, mut inbox) = queue(4);
        outbox.offer(&events(3));
        outbox.end(Ending::TooSlow);
        assert_eq!(take(&mut inbox, 1000), Poll::Ready(Err(Ending::TooSlow)));
        assert_eq!(inbox.cursor(), Some(events(1)[0].id.get() - 1));

        let (outbox, mut inbox) = queue(4);
        assert_eq!(inbox.cursor(), None);
        outbox.offer(&events(3));
        outbox.end(Ending::GoingAway);
        assert_eq!(take(&mut inbox, 1000), Poll::Ready(Ok(3)));
        assert_eq!(inbox.cursor(), Some(events(3)[2].id.get()));
        assert_eq!(take(&mut inbox, 1000), Poll::Ready(Err(Ending::GoingAway)));
    }

    #[test]
    fn a_session_that_has_ended_takes_nothing() {
        let (outbox, inbox) = queue(4);
        drop(inbox);
        assert_eq!(outbox.offer(&events(1)), Offer::Gone);
    }
}
