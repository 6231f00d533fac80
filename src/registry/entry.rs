//! The view of types that requests read: one shared map, written by the RegistryActor alone.

use super::pulse::Pulse;
use crate::event::{EventType, StreamName, Ttl, TypeFilter, TypeNo};
use crate::store::{StreamSince, TypeRef};
use crate::streams::{SinkHandle, StreamSpec};
use dashmap::DashMap;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A type as this node knows it. Deleted types stay, for their stored events are readable until their
/// lifetime ends.
#[derive(Debug)]
pub struct TypeEntry {
    /// The name.
    pub name: EventType,
    /// Its number.
    pub type_no: TypeNo,
    /// The newest lifetime.
    pub ttl: Ttl,
    /// False once deleted: events of it are discarded.
    pub registered: bool,
    /// Revision of the record this was made from.
    pub revision: u64,
    /// Names of the streams that get new events, for appends.
    pub names: Arc<[StreamName]>,
    /// The streams that get new events.
    pub streams: Vec<StreamEntry>,
    /// Streams that were dropped and still deliver.
    pub draining: Vec<StreamEntry>,
    /// Stored streams that this version or these settings cannot read; they take their events and wait.
    pub(crate) unreadable: Vec<Value>,
}

/// A stream of a type.
#[derive(Debug, Clone)]
pub struct StreamEntry {
    /// As registered.
    pub spec: StreamSpec,
    /// Revision with which it came.
    pub since: u64,
    /// Revision with which it was dropped.
    pub until: Option<u64>,
    /// Why it holds back: empty when an operator said so, else what the other side answered. Outlives
    /// re-registration.
    pub paused: Option<String>,
    /// Deleted by an operator: what waited is among its dead letters, and soon it is gone.
    pub deleted: bool,
}

impl TypeEntry {
    /// What the store needs to read events of this type.
    pub fn type_ref(&self) -> TypeRef {
        TypeRef { type_no: self.type_no, ttl: self.ttl.clone() }
    }

    /// A stream that new events go to, or that still delivers.
    pub fn stream(&self, name: &str) -> Option<&StreamEntry> {
        self.streams.iter().chain(&self.draining).find(|s| s.spec.name.as_str() == name && !s.deleted)
    }

    /// All streams, for asking the store what became of an event at each.
    pub fn streams_since(&self) -> Vec<StreamSince> {
        let all = self.streams.iter().chain(&self.draining);
        all.map(|s| StreamSince { name: s.spec.name.clone(), since: s.since, until: s.until }).collect()
    }
}

/// Types by name and by number. Cloning shares it.
#[derive(Clone, Default)]
pub struct TypeView {
    by_name: Arc<DashMap<EventType, Arc<TypeEntry>>>,
    by_no: Arc<DashMap<TypeNo, Arc<TypeEntry>>>,
    /// Names that have been put under a number.
    named: Arc<AtomicUsize>,
    sinks: Arc<DashMap<TypeNo, Arc<[SinkHandle]>>>,
    loaded: Arc<AtomicBool>,
    /// The first look at the store is over, whatever came of it.
    looked: Arc<AtomicBool>,
    first_look: Arc<Notify>,
    pulse: Arc<Pulse>,
}

impl TypeView {
    /// The type of that name, registered or deleted.
    pub fn get(&self, name: &str) -> Option<Arc<TypeEntry>> {
        self.by_name.get(name).map(|e| Arc::clone(&e))
    }

    /// The type with that number.
    pub fn by_number(&self, type_no: TypeNo) -> Option<Arc<TypeEntry>> {
        self.by_no.get(&type_no).map(|e| Arc::clone(&e))
    }

    /// Every type the filter lets through, registered or deleted, in no order.
    pub fn matching(&self, filter: &TypeFilter) -> Vec<Arc<TypeEntry>> {
        if let Some(names) = filter.exact() {
            let mut found: Vec<_> = names.iter().filter_map(|name| self.get(name)).collect();
            if let Some(limit) = filter.limit() {
                found.retain(|e| limit.matches(&e.name));
            }
            found.sort_by_key(|e| e.type_no);
            found.dedup_by_key(|e| e.type_no);
            return found;
        }
        self.by_name.iter().filter(|e| filter.matches(e.key())).map(|e| Arc::clone(&e)).collect()
    }

    /// How many types have come to be known; one whose number is given to another, which a failover can bring about, and
    /// that other are two.
    pub fn seen(&self) -> usize {
        self.named.load(Ordering::Acquire)
    }

    /// Whether the store's registry has been read once: before, an unknown type means nothing.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Waits for the first look at the store's registry, for at most so long; whether it has been read.
    pub async fn until_loaded(&self, limit: Duration) -> bool {
        // Before it is looked: what comes in between is heard.
        let over = self.first_look.notified();
        if !self.looked.load(Ordering::Acquire) {
            // What it has brought by then is looked at below.
            let _ = tokio::time::timeout(limit, over).await;
        }
        self.is_loaded()
    }

    /// Whether this node can rely on what stands here: not when it has stood still and has not asked the store since
    /// ([`CatchUp`](super::CatchUp)).
    pub fn is_current(&self) -> bool {
        self.pulse.is_current(Instant::now())
    }

    /// Something of the type was committed: tells this node's SinkActors. A hint, and cheap.
    pub fn committed(&self, type_no: TypeNo) {
        if let Some(sinks) = self.sinks.get(&type_no) {
            sinks.iter().for_each(SinkHandle::wake);
        }
    }

    /// The RegistryActor works; for how long it has not, if that was long.
    pub(super) fn beat(&self, now: Instant) -> Option<Duration> {
        self.pulse.beat(now)
    }

    /// The store has been asked since the node stood still.
    pub(super) fn caught_up(&self) {
        self.pulse.caught_up();
    }

    /// The registry has been read.
    pub(super) fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Release);
        self.set_looked();
    }

    /// The store has been asked once, and may not have answered.
    pub(super) fn set_looked(&self) {
        if !self.looked.swap(true, Ordering::AcqRel) {
            self.first_look.notify_waiters();
        }
    }

    /// The SinkActors of a type on this node.
    pub(super) fn set_sinks(&self, type_no: TypeNo, sinks: Arc<[SinkHandle]>) {
        if sinks.is_empty() {
            self.sinks.remove(&type_no);
        } else {
            self.sinks.insert(type_no, sinks);
        }
    }

    /// Puts a newer entry in place; an older one is ignored. The RegistryActor's alone to call.
    pub(super) fn put(&self, entry: Arc<TypeEntry>) -> bool {
        let newer = self.by_name.get(&entry.name).is_none_or(|known| known.revision < entry.revision);
        if newer {
            self.replace(entry);
        }
        newer
    }

    /// Puts an entry in place of whatever is there. The RegistryActor's alone to call.
    pub(super) fn replace(&self, entry: Arc<TypeEntry>) {
        let before = self.by_no.insert(entry.type_no, Arc::clone(&entry));
        let named = before.is_none_or(|before| before.name != entry.name);
        self.by_name.insert(entry.name.clone(), entry);
        // After it can be found: whoever sees that there is more finds it.
        self.named.fetch_add(usize::from(named), Ordering::Release);
    }

    /// Takes out a type that the store does not know. The RegistryActor's alone to call.
    pub(super) fn remove(&self, entry: &TypeEntry) {
        self.by_name.remove(&entry.name);
        self.by_no.remove_if(&entry.type_no, |_, known| known.name == entry.name);
        self.sinks.remove(&entry.type_no);
    }
}
