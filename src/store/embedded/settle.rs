//! The end of claims, and what else changes streams and their counters.

use super::super::{ClaimedEvent, Disposition, Failure, Fenced, Settle, StreamKey};
use super::attempts;
use super::claim::{from_lease, millis, to_lease};
use super::core::Core;
use super::disk::Table;
use super::keys;
use super::past::Past;
use super::rows::{self, DeadRow, RetryRow};
use super::stream::{Place, Stream, Tracked};
use super::tx::Tx;
use crate::event::{Millis, Position};
use std::collections::HashMap;

/// Ends a claim: what is not named is delivered. A lost lease changes nothing.
pub(super) fn settle(core: &mut Core, tx: &mut Tx<'_>, settle: Settle) -> Fenced {
    let now = core.now();
    let lease = from_lease(settle.lease);
    let Some(held) = core.stream(&settle.stream).and_then(|stream| stream.take_lease(lease)) else {
        return Fenced::Lost;
    };
    if held.positions.len() != settle.total {
        log::warn!(
            "a claim was settled with another size than it has: type_no={} stream={} held={} total={}",
            settle.stream.type_no,
            settle.stream.name,
            held.positions.len(),
            settle.total
        );
    }
    let mut exceptions: HashMap<Position, (ClaimedEvent, Disposition)> =
        settle.exceptions.into_iter().map(|(event, disposition)| (event.position, (event, disposition))).collect();
    let stream = core.stream_for_change(settle.stream.type_no, &settle.stream.name);
    let mut kept = Vec::new();
    for position in held.positions {
        let Some(event) = stream.get(position) else { continue };
        let Some((claimed, disposition)) = exceptions.remove(&position) else {
            leave(stream, tx, position, event.recorded);
            stream.row.delivered += 1;
            continue;
        };
        match disposition {
            Disposition::Release => stream.put(position, Tracked { place: Place::Ready, ..event }),
            Disposition::Retry { after, failure } => {
                let due = now.saturating_add(millis(after));
                let event = record(stream, tx, position, due, failure);
                stream.put(position, Tracked { place: Place::Later(due), ..event });
            }
            Disposition::Hold(failure) => {
                let event = failure.map_or(event, |failure| record(stream, tx, position, now, failure));
                kept.push((position, event));
            }
            Disposition::Dead(failure) => {
                let stored = tx.get(Table::Outbox, &keys::outbox(stream.row.number, position)).ok().flatten();
                let row = stored.map_or_else(|| rows::event(0, &claimed.payload), |row| row.to_vec());
                stream.row.failed += 1;
                die(stream, tx, position, event.recorded, DeadRow { since: now, failure, event: row.into() });
            }
        }
    }
    match settle.hold {
        Some(hold) if !kept.is_empty() => {
            Fenced::Done(Some(to_lease(stream.lease(now, now.saturating_add(millis(hold)), &kept))))
        }
        _ => {
            // Held without a time to hold for: back to where anybody may take it.
            for (position, event) in kept {
                stream.put(position, Tracked { place: Place::Ready, ..event });
            }
            Fenced::Done(None)
        }
    }
}

/// Makes a dead letter of an event in the outbox.
pub(super) fn die(stream: &mut Stream, tx: &mut Tx<'_>, position: Position, recorded: bool, letter: DeadRow) {
    tx.durable = true;
    leave(stream, tx, position, recorded);
    stream.row.dead += 1;
    let key = keys::of_stream(keys::DEAD, stream.row.number, position);
    let time = u64::try_from(letter.since).unwrap_or(0);
    tx.set(Table::State, keys::expiry(keys::EXPIRES_DEAD, time, &key), Vec::new());
    tx.set(Table::State, key, letter.encode());
}

/// Takes an event out of the outbox; `recorded` when it has a retry row.
fn leave(stream: &mut Stream, tx: &mut Tx<'_>, position: Position, recorded: bool) {
    let number = stream.row.number;
    tx.remove(Table::Outbox, &keys::outbox(number, position));
    if recorded {
        tx.unset(Table::State, keys::of_stream(keys::RETRIES, number, position));
    }
    stream.row.backlog = stream.row.backlog.saturating_sub(1);
    stream.remove(position);
}

/// Writes down a failed attempt. Answers the event as it is to be tracked.
fn record(stream: &mut Stream, tx: &mut Tx<'_>, position: Position, due: Millis, failure: Failure) -> Tracked {
    let attempts = failure.attempts;
    stream.row.failed += 1;
    let key = keys::of_stream(keys::RETRIES, stream.row.number, position);
    tx.set(Table::State, key, RetryRow { due, recoveries: stream.row.recoveries, failure }.encode());
    Tracked { place: Place::Ready, attempts, recorded: true }
}

/// Makes everything that waits for a retry due.
pub(super) fn make_due(core: &mut Core, key: &StreamKey) {
    if core.stream(key).is_some() {
        core.stream_for_change(key.type_no, &key.name).make_due();
    }
}

/// Forgets a drained stream. Its dead letters stay until they expire, and with them its name.
pub(super) fn forget(core: &mut Core, tx: &mut Tx<'_>, key: &StreamKey) {
    attempts::clear(core, tx, key);
    let end = core.last(key.type_no).plus(1);
    let Some(stream) = core.stream(key) else { return };
    let past = keys::past(stream.row.number);
    if stream.row.backlog == 0 && stream.row.dead == 0 {
        tx.unset(Table::State, past);
        core.remove_stream(key);
        return;
    }
    if stream.row.backlog > 0 {
        log::warn!(
            "a stream was to be forgotten before it had drained, its events stay: type_no={} stream={} backlog={}",
            key.type_no,
            key.name,
            stream.row.backlog
        );
    }
    tx.set(Table::State, past, Past::forgotten(end).encode());
    let stream = core.stream_for_change(key.type_no, &key.name);
    (stream.row.delivered, stream.row.failed) = (0, 0);
}
