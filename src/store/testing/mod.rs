//! The embedded store as tests of the layers above use it: in a temporary folder, at a clock that stands
//! until a test moves it.

mod gate;

pub use gate::{Gate, Trap};

use super::embedded::EmbeddedStore;
use super::{Put, PutType, Store, StoreOptions, TypeRecord};
use crate::event::Millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A store of its own for one test.
pub struct TempStore {
    store: Arc<EmbeddedStore>,
    clock: Arc<AtomicI64>,
    /// Behind the store, so that it goes last.
    _folder: TempDir,
}

impl TempStore {
    /// An empty store at this instant.
    pub fn open(now: Millis) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(now));
        let read = Arc::clone(&clock);
        let options = StoreOptions {
            max_backlog: 1_000_000,
            dead_ttl: Duration::from_secs(30 * 86_400),
            timeout: Duration::from_secs(20),
        };
        let now = Arc::new(move || read.load(Ordering::SeqCst));
        let store = Arc::new(EmbeddedStore::open_with_clock(folder.path(), options, now).unwrap());
        Self { store, clock, _folder: folder }
    }

    /// The store to hand to what is tested.
    pub fn shared(&self) -> Arc<dyn Store> {
        Arc::<EmbeddedStore>::clone(&self.store)
    }

    /// Puts the clock at this instant.
    pub fn set_clock(&self, now: Millis) {
        self.clock.store(now, Ordering::SeqCst);
    }

    /// Moves the clock to this instant, unless it is past it.
    pub fn advance_to(&self, now: Millis) {
        self.clock.fetch_max(now, Ordering::SeqCst);
    }

    /// Registers a type without streams past this node's registry, as another node does.
    pub async fn register(&self, name: &str, ttl: &str) -> TypeRecord {
        let put = PutType {
            name: name.parse().unwrap(),
            ttl: ttl.parse().unwrap(),
            registered: true,
            config: "{}".into(),
            based_on: 0,
        };
        match self.put_type(put).await.unwrap() {
            Put::Stored(record) => record,
            other => panic!("{other:?}"),
        }
    }
}

impl std::ops::Deref for TempStore {
    type Target = EmbeddedStore;

    fn deref(&self) -> &EmbeddedStore {
        &self.store
    }
}
