//! Feeds: a page of events of many types, newest first.

use super::chunk::decode;
use super::event::marked_at;
use super::keys::partition;
use super::merge::{Fetch, HOUR, Hour, Source, frontier, plan};
use super::slots::Route;
use super::value::{Answer, array, bytes, corrupt, int, uint};
use super::{RedisStore, SCRIPTS};
use crate::event::{EventId, Millis, Position, hour_of};
use crate::store::{Marked, Page, ReadQuery, StoreError, StoredEvent};
use redis::{Cmd, Value};
use std::collections::BTreeMap;

/// Types whose hours one script call looks up at most, so that none blocks Redis for long.
const TYPES: usize = 500;
/// Chunks of the first round, when nothing is known of their size.
const FIRST_ROUND: usize = 256;
/// Bytes a round may load, about.
const ROUND_BYTES: usize = 16 << 20;
/// Payload bytes past which a page ends before its limit, with `more`: memory is not the client's to choose.
const PAGE_BYTES: usize = 16 << 20;
const MINUTE: Millis = 60_000;

impl RedisStore {
    /// The newest events of a query, and whether there are more.
    pub(super) async fn read_page(&self, query: &ReadQuery) -> Result<Page, StoreError> {
        // One more than is shown: whether there are more is then known, not guessed.
        let need = query.limit.saturating_add(1);
        let mut sources = sources(query);
        if query.limit == 0 || sources.is_empty() {
            return Ok(Page::default());
        }
        let mut budget = FIRST_ROUND.max(sources.len() * 3);
        loop {
            self.find_hours(query, need, &mut sources).await?;
            let frontier = frontier(&sources);
            let is_ready = |event: &&StoredEvent| frontier.is_none_or(|frontier| event.id >= frontier);
            let (mut ready, mut size) = (0, 0);
            for event in sources.iter().flat_map(|source| &source.events).filter(is_ready) {
                (ready, size) = (ready + 1, size + event.payload.len());
            }
            let enough = ready >= need || (size > PAGE_BYTES && ready > 1);
            if enough || frontier.is_none() {
                // Of a page that is cut for its size one event is left, which proves that there are more.
                let limit = if enough { query.limit.min(ready - 1) } else { query.limit };
                return Ok(page(sources, frontier, limit));
            }
            let fetches = plan(&sources, need - ready, budget);
            if fetches.is_empty() {
                return Err(corrupt("hours are named that cannot be loaded"));
            }
            let (chunks, bytes) = self.load(query, &fetches, &mut sources).await?;
            budget = (ROUND_BYTES * chunks.max(1) / bytes.max(1)).clamp(64, 8192);
        }
    }

    /// Learns which hours hold anything, of the sources that have come to the end of those they know.
    async fn find_hours(&self, query: &ReadQuery, need: usize, sources: &mut [Source]) -> Result<(), StoreError> {
        let which = match query.marked {
            Marked::Ignore | Marked::All(_) => "a",
            Marked::Pending(_) => "p",
            Marked::Processed(_) => "d",
        };
        let client = query.marked.client().map_or("", |client| client.as_str());
        loop {
            let mut blind: Vec<(usize, &mut Source, i64)> = Vec::new();
            for (at, source) in sources.iter_mut().enumerate() {
                if let Some(newest) = source.unknown.filter(|_| source.hours.is_empty()) {
                    blind.push((at, source, newest));
                }
            }
            if blind.is_empty() {
                return Ok(());
            }
            let shares = self.shares(blind.iter().map(|(_, source, _)| source.type_no), TYPES);
            let mut batch = Vec::with_capacity(shares.len());
            for (route, share) in &shares {
                let some = share.iter().filter_map(|at| blind.get(*at));
                let first = some.clone().next().map_or(0, |(_, source, _)| partition(source.type_no));
                let mut cmd = SCRIPTS.hours.call(&[self.keys.last(first)]);
                cmd.arg(&self.keys.prefix).arg(hour_of(query.from)).arg(need).arg(which).arg(client);
                for (_, source, newest) in some {
                    cmd.arg(partition(source.type_no)).arg(source.type_no.get()).arg(*newest);
                }
                batch.push((*route, cmd));
            }
            for ((_, share), answer) in shares.iter().zip(self.general.pipeline(&batch).await?) {
                let mut answer = Answer::of(answer)?;
                let now = int(&answer.next())?;
                for at in share {
                    let Some((at, source, _)) = blind.get_mut(*at) else { continue };
                    let hours = array(answer.next())?;
                    let ttl = query.types.get(*at).and_then(|ty| ty.ttl.millis());
                    learn(source, &hours, ttl.map(|ttl| now.saturating_sub(ttl) + 1))?;
                }
            }
        }
    }

