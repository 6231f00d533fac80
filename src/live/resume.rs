//! What a cursor means: where each type begins, and whether anything may have expired unseen.

use super::inbox::Door;
use super::queue::Stand;
use crate::event::{EventId, Millis, Position, TypeFilter, TypeNo};
use crate::store::{StoreError, TypeRef};
use std::collections::HashMap;

/// Where a session wants to go on.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    /// The last event its client knows.
    pub id: EventId,
    /// The store's clock.
    pub now: Millis,
}

/// What a session that goes on is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// The cursor.
    pub from: EventId,
    /// Whether everything after the cursor is still there. Ephemeral types do not count: what is committed of
    /// them while a session is away is never seen.
    pub complete: bool,
}

impl Cursor {
    /// Where each type of the filter begins: the cursor's own after the cursor, others `live.seam` before its
    /// time, for commits of different types may overtake each other by that much. And whether nothing can have
    /// expired since: the lifetimes of the types reach back to the cursor, or nothing came in after it.
    pub(super) async fn find(self, door: &Door, filter: &TypeFilter) -> Result<(Stand, bool), StoreError> {
        let own = self.id.type_no();
        let floor = self.floor(door);
        let numbers: Vec<TypeNo> = matching(door, filter)
            .filter(|(ty, _)| !ty.ttl.shows(self.id.ms(), self.now))
            .map(|(ty, _)| ty.type_no)
            .chain([own])
            .collect();
        let last = door.store.last_positions(&numbers).await?;
        let (own_last, mortal) = last.split_last().map_or((Position::default(), &[][..]), |(own, rest)| (*own, rest));
        let complete = !numbers.iter().zip(mortal).any(|(ty, last)| *ty == own || *last > floor);
        // A cursor may be one that this store has never given.
        let reached = HashMap::from([(own, self.id.position().min(own_last))]);
        Ok((Stand { reached, floor }, complete))
    }

    fn floor(self, door: &Door) -> Position {
        let seam = Millis::try_from(door.settings.seam.as_millis()).unwrap_or(Millis::MAX);
        let first = Position::first_of(self.id.ms().min(self.now).saturating_sub(seam));
        Position::new(first.get().saturating_sub(1))
    }
}

/// The types of a filter that the store keeps events of, with their names.
pub(super) fn matching(door: &Door, filter: &TypeFilter) -> impl Iterator<Item = (TypeRef, crate::event::EventType)> {
    let all = door.types.all().into_iter();
    all.filter_map(|type_no| {
        let (name, ttl) = door.types.find(type_no)?;
        (!ttl.is_ephemeral() && filter.matches(&name)).then_some((TypeRef { type_no, ttl }, name))
    })
}
