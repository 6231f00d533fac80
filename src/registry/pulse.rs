//! Whether this node has stood still: what it knows of the registry is then old news, which it cannot tell by asking
//! others in time, for it did not run at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A beat that comes later than this after the one before: changes have come into force everywhere else meanwhile.
const LATE: Duration = Duration::from_secs(1);

/// The RegistryActor's beat, as requests see it.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// The last beat, in milliseconds after `start`.
    beat_at: AtomicU64,
    /// It stood still, and the store has not been asked since.
    behind: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), beat_at: AtomicU64::new(0), behind: AtomicBool::new(false) }
    }
}

impl Pulse {
    /// A beat; how late it is, when the node has stood still.
    pub fn beat(&self, now: Instant) -> Option<Duration> {
        let silent = self.silent(now);
        let late = silent > LATE;
        if late {
            // Before the beat: whoever sees that must see this.
            self.behind.store(true, Ordering::SeqCst);
        }
        self.beat_at.store(self.millis(now), Ordering::SeqCst);
        late.then_some(silent)
    }

    /// The store has been asked after the last late beat.
    pub fn caught_up(&self) {
        self.behind.store(false, Ordering::SeqCst);
    }

    /// Whether nothing can have changed that this node could not have heard of.
    pub fn is_current(&self, now: Instant) -> bool {
        // In this order: see `beat`.
        self.silent(now) <= LATE && !self.behind.load(Ordering::SeqCst)
    }

    fn silent(&self, now: Instant) -> Duration {
        Duration::from_millis(self.millis(now).saturating_sub(self.beat_at.load(Ordering::SeqCst)))
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_stood_still_is_behind_until_it_has_asked() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(pulse.is_current(at(900)));
        assert_eq!(pulse.beat(at(900)), None);
        assert!(pulse.is_current(at(1800)));
        assert!(!pulse.is_current(at(2000)), "no beat for more than a second");
        assert!(pulse.beat(at(5000)).is_some_and(|silent| silent > Duration::from_secs(4)));
        assert!(!pulse.is_current(at(5000)), "the beat alone brings no news");
        assert_eq!(pulse.beat(at(5400)), None);
        assert!(!pulse.is_current(at(5400)));
        pulse.caught_up();
        assert!(pulse.is_current(at(5400)));
    }
}
