//! Marks of clients on events.

use super::super::{MarkRequest, StoreError};
use super::EmbeddedStore;
use super::core::Core;
use super::disk::{Disk, Table};
use super::hours::Hours;
use super::keys;
use super::rows::{number, pair, read_number, read_pair_or_first};
use super::tx::Tx;
use crate::event::{Millis, Position};
use std::sync::Arc;

impl EmbeddedStore {
    /// Which of the events marked exist.
    pub(super) async fn existing(&self, marks: &[MarkRequest]) -> Result<Vec<(MarkRequest, bool)>, StoreError> {
        let (marks, hours, now) = (marks.to_vec(), Arc::clone(&self.hours), (self.clock)());
        self.blocking(move |disk| {
            let exist = exist(disk, &hours, now, &marks)?;
            Ok(marks.into_iter().zip(exist).collect())
        })
        .await
    }
}

/// Whether each event is stored and still shows. Reads the disk, so it runs outside the committer.
fn exist(disk: &Disk, hours: &Hours, now: Millis, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
    marks
        .iter()
        .map(|mark| {
            let buried = mark.id.position() < hours.floor(mark.id.type_no().get());
            let shows = !buried && mark.ttl.shows(mark.id.ms(), now);
            Ok(shows && disk.get(Table::Events, &keys::event(mark.id))?.is_some())
        })
        .collect()
}

/// Marks those events that exist; the first mark's time stays. Answers which were there.
pub(super) fn mark(core: &mut Core, tx: &mut Tx<'_>, marks: &[(MarkRequest, bool)]) -> Result<Vec<bool>, StoreError> {
    change(core, tx, marks, |tx, mark, key, marked, now| {
        if marked {
            return Ok(());
        }
        tx.set(Table::Marks, key, number(u64::try_from(now - mark.id.ms()).unwrap_or(0)));
        count(tx, mark, 1)
    })
}

/// Takes marks back. Answers which events were there.
pub(super) fn unmark(core: &mut Core, tx: &mut Tx<'_>, marks: &[(MarkRequest, bool)]) -> Result<Vec<bool>, StoreError> {
    change(core, tx, marks, |tx, mark, key, marked, _| {
        if !marked {
            return Ok(());
        }
        tx.unset(Table::Marks, key);
        count(tx, mark, -1)
    })
}

fn change(
    core: &mut Core,
    tx: &mut Tx<'_>,
    marks: &[(MarkRequest, bool)],
    apply: impl Fn(&mut Tx<'_>, &MarkRequest, Vec<u8>, bool, Millis) -> Result<(), StoreError>,
) -> Result<Vec<bool>, StoreError> {
    tx.durable = true;
    let now = core.now();
    let mut found = Vec::with_capacity(marks.len());
    for (mark, exists) in marks {
        let (hour, ty) = place(mark);
        // The hour may have been swept since the event was looked for: its mark would never go away.
        let exists = *exists && core.hours.count(ty, hour) > 0;
        if exists {
            let key = keys::mark(hour, ty, &mark.client, mark.id.position().get());
            let marked = tx.get(Table::Marks, &key)?.is_some();
            apply(tx, mark, key, marked, now)?;
        }
        found.push(exists);
    }
    Ok(found)
}

/// Keeps count of a client's marks in an hour, and of how often they have changed; the row goes with the hour.
fn count(tx: &mut Tx<'_>, mark: &MarkRequest, change: i64) -> Result<(), StoreError> {
    let (hour, ty) = place(mark);
    let key = keys::mark_count(hour, ty, &mark.client);
    let (before, changes) = tx.get(Table::State, &key)?.map_or(Ok((0, 0)), |row| read_pair_or_first(&row))?;
    tx.set(Table::State, key, pair(before.saturating_add_signed(change), changes + 1));
    Ok(())
}

fn place(mark: &MarkRequest) -> (u32, u16) {
    (keys::hour_no(mark.id.position()), mark.id.type_no().get())
}

/// When a mark was made, from its row.
pub(super) fn marked_at(position: Position, row: &[u8]) -> Result<Millis, StoreError> {
    Ok(position.ms().saturating_add(Millis::try_from(read_number(row)?).unwrap_or(0)))
}
