//! The sessions of this node: who gets what, who is too slow, who is on the way out. Time is a parameter.

use super::fanout::{EncodedRun, Fanout};
use super::queue::{Ending, Offer, Outbox, Stand};
use super::{Begin, Cut, Refused, SessionId, Subscribe};
use crate::event::{EventType, Position, TypeFilter, TypeNo};
use crate::measure::LIVE;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a session that has `live.mailbox` or more events queued may take none of them. One on a busy
/// worker needs milliseconds, one whose peer reads on a slow line less than this for a portion, one whose
/// peer does not read for ever.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The same while the session waits for the store: longer than the store may take.
const READING: Duration = Duration::from_secs(15);
/// How long a session that has fallen behind may take to catch up: one that is slower than what is sent for
/// longer than this is told so, though it reads.
const CATCH_UP: Duration = Duration::from_secs(20);
/// How long a session that was told to go may take before its socket is cut: a peer that never reads jams
/// its session, timers and all, so that nobody but the BroadcastActor can end it.
pub const GRACE: Duration = Duration::from_secs(5);

/// All sessions of this node.
pub struct Sessions {
    limit: usize,
    /// How long a session that reads what it has missed may take nothing.
    idle: Duration,
    open: Fanout<Session>,
    /// Sessions with `live.mailbox` or more events queued.
    behind: HashMap<SessionId, Watched>,
    /// Sessions for which nothing is queued: they read from the store.
    away: HashMap<SessionId, Away>,
    /// Told to go, and still there.
    closing: HashMap<SessionId, Closing>,
    stopping: bool,
    /// Whoever waits until none is left.
    waiters: Vec<oneshot::Sender<()>>,
}

struct Session {
    outbox: Outbox,
    cut: Cut,
    filter: TypeFilter,
}

struct Away {
    session: Session,
    watched: Watched,
    /// How long it may get nowhere.
    patience: Duration,
    /// When it must be back.
    deadline: Option<Instant>,
}

/// Whether a session gets anywhere.
struct Watched {
    /// When it was last seen to have got somewhere.
    since: Instant,
    /// Its progress then.
    progress: u64,
}

impl Watched {
    fn new(session: &Session, now: Instant) -> Self {
        Self { since: now, progress: session.outbox.progress() }
    }

    /// Looks again: for how long it has got nowhere.
    fn look(&mut self, session: &Session, now: Instant) -> Duration {
        if session.outbox.progress() != self.progress {
            *self = Self::new(session, now);
        }
        now.duration_since(self.since)
    }
}

/// What became of events that were handed on.
#[derive(Debug, Default)]
pub struct Handed {
    /// Messages that were queued: about as many sessions were woken.
    pub taken: usize,
    /// Sessions that refused events, and up to where each has got the types of what it refused.
    pub refused: HashMap<SessionId, HashMap<TypeNo, Position>>,
}

struct Closing {
    deadline: Instant,
    cut: Cut,
}

impl Sessions {
    /// At most `limit` sessions. `idle`: how long one that reads what it has missed may take nothing.
    pub fn new(limit: usize, idle: Duration) -> Self {
        Self {
            limit,
            idle,
            open: Fanout::default(),
            behind: HashMap::new(),
            away: HashMap::new(),
            closing: HashMap::new(),
            stopping: false,
            waiters: Vec::new(),
        }
    }

    /// Sessions that hold a connection, those on their way out included.
    pub fn len(&self) -> usize {
        self.open.len() + self.away.len() + self.closing.len()
    }

    /// Whether a session is there, and was not told to go.
    pub fn has(&self, id: SessionId) -> bool {
        self.open.get(id).is_some() || self.away.contains_key(&id)
    }

