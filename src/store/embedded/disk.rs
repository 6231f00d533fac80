//! The folder: fjall's database, its four keyspaces, and how their memory is bounded.

use super::super::StoreError;
use super::keys;
use super::rows;
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, Slice, Snapshot};
use std::path::{Path, PathBuf};

/// What this version writes. A store with a newer one is refused.
const FORMAT: u64 = 1;

const MIB: u64 = 1 << 20;
/// Blocks read from disk, for all keyspaces together.
const CACHE: u64 = 48 * MIB;
/// Sealed journals beyond this make fjall write out whatever holds them back; its least value.
const JOURNAL: u64 = 64 * MIB;
/// Most memory of a keyspace's newest writes before they are written out as a table. Kept by fjall when the
/// keyspace is made.
const EVENTS_BUFFER: u64 = 24 * MIB;
const OUTBOX_BUFFER: u64 = 16 * MIB;
const SMALL_BUFFER: u64 = 8 * MIB;

/// One of the keyspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Events,
    Outbox,
    Marks,
    State,
}

impl Table {
    /// Position in arrays that hold something for each table.
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// An open folder. Exclusive: a second one on the same folder cannot be opened, by this or another process.
pub(super) struct Disk {
    pub(super) db: Database,
    tables: [Keyspace; 4],
    path: PathBuf,
}

impl Disk {
    /// Opens or creates the folder. Blocks.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let failed = |error: fjall::Error| match error {
            fjall::Error::Locked => StoreError::Unavailable(format!(
                "the folder {shown} is in use: one process owns it, another hub may be running on it"
            )),
            fjall::Error::InvalidVersion(version) => {
                StoreError::Corrupt(format!("the folder {shown} has another disk format: {version:?}"))
            }
            fjall::Error::Io(error) => StoreError::Unavailable(format!("the folder {shown} cannot be opened: {error}")),
            other => StoreError::Corrupt(format!("the folder {shown} cannot be opened: {other}")),
        };
        let db = Database::builder(path)
            .cache_size(CACHE)
            .max_journaling_size(JOURNAL)
            .worker_threads(2)
            .open()
            .map_err(failed)?;
        let options = |buffer| KeyspaceCreateOptions::default().max_memtable_size(buffer);
        // Events come in order of time: their tables sink to the last level without being written again,
        // so what is not compressed at first never is.
        let events = || {
            let compression = CompressionPolicy::all(CompressionType::Lz4);
            options(EVENTS_BUFFER).data_block_compression_policy(compression)
        };
        let tables = [
            db.keyspace("events", events).map_err(failed)?,
            db.keyspace("outbox", || options(OUTBOX_BUFFER)).map_err(failed)?,
            db.keyspace("marks", || options(SMALL_BUFFER)).map_err(failed)?,
            db.keyspace("state", || options(SMALL_BUFFER)).map_err(failed)?,
        ];
        let disk = Self { db, tables, path: path.to_path_buf() };
        disk.check_format()?;
        Ok(disk)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.get(Table::State, keys::FORMAT)? {
            None => {
                self.table(Table::State).insert(keys::FORMAT, rows::number(FORMAT)).map_err(unavailable)?;
                self.db.persist(fjall::PersistMode::SyncAll).map_err(unavailable)
            }
            Some(row) => match rows::read_number(&row)? {
                0..=FORMAT => Ok(()),
                newer => Err(StoreError::Corrupt(format!(
                    "the folder {} has storage format {newer}, this version knows {FORMAT}: use a newer version",
                    self.path.display()
                ))),
            },
        }
    }

    /// A keyspace.
    pub(super) fn table(&self, table: Table) -> &Keyspace {
        let [events, outbox, marks, state] = &self.tables;
        match table {
            Table::Events => events,
            Table::Outbox => outbox,
            Table::Marks => marks,
            Table::State => state,
        }
    }

    /// The newest committed value.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        self.table(table).get(key).map_err(unavailable)
    }

    /// What is committed now, unmoved by later commits.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// Bytes that this process may still write to the folder's file system; `None` when it cannot be told.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Whether fjall still takes writes: it stops after a failure, also one in its background work.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.db.persist(fjall::PersistMode::Buffer).map_err(unavailable)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a failure of fjall is to a caller.
pub(super) fn unavailable(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(io)
            if matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) =>
        {
            StoreError::Full(io.to_string())
        }
        fjall::Error::Poisoned => {
            StoreError::Unavailable("writing to disk has failed before; the hub must be restarted".into())
        }
        fjall::Error::Storage(error) => StoreError::Corrupt(error.to_string()),
        fjall::Error::Decompress(_) | fjall::Error::InvalidTag(_) | fjall::Error::InvalidTrailer => {
            StoreError::Corrupt(error.to_string())
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}
