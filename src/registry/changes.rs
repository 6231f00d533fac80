//! Changes of a type's record: read, edit, write if nobody was faster, else again.

use super::{Register, Tuning, TypeEntry, record};
use crate::error::{ApiError, Code};
use crate::event::{EventType, StreamName};
use crate::store::{Put, PutType, Store, StoreError, StreamKey, TypeRecord};
use crate::streams::StreamSettings;
use bytes::Bytes;

/// Most repetitions of a change that lost against others.
const MAX_CONFLICTS: usize = 32;
/// The last error of events whose stream was deleted before they were tried.
const DELETED: &str = "the stream was deleted before the event was delivered";

/// Changes a registered or deleted type's record: reads, edits, writes if nobody was faster, else again.
/// `None` when there is no such type, or `edit` has nothing to change.
pub(super) async fn change(
    store: &dyn Store,
    settings: &StreamSettings,
    name: &EventType,
    edit: impl Fn(&TypeEntry) -> Option<Bytes>,
) -> Result<Option<TypeRecord>, StoreError> {
    for _ in 0..MAX_CONFLICTS {
        let Some(current) = store.get_type(name).await? else { return Ok(None) };
        let entry = record::decode(&current, settings).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let Some(config) = edit(&entry) else { return Ok(None) };
        if config == current.config {
            store.enforce(&current, None).await?;
            return Ok(Some(current));
        }
        let put = PutType {
            name: name.clone(),
            ttl: current.ttl,
            registered: current.registered,
            config,
            based_on: current.revision,
        };
        match store.put_type(put).await? {
            Put::Stored(record) => return Ok(Some(record)),
            Put::Conflict | Put::LimitReached => {}
        }
    }
    Err(StoreError::Unavailable(format!("too many changes of type {name} at once")))
}

/// Whether the type was new, the stored record, and the streams whose secret was made now.
pub(super) type Written = (bool, TypeRecord, Vec<StreamName>);

pub(super) async fn register(
    store: &dyn Store,
    settings: &StreamSettings,
    wish: Register,
) -> Result<Written, ApiError> {
    for _ in 0..MAX_CONFLICTS {
        let current = store.get_type(&wish.name).await?;
        let previous = current
            .as_ref()
            .map(|record| record::decode(record, settings))
            .transpose()
            .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let created = !current.as_ref().is_some_and(|record| record.registered);
        let known = |name: &StreamName| {
            previous.iter().flat_map(|p| p.streams.iter().chain(&p.draining)).any(|s| s.spec.name == *name)
        };
        let new_secrets =
            wish.streams.iter().filter(|s| s.target.made_secret() && !known(&s.name)).map(|s| s.name.clone()).collect();
        let config = record::registration(previous.as_ref(), wish.streams.clone());
        if let Some(current) = current.as_ref().filter(|c| c.registered && c.config == config && c.ttl == wish.ttl) {
            // It may be the repetition of one that was cut off before it was in force.
            store.enforce(current, None).await?;
            return Ok((false, current.clone(), new_secrets));
        }
        let put = PutType {
            name: wish.name.clone(),
            ttl: wish.ttl.clone(),
            registered: true,
            config,
            based_on: current.map_or(0, |c| c.revision),
        };
        match store.put_type(put).await? {
            Put::Stored(record) => return Ok((created, record, new_secrets)),
            Put::Conflict => {}
            Put::LimitReached => {
                return Err(ApiError::new(
                    Code::TypeLimit,
                    "16384 type names have been registered; a deleted one keeps its number",
                ));
            }
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "the type is being changed by others at the same time"))
}

pub(super) async fn unregister(
    store: &dyn Store,
    settings: &StreamSettings,
    name: &EventType,
) -> Result<TypeRecord, ApiError> {
    for _ in 0..MAX_CONFLICTS {
        let current = store.get_type(name).await?.filter(|record| record.registered);
        let current = current.ok_or_else(|| ApiError::not_found(format!("type '{name}' is not registered")))?;
        let entry = record::decode(&current, settings).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let put = PutType {
            name: name.clone(),
            ttl: current.ttl,
            registered: false,
            config: record::unregistration(&entry),
            based_on: current.revision,
        };
        if let Put::Stored(record) = store.put_type(put).await? {
            return Ok(record);
        }
    }
    Err(ApiError::new(Code::StoreUnavailable, "the type is being changed by others at the same time"))
}

/// Changes a stream's mailbox, concurrency or state.
pub(super) async fn tune(
    store: &dyn Store,
    settings: &StreamSettings,
    ty: &EventType,
    stream: &StreamName,
    tuning: &Tuning,
) -> Result<TypeRecord, ApiError> {
    let record = change(store, settings, ty, |entry| record::tuned(entry, stream, tuning)).await?;
    record.ok_or_else(no_stream)
}

/// Takes a stream out of its type.
pub(super) async fn delete_stream(
    store: &dyn Store,
    settings: &StreamSettings,
    ty: &EventType,
    stream: &StreamName,
) -> Result<TypeRecord, ApiError> {
    change(store, settings, ty, |entry| record::deleted(entry, stream)).await?.ok_or_else(no_stream)
}

/// Makes dead letters of what waits for a deleted stream; answers how many.
pub(super) async fn bury(store: &dyn Store, stream: &StreamKey) -> Result<u64, StoreError> {
    store.bury(stream, DELETED).await
}

/// Takes a dropped stream that has delivered everything, or a deleted one, out of the registry and the store.
/// `None` when it has something left, or is not dropped any more.
pub(super) async fn forget_stream(
    store: &dyn Store,
    settings: &StreamSettings,
    ty: &EventType,
    key: &StreamKey,
) -> Result<Option<TypeRecord>, StoreError> {
    let Some(current) = store.get_type(ty).await? else { return Ok(None) };
    let entry = record::decode(&current, settings).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    let Some(dropped) = entry.draining.iter().find(|s| s.spec.name == key.name) else { return Ok(None) };
    // From here on nothing is given to it any more, so that what is found to be empty stays so.
    store.enforce(&current, None).await?;
    if dropped.deleted {
        // Of nodes that had not heard of it yet.
        bury(store, key).await?;
    } else if store.counts(std::slice::from_ref(key)).await?.first().is_none_or(|counts| counts.backlog > 0) {
        // They are delivered first; then the stream reports again.
        return Ok(None);
    }
    let edit = |entry: &TypeEntry| {
        let drains = entry.draining.iter().any(|s| s.spec.name == key.name);
        drains.then(|| record::drained(entry, &key.name))
    };
    let record = change(store, settings, ty, edit).await?;
    if record.is_some() {
        store.forget_stream(key).await?;
    }
    Ok(record)
}

fn no_stream() -> ApiError {
    ApiError::not_found("there is no such stream")
}
