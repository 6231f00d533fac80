//! Which hours of which types are loaded next, so that a page over many types and hours takes few round trips and
//! little more than it shows. Pure: `read.rs` does what is planned here.
//!
//! Each type is a [`Source`] that is loaded downwards from the newest. What all sources have been loaded down to is
//! the *frontier*: events above it are in their final order, whatever is loaded later.

use super::chunk::Chunk;
use crate::event::{EventId, Millis, Position, TypeNo};
use crate::store::StoredEvent;
use std::collections::VecDeque;
use std::ops::Range;

/// Milliseconds of an hour.
pub(super) const HOUR: Millis = 3_600_000;
/// More chunks asked of an hour than it was said to hold: what came in since.
const SLACK: usize = 16;
/// How much more than its share is asked of each type, since events do not spread evenly.
const MARGIN: f64 = 1.3;

/// An hour of a type that holds something wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hour {
    /// Hours since 1970.
    pub(super) hour: i64,
    /// Events of it that may be wanted, about.
    pub(super) wanted: f64,
    /// Its chunks not loaded yet, about.
    pub(super) chunks: f64,
    /// Marks of the client in it: without any, none need be looked up.
    pub(super) marks: u64,
}

/// How far an hour has been loaded.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// Millisecond of the lowest chunk loaded.
    ms: Millis,
    /// Chunks loaded of that millisecond.
    skip: usize,
    /// First position of that chunk.
    position: Position,
}

/// One type of a page.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) type_no: TypeNo,
    /// Milliseconds that show: of the query, and of the lifetime.
    pub(super) visible: Range<Millis>,
    /// Hours not loaded whole, newest first.
    pub(super) hours: VecDeque<Hour>,
    /// The newest hour nothing is known of yet; `None` when all are known.
    pub(super) unknown: Option<i64>,
    cursor: Option<Cursor>,
    /// Loaded and wanted, newest first.
    pub(super) events: Vec<StoredEvent>,
}

/// Chunks of one hour to be loaded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fetch {
    /// Which source.
    pub(super) source: usize,
    pub(super) hour: i64,
    /// Highest millisecond, and chunks of it to leave out.
    pub(super) top: Millis,
    pub(super) skip: usize,
    /// At most so many chunks.
    pub(super) chunks: usize,
    /// Whether the client has marks in the hour.
    pub(super) marked: bool,
}

impl Source {
    /// A type of which nothing is known yet, to be read from hour `newest` downwards.
    pub(super) fn new(type_no: TypeNo, visible: Range<Millis>, newest: i64) -> Self {
        let (hours, events) = Default::default();
        Self { type_no, visible, hours, unknown: Some(newest), cursor: None, events }
    }

    /// The id down to which everything is loaded; `None` when that is everything there is.
    pub(super) fn bound(&self) -> Option<EventId> {
        match (self.cursor, self.hours.front(), self.unknown) {
            (Some(cursor), Some(_), _) => Some(EventId::new(self.type_no, cursor.position)),
            (None, Some(front), _) => Some(EventId::first_of((front.hour + 1) * HOUR)),
            (_, None, Some(unknown)) => Some(EventId::first_of((unknown + 1) * HOUR)),
            (_, None, None) => None,
        }
    }

    /// Takes chunks that were loaded, newest first, and says which of their events show, newest first. `whole` is
    /// whether the hour holds no more of them. Chunks that come again are left out.
    pub(super) fn take(&mut self, fetch: &Fetch, chunks: Vec<Chunk>) -> Vec<StoredEvent> {
        let whole = chunks.len() < fetch.chunks;
        let mut events = Vec::new();
        let Some(front) = self.hours.front_mut().filter(|front| front.hour == fetch.hour) else { return events };
        for chunk in chunks {
            let Some((first, _)) = chunk.events.first().cloned() else { continue };
            let ms = first.ms();
            if let Some(cursor) = self.cursor.as_mut().filter(|cursor| first >= cursor.position) {
                // Something was appended in the same millisecond since, and has pushed it down.
                cursor.skip += usize::from(cursor.ms == ms);
                continue;
            }
            let skip = self.cursor.filter(|cursor| cursor.ms == ms).map_or(0, |cursor| cursor.skip) + 1;
            self.cursor = Some(Cursor { ms, skip, position: first });
            front.wanted -= front.wanted / front.chunks.max(1.0);
            front.chunks = (front.chunks - 1.0).max(1.0);
            if self.visible.contains(&ms) {
                let type_no = self.type_no;
                let shown = chunk.events.into_iter().rev();
                events.extend(shown.map(|(position, payload)| StoredEvent {
                    id: EventId::new(type_no, position),
                    payload,
                    processed_at: None,
                }));
            }
        }
        // Nothing below shows any more: the hour, and those before it, are as good as loaded.
        let below = self.cursor.is_some_and(|cursor| cursor.ms < self.visible.start);
        if whole || below {
            self.hours.pop_front();
            self.cursor = None;
        }
        if below {
            self.hours.clear();
            self.unknown = None;
        }
        events
    }
}

