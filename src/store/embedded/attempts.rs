//! The newest attempts of streams: rows that nobody here looks into, each with a number of its own.
//!
//! Diagnostics: written with the group that comes, and not waited for on disk.

use super::super::{StoreError, StreamKey};
use super::claim::millis;
use super::core::Core;
use super::disk::{Disk, Table, unavailable};
use super::keys;
use super::rows::{Row, StreamRow, damaged, put_varint};
use super::sweep;
use super::tx::Tx;
use crate::event::Millis;
use bytes::Bytes;
use fjall::Readable;
use std::time::Duration;

/// Most attempts kept of a stream.
const KEPT: u64 = 1000;

/// Where a stream's attempts lie: the rows `first..next`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Log {
    first: u64,
    next: u64,
    /// When the last was added.
    at: Millis,
}

impl Log {
    fn is_empty(&self) -> bool {
        self.first >= self.next
    }

    fn expired(&self, now: Millis, ttl: Duration) -> bool {
        self.at <= now.saturating_sub(millis(ttl))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        for value in [self.first, self.next, u64::try_from(self.at).unwrap_or(0)] {
            put_varint(value, &mut out);
        }
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        let (first, next) = (row.varint()?, row.varint()?);
        let at = Millis::try_from(row.varint()?).map_err(|_| damaged("an instant"))?;
        if next.saturating_sub(first) > KEPT {
            return Err(damaged("a list of attempts"));
        }
        Ok(Self { first, next, at })
    }
}

/// Adds attempts, oldest first.
pub(super) fn record(core: &mut Core, tx: &mut Tx<'_>, key: &StreamKey, attempts: Vec<Bytes>) {
    if attempts.is_empty() {
        return;
    }
    let (now, ttl) = (core.now(), core.options.dead_ttl);
    if core.stream(key).is_none() {
        core.stream_for_change(key.type_no, &key.name);
    }
    let Some(stream) = core.stream(key) else { return };
    let number = stream.row.number;
    let log = &mut stream.attempts;
    if log.expired(now, ttl) {
        remove(tx, number, log, log.next);
    }
    let row = keys::attempt_log(number);
    if log.is_empty() {
        // One expiry row a stream: when its time comes it is moved to where it should stand by then.
        tx.set(Table::State, keys::expiry(keys::EXPIRES_ATTEMPTS, u64::try_from(now).unwrap_or(0), &row), Vec::new());
    }
    for attempt in attempts.iter().skip(attempts.len().saturating_sub(KEPT as usize)) {
        tx.set(Table::State, keys::attempt(number, log.next), attempt.to_vec());
        log.next += 1;
    }
    log.at = now;
    remove(tx, number, log, log.next.saturating_sub(KEPT));
    tx.set(Table::State, row, log.encode());
}

/// Removes a stream's attempts.
pub(super) fn clear(core: &mut Core, tx: &mut Tx<'_>, key: &StreamKey) {
    let Some(stream) = core.stream(key).filter(|stream| !stream.attempts.is_empty()) else { return };
    let (number, log) = (stream.row.number, &mut stream.attempts);
    remove(tx, number, log, log.next);
    *log = Log::default();
    tx.unset(Table::State, keys::attempt_log(number));
}

/// Removes those below `until`.
fn remove(tx: &mut Tx<'_>, number: u32, log: &mut Log, until: u64) {
    for attempt in log.first..until {
        tx.unset(Table::State, keys::attempt(number, attempt));
    }
    log.first = log.first.max(until);
}

/// A stream's attempts, newest first. Blocks.
pub(super) fn read(disk: &Disk, now: Millis, ttl: Duration, key: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
    let snapshot = disk.snapshot();
    let state = disk.table(Table::State);
    let row = snapshot.get(state, keys::stream(key.type_no, &key.name)).map_err(unavailable)?;
    let Some(StreamRow { number, .. }) = row.map(|row| StreamRow::decode(&row)).transpose()? else {
        return Ok(Vec::new());
    };
    let row = snapshot.get(state, keys::attempt_log(number)).map_err(unavailable)?;
    let Some(log) = row.map(|row| Log::decode(&row)).transpose()?.filter(|log| !log.expired(now, ttl)) else {
        return Ok(Vec::new());
    };
    let range = keys::attempt(number, log.first)..keys::attempt(number, log.next);
    let rows = snapshot.range(state, range).rev();
    rows.map(|row| Ok(Bytes::copy_from_slice(&row.into_inner().map_err(unavailable)?.1))).collect()
}

/// Removes attempts whose time has passed, some streams' at a time. False when there are none.
pub(super) fn remove_expired(core: &mut Core, disk: &Disk, tx: &mut Tx<'_>, now: Millis) -> Result<bool, StoreError> {
    let ttl = core.options.dead_ttl;
    let end = u64::try_from(now.saturating_sub(millis(ttl)) + 1).unwrap_or(0);
    let rows = sweep::expired_rows(disk, keys::EXPIRES_ATTEMPTS, core.sweeper.attempts_from, end)?;
    let mut room = sweep::CHUNK as u64;
    for row in &rows {
        let (time, key) = keys::expiry_parts(row).ok_or_else(|| damaged("an expiry"))?;
        let number = keys::attempt_log_number(key).ok_or_else(|| damaged("a list of attempts"))?;
        if room == 0 {
            break;
        }
        let stream = core.stream_by_number(number);
        if let Some(key) = &stream
            && let Some(log) = core.stream(key).map(|stream| stream.attempts).filter(|log| !log.is_empty())
        {
            if log.expired(now, ttl) {
                clear(core, tx, key);
                room = room.saturating_sub(log.next - log.first);
            } else {
                let time = u64::try_from(log.at).unwrap_or(0);
                let moved = keys::expiry(keys::EXPIRES_ATTEMPTS, time, &keys::attempt_log(number));
                tx.set(Table::State, moved, Vec::new());
            }
        }
        tx.remove(Table::State, row);
        core.sweeper.attempts_from = time;
    }
    Ok(!rows.is_empty())
}
