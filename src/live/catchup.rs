//! What a session has missed, read from the store in the order of ids, a page at a time; then the way back to
//! live without a gap.
//!
//! A round asks the store where the types stand, and reads everything up to there, all types together. A type's
//! positions rise in commit order, so what was committed before the question is found, and what comes later is
//! found by the next round. When a round was short the session attaches: the BroadcastActor says how far each
//! type had been handed on before, the last round reads up to there, and the rest is in the queue.

use super::broadcast::live_event;
use super::inbox::Door;
use super::queue::Stand;
use super::resume::matching;
use super::{LiveEvent, Refused, SessionId};
use crate::event::{EventType, Millis, Position, TypeFilter, TypeNo};
use crate::live::gap::SEQUENCES;
use crate::store::{Marked, ReadQuery, StoreError, StoredEvent, TypeRef};
use std::collections::HashMap;
use std::time::Duration;

/// Events of the first page, before anything is known of their size.
const FIRST_PAGE: usize = 32;
/// Bytes of payload that a page should not pass, about.
const PAGE_BYTES: usize = 512 << 10;
/// How long to wait after the store has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Most events of a millisecond that are read at once.
const ONE_MS: usize = 1024;
/// A type that keeps its events for longer than this outlives any way back.
const SHORT_LIVED: Millis = 3_600_000;

/// One session's way back.
pub struct CatchUp {
    door: Door,
    id: SessionId,
    filter: TypeFilter,
    /// Everything of a type up to here has been handed to the session, or need not be.
    reached: HashMap<TypeNo, Position>,
    /// The same for types that are not there.
    floor: Position,
    /// A filter that was in force before: types that only the newest lets through begin with the next round.
    before: Option<TypeFilter>,
    /// The session's client believes that it gets everything: what has expired unseen is a loss.
    whole: bool,
    /// The same for ephemeral events, which only a session that was live before can lose.
    was_live: bool,
    stage: Stage,
    round: Option<Round>,
    /// Milliseconds that a page covers, and most events of one.
    span: Millis,
    limit: usize,
    failed: bool,
}

/// What is being read.
struct Round {
    types: Vec<TypeRef>,
    names: HashMap<TypeNo, EventType>,
    /// Up to and including these.
    upto: HashMap<TypeNo, Position>,
    /// The next millisecond to be read, and the first that is not.
    at: Millis,
    end: Millis,
    /// Events read so far.
    events: usize,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A round is read, or begun.
    Round,
    /// Commits are to be queued for the session again.
    Attach,
    /// They are; what had been handed on before is read.
    Last,
    /// That, too.
    Done,
}

/// How far a step has come.
#[derive(Debug)]
pub enum Step {
    /// The next events. Never empty.
    Events(Vec<LiveEvent>),
    /// The rest comes by the queue, and with it what was read already: of these types, up to there.
    CaughtUp(HashMap<TypeNo, Position>),
    /// Something has expired before it could be read, and the client does not know.
    Lost,
    /// The session was told to go.
    Gone,
}

impl CatchUp {
    /// For a session that was live until nothing more was queued for it.
    pub fn new(door: Door, id: SessionId, filter: TypeFilter, stand: Stand) -> Self {
        let limit = FIRST_PAGE.min(door.settings.mailbox.max(1));
        Self {
            door,
            id,
            filter,
            reached: stand.reached,
            floor: stand.floor,
            before: None,
            whole: true,
            was_live: true,
            stage: Stage::Round,
            round: None,
            span: Millis::MAX,
            limit,
            failed: false,
        }
    }

    /// For a session that begins with a cursor. `complete`: what its client was told.
    pub fn resuming(self, complete: bool) -> Self {
        Self { whole: complete, was_live: false, ..self }
    }

    /// Other types are wanted. Those that come to it begin now, not where the session began.
    pub fn refilter(&mut self, filter: TypeFilter) {
        let before = std::mem::replace(&mut self.filter, filter);
        self.before.get_or_insert(before);
        // What is being read is cut short; what was reached is known by type.
        if self.stage == Stage::Round {
            self.round = None;
        }
    }

