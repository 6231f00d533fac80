//! When commits go out to many sessions: pure, without actors and clocks.
//!
//! Handing events to a session wakes it and costs a write to its socket, be it for one event or for fifty. So a
//! fan-out is followed by a pause in proportion to the sessions it woke, in which commits collect and then go out
//! together. The first commit after a quiet time goes out at once, and so does everything where sessions are few.

use crate::store::LiveRun;
use std::time::{Duration, Instant};

/// The pause for each session that was woken: somewhat longer than what waking it takes of a processor, its reader's part
/// of the machine included. With less, fan-outs catch up with each other when there are many commits; with more, events
/// wait for nothing.
const EACH: Duration = Duration::from_micros(10);
/// The longest pause: what pacing may add to the way of an event.
const LONGEST: Duration = Duration::from_millis(25);
/// No pause is shorter: timers are not finer.
const SHORTEST: Duration = Duration::from_millis(1);
/// Most events, and about most bytes of payload, that collect: those of the store's largest batch. What fills
/// this goes out at once.
const MOST_EVENTS: usize = 2000;
const MOST_BYTES: usize = 4 << 20;

/// Commits on their way to the sessions.
#[derive(Debug, Default)]
pub struct Pace {
    /// Nothing goes out before.
    until: Option<Instant>,
    /// What has been collected, in the order in which it came.
    runs: Vec<LiveRun>,
    events: usize,
    bytes: usize,
    /// Whoever asked first has been told when to come back.
    told: bool,
}

/// What to do about a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// These go out now, together and in this order.
    Now(Vec<LiveRun>),
    /// It waits. [`Pace::due`] is to be asked after so long.
    After(Duration),
    /// It waits for what was told before.
    Later,
}

impl Pace {
    /// Runs were committed together.
    pub fn arrive(&mut self, mut runs: Vec<LiveRun>, now: Instant) -> Turn {
        let left = self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if self.runs.is_empty() {
            self.runs = runs;
            (self.events, self.bytes) = size(&self.runs);
        } else {
            let (events, bytes) = size(&runs);
            self.events += events;
            self.bytes += bytes;
            self.runs.append(&mut runs);
        }
        if left.is_zero() || self.events >= MOST_EVENTS || self.bytes >= MOST_BYTES {
            return Turn::Now(self.take());
        }
        if std::mem::replace(&mut self.told, true) { Turn::Later } else { Turn::After(left) }
    }

    /// What waits, when its pause is over: somebody comes back as [`Turn::After`] has told.
    pub fn due(&mut self, now: Instant) -> Turn {
        let left = self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.told = !left.is_zero() && !self.runs.is_empty();
        if self.told { Turn::After(left) } else { Turn::Now(self.take()) }
    }

    /// What waits, for whoever cannot wait for it.
    pub fn take(&mut self) -> Vec<LiveRun> {
        (self.events, self.bytes) = (0, 0);
        std::mem::take(&mut self.runs)
    }

    /// Something went out, and woke so many sessions.
    pub fn went_out(&mut self, sessions: usize, now: Instant) {
        let pause = EACH.saturating_mul(u32::try_from(sessions).unwrap_or(u32::MAX)).min(LONGEST);
        if pause >= SHORTEST {
            self.until = Some(now + pause);
        }
    }
}

fn size(runs: &[LiveRun]) -> (usize, usize) {
    let events = runs.iter().map(|run| run.events.len()).sum();
    let bytes = runs.iter().flat_map(|run| &run.events).map(|(_, payload)| payload.len()).sum();
    (events, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, TypeNo};
    use bytes::Bytes;

    fn run(first: u64, events: u64, length: usize) -> LiveRun {
        let events = (first..first + events).map(|v| (Position::new(v), Bytes::from(vec![b'1'; length]))).collect();
        LiveRun { type_no: TypeNo::new(1).unwrap(), previous: Position::new(first - 1), events }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A commit of one event.
    fn one(n: u64) -> Vec<LiveRun> {
        vec![run(n, 1, 10)]
    }

    #[test]
    fn the_pause_is_in_proportion_to_the_sessions_and_bounded() {
        let start = Instant::now();
        for (sessions, pause) in [
            (0, Duration::ZERO),
            (1, Duration::ZERO),
            (99, Duration::ZERO),
            (100, ms(1)),
            (1000, ms(10)),
            (2499, Duration::from_micros(24_990)),
            (2500, ms(25)),
            (20_000, ms(25)),
            (usize::MAX, ms(25)),
        ] {
            let mut pace = Pace::default();
            pace.went_out(sessions, start);
            let wanted = if pause.is_zero() { Turn::Now(one(1)) } else { Turn::After(pause) };
            assert_eq!(pace.arrive(one(1), start), wanted, "{sessions}");
        }
    }

    #[test]
    fn what_comes_in_a_pause_goes_out_together_and_in_order() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.arrive(one(1), start), Turn::Now(one(1)));
        pace.went_out(1500, start);
        assert_eq!(pace.arrive(one(2), start + ms(5)), Turn::After(ms(10)));
        assert_eq!(pace.arrive(one(3), start + ms(9)), Turn::Later);
        // A timer may be early.
        assert_eq!(pace.due(start + ms(14)), Turn::After(ms(1)));
        assert_eq!(pace.arrive(one(4), start + ms(14)), Turn::Later);
        assert_eq!(pace.due(start + ms(15)), Turn::Now([one(2), one(3), one(4)].concat()));
        pace.went_out(1500, start + ms(15));
        // Quiet since: at once.
        assert_eq!(pace.arrive(one(5), start + ms(40)), Turn::Now(one(5)));
    }

    #[test]
    fn what_comes_after_a_pause_takes_with_it_what_waits() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.went_out(1500, start);
        assert_eq!(pace.arrive(one(1), start), Turn::After(ms(15)));
        // The timer is late.
        assert_eq!(pace.arrive(one(2), start + ms(16)), Turn::Now([one(1), one(2)].concat()));
        pace.went_out(1500, start + ms(16));
        assert_eq!(pace.arrive(one(3), start + ms(17)), Turn::Later, "that timer is still to come");
        assert_eq!(pace.due(start + ms(18)), Turn::After(ms(13)));
        assert_eq!(pace.due(start + ms(31)), Turn::Now(one(3)));
        assert_eq!(pace.due(start + ms(32)), Turn::Now(Vec::new()));
    }

    #[test]
    fn what_waits_is_bounded_and_goes_out_when_it_is_full() {
        let start = Instant::now();
        for (length, commits) in [(10, 20), (100_000, 1)] {
            let mut pace = Pace::default();
            pace.went_out(1500, start);
            for n in 1..commits {
                let turn = pace.arrive(vec![run(n * 100, 100, length)], start);
                assert!(matches!(turn, Turn::After(_) | Turn::Later), "{turn:?}");
            }
            let Turn::Now(runs) = pace.arrive(vec![run(commits * 100, 100, length)], start) else { panic!("{length}") };
            assert_eq!(runs.iter().map(|run| run.events.len() as u64).sum::<u64>(), commits * 100);
            assert_eq!((pace.events, pace.bytes, pace.runs.len()), (0, 0, 0));
        }
    }

    #[test]
    fn what_cannot_wait_is_taken() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.went_out(1500, start);
        assert_eq!(pace.arrive(one(1), start), Turn::After(ms(15)));
        assert_eq!(pace.take(), one(1));
        assert_eq!(pace.arrive(one(2), start + ms(1)), Turn::Later);
        assert_eq!(pace.due(start + ms(15)), Turn::Now(one(2)));
    }
}
