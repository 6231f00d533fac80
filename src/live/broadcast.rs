//! The BroadcastActor: the way of a commit from the store to the sessions.

use super::attend::Pending;
use super::fanout::EncodedRun;
use super::gap::SEQUENCES;
use super::interest::Interest;
use super::pace::{Pace, Turn};
use super::queue::Stand;
use super::recovery::Recovery;
use super::sessions::Sessions;
use super::track::{Arrival, Track};
use super::{CloseAll, CountSessions, LiveEvent, LiveSettings, TypeNames, Unsubscribe};
use crate::alive::Alive;
use crate::event::{EventId, EventType, Position, Ttl, TypeNo, envelope};
use crate::measure::LIVE;
use crate::store::{Live, LiveRun, Partitions, Store};
use actix::prelude::*;
use bytestring::ByteString;
use futures_util::stream;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often slow and leaving sessions are looked after.
const SWEEP: Duration = Duration::from_millis(100);
/// Subscriptions that may wait in the mailbox; a session that ends is always heard.
const MAILBOX: usize = 1024;

/// Fans commits out to sessions. One a node, on an arbiter of its own.
///
/// Events of a type are handed on in commit order and once, whatever the store's feed loses or repeats
/// (ephemeral events that were lost stay lost, for they are nowhere to be read). A type whose gap is being
/// read waits, without holding up others.
pub struct BroadcastActor {
    pub(super) store: Arc<dyn Store>,
    pub(super) types: Arc<dyn TypeNames>,
    /// Taken at the start.
    feed: Option<mpsc::Receiver<Live>>,
    /// Commits from the feed that wait for their turn: to everything else here they have not come yet.
    pace: Pace,
    pub(super) sessions: Sessions,
    pub(super) tracks: HashMap<TypeNo, Track>,
    /// Types that the store knew before this node's view did.
    pub(super) learned: HashMap<TypeNo, (EventType, Ttl)>,
    /// Where the store's clock stood at the start: nobody misses what was committed before. `None` when
    /// the store could not be asked; then a type begins with its first run.
    pub(super) start: Option<Position>,
    pub(super) recovery: Recovery,
    pub(super) interest: Interest,
    /// How many types this node knew when it was looked last.
    pub(super) types_seen: usize,
    /// Sessions that wait for partitions: each once, or twice when it also changes its types.
    pub(super) pending: Vec<Pending>,
    /// Ask for nothing that was refused before.
    pub(super) attend_after: Option<Instant>,
}

impl BroadcastActor {
    /// An actor that is fed by the store. Takes the store's only live feed.
    pub fn new(store: Arc<dyn Store>, types: Arc<dyn TypeNames>, settings: LiveSettings) -> Self {
        let feed = store.live();
        Self::with_feed(store, types, settings, feed)
    }

    /// An actor that is fed by `feed`, and reads what that loses from the store.
    pub fn with_feed(
        store: Arc<dyn Store>,
        types: Arc<dyn TypeNames>,
        settings: LiveSettings,
        feed: mpsc::Receiver<Live>,
    ) -> Self {
        Self {
            store,
            types,
            feed: Some(feed),
            pace: Pace::default(),
            sessions: Sessions::new(settings.max_sessions, settings.heartbeat * 2),
            tracks: HashMap::new(),
            learned: HashMap::new(),
            start: None,
            recovery: Recovery::default(),
            interest: Interest::default(),
            types_seen: 0,
            pending: Vec::new(),
            attend_after: None,
        }
    }

    /// Hands on what goes out now, or comes back when it does.
    fn turn(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        match turn {
            Turn::Now(runs) => self.commit(runs, ctx),
            Turn::After(pause) => {
                ctx.run_later(pause, |actor, ctx| {
                    let turn = actor.pace.due(Instant::now());
                    actor.turn(turn, ctx);
                });
            }
            Turn::Later => {}
        }
    }

    /// Runs that go out together, in the order in which they came.
    fn commit(&mut self, runs: Vec<LiveRun>, ctx: &mut Context<Self>) {
        let mut ready = Vec::with_capacity(runs.len());
        for run in runs {
            let type_no = run.type_no;
            let name = self.name(type_no);
            let wanted = name.as_ref().is_none_or(|name| self.sessions.wanted(type_no, name));
            let start = self.start.unwrap_or(run.previous);
            let track = self.tracks.entry(type_no).or_insert_with(|| Track::new(start));
            if name.is_none() && !track.unnamed {
                track.unnamed = true;
                self.recovery.unnamed(type_no);
            }
            match track.arrive(run, wanted) {
                Arrival::Next(run) => {
                    if let (true, Some(name)) = (wanted, name) {
                        add(&mut ready, encode(name, run));
                    }
                }
                Arrival::Gap => self.recovery.gap(type_no),
                Arrival::Dropped(events) => {
                    log::warn!(
                        "live events are read from the store instead of held: type_no={type_no} events={events}"
                    );
                    self.recovery.gap(type_no);
                }
                Arrival::Held | Arrival::Known => {}
            }
        }
        self.hand_on(&ready);
        self.recover(ctx);
    }

