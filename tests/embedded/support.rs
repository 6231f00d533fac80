//! A store in a temporary folder, with a clock that stands until it is moved.

use bytes::Bytes;
use event_source_api::event::{EventId, EventType, Millis, Position, Ttl, TypeNo};
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// 2025-06-15T10:00:00Z: the start of an hour.
pub const START: Millis = 1_749_981_600_000;
pub const HOUR: Millis = 3_600_000;

pub struct Hub {
    pub store: Option<EmbeddedStore>,
    pub clock: Arc<AtomicI64>,
    pub folder: TempDir,
}

pub fn options() -> StoreOptions {
    StoreOptions {
        max_backlog: 1_000_000,
        dead_ttl: Duration::from_secs(30 * 86_400),
        timeout: Duration::from_secs(20),
    }
}

pub fn open(path: &Path, clock: &Arc<AtomicI64>) -> EmbeddedStore {
    let clock = Arc::clone(clock);
    EmbeddedStore::open_with_clock(path, options(), Arc::new(move || clock.load(Ordering::SeqCst))).unwrap()
}

impl Hub {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(START));
        Self { store: Some(open(folder.path(), &clock)), clock, folder }
    }

    pub fn advance(&self, ms: Millis) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    /// Stops as a crash would, as far as the store can tell, and starts again.
    pub fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(open(self.folder.path(), &self.clock));
    }

    /// Registers a type and answers its number.
    pub async fn register(&self, name: &str, ttl: &str) -> TypeNo {
        let name: EventType = name.parse().unwrap();
        let based_on = self.get_type(&name).await.unwrap().map_or(0, |record| record.revision);
        let put = PutType { name, ttl: ttl.parse().unwrap(), registered: true, config: Bytes::from("{}"), based_on };
        match self.put_type(put).await.unwrap() {
            Put::Stored(record) => record.type_no,
            other => panic!("{other:?}"),
        }
    }

    /// Appends `count` payloads `"0"`, `"1"`, … as one group.
    pub async fn send(&self, ty: TypeNo, ttl: &str, streams: &[&str], count: usize) -> Vec<Position> {
        let mut group = group(ty, ttl, streams, count);
        loop {
            match self.append(vec![group.clone()]).await.unwrap().remove(0).unwrap() {
                Appended::Stored(positions) => return positions,
                // As a sender does.
                Appended::Stale(newer) if newer > group.revision => group.revision = newer,
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn take(&self, stream: &StreamKey, max: usize) -> Claim {
        self.claim(request(stream, max, false)).await.unwrap()
    }

    /// Claims and delivers everything that is due; answers how many there were.
    pub async fn drain(&self, stream: &StreamKey) -> usize {
        let mut total = 0;
        loop {
            let claim = self.take(stream, 1000).await;
            let Some(lease) = claim.lease else { return total };
            total += claim.events.len();
            let done = self.settle(settled(stream, lease, claim.events.len())).await.unwrap();
            assert_eq!(done, Fenced::Done(None));
        }
    }

    pub async fn feed(&self, ty: TypeNo, ttl: &str) -> Vec<EventId> {
        self.read(query(&[(ty, ttl)], 10_000)).await.unwrap().events.into_iter().map(|event| event.id).collect()
    }

    pub async fn count(&self, stream: &StreamKey) -> StreamCounts {
        self.counts(std::slice::from_ref(stream)).await.unwrap().remove(0)
    }
}

impl std::ops::Deref for Hub {
    type Target = EmbeddedStore;

    fn deref(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }
}

pub fn group(ty: TypeNo, ttl: &str, streams: &[&str], count: usize) -> AppendGroup {
    AppendGroup {
        type_no: ty,
        ttl: ttl.parse().unwrap(),
        streams: streams.iter().map(|name| name.parse().unwrap()).collect(),
        revision: 1,
        payloads: (0..count).map(|n| Bytes::from(n.to_string())).collect(),
        idempotency: None,
    }
}

pub fn stream(ty: TypeNo, name: &str) -> StreamKey {
    StreamKey { type_no: ty, name: name.parse().unwrap() }
}

pub fn type_no(number: u16) -> TypeNo {
    TypeNo::new(number).unwrap()
}

pub fn type_ref(ty: TypeNo, ttl: &str) -> TypeRef {
    TypeRef { type_no: ty, ttl: ttl.parse::<Ttl>().unwrap() }
}

pub fn request(stream: &StreamKey, max: usize, ordered: bool) -> ClaimRequest {
    ClaimRequest { stream: stream.clone(), max, lease: Duration::from_secs(60), ordered }
}

pub fn settled(stream: &StreamKey, lease: Lease, total: usize) -> Settle {
    Settle { stream: stream.clone(), lease, total, exceptions: Vec::new(), hold: None }
}

pub fn failure(attempts: u32) -> Failure {
    Failure { attempts, last_error: "refused".into() }
}

/// Everything of some types.
pub fn query(types: &[(TypeNo, &str)], limit: usize) -> ReadQuery {
    ReadQuery {
        types: types.iter().map(|(ty, ttl)| type_ref(*ty, ttl)).collect(),
        from: START - 1000 * HOUR,
        to: START + 10_000 * HOUR,
        before: None,
        limit,
        marked: Marked::Ignore,
    }
}

pub fn positions(claim: &Claim) -> Vec<Position> {
    claim.events.iter().map(|event| event.position).collect()
}
