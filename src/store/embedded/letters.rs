//! Dead letters sent again or deleted, and a whole outbox made dead letters: in steps, each one commit.
//!
//! A step runs alone in its batch, so the disk shows everything that was done before it.

use super::super::{Failure, StoreError, StreamKey};
use super::claim::millis;
use super::core::{Core, first_untracked};
use super::disk::{Disk, Table, unavailable};
use super::keys;
use super::past::Past;
use super::rows::{DeadRow, RetryRow, damaged};
use super::settle::die;
use super::stream::{Place, Stream};
use super::sweep::drop_letter;
use super::tx::Tx;
use super::writer::Access;
use crate::event::{Millis, Position};
use fjall::Slice;

/// Most events changed in one step: appends wait for it.
pub(super) const STEP: usize = 500;
/// Most bytes of events in one step (but always one event).
pub(super) const STEP_BYTES: usize = 4 << 20;

/// Which letters, or events, a step is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// Those in `from..=until`, as far as the step gets.
    Range(Position, Position),
    /// These, each once.
    These(Vec<Position>),
}

/// What is to become of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Back into the outbox.
    Retry,
    /// Nothing more.
    Delete,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    /// Events changed.
    pub count: u64,
    /// What is left of a range.
    pub rest: Option<Which>,
}

impl Done {
    fn nothing() -> Self {
        Self { count: 0, rest: None }
    }
}

/// Sends letters again, or deletes them. Those whose time has passed are left to the sweeper.
pub(super) fn settle_letters(
    access: Access<'_, '_>,
    key: &StreamKey,
    which: Which,
    fate: Fate,
) -> Result<Done, StoreError> {
    let Access { core, disk, tx } = access;
    if fate == Fate::Retry {
        core.check_space(disk)?;
    }
    let kept_since = core.now().saturating_sub(millis(core.options.dead_ttl));
    let Some(number) = core.stream(key).map(|stream| stream.row.number) else { return Ok(Done::nothing()) };
    let (rows, rest) = rows(disk, Table::State, which, |position| keys::of_stream(keys::DEAD, number, position))?;
    let mut letters = Vec::with_capacity(rows.len());
    for (position, row) in rows {
        let letter = DeadRow::decode(&row)?;
        if letter.since > kept_since {
            letters.push((position, letter));
        }
    }
    tx.durable = true;
    let count = match fate {
        Fate::Retry => retry(core, disk, tx, key, letters)?,
        Fate::Delete => delete(core, tx, number, letters)?,
    };
    Ok(Done { count, rest })
}

fn retry(
    core: &mut Core,
    disk: &Disk,
    tx: &mut Tx<'_>,
    key: &StreamKey,
    letters: Vec<(Position, DeadRow)>,
) -> Result<u64, StoreError> {
    let stream = core.stream_for_change(key.type_no, &key.name);
    let past_key = keys::past(stream.row.number);
    let mut past = disk.get(Table::State, &past_key)?.map(|row| Past::decode(&row)).transpose()?;
    // All that can fail comes first: memory and batch are changed together.
    let waiting: Vec<bool> =
        letters.iter().map(|(position, _)| in_outbox(stream, disk, *position)).collect::<Result<_, _>>()?;
    let mut count = 0;
    for ((position, letter), waits) in letters.into_iter().zip(waiting) {
        forget_letter(stream, tx, position, letter.since);
        if waits {
            continue;
        }
        tx.insert(Table::Outbox, &keys::outbox(stream.row.number, position), letter.event.to_vec());
        stream.queue_again(position);
        // The stream that comes with the next registration is not the one the event was appended for.
        if let Some(past) = past.as_mut().filter(|past| position < past.former) {
            past.add(position, position.plus(1));
        }
        count += 1;
    }
    if let Some(past) = past {
        tx.set(Table::State, past_key, past.encode());
    }
    Ok(count)
}

fn delete(core: &mut Core, tx: &mut Tx<'_>, number: u32, letters: Vec<(Position, DeadRow)>) -> Result<u64, StoreError> {
    let count = letters.len() as u64;
    for (position, letter) in letters {
        let key = keys::of_stream(keys::DEAD, number, position);
        unset_letter(tx, &key, letter.since);
        drop_letter(core, tx, &key)?;
    }
    Ok(count)
}

/// Whether an event was in the outbox before this step.
pub(super) fn in_outbox(stream: &Stream, disk: &Disk, position: Position) -> Result<bool, StoreError> {
    let look = || disk.get(Table::Outbox, &keys::outbox(stream.row.number, position));
    Ok(stream.get(position).is_some() || (stream.may_hold(position) && look()?.is_some()))
}

