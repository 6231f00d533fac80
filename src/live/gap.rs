//! Reads what live readers missed, oldest first, a page at a time.
//!
//! The store reads newest first. Handing on in order without holding the whole gap in memory means reading
//! it in slices of time, each small enough for one page.

use crate::event::{EventId, Millis, Position};
use crate::store::{Marked, ReadQuery, Store, StoreError, StoredEvent, TypeRef};

/// Positions a millisecond of a type has.
pub const SEQUENCES: u64 = 512;
/// Most events of one page. More than [`SEQUENCES`], so that a slice can always be cut small enough.
pub const PAGE: usize = 1000;

/// The next events of a type after `after`, rising, at most a page; and how far that reached: everything up
/// to there has been read. `span` is the width of the slices in milliseconds, kept from page to page so
/// that it finds the type's density once.
///
/// # Errors
/// Those of the store.
pub async fn next_page(
    store: &dyn Store,
    ty: &TypeRef,
    (after, upto): (Position, Position),
    span: &mut Millis,
) -> Result<(Vec<StoredEvent>, Position), StoreError> {
    let from = after.plus(1).ms();
    let end = upto.ms() + 1;
    loop {
        let to = end.min(from.saturating_add((*span).max(1)));
        let query = ReadQuery {
            types: vec![ty.clone()],
            from,
            to,
            before: Some(EventId::new(ty.type_no, upto.plus(1))),
            limit: PAGE,
            marked: Marked::Ignore,
        };
        let page = store.read(query).await?;
        if page.more && to - from > 1 {
            *span = (to - from) / 2;
            continue;
        }
        *span = span.saturating_mul(2);
        let mut events = page.events;
        events.retain(|e| e.id.position() > after && e.id.position() <= upto);
        events.reverse();
        let reached = if to == end { upto } else { Position::first_of(to - 1).plus(SEQUENCES - 1) };
        return Ok((events, reached));
    }
}
