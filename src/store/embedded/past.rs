//! What a stream was given of the time before it: events older than the stream are at state `None`, but not
//! those that a replay, or the retry of a dead letter of its former life, has queued for it.

use super::super::StoreError;
use super::rows::{Row, put_varint};
use crate::event::Position;

/// Most ranges kept; beyond it the two that lie closest are joined, with the few events between them.
const MAX_RANGES: usize = 1000;

/// A stream's note of what was queued for it beyond what was appended for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Dead letters below are from before the stream was forgotten; zero when it never was.
    pub former: Position,
    /// First position and the one after the last, rising, apart from one another.
    ranges: Vec<(u64, u64)>,
}

impl Past {
    /// Of a stream that is forgotten now.
    pub(super) fn forgotten(former: Position) -> Self {
        Self { former, ranges: Vec::new() }
    }

    /// Notes `start..end`.
    pub(super) fn add(&mut self, start: Position, end: Position) {
        let (mut start, mut end) = (start.get(), end.get());
        if start >= end {
            return;
        }
        let from = self.ranges.partition_point(|(_, e)| *e < start);
        let to = self.ranges.partition_point(|(s, _)| *s <= end);
        for (s, e) in self.ranges.get(from..to).unwrap_or_default() {
            (start, end) = (start.min(*s), end.max(*e));
        }
        self.ranges.splice(from..to.max(from), [(start, end)]);
        if self.ranges.len() > MAX_RANGES {
            self.join_closest();
        }
    }

    fn join_closest(&mut self) {
        let gaps = self.ranges.iter().zip(self.ranges.iter().skip(1)).map(|((_, end), (start, _))| start - end);
        let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { return };
        let (_, end) = self.ranges.remove(at + 1);
        if let Some(range) = self.ranges.get_mut(at) {
            range.1 = end;
        }
    }

    /// Whether the event at `position` is in a range that was noted.
    pub(super) fn holds(&self, position: Position) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end <= position.get());
        self.ranges.get(at).is_some_and(|(start, _)| *start <= position.get())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 12 * self.ranges.len());
        put_varint(self.former.get(), &mut out);
        let mut last = 0;
        for (start, end) in &self.ranges {
            put_varint(start - last, &mut out);
            put_varint(end - start, &mut out);
            last = *end;
        }
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        let former = Position::new(row.varint()?);
        let (mut ranges, mut last) = (Vec::new(), 0u64);
        while !row.0.is_empty() {
            let start = last.saturating_add(row.varint()?);
            last = start.saturating_add(row.varint()?);
            ranges.push((start, last));
        }
        Ok(Self { former, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(v: u64) -> Position {
        Position::new(v)
    }

    proptest! {
        #[test]
        fn holds_what_was_added_and_nothing_else(added in proptest::collection::vec((0u64..200, 0u64..20), 0..30), former in 0u64..1 << 50) {
            let mut past = Past::forgotten(at(former));
            let mut all = BTreeSet::new();
            for (start, len) in added {
                past.add(at(start), at(start + len));
                all.extend(start..start + len);
                prop_assert!(past.ranges.iter().zip(past.ranges.iter().skip(1)).all(|(a, b)| a.1 < b.0));
            }
            for v in 0..230 {
                prop_assert_eq!(past.holds(at(v)), all.contains(&v));
            }
            prop_assert_eq!(Past::decode(&past.encode()).unwrap(), past);
        }

        #[test]
        fn no_damage_panics(row in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Past::decode(&row);
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let mut past = Past::default();
        past.add(at(10), at(20));
        past.add(at(30), at(40));
        past.add(at(20), at(30));
        assert_eq!(past.ranges, [(10, 40)]);
    }

    #[test]
    fn too_many_ranges_are_joined_where_they_are_closest() {
        let mut past = Past::default();
        for n in 0..MAX_RANGES as u64 {
            past.add(at(n * 100), at(n * 100 + 10));
        }
        past.add(at(555), at(556));
        assert_eq!(past.ranges.len(), MAX_RANGES);
        assert!(past.holds(at(600)) && past.holds(at(580)) && past.holds(at(555)));
        assert!(!past.holds(at(530)) && !past.holds(at(650)));
    }
}
