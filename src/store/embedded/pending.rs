//! What a client has not marked yet: counted by hours, and looked for only in the hours that decide.

use super::super::{Pending, StoreError, TypeRef};
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::read::first_shown;
use super::rows::{damaged, read_number};
use crate::event::{ClientId, EventId, Millis, Position, TypeNo};
use fjall::{Readable, Snapshot};

/// Counts a client's pending events at the store's time `now`. Blocks.
pub(super) fn pending(
    disk: &Disk,
    hours: &Hours,
    now: Millis,
    types: &[TypeRef],
    client: &ClientId,
) -> Result<Pending, StoreError> {
    // The index first: an hour of it may be newer than the snapshot. Its events are then counted before they are
    // there, and not looked for.
    let spans: Vec<_> = types
        .iter()
        .map(|ty| {
            let first = first_shown(ty.type_no, &ty.ttl, hours, now, Millis::MIN);
            (ty.type_no, first, hours.counts(ty.type_no.get(), keys::hour_no(first)))
        })
        .collect();
    let look = Look { disk, snapshot: disk.snapshot(), client };
    let (mut counts, mut oldest) = (Vec::with_capacity(types.len()), None::<EventId>);
    for (ty, first, hours) in spans {
        let mut sum = 0;
        for (hour, events) in hours {
            let left = events.saturating_sub(look.marks(hour, ty)?);
            if left == 0 {
                continue;
            }
            // Of the hour in which events begin to show, the counts say too little.
            let edge = hour == keys::hour_no(first);
            let start = Position::first_of(Millis::from(hour) * 3_600_000);
            let wanted = oldest.is_none_or(|oldest| EventId::new(ty, start.max(first)) < oldest);
            let mut pending = left;
            if edge || wanted {
                let (count, found) = look.hour(hour, ty, first, !edge)?;
                oldest = oldest.into_iter().chain(found.map(|position| EventId::new(ty, position))).min();
                pending = if edge { count } else { left };
            }
            sum += pending;
        }
        counts.push(sum);
    }
    Ok(Pending { now, counts, oldest })
}

struct Look<'a> {
    disk: &'a Disk,
    snapshot: Snapshot,
    client: &'a ClientId,
}

impl Look<'_> {
    /// How many events of an hour the client has marked.
    fn marks(&self, hour: u32, ty: TypeNo) -> Result<u64, StoreError> {
        let key = keys::mark_count(hour, ty.get(), self.client);
        let row = self.snapshot.get(self.disk.table(Table::State), key).map_err(unavailable)?;
        row.map_or(Ok(0), |row| read_number(&row))
    }

    /// How many events of an hour, from a position on, have no mark, and the first of them. Stops there when `one` is
    /// enough.
    fn hour(&self, hour: u32, ty: TypeNo, first: Position, one: bool) -> Result<(u64, Option<Position>), StoreError> {
        let (from, end) = (first.get(), u64::MAX);
        let range = keys::event_at(hour, ty.get(), from)..keys::event_at(hour, ty.get(), end);
        let events = self.snapshot.range(self.disk.table(Table::Events), range);
        let range = keys::mark(hour, ty.get(), self.client, from)..keys::mark(hour, ty.get(), self.client, end);
        let mut marks = self.snapshot.range(self.disk.table(Table::Marks), range).map(|row| {
            let key = row.key().map_err(unavailable)?;
            keys::position_of(&key).ok_or_else(|| damaged("a mark"))
        });
        let (mut count, mut found, mut mark) = (0, None, marks.next().transpose()?);
        for event in events {
            let key = event.key().map_err(unavailable)?;
            let position = keys::position_of(&key).ok_or_else(|| damaged("an event"))?;
            while mark.is_some_and(|mark| mark < position) {
                mark = marks.next().transpose()?;
            }
            if mark != Some(position) {
                count += 1;
                found = found.or(Some(position));
                if one {
                    break;
                }
            }
        }
        Ok((count, found))
    }
}