    /// The next events, whatever the store does meanwhile. `alive` is called now and then.
    pub async fn next(mut self: Box<Self>, alive: impl Fn() + Send) -> (Box<Self>, Step) {
        loop {
            match self.step().await {
                Ok(Some(step)) => return (self, step),
                Ok(None) => {}
                Err(e) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        log::warn!("a live session waits for the store: session={} error=\"{e}\"", self.id);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            alive();
        }
    }

    /// Does one thing; `None` when there is nothing to show for it.
    async fn step(&mut self) -> Result<Option<Step>, StoreError> {
        match self.stage {
            Stage::Round if self.round.is_none() => return self.begin().await,
            Stage::Attach => return self.attach().await,
            Stage::Done => return Ok(Some(Step::CaughtUp(std::mem::take(&mut self.reached)))),
            Stage::Round | Stage::Last => {}
        }
        let events = self.page().await?;
        let short = self.door.settings.mailbox / 2;
        if let Some(round) = &mut self.round {
            round.events += events.len();
            if round.at >= round.end || round.types.is_empty() {
                self.stage = match self.stage {
                    Stage::Last => Stage::Done,
                    _ if round.events <= short => Stage::Attach,
                    _ => Stage::Round,
                };
                self.round = None;
            }
        }
        Ok((!events.is_empty()).then_some(Step::Events(events)))
    }

    /// Asks where the types stand, and begins a round over those of which something is missing.
    async fn begin(&mut self) -> Result<Option<Step>, StoreError> {
        let known: Vec<(TypeRef, EventType)> = matching(&self.door, &self.filter).collect();
        let numbers: Vec<TypeNo> = known.iter().map(|(ty, _)| ty.type_no).collect();
        let last = self.door.store.last_positions(&numbers).await?;
        let before = self.before.take();
        let mut missing = Vec::new();
        for ((ty, name), last) in known.into_iter().zip(last) {
            let is_new = before.as_ref().is_some_and(|before| !before.matches(&name));
            if is_new && !self.reached.contains_key(&ty.type_no) {
                self.reached.insert(ty.type_no, last);
            }
            if self.reached_of(ty.type_no) < last {
                missing.push((ty, name, last));
            }
        }
        if missing.is_empty() {
            self.stage = Stage::Attach;
            return Ok(None);
        }
        self.read_from(missing).await
    }

    /// Has commits queued again, and begins the last round.
    async fn attach(&mut self) -> Result<Option<Step>, StoreError> {
        let reached = self.reached.iter().map(|(ty, position)| (*ty, *position)).collect();
        let standings = match self.door.attach(self.id, reached).await {
            Ok(standings) => standings,
            Err(e @ Refused::Unavailable) => return Err(StoreError::Unavailable(e.to_string())),
            Err(_) => return Ok(Some(Step::Gone)),
        };
        let mut missing = Vec::new();
        for standing in standings {
            let type_no = standing.ty.type_no;
            let reached = self.reached_of(type_no);
            if standing.ty.ttl.is_ephemeral() {
                if self.was_live && reached < standing.last {
                    return Ok(Some(Step::Lost));
                }
            } else if reached < standing.last {
                missing.push((standing.ty, standing.name, standing.last));
            } else if reached == standing.last {
                // The queue brings nothing of it that was read.
                self.reached.remove(&type_no);
            }
        }
        if missing.is_empty() {
            self.stage = Stage::Done;
            return Ok(None);
        }
        self.stage = Stage::Last;
        self.read_from(missing).await
    }

    /// Begins a round, unless something of it has expired that the client counts on.
    async fn read_from(&mut self, missing: Vec<(TypeRef, EventType, Position)>) -> Result<Option<Step>, StoreError> {
        let oldest = |ty: &TypeRef| self.reached_of(ty.type_no).plus(1).ms();
        let short_lived = |ty: &TypeRef| ty.ttl.millis().is_some_and(|ttl| ttl <= SHORT_LIVED);
        if self.whole && missing.iter().any(|(ty, ..)| short_lived(ty)) {
            let now = self.door.store.ping().await?;
            if missing.iter().any(|(ty, ..)| short_lived(ty) && !ty.ttl.shows(oldest(ty), now)) {
                return Ok(Some(Step::Lost));
            }
        }
        let at = missing.iter().map(|(ty, ..)| oldest(ty)).min().unwrap_or(Millis::MAX);
        let end = missing.iter().map(|(.., last)| last.ms().saturating_add(1)).max().unwrap_or(at);
        let mut round = Round { types: Vec::new(), names: HashMap::new(), upto: HashMap::new(), at, end, events: 0 };
        for (ty, name, last) in missing {
            round.names.insert(ty.type_no, name);
            round.upto.insert(ty.type_no, last);
            round.types.push(ty);
        }
        self.round = Some(round);
        Ok(None)
    }

    fn reached_of(&self, type_no: TypeNo) -> Position {
        self.reached.get(&type_no).copied().unwrap_or(self.floor)
    }

    /// The next events of the round, rising. Few or none do not mean that there are no more.
    async fn page(&mut self) -> Result<Vec<LiveEvent>, StoreError> {
        let Some(round) = &self.round else { return Ok(Vec::new()) };
        let (at, end) = (round.at, round.end);
        let to = end.min(at.saturating_add(self.span.max(1)));
        let one = to - at <= 1;
        let mut query = ReadQuery {
            types: round.types.clone(),
            from: at,
            to,
            before: None,
            limit: if one { ONE_MS } else { self.limit },
            marked: Marked::Ignore,
        };
        let mut page = self.door.store.read(query.clone()).await?;
        if page.more && !one {
            // The page shows how dense the end is; the middle is not denser for long.
            let seen = page.events.last().map_or(Millis::MAX, |event| to - event.id.ms());
            self.span = seen.clamp(1, (to - at) / 2);
            return Ok(Vec::new());
        }
        let mut events = std::mem::take(&mut page.events);
        while page.more {
            query.before = events.last().map(|event| event.id);
            page = self.door.store.read(query.clone()).await?;
            events.append(&mut page.events);
        }
        self.pace(&events);
        Ok(self.arrived(events, to))
    }

    /// Fits the pages to what has come.
    fn pace(&mut self, events: &[StoredEvent]) {
        let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
        let most = self.door.settings.mailbox.max(1);
        if bytes > PAGE_BYTES {
            self.limit = (self.limit / 2).max(1);
            self.span /= 2;
        } else if events.len() * 2 >= self.limit {
            if bytes < PAGE_BYTES / 2 && self.limit < most {
                self.limit = (self.limit * 2).min(most);
                self.span = self.span.saturating_mul(2);
            }
        } else {
            self.span = self.span.saturating_mul(2);
        }
    }

    /// Everything before `to` has been read: what of it is new, as sessions get it.
    fn arrived(&mut self, events: Vec<StoredEvent>, to: Millis) -> Vec<LiveEvent> {
        let Some(mut round) = self.round.take() else { return Vec::new() };
        let new = |event: &StoredEvent| {
            let (ty, position) = (event.id.type_no(), event.id.position());
            position > self.reached_of(ty) && round.upto.get(&ty).is_some_and(|upto| position <= *upto)
        };
        let shown = events.iter().rev().filter(|event| new(event));
        let shown: Vec<LiveEvent> = shown
            .filter_map(|event| live_event(event.id, round.names.get(&event.id.type_no())?, &event.payload))
            .collect();
        let end = Position::first_of(to.saturating_sub(1)).plus(SEQUENCES - 1);
        for (ty, upto) in &round.upto {
            let reached = self.reached_of(*ty).max(end.min(*upto));
            self.reached.insert(*ty, reached);
        }
        round.at = to;
        round.types.retain(|ty| round.upto.get(&ty.type_no).is_some_and(|upto| self.reached_of(ty.type_no) < *upto));
        self.round = Some(round);
        shown
    }
}

#[cfg(test)]
#[path = "catchup_tests.rs"]
mod tests;
