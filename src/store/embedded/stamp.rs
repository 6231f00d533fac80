//! Stamps: whether a feed has changed, without reading its events.
//!
//! Positions are appended upwards and disappear from below, so what shows of a type in a range is given by the first
//! position that shows and the last one appended. The latter is in memory. The first one is looked for only where
//! something may be missing from below. Of ranges that have ended both are looked for: their stamp stays the same
//! whatever comes later, and the expiry is asked.

use super::super::{Stamp, StampQuery, StoreError};
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::read::first_shown;
use super::rows::{damaged, read_pair_or_first};
use crate::event::{Millis, Position, TypeNo};
use fjall::{Readable, Snapshot};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// A stamp in the making.
pub(super) struct Parts {
    now: Millis,
    ended: bool,
    query: StampQuery,
    types: Vec<Part>,
}

/// What is known of a type of which something has been appended in the range, or after it.
struct Part {
    ty: TypeNo,
    ttl: Option<Millis>,
    /// The first position that may show.
    bottom: Position,
    /// The last one appended; `None` when the range is full for ever.
    last: Option<Position>,
    /// The first one that shows; `None` when everything appended does.
    first: Option<Position>,
    /// Whether `first` must be looked for.
    look: bool,
}

impl Parts {
    /// What memory says, at the store's time `now`.
    pub(super) fn new(hours: &Hours, now: Millis, query: StampQuery) -> Self {
        let ended = now >= query.to;
        let (from, end) = (Position::first_of(query.from), Position::first_of(query.to));
        let types = query.types.iter().filter(|_| from < end).filter_map(|ty| {
            let last = hours.last(ty.type_no.get());
            // The zero position is that of a type that has none.
            if last < from || last == Position::default() {
                return None;
            }
            let bottom = first_shown(ty.type_no, &ty.ttl, hours, now, query.from);
            let last = Some(last).filter(|last| *last < end);
            let look = ended || bottom > from;
            Some(Part { ty: ty.type_no, ttl: ty.ttl.millis(), bottom, last, first: None, look })
        });
        Self { now, ended, types: types.collect(), query }
    }

    /// Whether memory alone does not do.
    pub(super) fn need_disk(&self) -> bool {
        !self.types.is_empty() && (self.query.client.is_some() || self.types.iter().any(|part| part.look))
    }

    /// The stamp, where memory alone does.
    pub(super) fn stamp(&self) -> Stamp {
        let mut digest = Sha256::new();
        self.types.iter().for_each(|part| part.hash(&mut digest));
        Stamp { digest: Some(digest.finalize().into()), now: self.now, expires: self.expires() }
    }

    /// The stamp. Blocks.
    pub(super) fn read(mut self, disk: &Disk, hours: &Hours) -> Result<Stamp, StoreError> {
        let snapshot = disk.snapshot();
        let end = Position::first_of(self.query.to);
        for part in self.types.iter_mut().filter(|part| part.look) {
            part.first = find_in(disk, &snapshot, hours, (part.ty, part.bottom..end), false)?;
            if self.ended && part.last.is_none() && part.first.is_some() {
                part.last = find_in(disk, &snapshot, hours, (part.ty, part.bottom..end), true)?;
            }
        }
        self.types.retain(|part| !part.look || part.first.is_some());
        let mut digest = Sha256::new();
        for part in &self.types {
            part.hash(&mut digest);
            let Some(client) = &self.query.client else { continue };
            let top = keys::hour_no(part.last.unwrap_or(Position::new(end.get().saturating_sub(1))));
            for (hour, _) in hours.counts(part.ty.get(), keys::hour_no(part.first.unwrap_or(part.bottom))) {
                if hour > top {
                    break;
                }
                let key = keys::mark_count(hour, part.ty.get(), client);
                let row = snapshot.get(disk.table(Table::State), key).map_err(unavailable)?;
                if let Some(row) = row {
                    let (marks, changes) = read_pair_or_first(&row)?;
                    digest.update(hour.to_be_bytes());
                    digest.update(marks.to_be_bytes());
                    digest.update(changes.to_be_bytes());
                }
            }
        }
        Ok(Stamp { digest: Some(digest.finalize().into()), now: self.now, expires: self.expires() })
    }

    fn expires(&self) -> Option<Millis> {
        let times = self.types.iter().filter_map(|part| Some(part.first?.ms().saturating_add(part.ttl?)));
        times.min().filter(|_| self.ended)
    }
}

impl Part {
    fn hash(&self, digest: &mut Sha256) {
        let number = |position: Option<Position>| position.map_or(u64::MAX, Position::get).to_be_bytes();
        digest.update(self.ty.get().to_be_bytes());
        digest.update(number(self.first));
        digest.update(number(self.last));
    }
}

/// The first position of a type in a range; the last one with `newest`.
fn find_in(
    disk: &Disk,
    snapshot: &Snapshot,
    hours: &Hours,
    (ty, range): (TypeNo, Range<Position>),
    newest: bool,
) -> Result<Option<Position>, StoreError> {
    if range.is_empty() {
        return Ok(None);
    }
    let (mut low, mut high) = (keys::hour_no(range.start), keys::hour_no(Position::new(range.end.get() - 1)));
    loop {
        let hour = if newest {
            hours.newest(std::iter::once((ty.get(), low, high))).into_iter().next().flatten()
        } else {
            hours.first_in(ty.get(), low, high)
        };
        let Some(hour) = hour else { return Ok(None) };
        let keys = keys::event_at(hour, ty.get(), range.start.get())..keys::event_at(hour, ty.get(), range.end.get());
        let mut rows = snapshot.range(disk.table(Table::Events), keys);
        if let Some(row) = if newest { rows.next_back() } else { rows.next() } {
            let key = row.key().map_err(unavailable)?;
            return keys::position_of(&key).map(Some).ok_or_else(|| damaged("an event"));
        }
        if newest {
            let Some(below) = hour.checked_sub(1) else { return Ok(None) };
            high = below;
        } else {
            low = hour.saturating_add(1);
        }
    }
}
