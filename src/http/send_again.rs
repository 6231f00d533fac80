//! What was sent under a record that is out of date.
//!
//! Between the look at a type and its append the type may be changed: here, or on another node while this one stood still or
//! its store was slow. The store then refuses the group ([`Appended::Stale`]), for it may name streams that are gone, and
//! it is sent again by the record that there is now.

use super::send::{self, Stored, With};
use super::{AppState, Problem, problem, send_item};
use crate::error::ApiError;
use crate::registry::TypeEntry;
use crate::store::{Appended, StoreError};
use bytes::Bytes;
use std::sync::Arc;

/// Times that a group is sent again: each time somebody has changed the type in between.
const TRIES: usize = 8;

/// Appends payloads of a type that were refused because revision `in_force` of its record is newer than `entry`. The type
/// as it was when they were stored; nothing is stored, but counted as discarded, when it is not registered any more.
///
/// # Errors
/// As for any append; 404 for a type that was deleted, where settings ask for that.
pub(super) async fn again(
    mut entry: Arc<TypeEntry>,
    mut in_force: u64,
    payloads: &impl Fn() -> Vec<Bytes>,
    with: &With<'_>,
    state: &AppState,
) -> Result<(Arc<TypeEntry>, Option<Stored>), ApiError> {
    let of_store = |error: StoreError| problem::of_store(&error);
    let mut tries = 0;
    loop {
        tries += 1;
        let payloads = payloads();
        match newest(&entry, in_force, payloads.len(), state).await? {
            Some(newest) => entry = newest,
            None if state.http.reject_unregistered => return Err(send::unregistered(&entry.name)),
            None => return Ok((entry, None)),
        }
        let group = send_item::group(&entry, payloads, with.idempotency, with.trace);
        match state.appender.append(vec![group]).await.map_err(of_store)?.pop() {
            Some(Ok(Appended::Stale(newer))) if tries < TRIES => in_force = newer,
            answer => return send::stored(answer, &entry).map(|stored| (entry, Some(stored))),
        }
    }
}

/// The type as it is now; `None` when it is not registered.
async fn newest(
    entry: &TypeEntry,
    in_force: u64,
    events: usize,
    state: &AppState,
) -> Result<Option<Arc<TypeEntry>>, ApiError> {
    // Another request may have learnt it.
    let known = state.types.get(entry.name.as_str());
    if let Some(known) = known.filter(|known| known.registered && known.revision > entry.revision) {
        return Ok(Some(known));
    }
    let asked = [(entry.name.clone(), events as u64)];
    let found = send::look_further(state, &asked).await.map_err(|Problem(error)| error)?.pop().flatten();
    if found.as_ref().is_some_and(|found| found.revision <= entry.revision) {
        restore(entry, in_force, state).await.map_err(|error| problem::of_store(&error))?;
    }
    Ok(found)
}

/// The registry was asked after the type's partition, and knows nothing as new: a failover has lost the change, and the
/// type could not be sent any more.
async fn restore(entry: &TypeEntry, in_force: u64, state: &AppState) -> Result<(), StoreError> {
    let Some(record) = state.store.get_type(&entry.name).await? else { return Ok(()) };
    if record.revision < in_force {
        let (name, revision) = (&entry.name, record.revision);
        log::warn!(
            "registry has lost a change, the one before is in force: type={name} revision={revision} lost={in_force}"
        );
        state.store.enforce(&record, Some(in_force)).await?;
    }
    Ok(())
}
