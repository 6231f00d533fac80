//! Stored events queued for a stream again.
//!
//! What is queued is decided by one snapshot, read in pieces on threads that may block: events that waited when
//! the replay was asked for are left out, however fast they are delivered meanwhile. The committer takes each
//! piece in as one step.

use super::super::{Replay, StoreError, StreamKey};
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::letters::{STEP, STEP_BYTES, forget_letter, in_outbox};
use super::past::Past;
use super::read::first_shown;
use super::rows::{DeadRow, StreamRow, damaged};
use super::writer::Access;
use crate::event::{EventId, Millis, Position, TypeNo};
use fjall::{Readable, Slice, Snapshot};

/// Most events counted in one go.
const COUNT: usize = 20_000;

/// What a replay reads from.
pub(super) struct Source {
    snapshot: Snapshot,
    ty: TypeNo,
    /// The stream's, if the store has ever seen it.
    number: Option<u32>,
    /// First position.
    pub first: Position,
    /// First position after.
    end: Position,
}

/// A piece of a replay.
pub(super) struct Piece {
    /// Events that do not wait, in order, with their rows.
    events: Vec<(Position, Slice)>,
    /// Where the next piece begins.
    pub next: Option<Position>,
}

impl Piece {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Source {
    /// Everything of the replay's range that has not expired by now.
    pub(super) fn new(disk: &Disk, hours: &Hours, now: Millis, replay: &Replay) -> Result<Self, StoreError> {
        let ty = replay.stream.type_no;
        let snapshot = disk.snapshot();
        let row = snapshot.get(disk.table(Table::State), keys::stream(ty, &replay.stream.name)).map_err(unavailable)?;
        let number = row.map(|row| StreamRow::decode(&row)).transpose()?.map(|row| row.number);
        let first = first_shown(ty, &replay.ttl, hours, now, replay.from);
        Ok(Self { snapshot, ty, number, first, end: Position::first_of(replay.to) })
    }

    /// How many events from `from` on do not wait, as far as is counted in one go, and where to count on.
    pub(super) fn count(
        &self,
        disk: &Disk,
        hours: &Hours,
        from: Position,
    ) -> Result<(u64, Option<Position>), StoreError> {
        let (mut positions, mut next) = (Vec::new(), None);
        self.visit(disk, hours, from, |row| {
            let key = row.key().map_err(unavailable)?;
            let position = keys::position_of(&key).ok_or_else(|| damaged("an event"))?;
            if positions.len() >= COUNT {
                next = Some(position);
                return Ok(false);
            }
            positions.push(position);
            Ok(true)
        })?;
        let span = positions.first().copied().zip(positions.last().copied());
        let waiting = self.waiting(disk, span)?;
        let count = positions.iter().filter(|position| waiting.binary_search(position).is_err()).count();
        Ok((count as u64, next))
    }

    /// The piece that begins at `from`.
    pub(super) fn piece(&self, disk: &Disk, hours: &Hours, from: Position) -> Result<Piece, StoreError> {
        let (mut events, mut bytes, mut next) = (Vec::new(), 0, None);
        self.visit(disk, hours, from, |row| {
            let (key, row) = row.into_inner().map_err(unavailable)?;
            let position = keys::position_of(&key).ok_or_else(|| damaged("an event"))?;
            if events.len() >= STEP || bytes >= STEP_BYTES {
                next = Some(position);
                return Ok(false);
            }
            bytes += row.len();
            // Copied: a slice would keep its whole block in memory.
            events.push((position, Slice::from(row.to_vec())));
            Ok(true)
        })?;
        let ends = |events: &[(Position, Slice)]| Some((events.first()?.0, events.last()?.0));
        let waiting = self.waiting(disk, ends(&events))?;
        events.retain(|(position, _)| waiting.binary_search(position).is_err());
        Ok(Piece { events, next })
    }

    /// Shows the stored events from `from` on, in order, until `see` has seen enough.
    fn visit(
        &self,
        disk: &Disk,
        hours: &Hours,
        from: Position,
        mut see: impl FnMut(fjall::Guard) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        if from >= self.end {
            return Ok(());
        }
        let ty = self.ty.get();
        let last = keys::hour_no(Position::new(self.end.get() - 1));
        let mut next = hours.first_in(ty, keys::hour_no(from), last);
        while let Some(hour) = next {
            let range = keys::event_at(hour, ty, from.get())..keys::event_at(hour, ty, self.end.get());
            for row in self.snapshot.range(disk.table(Table::Events), range) {
                if !see(row)? {
                    return Ok(());
                }
            }
            next = hour.checked_add(1).and_then(|hour| hours.first_in(ty, hour, last));
        }
        Ok(())
    }

    /// Positions in the stream's outbox from the first to the last of `span`, rising. Looks no further: beyond
    /// may lie everything that was ever delivered.
    fn waiting(&self, disk: &Disk, span: Option<(Position, Position)>) -> Result<Vec<Position>, StoreError> {
        let (Some(number), Some((first, last))) = (self.number, span) else { return Ok(Vec::new()) };
        let range = keys::outbox(number, first)..=keys::outbox(number, last);
        let rows = self.snapshot.range(disk.table(Table::Outbox), range);
        rows.map(|row| {
            let key = row.key().map_err(unavailable)?;
            keys::position_of(&key).ok_or_else(|| damaged("an outbox entry"))
        })
        .collect()
    }

    /// First position after a piece.
    pub(super) fn end_of(&self, piece: &Piece) -> Position {
        piece.next.unwrap_or(self.end)
    }
}

/// Queues a piece, except what waits by now, and notes `from..end` as given to the stream. Answers how many.
pub(super) fn queue(
    access: Access<'_, '_>,
    key: &StreamKey,
    piece: Piece,
    (from, end): (Position, Position),
) -> Result<u64, StoreError> {
    let Access { core, disk, tx } = access;
    core.check_space(disk)?;
    tx.durable = true;
    // What is still to come of the type has not been given.
    let end = end.min(core.last(key.type_no).plus(1));
    let stream = core.stream_for_change(key.type_no, &key.name);
    let number = stream.row.number;
    // All that can fail comes first: memory and batch are changed together.
    let mut past =
        disk.get(Table::State, &keys::past(number))?.map_or(Ok(Past::default()), |row| Past::decode(&row))?;
    let mut found = Vec::with_capacity(piece.events.len());
    for (position, row) in piece.events {
        if in_outbox(stream, disk, position)? {
            continue;
        }
        let dead = match stream.row.dead {
            0 => None,
            _ => disk.get(Table::State, &keys::of_stream(keys::DEAD, number, position))?,
        };
        let dead = dead.map(|row| DeadRow::decode(&row)).transpose()?;
        let dropped = keys::dropped(EventId::new(key.type_no, position), &key.name);
        let dropped = disk.get(Table::Marks, &dropped)?.map(|_| dropped);
        found.push((position, row, dead, dropped));
    }
    let count = found.len() as u64;
    for (position, row, dead, dropped) in found {
        if let Some(letter) = dead {
            forget_letter(stream, tx, position, letter.since);
        }
        if let Some(dropped) = dropped {
            tx.unset(Table::Marks, dropped);
        }
        tx.insert(Table::Outbox, &keys::outbox(number, position), row);
        stream.queue_again(position);
    }
    if count > 0 {
        past.add(from, end);
        tx.set(Table::State, keys::past(number), past.encode());
    }
    Ok(count)
}
