//! The session's end of its queue, which also reads from the store what was not queued.

use super::catchup::{CatchUp, Step};
use super::messages::{Attach, Begin, LiveEvent, LiveSettings, Refilter, Unsubscribe};
use super::queue::{Ending, Item, Items, Outbox, Shared, channel};
use super::resume::{Cursor, Resumed};
use super::{BroadcastActor, Cut, Refused, SessionId, Standing, Subscribe, TypeNames};
use crate::event::{EventId, Position, TypeFilter, TypeNo};
use crate::store::{Store, StoreError};
use actix::Addr;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// What a session needs of the hub.
#[derive(Clone)]
pub struct Door {
    /// Who feeds it.
    pub broadcast: Addr<BroadcastActor>,
    /// Settings of the live side.
    pub settings: Arc<LiveSettings>,
    /// What it has missed is read from here.
    pub store: Arc<dyn Store>,
    /// Which types there are.
    pub types: Arc<dyn TypeNames>,
    /// Has the store asked for types that are not known: another node may have registered one a moment ago.
    pub look: Arc<dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>,
}

/// Why a session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no room, or no hub.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What the cursor means could not be found out.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The session's end. Dropping it ends the subscription.
pub struct Inbox {
    items: Items,
    shared: Arc<Shared>,
    /// Events of which only a part has been taken, and how much.
    begun: Option<Begun>,
    /// The last event taken.
    last: Option<EventId>,
    stage: Stage,
    /// Events that were read from the store before they came by the queue: up to here they are left out.
    skip: HashMap<TypeNo, Position>,
    /// `None` in tests of the queue alone.
    line: Option<Line>,
}

struct Begun {
    events: Arc<[LiveEvent]>,
    at: usize,
    /// Whether they came by the queue.
    queued: bool,
}

