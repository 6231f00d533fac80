//! What all streams of this node hold together: counted by each where it happens, read without asking any.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sums over all streams of a pool. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Load(Arc<Sums>);

#[derive(Debug, Default)]
struct Sums {
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
}

impl Load {
    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Events claimed and waiting in memory.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// A stream's part of it, which is nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { load: self.clone(), in_flight: 0, waiting: 0 }
    }
}

/// One stream's part; taken back when it is dropped, however the stream ends.
#[derive(Debug)]
pub(super) struct Share {
    load: Load,
    in_flight: usize,
    waiting: usize,
}

impl Share {
    /// The stream holds so much now.
    pub fn set(&mut self, in_flight: usize, waiting: usize) {
        adjust(&self.load.0.in_flight, &mut self.in_flight, in_flight);
        adjust(&self.load.0.waiting, &mut self.waiting, waiting);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

fn adjust(sum: &AtomicUsize, part: &mut usize, now: usize) {
    // Wrapping both ways: the sum is that of all parts at any time.
    sum.fetch_add(now.wrapping_sub(*part), Ordering::Relaxed);
    *part = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_streams_there_are() {
        let load = Load::default();
        let (mut one, mut other) = (load.share(), load.share());
        one.set(3, 7);
        other.set(2, 0);
        one.set(1, 9);
        assert_eq!((load.in_flight(), load.waiting()), (3, 9));
        drop(one);
        assert_eq!((load.in_flight(), load.waiting()), (2, 0));
    }
}
