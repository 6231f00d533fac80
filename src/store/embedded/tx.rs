//! One group commit in the making.

use super::super::{LiveRun, StoreError};
use super::disk::{Disk, Table, unavailable};
use fjall::{OwnedWriteBatch, PersistMode, Slice};
use std::collections::HashMap;

/// Everything that the operations of a group write, committed as one.
///
/// A key may stand only once in a batch of fjall, so whatever several operations of a group may write goes
/// through [`set`](Tx::set) and [`unset`](Tx::unset), which they also read back; [`insert`](Tx::insert) and
/// [`remove`](Tx::remove) are for keys that only one operation can name.
pub(super) struct Tx<'a> {
    disk: &'a Disk,
    batch: OwnedWriteBatch,
    pending: [HashMap<Vec<u8>, Option<Slice>>; 4],
    /// Whether it must be on disk before it is answered.
    pub(super) durable: bool,
    /// What live readers are told once it is committed.
    pub(super) runs: Vec<LiveRun>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(disk: &'a Disk) -> Self {
        Self { disk, batch: disk.db.batch(), pending: Default::default(), durable: false, runs: Vec::new() }
    }

    /// The value as this group has left it so far.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        match self.pending[table.index()].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.disk.get(table, key),
        }
    }

    /// Writes a row that others in the group may read or write.
    pub(super) fn set(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Slice>) {
        self.pending[table.index()].insert(key.into(), Some(value.into()));
    }

    /// Removes a row that others in the group may read or write.
    pub(super) fn unset(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.pending[table.index()].insert(key.into(), None);
    }

    /// Writes a row that nothing else in the group names.
    pub(super) fn insert(&mut self, table: Table, key: &[u8], value: impl Into<Slice>) {
        self.batch.insert(self.disk.table(table), key, value.into());
    }

    /// Removes a row that nothing else in the group names.
    pub(super) fn remove(&mut self, table: Table, key: &[u8]) {
        self.batch.remove(self.disk.table(table), key);
    }

    /// Writes everything, all or nothing; when durable, answers once it is on disk.
    pub(super) fn commit(mut self) -> Result<Vec<LiveRun>, StoreError> {
        const TABLES: [Table; 4] = [Table::Events, Table::Outbox, Table::Marks, Table::State];
        for table in TABLES {
            for (key, value) in std::mem::take(&mut self.pending[table.index()]) {
                match value {
                    Some(value) => self.insert(table, &key, value),
                    None => self.remove(table, &key),
                }
            }
        }
        // What need not be durable still leaves the process: a crash of the hub alone loses nothing.
        let mode = if self.durable { PersistMode::SyncData } else { PersistMode::Buffer };
        self.batch.durability(Some(mode)).commit().map_err(unavailable)?;
        Ok(self.runs)
    }
}
