//! The embedded store's place.

use crate::kit::Home;
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder of its own.
pub struct EmbeddedHome(TempDir);

impl Home for EmbeddedHome {
    const CLAIMS_OUTLIVE: bool = false;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn open(&self, options: StoreOptions) -> Arc<dyn Store> {
        Arc::new(EmbeddedStore::open(self.0.path(), options).expect("a store"))
    }
}
