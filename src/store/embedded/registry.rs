//! The registry of types and the list of discarded ones: in memory whole, and on disk before they are
//! answered.

use super::super::{Discarded, Put, PutType, RegistryVersion, StoreError, TypeRecord};
use super::core::{Core, scan};
use super::disk::{Disk, Table};
use super::keys;
use super::rows::{damaged, decode_type, encode_type, pair, read_pair};
use super::tx::Tx;
use crate::event::{EventType, MAX_TYPES, Millis, Ttl, TypeNo};
use std::collections::HashMap;

/// How many discarded types are kept.
const MAX_DISCARDS: usize = 1000;

/// Every type ever registered.
#[derive(Default)]
pub(super) struct Registry {
    /// Grows with every change.
    pub changes: u64,
    next_number: u64,
    records: HashMap<EventType, TypeRecord>,
    names: HashMap<u16, EventType>,
    discards: HashMap<EventType, (u64, Millis)>,
}

impl Registry {
    pub(super) fn load(disk: &Disk) -> Result<Self, StoreError> {
        let mut registry = Self::default();
        if let Some(row) = disk.get(Table::State, keys::REGISTRY)? {
            (registry.changes, registry.next_number) = read_pair(&row)?;
        }
        scan(disk, &[keys::TYPES], |key, value| {
            registry.keep(decode_type(name_in(key)?, value)?);
            Ok(())
        })?;
        scan(disk, &[keys::DISCARDS], |key, value| {
            let (count, last) = read_pair(value)?;
            registry.discards.insert(name_in(key)?, (count, Millis::try_from(last).unwrap_or(0)));
            Ok(())
        })?;
        Ok(registry)
    }

    /// As it stands. Nobody but this process changes it.
    pub(super) fn version(&self) -> RegistryVersion {
        RegistryVersion { changes: self.changes, source: 0 }
    }

    fn keep(&mut self, record: TypeRecord) {
        self.names.insert(record.type_no.get(), record.name.clone());
        self.records.insert(record.name.clone(), record);
    }

    /// One type's record.
    pub(super) fn get(&self, name: &EventType) -> Option<TypeRecord> {
        self.records.get(name).cloned()
    }

    /// Every record, by number.
    pub(super) fn all(&self) -> Vec<TypeRecord> {
        let mut all: Vec<_> = self.records.values().cloned().collect();
        all.sort_by_key(|record| record.type_no);
        all
    }

    /// The newest lifetime of a type; `None` when it was never registered.
    pub(super) fn ttl(&self, ty: u16) -> Option<&Ttl> {
        Some(&self.records.get(self.names.get(&ty)?)?.ttl)
    }

    /// The newest revision of a type's record; 0 when it was never registered.
    pub(super) fn revision(&self, ty: u16) -> u64 {
        self.names.get(&ty).and_then(|name| self.records.get(name)).map_or(0, |record| record.revision)
    }

    /// Discarded types, newest first.
    pub(super) fn discarded(&self) -> Vec<Discarded> {
        let mut all: Vec<_> = self
            .discards
            .iter()
            .map(|(name, (count, last_at))| Discarded { name: name.clone(), count: *count, last_at: *last_at })
            .collect();
        all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.name.cmp(&b.name)));
        all
    }
}

/// Adds or replaces a record, if it is still the one the change is based on.
pub(super) fn put(core: &mut Core, tx: &mut Tx<'_>, put: PutType) -> Put {
    let registry = &mut core.registry;
    let known = registry.records.get(&put.name);
    if known.map_or(0, |record| record.revision) != put.based_on {
        return Put::Conflict;
    }
    let number = match known {
        Some(record) => Some(record.type_no),
        None => u16::try_from(registry.next_number).ok().filter(|n| *n < MAX_TYPES).and_then(TypeNo::new),
    };
    let Some(type_no) = number else { return Put::LimitReached };
    if known.is_none() {
        registry.next_number += 1;
    }
    let before = known.map(|record| record.ttl.clone());
    registry.changes += 1;
    let record = TypeRecord {
        name: put.name,
        type_no,
        ttl: put.ttl,
        registered: put.registered,
        config: put.config,
        revision: registry.changes,
    };
    tx.durable = true;
    tx.set(Table::State, keys::REGISTRY, pair(registry.changes, registry.next_number));
    tx.set(Table::State, keys::named(keys::TYPES, &record.name), encode_type(&record));
    registry.keep(record.clone());
    if let Some(ttl) = before.filter(|ttl| *ttl != record.ttl).and_then(|ttl| ttl.millis()) {
        core.bury_expired(tx, type_no, ttl);
    }
    Put::Stored(record)
}

/// The records of those types that are registered; counts the others as discarded.
pub(super) fn get_or_discard(
    core: &mut Core,
    tx: &mut Tx<'_>,
    types: &[(EventType, u64)],
    count: bool,
) -> Vec<Option<TypeRecord>> {
    let now = core.now();
    let registry = &mut core.registry;
    let mut answers = Vec::with_capacity(types.len());
    for (name, events) in types {
        let record = registry.get(name).filter(|record| record.registered);
        if record.is_none() && count {
            let (total, last) = registry.discards.entry(name.clone()).or_insert((0, now));
            *total += events;
            *last = now.max(*last);
            let row = pair(*total, u64::try_from(*last).unwrap_or(0));
            tx.set(Table::State, keys::named(keys::DISCARDS, name), row);
            forget_oldest(registry, tx);
        }
        answers.push(record);
    }
    answers
}

fn forget_oldest(registry: &mut Registry, tx: &mut Tx<'_>) {
    if registry.discards.len() <= MAX_DISCARDS {
        return;
    }
    let oldest = registry.discards.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone());
    if let Some(name) = oldest {
        registry.discards.remove(&name);
        tx.unset(Table::State, keys::named(keys::DISCARDS, &name));
    }
}

fn name_in(key: &[u8]) -> Result<EventType, StoreError> {
    let text = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| damaged("a type's name"))
}
