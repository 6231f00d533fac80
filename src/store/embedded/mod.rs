//! The embedded store: the same contract on one machine's disk, for one process.
//!
//! | file | what |
//! | --- | --- |
//! | `lifecycle` | how it is opened and closed |
//! | `writer` | the committer thread: all changes, in group commits |
//! | `core` | what it keeps in memory, and the rows it writes once a group |
//! | `append`, `claim`, `settle`, `marks`, `registry`, `sweep` | the operations on that |
//! | `bulk`, `letters`, `replay`, `past` | the large ones: step by step, each a commit of its own |
//! | `attempts` | the newest attempts of streams |
//! | `stream` | one stream's outbox in memory |
//! | `read`, `detail`, `stamp`, `pending` | reads from snapshots |
//! | `blocking` | the threads that these run on |
//! | `hours` | which hours hold events: shared by both sides |
//! | `live` | commits for live readers |
//! | `nodes` | the process itself, as it announces itself |
//! | `disk`, `tx`, `keys`, `rows` | fjall, a write batch, and the form of what is stored |
//!
//! Leases are in memory only: this process is the only one, so after a restart every claim is void and what
//! was claimed is due again. Everything else is on disk before it is answered, apart from settled claims,
//! which a power failure of the last moment may undo (and deliver again).

mod append;
mod attempts;
mod blocking;
mod bulk;
mod claim;
mod core;
mod detail;
mod disk;
mod hours;
mod keys;
mod letters;
mod lifecycle;
mod live;
mod marks;
mod nodes;
mod past;
mod pending;
mod read;
mod registry;
mod replay;
mod rows;
mod settle;
mod stamp;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
mod tx;
mod writer;

pub use self::core::Clock;

use super::{
    AppendGroup, Appended, Claim, ClaimRequest, DeadLetter, Discarded, EventDetail, Fenced, Lease, Letters, Live,
    MarkRequest, Node, NodeId, Page, Partition, Pending, Put, PutType, ReadQuery, RegistryVersion, Replay, Replayed,
    SeenNode, Settle, Stamp, StampQuery, Store, StoreError, StoreFacts, StoreOptions, StreamCounts, StreamKey,
    StreamSince, TypeRecord, TypeRef,
};
use crate::event::{ClientId, EventId, EventType, Millis, Position, TypeNo};
use async_trait::async_trait;
use bytes::Bytes;
use disk::Disk;
use hours::Hours;
use letters::Fate;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use writer::Door;

