//! The store's clock as this process knows it: what "current" and "in the future" mean in a feed.

use crate::event::Millis;
use crate::store::{Store, StoreError};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

/// A reading older than this is renewed by the next request, while others go on with it.
const FRESH_MS: i64 = 1000;
/// A reading older than this is not used any more: everybody asks the store.
const USABLE_MS: i64 = 10_000;
/// Marks that the clock was never read.
const NEVER: i64 = i64::MIN;

/// An estimate of the store's clock, at most a round trip behind. Shared by all workers; asks the store
/// about once a second while feeds are read, and never otherwise.
#[derive(Debug)]
pub struct StoreClock {
    start: Instant,
    /// Store time minus milliseconds since `start`: the node's wall clock plays no part.
    offset: AtomicI64,
    /// When it was read, in milliseconds since `start`.
    read_at: AtomicI64,
    renewing: AtomicBool,
}

impl Default for StoreClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            offset: AtomicI64::new(0),
            read_at: AtomicI64::new(NEVER),
            renewing: AtomicBool::new(false),
        }
    }
}

impl StoreClock {
    /// The store's now, in Unix milliseconds.
    ///
    /// # Errors
    /// When there is no usable reading and the store does not answer.
    pub async fn now(&self, store: &dyn Store) -> Result<Millis, StoreError> {
        let elapsed = self.elapsed();
        let read_at = self.read_at.load(Ordering::Acquire);
        let age = if read_at == NEVER { i64::MAX } else { elapsed - read_at };
        if age <= FRESH_MS {
            return Ok(self.offset.load(Ordering::Relaxed) + elapsed);
        }
        if age <= USABLE_MS {
            if self.renewing.swap(true, Ordering::AcqRel) {
                return Ok(self.offset.load(Ordering::Relaxed) + elapsed);
            }
            // Given back also when the request is cancelled in the middle.
            let _turn = Turn(&self.renewing);
            return self.read(store).await;
        }
        self.read(store).await
    }

    async fn read(&self, store: &dyn Store) -> Result<Millis, StoreError> {
        let asked = self.elapsed();
        let now = store.clock().await?;
        let answered = self.elapsed();
        // The store looked at its clock somewhere in between.
        let middle = asked + (answered - asked) / 2;
        self.offset.store(now - middle, Ordering::Relaxed);
        self.read_at.store(answered, Ordering::Release);
        Ok(now - middle + answered)
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
