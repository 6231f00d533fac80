//! The store as a whole: opened, closed, and asked for its two sides in between.

use super::super::{StoreError, StoreOptions};
use super::blocking::READS;
use super::core::{self, Clock, Core};
use super::disk::Disk;
use super::hours::Hours;
use super::writer::{self, Committer, Door, Job};
use super::{EmbeddedStore, live, nodes};
use crate::event::Millis;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, mpsc};

impl EmbeddedStore {
    /// Opens the folder, making it when it is not there, and starts the committer. Blocks: for start-up.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the folder is in use or cannot be read, [`StoreError::Corrupt`] when
    /// it holds a newer format or is damaged. The text names the folder.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
        };
        Self::open_with_clock(path, options, Arc::new(clock))
    }

    /// Like [`open`](Self::open), with another clock (Unix milliseconds). It may step back: positions do not.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_clock(path: &Path, options: StoreOptions, clock: Clock) -> Result<Self, StoreError> {
        Self::open_with_reserve(path, options, clock, core::RESERVE)
    }

    /// The same, with another number of free bytes below which appends are refused.
    pub(super) fn open_with_reserve(
        path: &Path,
        options: StoreOptions,
        clock: Clock,
        reserve: u64,
    ) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(path)?);
        let hours = Arc::new(Hours::default());
        let core = Core::load(&disk, Arc::clone(&hours), options.clone(), Arc::clone(&clock), reserve)?;
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let (feed, live, live_wanted) = live::feed();
        let committer = Committer::new(Arc::clone(&disk), core, feed, queue);
        let thread = std::thread::Builder::new()
            .name("store-committer".into())
            .spawn(move || committer.run())
            .map_err(|error| StoreError::Unavailable(format!("the committer cannot be started: {error}")))?;
        Ok(Self {
            door: Some(Door { jobs, timeout: options.timeout }),
            disk: RwLock::new(Some(disk)),
            hours,
            clock,
            options,
            reads: Arc::new(Semaphore::new(READS)),
            live: Mutex::new(Some(live)),
            live_wanted,
            nodes: nodes::Nodes::default(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Removes everything that has expired by now. The committer does so by itself twice a minute.
    ///
    /// # Errors
    /// As every operation: when the disk cannot be written, or not in time.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.door()?.submit(Job::Sweep).await
    }

    /// Where changes go in; an error once it is closed.
    pub(super) fn door(&self) -> Result<&Door, StoreError> {
        self.door.as_ref().ok_or_else(closed)
    }

    /// What reads run on; an error once it is closed.
    pub(super) fn disk(&self) -> Result<Arc<Disk>, StoreError> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }

    /// Finishes what is queued, and gives the folder free. Once it is done it does nothing.
    pub(super) async fn shut(&self) -> Result<(), StoreError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let disk = self.disk.write().unwrap_or_else(PoisonError::into_inner).take();
        // A committer that has died takes no request; joining says so.
        let _ = tokio::time::timeout(self.options.timeout, self.door()?.jobs.send(Job::Stop)).await;
        let joined = tokio::task::spawn_blocking(move || {
            let joined = join(thread);
            drop(disk);
            joined
        });
        let late = || StoreError::Unavailable("the embedded store could not be closed in time".into());
        match tokio::time::timeout(self.options.timeout, joined).await {
            Ok(joined) => joined.unwrap_or_else(|_| Err(late())),
            Err(_) => Err(late()),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The queue closes with its only sender; the committer then finishes and ends.
        self.door = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = thread.map(join) {
            log::error!("the embedded store was not closed cleanly: error=\"{error}\"");
        }
    }
}

fn join(thread: JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    thread.join().unwrap_or_else(|_| Err(StoreError::Unavailable("the committer has died".into())))
}

/// What is said once it is closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the embedded store is closed".into())
}