/// The store on this machine's disk. Dropping it without [`close`](Store::close) stops it too, and blocks
/// until what is queued is written.
pub struct EmbeddedStore {
    door: Option<Door>,
    /// `None` once closed: the folder is given free when the last reader is done.
    disk: RwLock<Option<Arc<Disk>>>,
    hours: Arc<Hours>,
    clock: Clock,
    options: StoreOptions,
    reads: Arc<Semaphore>,
    live: Mutex<Option<mpsc::Receiver<Live>>>,
    live_wanted: Arc<AtomicBool>,
    nodes: nodes::Nodes,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("disk", &self.disk).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.door()?
            .ask(|core, disk| {
                core.check_space(disk)?;
                disk.check()?;
                Ok(core.now())
            })
            .await
    }

    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        self.door()?.write(|access| append::append(access.core, access.disk, access.tx, groups)).await
    }

    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        let (hours, now) = (Arc::clone(&self.hours), (self.clock)());
        self.blocking(move |disk| read::read(disk, &hours, now, &query)).await
    }

    async fn stamp(&self, query: StampQuery) -> Result<Stamp, StoreError> {
        let (hours, now) = (Arc::clone(&self.hours), (self.clock)());
        let parts = stamp::Parts::new(&hours, now, query);
        // Mostly memory says it all.
        if parts.need_disk() {
            return self.blocking(move |disk| parts.read(disk, &hours)).await;
        }
        Ok(parts.stamp())
    }

    async fn pending(&self, types: &[TypeRef], client: &ClientId) -> Result<Pending, StoreError> {
        let (hours, now) = (Arc::clone(&self.hours), (self.clock)());
        let (types, client) = (types.to_vec(), client.clone());
        self.blocking(move |disk| pending::pending(disk, &hours, now, &types, &client)).await
    }

    async fn event(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        let (ty, asked, hours) = (ty.clone(), streams.to_vec(), Arc::clone(&self.hours));
        let times = ((self.clock)(), self.options.dead_ttl);
        let detail = self.blocking(move |disk| detail::event(disk, &hours, times, id, &ty, &asked)).await?;
        let Some(mut detail) = detail else { return Ok(None) };
        self.refine(id, streams, &mut detail).await?;
        Ok(Some(detail))
    }

    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        let marks = self.existing(marks).await?;
        self.door()?.write(move |access| marks::mark(access.core, access.tx, &marks)).await
    }

    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        let marks = self.existing(marks).await?;
        self.door()?.write(move |access| marks::unmark(access.core, access.tx, &marks)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        let stream = request.stream.clone();
        let undo = move |core: &mut core::Core, claim: Claim| {
            if let Some(lease) = claim.lease {
                claim::undo(core, &stream, lease);
            }
        };
        self.door()?.ask_or_undo(move |core, disk| claim::claim(core, disk, &request), undo).await
    }

    async fn renew(&self, stream: &StreamKey, lease: Lease, extend: Duration) -> Result<Fenced, StoreError> {
        let stream = stream.clone();
        self.door()?.ask(move |core, _| Ok(claim::renew(core, &stream, lease, extend))).await
    }

    async fn settle(&self, settle: Settle) -> Result<Fenced, StoreError> {
        self.door()?.write(move |access| Ok(settle::settle(access.core, access.tx, settle))).await
    }

    async fn make_due(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.door()?
            .write(move |access| {
                settle::make_due(access.core, &stream);
                Ok(())
            })
            .await
    }

    async fn due(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError> {
        self.door()?
            .ask(move |core, _| {
                let until = core.now().saturating_add(claim::millis(within));
                let due = core.streams().filter(|(_, stream)| stream.earliest().is_some_and(|at| at <= until));
                Ok(due.map(|(key, _)| key).collect())
            })
            .await
    }

    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        let streams = streams.to_vec();
        self.door()?
            .write(move |access| {
                let writer::Access { core, disk, tx } = access;
                // Dead letters whose time has passed are not counted, even if the sweeper is still to come.
                sweep::expired_letters(core, disk, tx)?;
                let counts = |key| core.stream(key).map(|stream| stream.counts()).unwrap_or_default();
                Ok(streams.iter().map(counts).collect())
            })
            .await
    }

    async fn dead_letters(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let (stream, ttl, now) = (stream.clone(), self.options.dead_ttl, (self.clock)());
        self.blocking(move |disk| detail::dead_letters(disk, now, ttl, &stream, after, limit)).await
    }

    async fn retry_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.settle_letters(stream, letters, Fate::Retry).await
    }

    async fn delete_dead(&self, stream: &StreamKey, letters: Letters) -> Result<u64, StoreError> {
        self.settle_letters(stream, letters, Fate::Delete).await
    }

    async fn bury(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        self.bury_outbox(stream, reason).await
    }

    async fn replay(&self, replay: Replay) -> Result<Replayed, StoreError> {
        self.replay_events(replay).await
    }

    async fn record_attempts(&self, stream: &StreamKey, attempts: Vec<Bytes>) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.door()?
            .write(move |access| {
                attempts::record(access.core, access.tx, &stream, attempts);
                Ok(())
            })
            .await
    }

    async fn attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
        let (stream, ttl, now) = (stream.clone(), self.options.dead_ttl, (self.clock)());
        self.blocking(move |disk| attempts::read(disk, now, ttl, &stream)).await
    }

    async fn types(&self) -> Result<(RegistryVersion, Vec<TypeRecord>), StoreError> {
        self.door()?.ask(|core, _| Ok((core.registry.version(), core.registry.all()))).await
    }

    async fn registry_version(&self) -> Result<RegistryVersion, StoreError> {
        self.door()?.ask(|core, _| Ok(core.registry.version())).await
    }

    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        let name = name.clone();
        self.door()?.ask(move |core, _| Ok(core.registry.get(&name))).await
    }

    async fn put_type(&self, put: PutType) -> Result<Put, StoreError> {
        self.door()?.write(move |access| Ok(registry::put(access.core, access.tx, put))).await
    }

    async fn enforce(&self, _: &TypeRecord, _: Option<u64>) -> Result<(), StoreError> {
        // Appends look at the registry itself.
        Ok(())
    }

    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        let types = types.to_vec();
        self.door()?.write(move |access| Ok(registry::get_or_discard(access.core, access.tx, &types, count))).await
    }

    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        self.door()?.ask(|core, _| Ok(core.registry.discarded())).await
    }

    async fn forget_stream(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let stream = stream.clone();
        self.door()?
            .write(move |access| {
                settle::forget(access.core, access.tx, &stream);
                Ok(())
            })
            .await
    }

    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        let types = types.to_vec();
        self.door()?.ask(move |core, _| Ok(types.iter().map(|ty| core.last(*ty)).collect())).await
    }

    async fn announce(&self, node: &Node) -> Result<(), StoreError> {
        self.nodes.announce(node, (self.clock)());
        Ok(())
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError> {
        self.nodes.withdraw(node);
        Ok(())
    }

    async fn facts(&self) -> Result<StoreFacts, StoreError> {
        let disk_free = self.door()?.ask(|_, disk| Ok(disk.free_bytes())).await?;
        Ok(StoreFacts { kind: "embedded", servers: Vec::new(), disk_free })
    }

    async fn nodes(&self) -> Result<Vec<SeenNode>, StoreError> {
        Ok(self.nodes.all((self.clock)()))
    }

    fn live(&self) -> mpsc::Receiver<Live> {
        self.live_wanted.store(true, Ordering::Release);
        let receiver = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        receiver.unwrap_or_else(|| {
            log::error!("the embedded store's live feed was asked for twice, the second reader gets nothing");
            mpsc::channel(1).1
        })
    }

    // The feed is in this process, and whole.
    async fn listen(&self, _: Partition) -> Result<(), StoreError> {
        Ok(())
    }

    fn ignore(&self, _: Partition) {}

    async fn close(&self) -> Result<(), StoreError> {
        self.shut().await
    }
}