/// Takes a letter from the dead ones.
pub(super) fn forget_letter(stream: &mut Stream, tx: &mut Tx<'_>, position: Position, since: Millis) {
    stream.row.dead = stream.row.dead.saturating_sub(1);
    unset_letter(tx, &keys::of_stream(keys::DEAD, stream.row.number, position), since);
}

fn unset_letter(tx: &mut Tx<'_>, key: &[u8], since: Millis) {
    let time = u64::try_from(since).unwrap_or(0);
    tx.unset(Table::State, keys::expiry(keys::EXPIRES_DEAD, time, key));
    tx.unset(Table::State, key);
}

/// Where burying a stream's outbox begins and ends; all its claims are lost from now on.
pub(super) fn begin_burial(core: &mut Core, key: &StreamKey) -> Option<Which> {
    let until = core.last(key.type_no);
    let stream = core.stream(key)?;
    stream.release_all();
    Some(Which::Range(stream.lowest()?, until))
}

/// Makes dead letters of what is in the outbox.
pub(super) fn bury(access: Access<'_, '_>, key: &StreamKey, which: Which, reason: &str) -> Result<Done, StoreError> {
    let Access { core, disk, tx } = access;
    core.check_space(disk)?;
    let now = core.now();
    let Some(number) = core.stream(key).map(|stream| stream.row.number) else { return Ok(Done::nothing()) };
    let (rows, rest) = rows(disk, Table::Outbox, which, |position| keys::outbox(number, position))?;
    let Some(last) = rows.last().map(|(position, _)| *position) else { return Ok(Done::nothing()) };
    let stream = core.stream_for_change(key.type_no, &key.name);
    let mut letters = Vec::with_capacity(rows.len());
    for (position, row) in rows {
        let recorded = stream.get(position).is_some_and(|event| event.recorded);
        let retry = match recorded {
            true => disk.get(Table::State, &keys::of_stream(keys::RETRIES, number, position))?,
            false => None,
        };
        let failure = match retry {
            Some(row) => RetryRow::decode(&row)?.failure,
            None => Failure { attempts: 0, last_error: reason.to_owned() },
        };
        letters.push((position, recorded, DeadRow { since: now, failure, event: row.to_vec().into() }));
    }
    let cursor = match stream.may_hold(last) {
        true => first_untracked(disk, stream, last.plus(1))?,
        false => stream.cursor,
    };
    // From here on nothing fails: memory and batch are changed together.
    let count = letters.len() as u64;
    for (position, recorded, letter) in letters {
        // Claimed since the step before: that claim is lost too.
        if let Some(Place::Held(lease)) = stream.get(position).map(|event| event.place) {
            stream.release(lease);
        }
        die(stream, tx, position, recorded, letter);
    }
    stream.cursor = cursor;
    Ok(Done { count, rest })
}

type Rows = Vec<(Position, Slice)>;

/// Reads a step's rows, and says what it leaves of a range.
fn rows<const N: usize>(
    disk: &Disk,
    table: Table,
    which: Which,
    key: impl Fn(Position) -> [u8; N],
) -> Result<(Rows, Option<Which>), StoreError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut full = |row: &Slice, rows: &Rows| {
        let full = rows.len() >= STEP || bytes >= STEP_BYTES;
        bytes += row.len();
        full
    };
    match which {
        Which::These(mut positions) => {
            for at in 0..positions.len().min(STEP) {
                let Some(position) = positions.get(at).copied() else { break };
                let Some(row) = disk.get(table, &key(position))? else { continue };
                if full(&row, &rows) {
                    return Ok((rows, Some(Which::These(positions.split_off(at)))));
                }
                rows.push((position, row));
            }
            let rest = positions.split_off(positions.len().min(STEP));
            Ok((rows, (!rest.is_empty()).then_some(Which::These(rest))))
        }
        Which::Range(from, until) => {
            if from > until {
                return Ok((rows, None));
            }
            for row in disk.table(table).range(key(from)..=key(until)) {
                let (row_key, row) = row.into_inner().map_err(unavailable)?;
                let position = keys::position_of(&row_key).ok_or_else(|| damaged("an event of a stream"))?;
                if full(&row, &rows) {
                    return Ok((rows, Some(Which::Range(position, until))));
                }
                rows.push((position, row));
            }
            Ok((rows, None))
        }
    }
}
