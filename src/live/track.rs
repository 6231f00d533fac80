//! The order of one type: what has been handed on, what is missing, what waits until it has been read.
//! Pure; the BroadcastActor reads and hands on.

use crate::event::Position;
use crate::store::LiveRun;
use std::collections::VecDeque;

/// Most events of one type that wait in memory while a gap before them is read. Past it they are dropped,
/// and read from the store with the rest of the gap. Few enough to be handed on at once afterwards without
/// being a flood.
const MOST_HELD: usize = 2000;

/// A type's place in the live order.
#[derive(Debug)]
pub struct Track {
    /// Everything up to here has been handed on, or need not be.
    last: Position,
    /// The gap from `last` up to and including this is to be read first.
    gap: Option<Position>,
    /// The type's name is not known on this node yet.
    pub unnamed: bool,
    /// Runs that came meanwhile, in order.
    waiting: VecDeque<LiveRun>,
    /// Events in `waiting`.
    held: usize,
}

/// What to do about a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Hand it on.
    Next(LiveRun),
    /// All of it has been handed on before.
    Known,
    /// It waits.
    Held,
    /// It waits, and the gap before it is to be read: start that.
    Gap,
    /// So much was waiting that all of it was dropped, this many events; they are part of the gap now.
    Dropped(usize),
}

impl Track {
    /// A type of which nothing up to `last` needs handing on.
    pub fn new(last: Position) -> Self {
        Self { last, gap: None, unnamed: false, waiting: VecDeque::new(), held: 0 }
    }

    /// Everything up to here has been handed on, or need not be.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Nobody has wanted the type until now, and it stands at `last`: nothing up to there needs handing on.
    pub fn begin(&mut self, last: Position) {
        self.give_up();
        self.last = self.last.max(last);
    }

    /// A run was committed. `wanted`: whether anybody would get what is missing before it.
    pub fn arrive(&mut self, run: LiveRun, wanted: bool) -> Arrival {
        if self.unnamed || self.gap.is_some() {
            return self.hold(run);
        }
        let Some(run) = self.after_last(run) else { return Arrival::Known };
        if run.previous > self.last && wanted {
            self.gap = Some(run.previous);
            return match self.hold(run) {
                Arrival::Held => Arrival::Gap,
                dropped => dropped,
            };
        }
        self.advance(&run);
        Arrival::Next(run)
    }

    /// The store says that the type's last position is `last`. Answers whether there is a gap to be read
    /// that was not known.
    pub fn interrupted(&mut self, last: Position, wanted: bool) -> bool {
        if !wanted && self.gap.is_none() && !self.unnamed {
            self.last = self.last.max(last);
        }
        if last <= self.last || self.gap.is_some_and(|gap| gap >= last) {
            return false;
        }
        let known = self.gap.is_some();
        self.gap = Some(last);
        !known && !self.unnamed
    }

    /// The gap: after the first, up to and including the second.
    pub fn missing(&self) -> Option<(Position, Position)> {
        let upto = self.gap.filter(|_| !self.unnamed)?;
        Some((self.last, upto))
    }

    /// Everything up to `reached` has been handed on.
    pub fn read(&mut self, reached: Position) {
        self.last = self.last.max(reached);
        if self.gap.is_some_and(|gap| gap <= self.last) {
            self.gap = None;
        }
    }

    /// What waited and can be handed on now, in order. Stops before the next gap, which is then
    /// [`missing`](Self::missing).
    pub fn release(&mut self) -> Vec<LiveRun> {
        let mut ready = Vec::new();
        while self.gap.is_none() && !self.unnamed {
            let Some(run) = self.waiting.pop_front() else { break };
            self.held -= run.events.len();
            let Some(run) = self.after_last(run) else { continue };
            if run.previous > self.last {
                self.gap = Some(run.previous);
                self.held += run.events.len();
                self.waiting.push_front(run);
            } else {
                self.advance(&run);
                ready.push(run);
            }
        }
        ready
    }

    /// Forgets what waits, as if it had been handed on; how many events that were.
    pub fn give_up(&mut self) -> usize {
        let end = self.waiting.back().and_then(|run| run.events.last()).map(|(position, _)| *position);
        self.last = self.last.max(end.unwrap_or_default()).max(self.gap.take().unwrap_or_default());
        self.unnamed = false;
        self.waiting.clear();
        std::mem::take(&mut self.held)
    }

    fn hold(&mut self, run: LiveRun) -> Arrival {
        self.held += run.events.len();
        let end = run.events.last().map(|(position, _)| *position);
        self.waiting.push_back(run);
        if self.held <= MOST_HELD {
            return Arrival::Held;
        }
        self.waiting.clear();
        self.gap = self.gap.max(end);
        Arrival::Dropped(std::mem::take(&mut self.held))
    }

    /// The run without what has been handed on before; `None` when that is all.
    fn after_last(&self, mut run: LiveRun) -> Option<LiveRun> {
        if run.events.first().is_some_and(|(position, _)| *position <= self.last) {
            run.events.retain(|(position, _)| *position > self.last);
        }
        (!run.events.is_empty()).then_some(run)
    }

