//! What is known of a stream's outbox without looking at the disk.
//!
//! An event of the outbox is either *tracked* here (ready, waiting for a retry, or held under a lease) or
//! lies at or after the `cursor`, where claims read on. So no claim ever scans what has been delivered.

use super::super::StreamCounts;
use super::attempts::Log;
use super::rows::StreamRow;
use crate::event::{Millis, Position};
use std::collections::{BTreeMap, BTreeSet};

/// With more than this tracked, what is queued again is left to the cursor. Below, it is tracked: a cursor put
/// back far has claims scan what was delivered since.
const MANY: usize = 4096;

/// A pending event that is no longer simply the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracked {
    pub place: Place,
    /// Failed attempts so far.
    pub attempts: u32,
    /// Whether a retry row on disk remembers it; if not, `scan_from` must stay below it.
    pub recorded: bool,
}

/// Where a tracked event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Due.
    Ready,
    /// Due at this time.
    Later(Millis),
    /// Under this lease.
    Held(u64),
}

/// Events given out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// When another claim may take them.
    pub until: Millis,
    pub positions: Vec<Position>,
}

/// One stream of one type.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its counters and its number; `scan_from` is computed when it is written.
    pub row: StreamRow,
    /// The first event in the outbox that is not tracked; `None` when there is none.
    pub cursor: Option<Position>,
    /// Where its attempts lie.
    pub attempts: Log,
    tracked: BTreeMap<Position, Tracked>,
    ready: BTreeSet<Position>,
    later: BTreeSet<(Millis, Position)>,
    unrecorded: BTreeSet<Position>,
    leases: BTreeMap<u64, Held>,
    last_lease: u64,
}

impl Stream {
    pub(super) fn new(row: StreamRow) -> Self {
        Self {
            row,
            cursor: None,
            attempts: Log::default(),
            tracked: BTreeMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            unrecorded: BTreeSet::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
        }
    }

    /// How many events are tracked here.
    pub(super) fn tracked_len(&self) -> u64 {
        self.tracked.len() as u64
    }

    /// What is known of an event.
    pub(super) fn get(&self, position: Position) -> Option<Tracked> {
        self.tracked.get(&position).copied()
    }

    /// Puts an event in its place, taking it out of the one it had. `Held` must name a lease that lists it.
    pub(super) fn put(&mut self, position: Position, event: Tracked) {
        self.remove(position);
        match event.place {
            Place::Ready => {
                self.ready.insert(position);
            }
            Place::Later(due) => {
                self.later.insert((due, position));
            }
            Place::Held(_) => {}
        }
        if !event.recorded {
            self.unrecorded.insert(position);
        }
        self.tracked.insert(position, event);
    }

    /// Takes an event in again that had left the outbox: due at once, as if never tried. Its entry is written
    /// with the same group.
    pub(super) fn queue_again(&mut self, position: Position) {
        self.row.backlog += 1;
        if self.tracked.len() < MANY {
            self.put(position, Tracked { place: Place::Ready, attempts: 0, recorded: false });
        } else {
            self.cursor = Some(self.cursor.map_or(position, |cursor| cursor.min(position)));
        }
    }

    /// Whether an event may be in the outbox without being tracked: then only the disk knows.
    pub(super) fn may_hold(&self, position: Position) -> bool {
        self.cursor.is_some_and(|cursor| cursor <= position)
    }

    /// The first event in the outbox.
    pub(super) fn lowest(&self) -> Option<Position> {
        let tracked = self.tracked.first_key_value().map(|(position, _)| *position);
        [self.cursor, tracked].into_iter().flatten().min()
    }

    /// Forgets an event: it has left the outbox.
    pub(super) fn remove(&mut self, position: Position) -> Option<Tracked> {
        let event = self.tracked.remove(&position)?;
        match event.place {
            Place::Ready => {
                self.ready.remove(&position);
            }
            Place::Later(due) => {
                self.later.remove(&(due, position));
            }
            Place::Held(_) => {}
        }
        self.unrecorded.remove(&position);
        Some(event)
    }

    /// Moves what has become due.
    pub(super) fn promote(&mut self, now: Millis) {
        while let Some((due, position)) = self.later.first().copied().filter(|(due, _)| *due <= now) {
            self.later.remove(&(due, position));
            self.ready.insert(position);
            if let Some(event) = self.tracked.get_mut(&position) {
                event.place = Place::Ready;
            }
        }
    }

