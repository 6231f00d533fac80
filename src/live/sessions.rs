//! The sessions of this node: who gets what, who is too slow, who is on the way out. Time is a parameter.

use super::fanout::{EncodedRun, Fanout};
use super::queue::{Ending, Offer, Outbox};
use super::{Cut, Refused, SessionId, Subscribe};
use crate::event::{EventType, TypeNo};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a session that has `live.mailbox` or more events queued may take none of them. One on a busy
/// worker needs milliseconds, one whose peer reads on a slow line less than this for a portion, one whose
/// peer does not read for ever.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long a session that was told to go may take before its socket is cut: a peer that never reads jams
/// its session, timers and all, so that nobody but the BroadcastActor can end it.
pub const GRACE: Duration = Duration::from_secs(5);

/// All sessions of this node.
pub struct Sessions {
    limit: usize,
    open: Fanout<Session>,
    /// Sessions with `live.mailbox` or more events queued.
    behind: HashMap<SessionId, Behind>,
    /// Told to go, and still there.
    closing: HashMap<SessionId, Closing>,
    stopping: bool,
    /// Whoever waits until none is left.
    waiters: Vec<oneshot::Sender<()>>,
}

struct Session {
    outbox: Outbox,
    cut: Cut,
}

struct Behind {
    /// When it was last seen to have taken something.
    since: Instant,
    /// How much it had taken then.
    taken: u64,
}

struct Closing {
    deadline: Instant,
    cut: Cut,
}