    fn advance(&mut self, run: &LiveRun) {
        if let Some((position, _)) = run.events.last() {
            self.last = *position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TypeNo;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn p(v: u64) -> Position {
        Position::new(v)
    }

    fn run(previous: u64, positions: std::ops::RangeInclusive<u64>) -> LiveRun {
        let events = positions.map(|v| (p(v), Bytes::from_static(b"0"))).collect();
        LiveRun { type_no: TypeNo::new(1).unwrap(), previous: p(previous), events }
    }

    #[test]
    fn runs_in_order_are_handed_on_and_repetitions_are_not() {
        let mut track = Track::new(p(10));
        assert_eq!(track.arrive(run(9, 11..=12), true), Arrival::Next(run(9, 11..=12)));
        assert_eq!(track.arrive(run(9, 11..=12), true), Arrival::Known);
        assert_eq!(track.arrive(run(10, 12..=13), true), Arrival::Next(run(10, 13..=13)));
    }

    #[test]
    fn a_gap_is_read_before_what_follows() {
        let mut track = Track::new(p(10));
        assert_eq!(track.arrive(run(12, 13..=13), true), Arrival::Gap);
        assert_eq!(track.arrive(run(13, 14..=14), true), Arrival::Held);
        assert_eq!(track.missing(), Some((p(10), p(12))));
        assert_eq!(track.release(), []);
        track.read(p(11));
        assert_eq!(track.missing(), Some((p(11), p(12))));
        track.read(p(12));
        assert_eq!(track.missing(), None);
        assert_eq!(track.release(), [run(12, 13..=13), run(13, 14..=14)]);
        assert_eq!(track.arrive(run(14, 15..=15), true), Arrival::Next(run(14, 15..=15)));
    }

    #[test]
    fn a_type_that_nobody_wanted_begins_where_it_stands() {
        let mut track = Track::new(p(10));
        assert_eq!(track.arrive(run(12, 13..=14), true), Arrival::Gap);
        track.begin(p(30));
        assert_eq!((track.missing(), track.release()), (None, vec![]));
        assert_eq!(track.arrive(run(25, 26..=30), true), Arrival::Known);
        assert_eq!(track.arrive(run(30, 31..=31), true), Arrival::Next(run(30, 31..=31)));
        // What was handed on is never handed on again, whatever the store says.
        track.begin(p(20));
        assert_eq!(track.last(), p(31));
    }

    #[test]
    fn a_gap_that_nobody_wants_is_passed_over() {
        let mut track = Track::new(p(10));
        assert_eq!(track.arrive(run(12, 13..=13), false), Arrival::Next(run(12, 13..=13)));
        assert!(!track.interrupted(p(20), false));
        assert_eq!(track.arrive(run(20, 21..=21), true), Arrival::Next(run(20, 21..=21)));
    }

    #[test]
    fn an_interruption_reads_up_to_what_the_store_has() {
        let mut track = Track::new(p(10));
        assert!(!track.interrupted(p(10), true));
        assert!(track.interrupted(p(12), true));
        assert!(!track.interrupted(p(12), true));
        assert_eq!(track.arrive(run(11, 12..=13), true), Arrival::Held);
        track.read(p(12));
        assert_eq!(track.release(), [run(11, 13..=13)]);
    }

    #[test]
    fn what_is_too_much_to_hold_is_read_with_the_gap() {
        let mut track = Track::new(p(10));
        assert_eq!(track.arrive(run(12, 13..=13), true), Arrival::Gap);
        let most = MOST_HELD as u64;
        assert_eq!(track.arrive(run(13, 14..=13 + most), true), Arrival::Dropped(MOST_HELD + 1));
        assert_eq!(track.missing(), Some((p(10), p(13 + most))));
        assert_eq!(track.arrive(run(13 + most, 20_000..=20_000), true), Arrival::Held);
        track.read(p(13 + most));
        assert_eq!(track.release(), [run(13 + most, 20_000..=20_000)]);
    }

    #[test]
    fn a_type_without_a_name_waits_for_it() {
        let mut track = Track::new(p(0));
        track.unnamed = true;
        assert_eq!(track.arrive(run(0, 5..=6), true), Arrival::Held);
        assert_eq!(track.missing(), None);
        track.unnamed = false;
        assert_eq!(track.release(), [run(0, 5..=6)]);
    }

    proptest! {
        /// Whatever is lost, repeated or late: with reads where the track asks for them, every event after
        /// the start is handed on exactly once, in order.
        #[test]
        fn every_event_once_and_in_order(
            lengths in prop::collection::vec(1u64..4, 1..40),
            fates in prop::collection::vec(0u8..5, 40),
            reads in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut track = Track::new(p(100));
            let mut handed: Vec<u64> = Vec::new();
            let push = |handed: &mut Vec<u64>, runs: Vec<LiveRun>| {
                handed.extend(runs.iter().flat_map(|r| r.events.iter().map(|(v, _)| v.get())));
            };
            let fill = |track: &mut Track, handed: &mut Vec<u64>| {
                while let Some((after, upto)) = track.missing() {
                    // The store holds every position; a page is at most three events.
                    let reached = upto.get().min(after.get() + 3);
                    handed.extend(after.get() + 1..=reached);
                    track.read(p(reached));
                    let ready = track.release();
                    push(handed, ready);
                }
            };
            let mut last = 100;
            for (i, length) in lengths.iter().enumerate() {
                let this = run(last, last + 1..=last + length);
                last += length;
                let copies = match fates[i] { 0 => 0, 1 => 2, _ => 1 };
                for _ in 0..copies {
                    if let Arrival::Next(run) = track.arrive(this.clone(), true) {
                        push(&mut handed, vec![run]);
                    }
                }
                if reads[i] {
                    fill(&mut track, &mut handed);
                }
            }
            track.interrupted(p(last), true);
            fill(&mut track, &mut handed);
            prop_assert_eq!(handed, (101..=last).collect::<Vec<_>>());
        }
    }
}
