//! Reads on threads that may block.

use super::super::StoreError;
use super::EmbeddedStore;
use super::disk::Disk;
use super::lifecycle::closed;
use std::sync::Arc;

/// Most reads that block a thread at a time; more wait until the time-out.
pub(super) const READS: usize = 16;

impl EmbeddedStore {
    /// Reads on a thread that may block, a bounded number at a time.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = self.disk()?;
        let reads = Arc::clone(&self.reads);
        let reading = async move {
            let turn = reads.acquire_owned().await.map_err(|_| closed())?;
            let work = tokio::task::spawn_blocking(move || {
                let result = read(&disk);
                drop(turn);
                result
            });
            work.await.map_err(|error| StoreError::Unavailable(format!("a read of the store failed: {error}")))?
        };
        let late = || StoreError::Unavailable("the embedded store could not be read in time".into());
        tokio::time::timeout(self.options.timeout, reading).await.unwrap_or_else(|_| Err(late()))
    }
}