    /// Due events that are tracked, in order.
    pub(super) fn ready(&self) -> impl Iterator<Item = Position> + '_ {
        self.ready.iter().copied()
    }

    /// The first event that waits for a later retry, by position.
    pub(super) fn first_waiting(&self) -> Option<(Millis, Position)> {
        self.later.iter().copied().min_by_key(|(_, position)| *position)
    }

    /// A new lease on these events, above any given before.
    pub(super) fn lease(&mut self, now: Millis, until: Millis, events: &[(Position, Tracked)]) -> u64 {
        // The clock keeps leases of an earlier run of the process below those of this one; 256 a
        // millisecond stay exact in a double for longer than positions last.
        let clock = u64::try_from(now).unwrap_or(0).saturating_mul(256);
        let lease = clock.max(self.last_lease + 1);
        self.last_lease = lease;
        for (position, event) in events {
            self.put(*position, Tracked { place: Place::Held(lease), ..*event });
        }
        self.leases.insert(lease, Held { until, positions: events.iter().map(|(position, _)| *position).collect() });
        lease
    }

    /// Takes a lease away. Its events are still tracked as held by it: the caller puts them elsewhere.
    pub(super) fn take_lease(&mut self, lease: u64) -> Option<Held> {
        self.leases.remove(&lease)
    }

    /// Gives a lease's events back, due at once.
    pub(super) fn release(&mut self, lease: u64) {
        for position in self.take_lease(lease).map(|held| held.positions).unwrap_or_default() {
            if let Some(event) = self.get(position) {
                self.put(position, Tracked { place: Place::Ready, ..event });
            }
        }
    }

    /// Gives back the events of all leases.
    pub(super) fn release_all(&mut self) {
        let leases: Vec<u64> = self.leases.keys().copied().collect();
        leases.into_iter().for_each(|lease| self.release(lease));
    }

    /// Gives back the events of all leases that have passed; answers the highest position among them.
    pub(super) fn release_lapsed(&mut self, now: Millis) -> Option<Position> {
        let lapsed: Vec<u64> = self.leases.iter().filter(|(_, held)| held.until <= now).map(|(id, _)| *id).collect();
        let mut highest = None;
        for lease in lapsed {
            highest = highest.max(self.leases.get(&lease).and_then(|held| held.positions.iter().max().copied()));
            self.release(lease);
        }
        highest
    }

    /// When the last of the leases passes that have not passed yet.
    pub(super) fn held_until(&self, now: Millis) -> Option<Millis> {
        self.leases.values().map(|held| held.until).filter(|until| *until > now).max()
    }

    /// When the first of what is in the outbox is due; `None` when it is empty. Held events are due when
    /// their lease passes.
    pub(super) fn earliest(&self) -> Option<Millis> {
        let fresh = self.cursor.map(Position::ms);
        let ready = self.ready.first().map(|position| position.ms());
        let later = self.later.first().map(|(due, _)| *due);
        let held = self.leases.values().map(|held| held.until).min();
        [fresh, ready, later, held].into_iter().flatten().min()
    }

    /// Makes everything that waits due.
    pub(super) fn make_due(&mut self) {
        self.row.recoveries += 1;
        self.promote(Millis::MAX);
    }

    /// The row to write. `end` is a position that nothing of the type has yet.
    pub(super) fn row(&self, end: Position) -> StreamRow {
        let lowest = [self.cursor, self.unrecorded.first().copied()].into_iter().flatten().min();
        StreamRow { scan_from: lowest.unwrap_or(end).get(), ..self.row.clone() }
    }

    pub(super) fn counts(&self) -> StreamCounts {
        StreamCounts {
            backlog: self.row.backlog,
            delivered: self.row.delivered,
            failed: self.row.failed,
            dead: self.row.dead,
            oldest: self.lowest().map(Position::ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(v: u64) -> Position {
        Position::new(v)
    }

    fn fresh(attempts: u32) -> Tracked {
        Tracked { place: Place::Ready, attempts, recorded: attempts > 0 }
    }

    #[test]
    fn leases_rise_even_when_the_clock_steps_back() {
        let mut stream = Stream::new(StreamRow::default());
        let first = stream.lease(1000, 2000, &[(at(1), fresh(0))]);
        let second = stream.lease(10, 20, &[(at(2), fresh(0))]);
        assert!(second > first);
    }

    #[test]
    fn what_waits_is_due_in_time_and_at_once_after_recovery() {
        let mut stream = Stream::new(StreamRow::default());
        stream.put(at(1), Tracked { place: Place::Later(50), ..fresh(1) });
        stream.put(at(2), Tracked { place: Place::Later(90), ..fresh(1) });
        stream.promote(50);
        assert_eq!(stream.ready().collect::<Vec<_>>(), [at(1)]);
        assert_eq!(stream.first_waiting(), Some((90, at(2))));
        stream.make_due();
        assert_eq!(stream.ready().collect::<Vec<_>>(), [at(1), at(2)]);
    }

    #[test]
    fn scanning_starts_at_what_no_row_remembers() {
        let mut stream = Stream::new(StreamRow::default());
        stream.put(at(1), fresh(1));
        assert_eq!(stream.row(at(100)).scan_from, 100);
        stream.cursor = Some(at(9));
        assert_eq!(stream.row(at(100)).scan_from, 9);
        stream.put(at(5), fresh(0));
        assert_eq!(stream.row(at(100)).scan_from, 5);
        stream.remove(at(5));
        assert_eq!(stream.row(at(100)).scan_from, 9);
        assert_eq!(stream.counts().oldest, Some(at(1).ms()));
    }

    #[test]
    fn few_are_tracked_when_queued_again_and_many_put_the_cursor_back() {
        let mut stream = Stream::new(StreamRow::default());
        stream.cursor = Some(at(90_000));
        (0..5000).for_each(|n| stream.queue_again(at(10 + n)));
        assert_eq!((stream.tracked_len(), stream.row.backlog), (MANY as u64, 5000));
        assert_eq!(stream.cursor, Some(at(10 + MANY as u64)));
        assert!(stream.may_hold(at(5000)) && !stream.may_hold(at(9)));
        assert_eq!((stream.lowest(), stream.row(at(99_999)).scan_from), (Some(at(10)), 10));
    }

    #[test]
    fn lapsed_leases_are_given_back_and_others_are_not() {
        let mut stream = Stream::new(StreamRow::default());
        let lapsed = stream.lease(0, 10, &[(at(1), fresh(0)), (at(2), fresh(0))]);
        let live = stream.lease(0, 30, &[(at(3), fresh(0))]);
        assert_eq!(stream.release_lapsed(20), Some(at(2)));
        assert!(stream.take_lease(lapsed).is_none());
        assert_eq!(stream.held_until(20), Some(30));
        assert!(stream.take_lease(live).is_some());
    }
}
