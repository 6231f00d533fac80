//! What the BroadcastActor does when the feed of commits is not enough: gaps are read from the store, an
//! interruption asks where every type stands, and types that another node has just registered are looked
//! up. All of it is bounded, repeated until it succeeds, and holds up the types concerned alone.

use super::broadcast::{BroadcastActor, encode, live_event};
use super::fanout::EncodedRun;
use super::gap::next_page;
use super::sessions::PATIENCE;
use super::track::Track;
use crate::event::{Millis, Position, Ttl, TypeNo};
use crate::store::{Partition, Partitions, StoreError, StoredEvent, TypeRecord, TypeRef};
use actix::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Gaps read at a time.
const READS: usize = 8;
/// How often it is looked whether sessions are ready for the next page of a gap.
const PACE: Duration = Duration::from_millis(5);
/// How long to wait after the store has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a type number may stay unknown to the store before its events are given up.
const UNNAMED: Duration = Duration::from_secs(30);

/// What is being recovered.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Types with a gap that is not being read yet.
    gaps: VecDeque<TypeNo>,
    /// Types whose gap is being read, or waits in `gaps`.
    busy: HashSet<TypeNo>,
    reading: usize,
    /// Types without a name, and since when.
    unnamed: HashMap<TypeNo, Instant>,
    /// The store is being asked for the registry.
    naming: bool,
    /// Where commits may have been missed, and the store has not been asked since.
    interrupted: Partitions,
    /// The store is being asked where types stand.
    locating: bool,
    /// Ask nothing before: the store has failed.
    paused: Option<Instant>,
}

impl Recovery {
    /// A type has a gap.
    pub fn gap(&mut self, type_no: TypeNo) {
        if self.busy.insert(type_no) {
            self.gaps.push_back(type_no);
        }
    }

    /// A type's name is not known.
    pub fn unnamed(&mut self, type_no: TypeNo) {
        self.unnamed.entry(type_no).or_insert_with(Instant::now);
    }

    /// Commits of these types may have been missed.
    pub fn interrupted(&mut self, partitions: Partitions) {
        self.interrupted = self.interrupted.with(partitions);
    }

    fn is_paused(&mut self) -> bool {
        if self.paused.is_some_and(|until| Instant::now() >= until) {
            self.paused = None;
        }
        self.paused.is_some()
    }

    fn failed(&mut self, what: &str, error: &StoreError) {
        log::warn!("live recovery is delayed: what=\"{what}\" error=\"{error}\"");
        self.paused = Some(Instant::now() + PAUSE);
    }
}

/// Where a page of a gap was read from, and what came.
type PageRead = (Result<(Vec<StoredEvent>, Position), StoreError>, Millis);