impl Sessions {
    /// At most `limit` sessions.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            open: Fanout::default(),
            behind: HashMap::new(),
            closing: HashMap::new(),
            stopping: false,
            waiters: Vec::new(),
        }
    }

    /// Sessions that hold a connection, those on their way out included.
    pub fn len(&self) -> usize {
        self.open.len() + self.closing.len()
    }

    /// Takes a session in.
    pub fn subscribe(&mut self, new: Subscribe) -> Result<(), Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.len() >= self.limit {
            return Err(Refused::TooMany);
        }
        self.open.insert(new.id, new.filter, Session { outbox: new.outbox, cut: new.cut });
        Ok(())
    }

    /// A session has ended.
    pub fn unsubscribe(&mut self, id: SessionId) {
        self.open.remove(id);
        self.behind.remove(&id);
        self.closing.remove(&id);
        self.tell_waiters();
    }

    /// Whether any session wants events of the type.
    pub fn wanted(&mut self, type_no: TypeNo, name: &EventType) -> bool {
        self.open.wanted(type_no, name)
    }

    /// Hands on what was committed together. No session waits for another.
    pub fn hand_on(&mut self, runs: &[EncodedRun], now: Instant) {
        let mut slow = Vec::new();
        let behind = &mut self.behind;
        self.open.spread(runs, |id, session, events| match session.outbox.offer(events) {
            Offer::Taken => {}
            Offer::Behind => {
                behind.entry(id).or_insert_with(|| Behind { since: now, taken: session.outbox.taken() });
            }
            Offer::TooSlow => slow.push(id),
            // Its Unsubscribe is on the way.
            Offer::Gone => {}
        });
        for id in slow {
            self.close(id, Ending::TooSlow, now);
        }
    }

    /// Whether any session has `live.mailbox` or more events queued.
    pub fn any_behind(&self) -> bool {
        self.behind.keys().any(|id| self.open.get(*id).is_some_and(|session| session.outbox.is_behind()))
    }

    /// To be called several times a second: closes sessions that have been behind for too long, and cuts
    /// those that do not go.
    pub fn sweep(&mut self, now: Instant) {
        let mut slow = Vec::new();
        let open = &self.open;
        self.behind.retain(|id, behind| {
            let Some(session) = open.get(*id) else { return false };
            if session.outbox.taken() > behind.taken {
                *behind = Behind { since: now, taken: session.outbox.taken() };
                return session.outbox.is_behind();
            }
            if now.duration_since(behind.since) >= PATIENCE {
                slow.push(*id);
            }
            true
        });
        for id in slow {
            self.close(id, Ending::TooSlow, now);
        }
        self.closing.retain(|id, closing| {
            let late = now >= closing.deadline;
            if late {
                log::info!("live session cut: session={id} why=\"its peer does not read\"");
                (closing.cut)();
            }
            !late
        });
        self.tell_waiters();
    }

    /// Ends every session, and takes no more. The answer comes when none is left, at the latest after
    /// [`GRACE`].
    pub fn close_all(&mut self, now: Instant) -> oneshot::Receiver<()> {
        self.stopping = true;
        self.behind.clear();
        let all = self.open.drain();
        if !all.is_empty() {
            log::info!("live sessions are closed: sessions={}", all.len());
        }
        for (id, session) in all {
            session.outbox.end(Ending::GoingAway);
            self.closing.insert(id, Closing { deadline: now + GRACE, cut: session.cut });
        }
        let (tx, rx) = oneshot::channel();
        self.waiters.push(tx);
        self.tell_waiters();
        rx
    }

    fn close(&mut self, id: SessionId, ending: Ending, now: Instant) {
        self.behind.remove(&id);
        if let Some(session) = self.open.remove(id) {
            log::info!("live session closed: session={id} why=\"too slow\" taken={}", session.outbox.taken());
            session.outbox.end(ending);
            self.closing.insert(id, Closing { deadline: now + GRACE, cut: session.cut });
        }
    }

    fn tell_waiters(&mut self) {
        if self.len() == 0 {
            for waiter in self.waiters.drain(..) {
                // Whoever asked may have gone.
                let _ = waiter.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Position};
    use crate::live::LiveEvent;
    use crate::live::queue::{Inbox, queue};
    use futures_util::task::noop_waker;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    fn open(sessions: &mut Sessions, cuts: &Arc<AtomicUsize>) -> Result<(SessionId, Inbox), Refused> {
        let (outbox, inbox) = queue(4);
        let id = SessionId::unused();
        let cuts = Arc::clone(cuts);
        let cut: Cut = Box::new(move || {
            cuts.fetch_add(1, Ordering::Relaxed);
        });
        let filter = "*".parse().unwrap();
        sessions.subscribe(Subscribe { id, filter, outbox, cut }).map(|()| (id, inbox))
    }

    fn runs(events: u64) -> Vec<EncodedRun> {
        let type_no = TypeNo::new(1).unwrap();
        let events = (1..=events)
            .map(|v| LiveEvent { id: EventId::new(type_no, Position::new(v)), json: "{}".into() })
            .collect();
        vec![EncodedRun { type_no, name: "a".parse().unwrap(), events }]
    }

    fn take(inbox: &mut Inbox) -> Poll<Result<usize, Ending>> {
        let waker = noop_waker();
        let mut n = 0;
        inbox.poll_take(&mut Context::from_waker(&waker), usize::MAX, |_| n += 1).map(|done| done.map(|_| n))
    }

    #[test]
    fn a_session_that_takes_nothing_is_closed_and_cut_and_others_go_on() {
        let (mut sessions, cuts) = (Sessions::new(10), Arc::default());
        let start = Instant::now();
        let (_, mut slow) = open(&mut sessions, &cuts).unwrap();
        let (_, mut quick) = open(&mut sessions, &cuts).unwrap();
        sessions.hand_on(&runs(4), start);
        assert_eq!(take(&mut quick), Poll::Ready(Ok(4)));
        sessions.sweep(start + PATIENCE / 2);
        assert_eq!((sessions.open.len(), sessions.closing.len()), (2, 0));
        assert!(sessions.any_behind());
        sessions.sweep(start + PATIENCE);
        assert!(!sessions.any_behind());
        assert_eq!((sessions.open.len(), sessions.closing.len(), sessions.len()), (1, 1, 2));
        assert_eq!(take(&mut slow), Poll::Ready(Err(Ending::TooSlow)));
        sessions.hand_on(&runs(1), start);
        assert_eq!(take(&mut quick), Poll::Ready(Ok(1)));

        sessions.sweep(start + PATIENCE + GRACE / 2);
        assert_eq!(cuts.load(Ordering::Relaxed), 0);
        sessions.sweep(start + PATIENCE + GRACE);
        assert_eq!((cuts.load(Ordering::Relaxed), sessions.len()), (1, 1));
    }

    #[test]
    fn a_session_that_keeps_up_with_large_commits_stays() {
        let (mut sessions, cuts) = (Sessions::new(10), Arc::default());
        let start = Instant::now();
        let (_, mut inbox) = open(&mut sessions, &cuts).unwrap();
        for i in 0..100 {
            let now = start + PATIENCE / 4 * i;
            sessions.hand_on(&runs(1000), now);
            sessions.sweep(now);
            assert_eq!(take(&mut inbox), Poll::Ready(Ok(1000)));
        }
        assert_eq!(sessions.open.len(), 1);
        sessions.sweep(start + PATIENCE * 50);
        assert!(sessions.behind.is_empty());
    }

    #[test]
    fn a_session_that_takes_a_large_commit_slowly_gets_all_of_it() {
        let (mut sessions, cuts) = (Sessions::new(10), Arc::default());
        let start = Instant::now();
        let (_, mut inbox) = open(&mut sessions, &cuts).unwrap();
        sessions.hand_on(&runs(100), start);
        let waker = noop_waker();
        for i in 1..=100 {
            sessions.sweep(start + PATIENCE / 2 * i);
            assert!(inbox.poll_take(&mut Context::from_waker(&waker), 1, |_| {}).is_ready());
        }
        assert_eq!(sessions.open.len(), 1);
    }

    #[test]
    fn a_flood_closes_at_once() {
        let (mut sessions, cuts) = (Sessions::new(10), Arc::default());
        let start = Instant::now();
        let (id, _inbox) = open(&mut sessions, &cuts).unwrap();
        sessions.hand_on(&runs(32), start);
        sessions.hand_on(&runs(1), start);
        assert_eq!((sessions.open.len(), sessions.closing.len()), (0, 1));
        sessions.unsubscribe(id);
        assert_eq!((sessions.len(), cuts.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn no_more_than_the_limit() {
        let (mut sessions, cuts) = (Sessions::new(1), Arc::default());
        let (id, _inbox) = open(&mut sessions, &cuts).unwrap();
        assert_eq!(open(&mut sessions, &cuts).err(), Some(Refused::TooMany));
        sessions.unsubscribe(id);
        assert!(open(&mut sessions, &cuts).is_ok());
    }

    #[test]
    fn at_the_end_all_are_told_and_waited_for() {
        let (mut sessions, cuts) = (Sessions::new(10), Arc::default());
        let start = Instant::now();
        let (id, mut inbox) = open(&mut sessions, &cuts).unwrap();
        let (_, _stuck) = open(&mut sessions, &cuts).unwrap();
        let mut closed = sessions.close_all(start);
        assert_eq!(open(&mut sessions, &cuts).err(), Some(Refused::Stopping));
        assert_eq!(take(&mut inbox), Poll::Ready(Err(Ending::GoingAway)));
        sessions.unsubscribe(id);
        assert!(closed.try_recv().is_err());
        sessions.sweep(start + GRACE);
        assert!(closed.try_recv().is_ok());
        assert_eq!(cuts.load(Ordering::Relaxed), 1);
        assert!(sessions.close_all(start).try_recv().is_ok());
    }
}