/// Where the next events come from.
enum Stage {
    /// The queue.
    Live,
    /// The store, once there is room for more.
    Paused(Box<CatchUp>),
    /// The store is being read. With it, a filter that came meanwhile.
    Reading(BoxFuture<'static, (Box<CatchUp>, Step)>, Option<TypeFilter>),
    /// Nowhere.
    Ended(Ending),
}

/// How the session reaches the hub; says that it has gone when dropped.
struct Line {
    id: SessionId,
    door: Door,
    filter: TypeFilter,
}

impl Inbox {
    /// Opens a session. Without a cursor every event committed after the answer comes out of the inbox; with
    /// one, what the store holds after it comes first. It is unsubscribed when the inbox is dropped. `cut`
    /// must free the session's socket.
    ///
    /// # Errors
    /// When there are too many sessions, or the hub is stopping, or the store does not answer.
    pub async fn open(
        door: &Door,
        filter: TypeFilter,
        since: Option<Cursor>,
        cut: Cut,
    ) -> Result<(Self, Option<Resumed>), OpenError> {
        let (outbox, mut inbox) = queue(door.settings.mailbox);
        let id = SessionId::unused();
        let begin = if since.is_some() { Begin::CaughtUp } else { Begin::Now };
        // Before the question: whoever gives up waiting for the answer drops it, and unsubscribes.
        inbox.line = Some(Line { id, door: door.clone(), filter: filter.clone() });
        let subscribe = Subscribe { id, filter: filter.clone(), outbox, begin, cut };
        door.broadcast.send(subscribe).await.map_err(|_| Refused::Stopping)??;
        log::debug!("live session opened: session={id}");
        let Some(since) = since else { return Ok((inbox, None)) };
        let (stand, complete) = since.find(door, &filter).await?;
        let catch_up = CatchUp::new(door.clone(), id, filter, stand).resuming(complete);
        inbox.stage = Stage::Paused(Box::new(catch_up));
        // Until there is something newer, the session would go on from where it came.
        inbox.last = Some(since.id);
        Ok((inbox, Some(Resumed { from: since.id, complete })))
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
        if self.shared.ending() == Some(Ending::TooSlow) {
            return Poll::Ready(Err(Ending::TooSlow));
        }
        let (mut bytes, mut taken) = (0, 0);
        while bytes < budget {
            if self.begun.is_none() {
                match self.poll_more(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending if taken > 0 => return Poll::Ready(Ok(false)),
                    Poll::Pending => return Poll::Pending,
                    // What was taken is handed on first; the next call finds the end again.
                    Poll::Ready(Err(_)) if taken > 0 => break,
                    Poll::Ready(Err(ending)) => return Poll::Ready(Err(ending)),
                }
            }
            let Some(Begun { events, at: from, queued }) = self.begun.take() else { continue };
            let mut at = from;
            for event in events.iter().skip(from) {
                if bytes >= budget {
                    break;
                }
                at += 1;
                if queued && !self.skip.is_empty() && self.is_known(event.id) {
                    continue;
                }
                bytes += event.json.len();
                taken += 1;
                self.last = Some(event.id);
                take(event);
            }
            if queued {
                self.shared.queued.fetch_sub(at - from, Ordering::Relaxed);
            }
            self.shared.progress();
            if at < events.len() {
                self.begun = Some(Begun { events, at, queued });
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Gets the next events, or to the next stage.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        match std::mem::replace(&mut self.stage, Stage::Live) {
            Stage::Live => match ready!(self.items.poll_recv(cx)) {
                Some(Item::Events(events)) => self.begun = Some(Begun { events, at: 0, queued: true }),
                Some(Item::Behind(mut stand)) => {
                    // What was read from the store before is known here alone.
                    for (ty, known) in self.skip.drain() {
                        let reached = stand.reached.entry(ty).or_insert(stand.floor);
                        *reached = known.max(*reached);
                    }
                    if let Some(line) = &self.line {
                        let catch_up = CatchUp::new(line.door.clone(), line.id, line.filter.clone(), *stand);
                        self.stage = Stage::Paused(Box::new(catch_up));
                    }
                }
                None => return Poll::Ready(Err(self.shared.ending().unwrap_or(Ending::GoingAway))),
            },
            Stage::Ended(ending) => {
                self.stage = Stage::Ended(ending);
                return Poll::Ready(Err(ending));
            }
            // What has not been read is not waited for when the hub is stopping.
            Stage::Paused(_) | Stage::Reading(..) if self.shared.ending() == Some(Ending::GoingAway) => {
                self.stage = Stage::Ended(Ending::GoingAway);
            }
            Stage::Paused(catch_up) => {
                self.shared.set_reading(true);
                let shared = Arc::clone(&self.shared);
                self.stage = Stage::Reading(Box::pin(catch_up.next(move || shared.progress())), None);
            }
            Stage::Reading(mut reading, filter) => {
                let Poll::Ready((mut catch_up, step)) = reading.as_mut().poll(cx) else {
                    self.stage = Stage::Reading(reading, filter);
                    return Poll::Pending;
                };
                self.shared.set_reading(false);
                self.shared.progress();
                if let Some(filter) = filter {
                    catch_up.refilter(filter);
                }
                match step {
                    Step::Events(events) => {
                        self.begun = Some(Begun { events: events.into(), at: 0, queued: false });
                        self.stage = Stage::Paused(catch_up);
                    }
                    Step::CaughtUp(skip) => self.skip = skip,
                    Step::Lost => self.stage = Stage::Ended(Ending::TooSlow),
                    Step::Gone => {
                        self.stage = Stage::Ended(self.shared.ending().unwrap_or(Ending::GoingAway));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether an event of the queue has been read from the store before.
    fn is_known(&mut self, id: EventId) -> bool {
        let Some(upto) = self.skip.get(&id.type_no()) else { return false };
        let known = id.position() <= *upto;
        if !known {
            self.skip.remove(&id.type_no());
        }
        known
    }

    /// The cursor after which a session that ends now would go on: the last event taken, else what stands
    /// just before the first one waiting. `None` when there was none.
    pub fn cursor(&mut self) -> Option<u64> {
        if self.last.is_none()
            && let Some(Item::Events(events)) = self.items.try_recv()
            && let Some(first) = events.first()
        {
            return Some(first.id.get().saturating_sub(1));
        }
        self.last.map(EventId::get)
    }

    /// The types the session asks for.
    pub fn filter(&self) -> TypeFilter {
        self.line.as_ref().map_or_else(TypeFilter::any, |line| line.filter.clone())
    }

    /// Asks for other types; in force when the answer is there, for events committed from then on. With
    /// [`Refused::Unavailable`] not yet, but when the store is back.
    pub fn refilter(&mut self, filter: TypeFilter) -> impl Future<Output = Result<(), Refused>> + use<> {
        match &mut self.stage {
            Stage::Paused(catch_up) => catch_up.refilter(filter.clone()),
            Stage::Reading(_, waiting) => *waiting = Some(filter.clone()),
            Stage::Live | Stage::Ended(_) => {}
        }
        let said = self.line.as_mut().map(|line| {
            line.filter = filter.clone();
            line.door.broadcast.send(Refilter { id: line.id, filter })
        });
        async move {
            match said {
                Some(said) => said.await.unwrap_or(Err(Refused::Stopping)),
                None => Ok(()),
            }
        }
    }
}

impl Door {
    /// Has commits queued for a session from now on.
    pub(super) async fn attach(
        &self,
        id: SessionId,
        reached: Vec<(TypeNo, Position)>,
    ) -> Result<Vec<Standing>, Refused> {
        self.broadcast.send(Attach { id, reached }).await.map_err(|_| Refused::Stopping)?
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // One a session, and it must arrive whatever the mailbox holds: a lost one would leak the session.
        #[allow(clippy::disallowed_methods)]
        self.door.broadcast.do_send(Unsubscribe(self.id));
    }
}

/// A queue for a session that may have `mailbox` events waiting, and one commit more.
pub(super) fn queue(mailbox: usize) -> (Outbox, Inbox) {
    let (outbox, items, shared) = channel(mailbox);
    let (begun, last, line) = (None, None, None);
    (outbox, Inbox { items, shared, begun, last, stage: Stage::Live, skip: HashMap::new(), line })
}

#[cfg(test)]
impl Inbox {
    /// As if something had been taken.
    pub(super) fn got_somewhere(&self) {
        self.shared.progress();
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