    /// To the sessions, in the order given.
    pub(super) fn hand_on(&mut self, runs: &[EncodedRun]) {
        if runs.is_empty() {
            return;
        }
        for first in runs.iter().filter_map(|run| run.events.first()) {
            LIVE.lag.since(first.id.ms());
        }
        let now = Instant::now();
        let handed = self.sessions.hand_on(runs, now);
        self.pace.went_out(handed.taken, now);
        for (id, refused) in handed.refused {
            // Every type has been queued up to where it stands, but for what was refused just now.
            let floor = self.start.unwrap_or(Position::MAX);
            let stands = self.tracks.iter().map(|(ty, track)| (*ty, track.last()));
            let mut reached: HashMap<_, _> = stands.filter(|(_, last)| *last != floor).collect();
            reached.extend(refused);
            self.sessions.fall_behind(id, Stand { reached, floor }, now);
        }
    }

    /// The name of a type, if this node knows it.
    pub(super) fn name(&self, type_no: TypeNo) -> Option<EventType> {
        let known = self.types.find(type_no).map(|(name, _)| name);
        known.or_else(|| self.learned.get(&type_no).map(|(name, _)| name.clone()))
    }
}

/// Encodes a run, once for all sessions.
pub(super) fn encode(name: EventType, run: LiveRun) -> EncodedRun {
    let events = run.events.iter().filter_map(|(position, payload)| {
        let id = EventId::new(run.type_no, *position);
        live_event(id, &name, payload)
    });
    EncodedRun { type_no: run.type_no, events: events.collect(), name }
}

/// Adds a run to those that go out together; to the last one, if that is of the same type.
fn add(runs: &mut Vec<EncodedRun>, mut run: EncodedRun) {
    match runs.last_mut() {
        Some(last) if last.type_no == run.type_no => last.events.append(&mut run.events),
        _ => runs.push(run),
    }
}

/// An event as sessions get it; `None` when its payload is not text, which no stored JSON is.
pub(super) fn live_event(id: EventId, name: &EventType, payload: &[u8]) -> Option<LiveEvent> {
    match ByteString::try_from(envelope(id, name, payload)) {
        Ok(json) => Some(LiveEvent { id, json }),
        Err(_) => {
            log::error!("stored payload is not UTF-8, the event is not shown live: event_id={id}");
            None
        }
    }
}

impl Actor for BroadcastActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let store = Arc::clone(&self.store);
        // Nothing is handed on before the start is known; subscriptions wait for as long.
        let begin = async move { store.ping().await }.into_actor(self).map(|now, actor, ctx| {
            match now {
                // The last position before this millisecond: an event of this one may still come.
                Ok(now) => actor.start = Some(Position::first_of(now - 1).plus(SEQUENCES - 1)),
                Err(e) => log::warn!("the live side starts without the store's clock: error=\"{e}\""),
            }
            if let Some(mut feed) = actor.feed.take() {
                ctx.add_stream(stream::poll_fn(move |cx| feed.poll_recv(cx)));
            }
        });
        ctx.wait(begin);
        ctx.run_interval(SWEEP, |actor, ctx| {
            let now = Instant::now();
            actor.sessions.sweep(now);
            actor.learn_types();
            actor.attend(Partitions::NONE, ctx);
            actor.leave(now);
            // A type that has come to be known may have made others unneeded.
            actor.serve_pending();
            actor.recover(ctx);
        });
    }
}

impl StreamHandler<Live> for BroadcastActor {
    fn handle(&mut self, live: Live, ctx: &mut Self::Context) {
        match live {
            Live::Commit(runs) => {
                let turn = self.pace.arrive(runs, Instant::now());
                self.turn(turn, ctx);
            }
            Live::Interrupted(partitions) => {
                // What came before would only be read again.
                let waiting = self.pace.take();
                self.commit(waiting, ctx);
                self.recovery.interrupted(partitions);
                self.recover(ctx);
            }
        }
    }

    /// The store was closed. Sessions still want to be told when the hub goes.
    fn finished(&mut self, _: &mut Self::Context) {
        log::debug!("the live feed has ended");
    }
}

impl Handler<Unsubscribe> for BroadcastActor {
    type Result = ();

    fn handle(&mut self, gone: Unsubscribe, _: &mut Self::Context) {
        self.forget(gone.0);
    }
}

impl Handler<Alive> for BroadcastActor {
    type Result = Result<(), String>;

    fn handle(&mut self, _: Alive, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<CountSessions> for BroadcastActor {
    type Result = usize;

    fn handle(&mut self, _: CountSessions, _: &mut Self::Context) -> usize {
        self.sessions.len()
    }
}

impl Handler<CloseAll> for BroadcastActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: CloseAll, ctx: &mut Self::Context) -> Self::Result {
        let waiting = self.pace.take();
        self.commit(waiting, ctx);
        self.give_up_waiting();
        let gone = self.sessions.close_all(Instant::now());
        Box::pin(async move {
            // An error means that the actor is gone, and its sessions with it.
            let _ = gone.await;
        })
    }
}

#[cfg(test)]
#[path = "broadcast_tests.rs"]
mod tests;
