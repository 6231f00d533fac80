//! Claims: taking what is due, and holding it for longer. Neither writes anything.

use super::super::{Claim, ClaimRequest, ClaimedEvent, Fenced, Lease, StoreError, StreamKey};
use super::core::Core;
use super::disk::{Disk, Table, unavailable};
use super::keys;
use super::rows::{damaged, read_event};
use super::stream::{Place, Stream, Tracked};
use crate::event::{Millis, Position};
use bytes::Bytes;
use std::time::Duration;

/// Most payload bytes in one claim (but always one event): what a claim holds, it holds in memory.
const MAX_BYTES: usize = 16 << 20;

/// Takes due events, lowest position first. Runs after the group's commit, so that all the outbox is on disk.
pub(super) fn claim(core: &mut Core, disk: &Disk, request: &ClaimRequest) -> Result<Claim, StoreError> {
    let now = core.now();
    let Some(stream) = core.stream(&request.stream) else { return Ok(Claim { now, ..Claim::default() }) };
    stream.promote(now);
    let mut picked = Picked::default();
    let mut waits = None;
    if request.ordered {
        if let Some(until) = stream.held_until(now) {
            return Ok(Claim { next_due: Some(until), now, ..Claim::default() });
        }
        let whole = stream.release_lapsed(now);
        // A failed event that was put back bars the way for everything after it.
        waits = stream.first_waiting();
        let bar = waits.map(|(_, position)| position);
        // Whole, but for what was queued again before it meanwhile: of that no more than there is room for.
        let lapsed = |position| whole.is_some_and(|last| position <= last) && stream.get(position).is_some();
        pick(stream, disk, &mut picked, |position, taken| {
            bar.is_none_or(|bar| position < bar) && (taken < request.max || lapsed(position))
        })?;
    } else {
        stream.release_lapsed(now);
        pick(stream, disk, &mut picked, |_, taken| taken < request.max)?;
    }

    stream.cursor = picked.cursor;
    if picked.events.is_empty() {
        let next_due = waits.map(|(due, _)| due).or_else(|| stream.earliest());
        return Ok(Claim { next_due, now, ..Claim::default() });
    }
    let held: Vec<_> = picked.events.iter().map(|(position, event, _)| (*position, *event)).collect();
    let lease = stream.lease(now, now.saturating_add(millis(request.lease)), &held);
    let events = picked
        .events
        .into_iter()
        .map(|(position, event, payload)| ClaimedEvent { position, payload, attempts: event.attempts })
        .collect();
    Ok(Claim { lease: Some(to_lease(lease)), events, next_due: stream.earliest(), now })
}

/// Gives a claim back whose asker did not wait for it.
pub(super) fn undo(core: &mut Core, stream: &StreamKey, lease: Lease) {
    if let Some(stream) = core.stream(stream) {
        stream.release(from_lease(lease));
    }
}

/// Moves a claim to a new lease.
pub(super) fn renew(core: &mut Core, key: &StreamKey, lease: Lease, extend: Duration) -> Fenced {
    let now = core.now();
    let Some(stream) = core.stream(key) else { return Fenced::Lost };
    let Some(held) = stream.take_lease(from_lease(lease)) else { return Fenced::Lost };
    let events: Vec<_> = held.positions.iter().filter_map(|at| Some((*at, stream.get(*at)?))).collect();
    Fenced::Done(Some(to_lease(stream.lease(now, now.saturating_add(millis(extend)), &events))))
}

#[derive(Default)]
struct Picked {
    events: Vec<(Position, Tracked, Bytes)>,
    bytes: usize,
    /// Where the next claim reads on.
    cursor: Option<Position>,
}

/// Reads what `wanted` (position, events taken so far) lets through, merging what is ready with what comes
/// at the cursor, in order, up to the first that is not wanted. Changes nothing in the stream.
fn pick(
    stream: &Stream,
    disk: &Disk,
    picked: &mut Picked,
    wanted: impl Fn(Position, usize) -> bool,
) -> Result<(), StoreError> {
    picked.cursor = stream.cursor;
    let mut ready = stream.ready().peekable();
    let mut fresh = None;
    loop {
        let next = [ready.peek().copied(), picked.cursor].into_iter().flatten().min();
        let Some(position) = next else { break };
        if !wanted(position, picked.events.len()) || picked.bytes >= MAX_BYTES {
            break;
        }
        if ready.peek() == Some(&position) {
            ready.next();
            let event = stream.get(position).ok_or_else(|| damaged("the order of an outbox"))?;
            let row = disk.get(Table::Outbox, &keys::outbox(stream.row.number, position))?;
            let (_, payload) = read_event(&row.ok_or_else(|| damaged("an outbox"))?)?;
            picked.bytes += payload.len();
            picked.events.push((position, event, payload));
            continue;
        }
        let scan = fresh.get_or_insert_with(|| fresh_from(disk, stream.row.number, position));
        // The scan stands at the cursor: its first row is the cursor's.
        let (at, row) =
            scan.next().transpose()?.filter(|(at, _)| *at == position).ok_or_else(|| damaged("an outbox"))?;
        let (_, payload) = read_event(&row)?;
        picked.bytes += payload.len();
        picked.events.push((at, Tracked { place: Place::Ready, attempts: 0, recorded: false }, payload));
        picked.cursor = None;
        while let Some((at, _)) = scan.peek_ok()? {
            if stream.get(at).is_none() {
                picked.cursor = Some(at);
                break;
            }
            scan.next();
        }
    }
    Ok(())
}

type Row = Result<(Position, fjall::Slice), StoreError>;

/// A scan of the outbox that can be peeked at.
struct Fresh(std::iter::Peekable<Box<dyn Iterator<Item = Row>>>);

fn fresh_from(disk: &Disk, number: u32, from: Position) -> Fresh {
    let range = keys::outbox(number, from)..=keys::outbox(number, Position::MAX);
    let rows = disk.table(Table::Outbox).range(range).map(|row| {
        let (key, value) = row.into_inner().map_err(unavailable)?;
        let position = keys::position_of(&key).ok_or_else(|| damaged("an outbox entry"))?;
        Ok((position, value))
    });
    let rows: Box<dyn Iterator<Item = Row>> = Box::new(rows);
    Fresh(rows.peekable())
}

impl Fresh {
    fn next(&mut self) -> Option<Row> {
        self.0.next()
    }

    fn peek_ok(&mut self) -> Result<Option<(Position, ())>, StoreError> {
        match self.0.peek() {
            None => Ok(None),
            Some(Ok((position, _))) => Ok(Some((*position, ()))),
            Some(Err(error)) => Err(error.clone()),
        }
    }
}

pub(super) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

// Below 2^53: exact both ways.
pub(super) fn to_lease(lease: u64) -> Lease {
    Lease(lease as f64)
}

pub(super) fn from_lease(lease: Lease) -> u64 {
    lease.0 as u64
}