    /// Loads what was planned; answers how many chunks and bytes that were.
    async fn load(
        &self,
        query: &ReadQuery,
        fetches: &[Fetch],
        sources: &mut [Source],
    ) -> Result<(usize, usize), StoreError> {
        let mut batch: Vec<(Route, Cmd)> = Vec::with_capacity(fetches.len());
        for fetch in fetches {
            let Some(source) = sources.get(fetch.source) else { continue };
            let mut cmd = redis::cmd("ZRANGE");
            cmd.arg(self.keys.events(source.type_no, fetch.hour));
            cmd.arg(fetch.top).arg(source.visible.start).arg("BYSCORE").arg("REV");
            cmd.arg("LIMIT").arg(fetch.skip).arg(fetch.chunks);
            batch.push((source.type_no.into(), cmd));
        }
        let (mut count, mut size) = (0, 0);
        let mut loaded: Vec<(usize, bool, Vec<StoredEvent>)> = Vec::with_capacity(fetches.len());
        for (fetch, answer) in fetches.iter().zip(self.general.pipeline(&batch).await?) {
            let mut chunks = Vec::new();
            for chunk in array(answer)? {
                let chunk = bytes(chunk)?;
                (count, size) = (count + 1, size + chunk.len());
                chunks.push(decode(&chunk)?);
            }
            let Some(source) = sources.get_mut(fetch.source) else { continue };
            let mut events = source.take(fetch, chunks);
            if let Some(before) = query.before {
                events.retain(|event| event.id < before);
            }
            loaded.push((fetch.source, fetch.marked, events));
        }
        self.look_at_marks(&query.marked, &mut loaded).await?;
        for (source, _, mut events) in loaded {
            match query.marked {
                Marked::Pending(_) => events.retain(|event| event.processed_at.is_none()),
                Marked::Processed(_) => events.retain(|event| event.processed_at.is_some()),
                Marked::Ignore | Marked::All(_) => {}
            }
            if let Some(source) = sources.get_mut(source) {
                source.events.extend(events);
            }
        }
        Ok((count, size))
    }

    /// Sets `processed_at` of the events that the client has marked.
    async fn look_at_marks(
        &self,
        marked: &Marked,
        loaded: &mut [(usize, bool, Vec<StoredEvent>)],
    ) -> Result<(), StoreError> {
        let Some(client) = marked.client() else { return Ok(()) };
        let mut minutes: BTreeMap<(u16, i64), Vec<&mut StoredEvent>> = BTreeMap::new();
        for (_, _, events) in loaded.iter_mut().filter(|(_, marked, _)| *marked) {
            for event in events {
                let minute = event.id.ms().div_euclid(MINUTE);
                minutes.entry((event.id.type_no().get(), minute)).or_default().push(event);
            }
        }
        let mut batch: Vec<(Route, Cmd)> = Vec::with_capacity(minutes.len());
        for ((_, minute), events) in &minutes {
            let Some(first) = events.first() else { continue };
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(self.keys.marks(first.id.type_no(), *minute, client));
            for event in events {
                cmd.arg(offset(event.id, *minute));
            }
            batch.push((first.id.type_no().into(), cmd));
        }
        let answers = self.general.pipeline(&batch).await?;
        for (events, seconds) in minutes.into_values().zip(answers) {
            for (event, seconds) in events.into_iter().zip(array(seconds)?) {
                if seconds != Value::Nil {
                    event.processed_at = Some(marked_at(event.id.ms(), int(&seconds)?));
                }
            }
        }
        Ok(())
    }
}

/// Where an event stands in its minute: its field in the hash of marks.
fn offset(id: EventId, minute: i64) -> u64 {
    id.position().get().saturating_sub(Position::first_of(minute * MINUTE).get())
}

fn sources(query: &ReadQuery) -> Vec<Source> {
    let to = query.before.map_or(query.to, |before| query.to.min(before.ms().saturating_add(1)));
    // Outside this time nothing can be stored; inside it no arithmetic on milliseconds overflows.
    let visible = query.from.max(Position::default().ms())..to.min(Position::MAX.ms());
    if visible.is_empty() {
        return Vec::new();
    }
    let newest = hour_of(visible.end - 1);
    query.types.iter().map(|ty| Source::new(ty.type_no, visible.clone(), newest)).collect()
}

/// Takes the answer for one type of `hours.lua`. What `first` (the first millisecond within the lifetime) has passed
/// does not show.
fn learn(source: &mut Source, hours: &[Value], first: Option<Millis>) -> Result<(), StoreError> {
    if let Some(first) = first {
        source.visible.start = source.visible.start.max(first);
    }
    let (older, hours) =
        hours.split_first().ok_or_else(|| corrupt("the hours script did not answer for every type"))?;
    source.unknown = None;
    for hour in hours.chunks_exact(4) {
        let [hour, wanted, chunks, marks] = hour else { continue };
        let hour =
            Hour { hour: int(hour)?, wanted: uint(wanted)? as f64, chunks: uint(chunks)? as f64, marks: uint(marks)? };
        source.unknown = (int(older)? == 1).then_some(hour.hour - 1);
        if (hour.hour + 1) * HOUR > source.visible.start && !source.visible.is_empty() {
            source.hours.push_back(hour);
        }
    }
    if source.unknown.is_some_and(|unknown| (unknown + 1) * HOUR <= source.visible.start) {
        source.unknown = None;
    }
    Ok(())
}

/// The events above the frontier, newest first.
fn page(sources: Vec<Source>, frontier: Option<EventId>, limit: usize) -> Page {
    let mut events: Vec<StoredEvent> = sources.into_iter().flat_map(|source| source.events).collect();
    events.retain(|event| frontier.is_none_or(|frontier| event.id >= frontier));
    // Each type's are in order already; the sort finds such runs.
    events.sort_by_key(|event| std::cmp::Reverse(event.id));
    let more = events.len() > limit;
    events.truncate(limit);
    Page { events, more }
}
