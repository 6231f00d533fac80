//! Giving back what has expired: hours of events with their marks, idempotency answers, dead letters, attempts.
//!
//! In the committer between groups, a few hundred rows at a time, so that appends are hardly held up.

use super::super::StoreError;
use super::attempts;
use super::claim::millis;
use super::core::Core;
use super::disk::{Disk, Table, unavailable};
use super::keys;
use super::rows::{AnswerRow, DeadRow, damaged};
use super::tx::Tx;
use crate::event::{EventId, Millis, Position, TypeNo};

/// Most rows removed in one step.
pub(super) const CHUNK: usize = 256;
const HOUR: Millis = 3_600_000;

/// Where sweeping stands. Lost with the process, and then found again.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    hour: Option<Hour>,
    /// An hour all of whose rows are removed by the group being committed.
    emptied: Option<(u16, u32)>,
    /// Time of the last expiry row removed, for answers and dead letters: rows below are gone.
    answers_from: u64,
    dead_from: u64,
    /// The same for attempts.
    pub(super) attempts_from: u64,
}

/// An hour of a type being removed, table by table.
#[derive(Debug)]
struct Hour {
    ty: u16,
    hour: u32,
    /// How many events it had at the start: more means that it must be gone through again.
    events: u64,
    /// Index into [`STAGES`].
    stage: usize,
    /// What lies before is removed.
    from: Vec<u8>,
}

const STAGES: [Table; 3] = [Table::Events, Table::Marks, Table::State];

/// One step. False when there is nothing left to remove now.
pub(super) fn step(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    let now = core.now();
    if core.sweeper.hour.is_none() {
        core.sweeper.hour = expired_hour(core, now);
    }
    if let Some(hour) = core.sweeper.hour.take() {
        remove_some(core, disk, tx, hour)?;
        return Ok(true);
    }
    let (answers, letters) = (remove_answers(core, disk, tx, now)?, remove_dead(core, disk, tx, now)?);
    Ok(answers | letters | attempts::remove_expired(core, disk, tx, now)?)
}

/// The step's removals are on disk.
pub(super) fn committed(core: &mut Core) {
    if let Some((ty, hour)) = core.sweeper.emptied.take() {
        core.hours.remove(ty, hour);
        log::debug!("expired hour removed: type_no={ty} hour={hour}");
    }
}

/// The hour with the oldest events of some type whose lifetime is over for all of them.
fn expired_hour(core: &Core, now: Millis) -> Option<Hour> {
    let (ty, hour) = core.hours.oldest().into_iter().find(|(ty, hour)| {
        let end = (Millis::from(*hour) + 1).saturating_mul(HOUR);
        // Hidden for ever, whatever the lifetime is now.
        if end <= core.hours.floor(*ty).ms() {
            return true;
        }
        let ttl = core.registry.ttl(*ty).and_then(|ttl| ttl.millis());
        ttl.is_some_and(|ttl| (Millis::from(*hour) + 1).saturating_mul(HOUR).saturating_add(ttl) <= now)
    })?;
    Some(Hour { ty, hour, events: core.hours.count(ty, hour), stage: 0, from: Vec::new() })
}

fn remove_some(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>, mut at: Hour) -> Result<(), StoreError> {
    let mut room = CHUNK;
    while let Some(table) = STAGES.get(at.stage) {
        let prefix = match table {
            Table::State => keys::mark_counts(at.hour, at.ty).to_vec(),
            _ => keys::hour_type(at.hour, at.ty).to_vec(),
        };
        let from = std::mem::take(&mut at.from).max(prefix.clone());
        for row in disk.table(*table).range(from..) {
            let key = row.key().map_err(unavailable)?;
            if !key.starts_with(&prefix) {
                break;
            }
            if room == 0 {
                at.from = key.to_vec();
                core.sweeper.hour = Some(at);
                return Ok(());
            }
            tx.remove(*table, &key);
            room -= 1;
        }
        at.stage += 1;
    }
    if core.hours.count(at.ty, at.hour) == at.events {
        tx.remove(Table::State, &keys::hours(at.ty, at.hour));
        // A clock that steps back shows nothing of it again.
        if let Some(ty) = TypeNo::new(at.ty) {
            core.raise_floor(tx, ty, Position::first_of((Millis::from(at.hour) + 1).saturating_mul(HOUR)));
        }
        core.sweeper.emptied = Some((at.ty, at.hour));
    }
    Ok(())
}

/// Removes dead letters whose time has passed, up to a chunk.
pub(super) fn expired_letters(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = core.now();
    remove_dead(core, disk, tx, now).map(|_| ())
}

fn remove_answers(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>, now: Millis) -> Result<bool, StoreError> {
    let end = u64::try_from(now).unwrap_or(0);
    let rows = expired_rows(disk, keys::EXPIRES_ANSWER, core.sweeper.answers_from, end)?;
    for row in &rows {
        let (time, key) = keys::expiry_parts(row).ok_or_else(|| damaged("an expiry"))?;
        let answer = tx.get(Table::State, key)?.map(|row| AnswerRow::decode(&row)).transpose()?;
        // The key may have been used again since.
        if answer.is_some_and(|answer| answer.expires <= now) {
            tx.unset(Table::State, key);
        }
        tx.remove(Table::State, row);
        core.sweeper.answers_from = time;
    }
    Ok(!rows.is_empty())
}

fn remove_dead(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>, now: Millis) -> Result<bool, StoreError> {
    let end = u64::try_from(now.saturating_sub(millis(core.options.dead_ttl)) + 1).unwrap_or(0);
    let rows = expired_rows(disk, keys::EXPIRES_DEAD, core.sweeper.dead_from, end)?;
    for row in &rows {
        let (time, key) = keys::expiry_parts(row).ok_or_else(|| damaged("an expiry"))?;
        let dead = tx.get(Table::State, key)?.map(|row| DeadRow::decode(&row)).transpose()?;
        // It may have been retried and have died again since.
        if dead.is_some_and(|dead| u64::try_from(dead.since).unwrap_or(0) == time) {
            tx.unset(Table::State, key);
            drop_letter(core, tx, key)?;
        }
        tx.remove(Table::State, row);
        core.sweeper.dead_from = time;
    }
    Ok(!rows.is_empty())
}

/// Uncounts a dead letter, and notes for as long as its event lives that it was not delivered.
pub(super) fn drop_letter(core: &mut Core, tx: &mut Tx<'_>, key: &[u8]) -> Result<(), StoreError> {
    let (number, position) = keys::stream_and_position(key).ok_or_else(|| damaged("a dead letter"))?;
    let Some(stream) = core.stream_by_number(number) else { return Ok(()) };
    let row = &mut core.stream_for_change(stream.type_no, &stream.name).row;
    row.dead = row.dead.saturating_sub(1);
    let id = EventId::new(stream.type_no, position);
    // The event itself, not its hour: while the sweeper empties an hour, nothing may be added to it.
    if tx.get(Table::Events, &keys::event(id))?.is_some() {
        tx.set(Table::Marks, keys::dropped(id, &stream.name), Vec::new());
    }
    Ok(())
}

/// Expiry rows of a class with `from <= time < end`.
pub(super) fn expired_rows(disk: &Disk, class: u8, from: u64, end: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    if from >= end {
        return Ok(Vec::new());
    }
    let range = keys::expiry(class, from, &[])..keys::expiry(class, end, &[]);
    let rows = disk.table(Table::State).range(range).take(CHUNK);
    rows.map(|row| Ok(row.key().map_err(unavailable)?.to_vec())).collect()
}
