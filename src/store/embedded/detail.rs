//! What is known of single events: one event whole, and the dead letters of a stream.

use super::super::{DeadLetter, DeliveryState, EventDetail, StoreError, StoredEvent, StreamKey, StreamSince, TypeRef};
use super::EmbeddedStore;
use super::claim::millis;
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::marks::marked_at;
use super::past::Past;
use super::rows::{DeadRow, RetryRow, StreamRow, damaged, read_event};
use super::stream::Place;
use crate::event::{ClientId, EventId, Millis, Position};
use fjall::{Readable, Slice, Snapshot};
use std::time::Duration;

impl EmbeddedStore {
    /// What the committer knows of pending events that the disk does not: leases, and what was made due.
    pub(super) async fn refine(
        &self,
        id: EventId,
        streams: &[StreamSince],
        detail: &mut EventDetail,
    ) -> Result<(), StoreError> {
        if !detail.streams.iter().any(|state| matches!(state, DeliveryState::Pending { .. })) {
            return Ok(());
        }
        let keys: Vec<_> = streams.iter().map(|s| StreamKey { type_no: id.type_no(), name: s.name.clone() }).collect();
        let places = self
            .door()?
            .ask(move |core, _| {
                let now = core.now();
                let place = |key| core.stream(key)?.get(id.position()).map(|event| (event.place, now));
                Ok(keys.iter().map(place).collect::<Vec<_>>())
            })
            .await?;
        for (state, place) in detail.streams.iter_mut().zip(places) {
            if let (DeliveryState::Pending { next_attempt_at, .. }, Some((place, now))) = (state, place) {
                *next_attempt_at = match place {
                    Place::Held(_) => None,
                    Place::Later(due) => Some(due),
                    Place::Ready => Some(next_attempt_at.unwrap_or(now).min(now)),
                };
            }
        }
        Ok(())
    }
}

struct View<'a> {
    disk: &'a Disk,
    snapshot: Snapshot,
    /// Dead letters from before have had their time, though they may not have been removed yet.
    kept_since: Millis,
}

impl View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        self.snapshot.get(self.disk.table(table), key).map_err(unavailable)
    }

    fn stream(&self, key: &StreamKey) -> Result<Option<StreamRow>, StoreError> {
        self.get(Table::State, &keys::stream(key.type_no, &key.name))?.map(|row| StreamRow::decode(&row)).transpose()
    }
}

/// One event, from a snapshot. Blocks. `next_attempt_at` of what is pending is what the disk says: the
/// committer knows better what is leased or has been made due.
pub(super) fn event(
    disk: &Disk,
    hours: &Hours,
    (now, dead_ttl): (Millis, Duration),
    id: EventId,
    ty: &TypeRef,
    streams: &[StreamSince],
) -> Result<Option<EventDetail>, StoreError> {
    let kept_since = now.saturating_sub(millis(dead_ttl));
    let view = View { disk, snapshot: disk.snapshot(), kept_since };
    let buried = id.position() < hours.floor(id.type_no().get());
    if id.type_no() != ty.type_no || buried || !ty.ttl.shows(id.ms(), now) {
        return Ok(None);
    }
    let Some(row) = view.get(Table::Events, &keys::event(id))? else { return Ok(None) };
    let (revision, payload) = read_event(&row)?;
    let streams = streams.iter().map(|stream| state(&view, id, revision, stream)).collect::<Result<_, _>>()?;
    let processed_by = processed_by(&view, id)?;
    Ok(Some(EventDetail { event: StoredEvent { id, payload, processed_at: None }, streams, processed_by }))
}

fn state(view: &View<'_>, id: EventId, revision: u64, stream: &StreamSince) -> Result<DeliveryState, StoreError> {
    let key = StreamKey { type_no: id.type_no(), name: stream.name.clone() };
    let position = id.position();
    let mut promised = stream.gets(revision);
    // A stream that has drained and been forgotten holds nothing any more.
    if let Some(StreamRow { number, .. }) = view.stream(&key)? {
        if view.get(Table::Outbox, &keys::outbox(number, position))?.is_some() {
            let retry = view.get(Table::State, &keys::of_stream(keys::RETRIES, number, position))?;
            let retry = retry.map(|row| RetryRow::decode(&row)).transpose()?;
            let next_attempt_at = Some(retry.as_ref().map_or(id.ms(), |retry| retry.due));
            return Ok(DeliveryState::Pending { failed: retry.map(|retry| retry.failure), next_attempt_at });
        }
        if let Some(row) = view.get(Table::State, &keys::of_stream(keys::DEAD, number, position))? {
            let dead = DeadRow::decode(&row)?;
            let kept = dead.since > view.kept_since;
            return Ok(if kept { DeliveryState::Dead(dead.failure) } else { DeliveryState::Dropped });
        }
        // Older than the stream, but it may have been queued for it since.
        if !promised && let Some(row) = view.get(Table::State, &keys::past(number))? {
            promised = Past::decode(&row)?.holds(position);
        }
    }
    if !promised {
        return Ok(DeliveryState::None);
    }
    if view.get(Table::Marks, &keys::dropped(id, &stream.name))?.is_some() {
        return Ok(DeliveryState::Dropped);
    }
    Ok(DeliveryState::Delivered)
}

/// Clients that marked the event: those that marked any in its hour, each asked for this one.
fn processed_by(view: &View<'_>, id: EventId) -> Result<Vec<(ClientId, Millis)>, StoreError> {
    let (hour, ty) = (keys::hour_no(id.position()), id.type_no().get());
    let prefix = keys::mark_counts(hour, ty);
    let mut found = Vec::new();
    for row in view.snapshot.prefix(view.disk.table(Table::State), prefix) {
        let key = row.key().map_err(unavailable)?;
        let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok()?.parse::<ClientId>().ok());
        let client = name.ok_or_else(|| damaged("a client's name"))?;
        let mark = keys::mark(hour, ty, &client, id.position().get());
        if let Some(row) = view.get(Table::Marks, &mark)? {
            found.push((client, marked_at(id.position(), &row)?));
        }
    }
    Ok(found)
}

/// Dead letters of a stream, oldest first. Blocks.
pub(super) fn dead_letters(
    disk: &Disk,
    now: Millis,
    ttl: Duration,
    key: &StreamKey,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let kept_since = now.saturating_sub(millis(ttl));
    let view = View { disk, snapshot: disk.snapshot(), kept_since };
    let Some(StreamRow { number, .. }) = view.stream(key)? else { return Ok(Vec::new()) };
    let from = after.map_or(Position::default(), |after| after.plus(1));
    let range = keys::of_stream(keys::DEAD, number, from)..=keys::of_stream(keys::DEAD, number, Position::MAX);
    let mut letters = Vec::new();
    for row in view.snapshot.range(disk.table(Table::State), range) {
        if letters.len() >= limit {
            break;
        }
        let (row_key, row) = row.into_inner().map_err(unavailable)?;
        let (_, position) = keys::stream_and_position(&row_key).ok_or_else(|| damaged("a dead letter"))?;
        let dead = DeadRow::decode(&row)?;
        if dead.since <= view.kept_since {
            continue;
        }
        let (_, payload) = read_event(&dead.event)?;
        let event = StoredEvent { id: EventId::new(key.type_no, position), payload, processed_at: None };
        letters.push(DeadLetter { event, failure: dead.failure, since: dead.since });
    }
    Ok(letters)
}
