//! Commits, told to this process' live readers.

use super::super::{Live, LiveRun, Partitions};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Most commits that wait for the reader.
const MAX_COMMITS: usize = 1024;
/// Most payload bytes that wait for the reader.
const MAX_BYTES: usize = 32 << 20;

/// The committer's end. A reader that does not keep up misses commits and is told so when there is room.
pub(super) struct LiveFeed {
    sender: mpsc::Sender<Live>,
    /// Nothing is sent before somebody reads.
    wanted: Arc<AtomicBool>,
    /// Payload bytes of what was sent last, oldest first, at least for what still waits.
    sizes: VecDeque<usize>,
    missed: bool,
}

/// A feed, its reader's end, and the flag that says that the end was taken.
pub(super) fn feed() -> (LiveFeed, mpsc::Receiver<Live>, Arc<AtomicBool>) {
    let (sender, receiver) = mpsc::channel(MAX_COMMITS);
    let wanted = Arc::new(AtomicBool::new(false));
    let feed = LiveFeed { sender, wanted: Arc::clone(&wanted), sizes: VecDeque::new(), missed: false };
    (feed, receiver, wanted)
}

impl LiveFeed {
    /// Tells of a commit, or remembers that it could not.
    pub(super) fn send(&mut self, runs: Vec<LiveRun>) {
        if runs.is_empty() || !self.wanted.load(Ordering::Acquire) {
            return;
        }
        self.retry();
        let size = runs.iter().flat_map(|run| &run.events).map(|(_, payload)| payload.len()).sum();
        if !self.missed && self.room() && self.sender.try_send(Live::Commit(runs)).is_ok() {
            self.sizes.push_back(size);
        } else {
            self.missed = true;
        }
    }

    fn room(&mut self) -> bool {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        while self.sizes.len() > waiting {
            self.sizes.pop_front();
        }
        self.sizes.iter().sum::<usize>() < MAX_BYTES
    }

    /// Whether the reader is still to be told that it has missed something.
    pub(super) fn owes(&self) -> bool {
        self.missed
    }

    /// Tells the reader that it has missed something, if it has and there is room.
    pub(super) fn retry(&mut self) {
        if self.missed && self.room() {
            match self.sender.try_send(Live::Interrupted(Partitions::ALL)) {
                Ok(()) => {
                    self.sizes.push_back(0);
                    self.missed = false;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.missed = false,
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, TypeNo};
    use bytes::Bytes;

    fn run(size: usize) -> Vec<LiveRun> {
        let event = (Position::new(2), Bytes::from(vec![b'1'; size]));
        vec![LiveRun { type_no: TypeNo::new(1).unwrap(), previous: Position::new(1), events: vec![event] }]
    }

    #[test]
    fn nothing_waits_for_a_reader_that_never_came() {
        let (mut feed, mut receiver, wanted) = feed();
        feed.send(run(1));
        wanted.store(true, Ordering::Release);
        feed.send(run(2));
        assert!(matches!(receiver.try_recv(), Ok(Live::Commit(runs)) if runs == run(2)));
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn a_slow_reader_bounds_what_waits_and_is_told() {
        let (mut feed, mut receiver, wanted) = feed();
        wanted.store(true, Ordering::Release);
        for _ in 0..100 {
            feed.send(run(1 << 20));
        }
        let mut commits = 0;
        while let Ok(Live::Commit(_)) = receiver.try_recv() {
            commits += 1;
        }
        assert_eq!(commits, 32);
        feed.send(run(1));
        let told: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert!(matches!(told.first(), Some(Live::Interrupted(Partitions::ALL))));
        assert!(matches!(told.last(), Some(Live::Commit(runs)) if *runs == run(1)));
        assert!(!feed.owes());
    }
}