    /// Takes a session in. One that is not `ready` begins with [`attach`](Self::attach), whatever it says.
    pub fn subscribe(&mut self, new: Subscribe, ready: bool, now: Instant) -> Result<(), Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.len() >= self.limit {
            return Err(Refused::TooMany);
        }
        let session = Session { outbox: new.outbox, cut: new.cut, filter: new.filter };
        match new.begin {
            Begin::Now if ready => self.insert(new.id, session),
            begin => {
                // One that waits for the store cannot get anywhere.
                let patience = if begin == Begin::Now { READING } else { self.idle };
                let watched = Watched::new(&session, now);
                self.away.insert(new.id, Away { session, watched, patience, deadline: None });
            }
        }
        Ok(())
    }

    fn insert(&mut self, id: SessionId, session: Session) {
        self.open.insert(id, session.filter.clone(), session);
    }

    /// Commits are queued for a session again; its filter. `None` when it is not there, or was told to go.
    pub fn attach(&mut self, id: SessionId) -> Option<TypeFilter> {
        let Away { session, .. } = self.away.remove(&id)?;
        let filter = session.filter.clone();
        self.insert(id, session);
        Some(filter)
    }

    /// Nothing more is queued for a session until it attaches.
    pub fn fall_behind(&mut self, id: SessionId, stand: Stand, now: Instant) {
        self.behind.remove(&id);
        let Some(session) = self.open.remove(id) else { return };
        if !session.outbox.stand(stand) {
            // It has ended; its Unsubscribe is on the way.
            return self.end(id, session, Ending::TooSlow, now);
        }
        LIVE.fell_behind.add(1);
        log::debug!("live session falls behind and reads from the store: session={id}");
        let watched = Watched::new(&session, now);
        let deadline = Some(now + CATCH_UP);
        self.away.insert(id, Away { session, watched, patience: PATIENCE, deadline });
    }

    /// A session wants other types.
    pub fn refilter(&mut self, id: SessionId, filter: TypeFilter) {
        if let Some(mut session) = self.open.remove(id) {
            session.filter = filter;
            self.insert(id, session);
        } else if let Some(away) = self.away.get_mut(&id) {
            away.session.filter = filter;
        }
    }

    /// A session has ended.
    pub fn unsubscribe(&mut self, id: SessionId) {
        self.open.remove(id);
        self.behind.remove(&id);
        self.away.remove(&id);
        self.closing.remove(&id);
        self.tell_waiters();
    }

    /// Whether any session wants events of the type.
    pub fn wanted(&mut self, type_no: TypeNo, name: &EventType) -> bool {
        self.open.wanted(type_no, name)
    }

    /// A type's number has been given to another name.
    pub fn renamed(&mut self, type_no: TypeNo) {
        self.open.renamed(type_no);
    }

    /// Hands on what was committed together. No session waits for another. Those that refuse, having no room, are
    /// to [`fall_behind`](Self::fall_behind).
    pub fn hand_on(&mut self, runs: &[EncodedRun], now: Instant) -> Handed {
        let mut handed = Handed::default();
        let behind = &mut self.behind;
        self.open.spread(runs, |id, session, events| {
            // What follows something refused is refused, whatever room there is by now.
            let refused = !handed.refused.is_empty() && handed.refused.contains_key(&id);
            match if refused { Offer::Refused } else { session.outbox.offer(events) } {
                Offer::Taken => handed.taken += 1,
                Offer::Behind => {
                    handed.taken += 1;
                    behind.entry(id).or_insert_with(|| Watched::new(session, now));
                }
                Offer::Refused => {
                    let reached = handed.refused.entry(id).or_default();
                    for event in events.iter() {
                        let before = Position::new(event.id.position().get().saturating_sub(1));
                        reached.entry(event.id.type_no()).or_insert(before);
                    }
                }
                // Its Unsubscribe is on the way.
                Offer::Gone => {}
            }
        });
        handed
    }

    /// Whether any session has `live.mailbox` or more events queued.
    pub fn any_behind(&self) -> bool {
        self.behind.keys().any(|id| self.open.get(*id).is_some_and(|session| session.outbox.is_behind()))
    }

    /// To be called several times a second: closes sessions that have been behind for too long, and cuts
    /// those that do not go.
    pub fn sweep(&mut self, now: Instant) {
        LIVE.sessions.set(self.len());
        let mut slow = Vec::new();
        let open = &self.open;
        self.behind.retain(|id, behind| {
            let Some(session) = open.get(*id) else { return false };
            let stuck = behind.look(session, now);
            if stuck >= PATIENCE {
                slow.push(*id);
            }
            session.outbox.is_behind()
        });
        for (id, away) in &mut self.away {
            let stuck = away.watched.look(&away.session, now);
            let patience = if away.session.outbox.is_reading() { away.patience.max(READING) } else { away.patience };
            if stuck >= patience || away.deadline.is_some_and(|deadline| now >= deadline) {
                slow.push(*id);
            }
        }
        for id in slow {
            self.close(id, Ending::TooSlow, now);
        }
        self.closing.retain(|id, closing| {
            if now < closing.deadline {
                return true;
            }
            let cut = (closing.cut)();
            // One that cannot be cut is left to the kernel, which has a time-out of its own.
            let end = cut || now >= closing.deadline + GRACE;
            if end {
                LIVE.cut.add(1);
                log::info!("live session cut, its peer does not read: session={id} done={cut}");
            }
            !end
        });
        self.tell_waiters();
    }

    /// Ends every session, and takes no more. The answer comes when none is left, at the latest after
    /// [`GRACE`].
    pub fn close_all(&mut self, now: Instant) -> oneshot::Receiver<()> {
        self.stopping = true;
        self.behind.clear();
        let mut all = self.open.drain();
        all.extend(self.away.drain().map(|(id, away)| (id, away.session)));
        if !all.is_empty() {
            log::info!("live sessions are closed: sessions={}", all.len());
        }
        for (id, session) in all {
            self.end(id, session, Ending::GoingAway, now);
        }
        let (tx, rx) = oneshot::channel();
        self.waiters.push(tx);
        self.tell_waiters();
        rx
    }

    fn close(&mut self, id: SessionId, ending: Ending, now: Instant) {
        self.behind.remove(&id);
        let away = self.away.remove(&id).map(|away| away.session);
        if let Some(session) = self.open.remove(id).or(away) {
            LIVE.closed_slow.add(1);
            log::info!("live session closed, it is too slow: session={id}");
            self.end(id, session, ending, now);
        }
    }

    /// Tells a session to go, and remembers to cut it if it does not.
    fn end(&mut self, id: SessionId, session: Session, ending: Ending, now: Instant) {
        session.outbox.end(ending);
        self.closing.insert(id, Closing { deadline: now + GRACE, cut: session.cut });
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
#[path = "sessions_tests.rs"]
mod tests;