/// The id down to which every source is loaded; `None` when all are loaded to their end.
pub(super) fn frontier(sources: &[Source]) -> Option<EventId> {
    sources.iter().filter_map(Source::bound).max()
}

/// What to load next to show `missing` more events, loading at most about `budget` chunks. Hours of every source must
/// be known down to where it blocks: none may have `unknown` set and `hours` empty. Never empty unless all is loaded.
pub(super) fn plan(sources: &[Source], missing: usize, budget: usize) -> Vec<Fetch> {
    let mut hours: Vec<&Hour> = sources.iter().flat_map(|source| &source.hours).collect();
    hours.sort_by_key(|hour| std::cmp::Reverse(hour.hour));
    // The hours that hold enough, and how much of the last of them is needed.
    let missing = missing.max(1) as f64;
    let (mut above, mut last, mut of_last) = (0.0, i64::MIN, 0.0);
    for hour in hours {
        if hour.hour != last {
            if above + of_last >= missing {
                break;
            }
            above += of_last;
            (last, of_last) = (hour.hour, 0.0);
        }
        of_last += hour.wanted.max(0.0);
    }
    let share = ((missing - above) / of_last.max(1.0) * MARGIN).clamp(0.0, 1.0);

    // Those that block first, first.
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(sources.get(*at).and_then(Source::bound)));
    let mut left = budget.max(1);
    let mut fetches = Vec::new();
    for (at, source) in order.into_iter().filter_map(|at| Some((at, sources.get(at)?))) {
        let mut cursor = source.cursor;
        for hour in source.hours.iter().take_while(|hour| hour.hour >= last) {
            if left == 0 {
                return fetches;
            }
            let part = if hour.hour == last && share < 1.0 {
                (hour.chunks * share).ceil() as usize + 2
            } else {
                hour.chunks.ceil() as usize + SLACK
            };
            let chunks = part.min(left);
            left -= chunks;
            let (top, skip) = match cursor.take() {
                Some(cursor) => (cursor.ms, cursor.skip),
                None => (source.visible.end - 1, 0),
            };
            fetches.push(Fetch { source: at, hour: hour.hour, top, skip, chunks, marked: hour.marks > 0 });
        }
    }
    fetches
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// A type's stored chunks: positions and lengths, by hour.
    type Stored = Vec<(u64, u8)>;

    fn chunk(first: u64, count: u8) -> Chunk {
        let events = (0..u64::from(count)).map(|i| (Position::new(first + i), Bytes::new())).collect();
        Chunk { revision: 1, events }
    }

    fn hour(first: u64) -> i64 {
        Position::new(first).ms().div_euclid(HOUR)
    }

    /// Does what Redis would.
    fn load(stored: &Stored, source: &Source, fetch: &Fetch) -> Vec<Chunk> {
        let mut hits: Vec<_> = stored.iter().filter(|(first, _)| hour(*first) == fetch.hour).collect();
        hits.retain(|(first, _)| (source.visible.start..=fetch.top).contains(&Position::new(*first).ms()));
        hits.iter().rev().skip(fetch.skip).take(fetch.chunks).map(|(first, count)| chunk(*first, *count)).collect()
    }

    fn source(number: u16, stored: &Stored, visible: Range<Millis>) -> Source {
        let mut source = Source::new(TypeNo::new(number).unwrap(), visible, 0);
        source.unknown = None;
        for (first, count) in stored.iter().rev() {
            match source.hours.back_mut().filter(|back| back.hour == hour(*first)) {
                Some(back) => (back.wanted, back.chunks) = (back.wanted + f64::from(*count), back.chunks + 1.0),
                None => source.hours.push_back(Hour {
                    hour: hour(*first),
                    wanted: f64::from(*count),
                    chunks: 1.0,
                    marks: 0,
                }),
            }
        }
        source
    }

    /// Reads a page as `read.rs` does; also how many chunks were loaded, and in how many rounds.
    fn page(types: &[Stored], visible: Range<Millis>, limit: usize) -> (Vec<EventId>, usize, usize) {
        let mut sources: Vec<_> =
            types.iter().enumerate().map(|(i, stored)| source(i as u16, stored, visible.clone())).collect();
        let (mut loaded, mut rounds) = (0, 0);
        loop {
            let frontier = frontier(&sources);
            let mut ready: Vec<_> = sources.iter().flat_map(|s| &s.events).map(|e| e.id).collect();
            ready.retain(|id| frontier.is_none_or(|frontier| *id >= frontier));
            if ready.len() > limit || frontier.is_none() {
                ready.sort_by_key(|id| std::cmp::Reverse(*id));
                ready.truncate(limit);
                return (ready, loaded, rounds);
            }
            let fetches = plan(&sources, limit + 1 - ready.len(), 256.max(types.len() * 3));
            assert!(!fetches.is_empty());
            for fetch in fetches {
                let chunks = load(&types[fetch.source], &sources[fetch.source], &fetch);
                loaded += chunks.len();
                let shown = sources[fetch.source].take(&fetch, chunks);
                sources[fetch.source].events.extend(shown);
            }
            rounds += 1;
            assert!(rounds < 1000);
        }
    }

    proptest! {
        #[test]
        fn a_page_is_the_newest_events_in_order(
            steps in prop::collection::vec(prop::collection::vec((1u64..2_000_000_000, 1u8..=64), 0..60), 1..6),
            from in 0i64..100, limit in 1usize..500,
        ) {
            let types: Vec<Stored> = steps.into_iter().map(|steps| {
                let mut at = 1 << 30;
                steps.into_iter().map(|(step, count)| {
                    // Small steps often: many chunks of one millisecond.
                    at += if step % 3 == 0 { step } else { 64 };
                    if at % 512 + u64::from(count) > 512 { at += 512 - at % 512; }
                    let first = at;
                    at += u64::from(count);
                    (first, count)
                }).collect()
            }).collect();
            let visible = Position::new(1 << 30).ms() + from * HOUR / 4..Millis::MAX / 2;
            let mut expected: Vec<EventId> = types.iter().enumerate().flat_map(|(i, stored)| {
                stored.iter().flat_map(move |(first, count)| (0..u64::from(*count)).map(move |k| {
                    EventId::new(TypeNo::new(i as u16).unwrap(), Position::new(first + k))
                }))
            }).filter(|id| visible.contains(&id.ms())).collect();
            expected.sort_by_key(|id| std::cmp::Reverse(*id));
            expected.truncate(limit);
            prop_assert_eq!(page(&types, visible, limit).0, expected);
        }
    }

    #[test]
    fn a_page_of_many_even_types_loads_little_more_than_it_shows() {
        // 1000 types, an event a second each for an hour.
        let types: Vec<Stored> = (0..1000).map(|_| (0..3600).map(|s| ((1 << 40) + s * 512_000, 1)).collect()).collect();
        let (events, loaded, rounds) = page(&types, 0..Millis::MAX / 2, 1000);
        assert_eq!(events.len(), 1000);
        assert!(loaded < 8000, "{loaded}");
        assert!(rounds < 5, "{rounds}");
    }

    #[test]
    fn a_page_of_one_dense_type_is_two_rounds() {
        let types = [(0..100_000).map(|i| ((1 << 40) + i * 512, 1)).collect::<Stored>()];
        let (events, loaded, rounds) = page(&types, 0..Millis::MAX / 2, 200);
        assert_eq!(events.len(), 200);
        assert!(loaded <= 300 && rounds <= 2, "{loaded} {rounds}");
    }
}
