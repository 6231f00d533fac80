//! Which hours of which types hold events, in memory, so that a read looks only where something is.

use crate::event::Position;
use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Type → hour → number of stored events. Written by the committer alone, shortly before the events can be
/// seen and shortly after they are gone, so that a reader never misses an hour.
#[derive(Debug, Default)]
pub(super) struct Hours(RwLock<Map>, Floors, Lasts);

type Map = HashMap<u16, BTreeMap<u32, u64>>;

/// Type → first position that may show: what had expired when a lifetime changed does not come back with
/// a longer one, though it may not have been removed yet.
#[derive(Debug, Default)]
struct Floors(RwLock<HashMap<u16, Position>>);

/// Type → last position that was committed. Set after the commit and before it is answered: a reader that knows
/// of an event's commit finds it here, and one that finds it here finds the event.
#[derive(Debug, Default)]
struct Lasts(RwLock<HashMap<u16, Position>>);

impl Hours {
    // The map is whole between statements: a panic elsewhere does not make it wrong.
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `events` more and answers how many there are now.
    pub(super) fn add(&self, ty: u16, hour: u32, events: u64) -> u64 {
        let mut map = self.write();
        let count = map.entry(ty).or_default().entry(hour).or_default();
        *count += events;
        *count
    }

    /// Forgets an hour.
    pub(super) fn remove(&self, ty: u16, hour: u32) {
        let mut map = self.write();
        if let Some(hours) = map.get_mut(&ty) {
            hours.remove(&hour);
            if hours.is_empty() {
                map.remove(&ty);
            }
        }
    }

    /// Events of a type in an hour; 0 when there are none.
    pub(super) fn count(&self, ty: u16, hour: u32) -> u64 {
        self.read().get(&ty).and_then(|hours| hours.get(&hour)).copied().unwrap_or(0)
    }

    /// The newest hours in `first..=last` that hold events, for each of `types` in order.
    pub(super) fn newest(&self, types: impl Iterator<Item = (u16, u32, u32)>) -> Vec<Option<u32>> {
        let map = self.read();
        types
            .map(|(ty, first, last)| {
                let hours = map.get(&ty).filter(|_| first <= last)?;
                hours.range(first..=last).next_back().map(|(hour, _)| *hour)
            })
            .collect()
    }

    /// The oldest hour in `first..=last` that holds events of a type.
    pub(super) fn first_in(&self, ty: u16, first: u32, last: u32) -> Option<u32> {
        let map = self.read();
        let hours = map.get(&ty).filter(|_| first <= last)?;
        hours.range(first..=last).next().map(|(hour, _)| *hour)
    }

    /// The first position of a type that may show.
    pub(super) fn floor(&self, ty: u16) -> Position {
        self.1.0.read().unwrap_or_else(PoisonError::into_inner).get(&ty).copied().unwrap_or_default()
    }

    /// Hides what stands below `floor` for ever.
    pub(super) fn set_floor(&self, ty: u16, floor: Position) {
        self.1.0.write().unwrap_or_else(PoisonError::into_inner).insert(ty, floor);
    }

    /// The last position of a type that was committed; the zero position when there is none.
    pub(super) fn last(&self, ty: u16) -> Position {
        self.2.0.read().unwrap_or_else(PoisonError::into_inner).get(&ty).copied().unwrap_or_default()
    }

    /// Sets the last positions of types.
    pub(super) fn set_last(&self, lasts: impl Iterator<Item = (u16, Position)>) {
        self.2.0.write().unwrap_or_else(PoisonError::into_inner).extend(lasts);
    }

    /// The hours from `first` on that hold events of a type, and how many each; oldest first.
    pub(super) fn counts(&self, ty: u16, first: u32) -> Vec<(u32, u64)> {
        let map = self.read();
        let hours = map.get(&ty).into_iter().flat_map(|hours| hours.range(first..));
        hours.map(|(hour, count)| (*hour, *count)).collect()
    }

    /// Every type that has events, with its oldest hour.
    pub(super) fn oldest(&self) -> Vec<(u16, u32)> {
        self.read().iter().filter_map(|(ty, hours)| Some((*ty, *hours.first_key_value()?.0))).collect()
    }
}