impl BroadcastActor {
    /// Starts whatever is to be done and not under way. Cheap when there is nothing.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        if self.recovery.is_paused() {
            return;
        }
        if !self.recovery.interrupted.is_empty() && !self.recovery.locating {
            self.locate(ctx);
        }
        if !self.recovery.unnamed.is_empty() && !self.recovery.naming {
            self.look_up(ctx);
        }
        self.read_gaps(ctx);
    }

    fn read_gaps(&mut self, ctx: &mut Context<Self>) {
        while self.recovery.reading < READS && !self.recovery.is_paused() {
            let Some(type_no) = self.recovery.gaps.pop_front() else { break };
            self.read_gap(type_no, Millis::MAX, ctx);
        }
    }

    /// Reads a page of a type's gap; goes on with the next when it has been handed on.
    fn read_gap(&mut self, type_no: TypeNo, mut span: Millis, ctx: &mut Context<Self>) {
        let range = self.tracks.get(&type_no).and_then(Track::missing);
        let (Some(range), Some(ty)) = (range, self.type_ref(type_no)) else {
            self.recovery.busy.remove(&type_no);
            return;
        };
        if ty.ttl.is_ephemeral() {
            log::warn!("ephemeral live events were missed, nobody knows how many: type_no={type_no}");
            self.recovery.busy.remove(&type_no);
            self.gap_read(type_no, Vec::new(), range.1);
            if self.tracks.get(&type_no).is_some_and(|track| track.missing().is_some()) {
                self.recovery.gap(type_no);
            }
            return;
        }
        self.recovery.reading += 1;
        let store = Arc::clone(&self.store);
        let read = async move {
            let page = next_page(&*store, &ty, range, &mut span).await;
            (page, span)
        };
        ctx.spawn(read.into_actor(self).map(move |page, actor, ctx| actor.page_read(type_no, page, ctx)));
    }

    fn page_read(&mut self, type_no: TypeNo, (page, span): PageRead, ctx: &mut Context<Self>) {
        self.recovery.reading -= 1;
        match page {
            Ok((events, reached)) => {
                self.gap_read(type_no, events, reached);
                if self.tracks.get(&type_no).is_some_and(|track| track.missing().is_some()) {
                    self.read_on(type_no, span, Instant::now(), ctx);
                } else {
                    self.recovery.busy.remove(&type_no);
                }
            }
            Err(e) => {
                self.recovery.failed("reading missed events", &e);
                self.recovery.gaps.push_back(type_no);
            }
        }
        self.recover(ctx);
    }

    /// Reads the next page once the sessions have taken the last one. Pages come faster than any session
    /// takes them; one that takes nothing holds this up for no longer than it takes to find it too slow.
    fn read_on(&mut self, type_no: TypeNo, span: Millis, since: Instant, ctx: &mut Context<Self>) {
        if self.sessions.any_behind() && since.elapsed() < PATIENCE + PATIENCE {
            ctx.run_later(PACE, move |actor, ctx| actor.read_on(type_no, span, since, ctx));
        } else {
            self.read_gap(type_no, span, ctx);
        }
    }

    /// Hands on what was read, and what waited for it.
    fn gap_read(&mut self, type_no: TypeNo, events: Vec<StoredEvent>, reached: Position) {
        let Some(track) = self.tracks.get_mut(&type_no) else { return };
        track.read(reached);
        if !events.is_empty() {
            log::info!("missed live events were read: type_no={type_no} events={}", events.len());
        }
        if let Some(name) = self.name(type_no) {
            let events: Vec<_> = events.iter().filter_map(|e| live_event(e.id, &name, &e.payload)).collect();
            if !events.is_empty() {
                self.hand_on(&[EncodedRun { type_no, name, events }]);
            }
        }
        self.release(type_no);
    }

    /// Hands on what waited and need not wait any more.
    fn release(&mut self, type_no: TypeNo) {
        let Some(name) = self.name(type_no) else { return };
        let Some(track) = self.tracks.get_mut(&type_no) else { return };
        let ready: Vec<_> = track.release().into_iter().map(|run| encode(name.clone(), run)).collect();
        self.hand_on(&ready);
    }

    /// Asks the store where types stand, and reads what sessions have missed.
    fn locate(&mut self, ctx: &mut Context<Self>) {
        let partitions = std::mem::take(&mut self.recovery.interrupted);
        let all = self.types_in(partitions);
        if all.is_empty() {
            return;
        }
        self.recovery.locating = true;
        let store = Arc::clone(&self.store);
        let ask = async move { store.last_positions(&all).await.map(|last| (all, last)) };
        ctx.spawn(ask.into_actor(self).map(move |answer, actor, ctx| {
            actor.recovery.locating = false;
            match answer {
                Ok((types, last)) => actor.located(types, last),
                Err(e) => {
                    actor.recovery.failed("asking for last positions", &e);
                    actor.recovery.interrupted(partitions);
                }
            }
            actor.recover(ctx);
        }));
    }

    fn located(&mut self, types: Vec<TypeNo>, last: Vec<Position>) {
        for (type_no, last) in types.into_iter().zip(last) {
            let name = self.name(type_no);
            let wanted = name.as_ref().is_none_or(|name| self.sessions.wanted(type_no, name));
            let left = !self.interest.attended().contains(Partition::of(type_no));
            if left && !self.tracks.contains_key(&type_no) {
                continue;
            }
            // There is nothing to be read of it, and the feed may hold what the store has counted already.
            if wanted && self.is_ephemeral(type_no) {
                continue;
            }
            let start = self.start.unwrap_or(last);
            let track = self.tracks.entry(type_no).or_insert_with(|| Track::new(start));
            if track.interrupted(last, wanted) {
                self.recovery.gap(type_no);
            }
        }
    }

    /// Asks the store for the registry, for types that this node's view does not have yet.
    fn look_up(&mut self, ctx: &mut Context<Self>) {
        self.recovery.naming = true;
        let store = Arc::clone(&self.store);
        ctx.spawn(async move { store.types().await }.into_actor(self).map(|answer, actor, ctx| {
            actor.recovery.naming = false;
            match answer {
                Ok((_, records)) => actor.looked_up(records),
                Err(e) => {
                    actor.recovery.failed("asking for types", &e);
                    actor.looked_up(Vec::new());
                }
            }
            // What the store did not know a moment ago is asked for again at the next sweep.
            actor.read_gaps(ctx);
        }));
    }

    fn looked_up(&mut self, records: Vec<TypeRecord>) {
        for record in records {
            if self.recovery.unnamed.contains_key(&record.type_no) {
                self.learned.insert(record.type_no, (record.name, record.ttl));
            }
        }
        let now = Instant::now();
        let unnamed: Vec<_> = self.recovery.unnamed.iter().map(|(type_no, since)| (*type_no, *since)).collect();
        for (type_no, since) in unnamed {
            let named = self.name(type_no).is_some();
            let Some(track) = self.tracks.get_mut(&type_no) else {
                self.recovery.unnamed.remove(&type_no);
                continue;
            };
            if named {
                track.unnamed = false;
                self.release(type_no);
                if self.tracks.get(&type_no).is_some_and(|track| track.missing().is_some()) {
                    self.recovery.gap(type_no);
                }
            } else if now.duration_since(since) >= UNNAMED {
                let events = track.give_up();
                log::error!("live events of a type that the store does not know: type_no={type_no} events={events}");
            } else {
                continue;
            }
            self.recovery.unnamed.remove(&type_no);
        }
    }

    /// Whether nothing of a type is kept.
    pub(super) fn is_ephemeral(&self, type_no: TypeNo) -> bool {
        self.type_ref(type_no).is_some_and(|ty| ty.ttl.is_ephemeral())
    }

    /// What the store needs to read a type: its number and newest lifetime.
    pub(super) fn type_ref(&self, type_no: TypeNo) -> Option<TypeRef> {
        let view = self.types.find(type_no).map(|(_, ttl)| ttl);
        let ttl: Option<Ttl> = view.or_else(|| self.learned.get(&type_no).map(|(_, ttl)| ttl.clone()));
        ttl.map(|ttl| TypeRef { type_no, ttl })
    }
}
