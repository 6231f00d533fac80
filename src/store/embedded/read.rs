//! Feeds: events of many types, newest first, from a snapshot.
//!
//! The index of hours says where anything is, so the cost is that of the events looked at, whatever else is
//! stored. Within an hour the types are merged by id.

use super::super::{Marked, Page, ReadQuery, StoreError, StoredEvent};
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::marks::marked_at;
use super::rows::{damaged, read_event, read_number};
use crate::event::{EventId, Millis, Position, Ttl, TypeNo};
use fjall::{Readable, Slice, Snapshot};
use std::collections::BinaryHeap;

/// Most payload bytes of a page (but always one event): the rest comes with the next.
const MAX_BYTES: usize = 16 << 20;

/// Answers a query at the store's time `now`. Blocks.
pub(super) fn read(disk: &Disk, hours: &Hours, now: Millis, query: &ReadQuery) -> Result<Page, StoreError> {
    // The index first: an hour that it shows may be newer than the snapshot, and is then empty there.
    let spans: Vec<Span> =
        query.types.iter().filter_map(|ty| Span::new(ty.type_no, &ty.ttl, hours, now, query)).collect();
    let mut reader = Reader { disk, hours, snapshot: disk.snapshot(), query, page: Page::default(), bytes: 0 };
    let whole = spans.iter().map(|span| (span.ty.get(), span.first_hour(), span.last_hour()));
    let mut heads: BinaryHeap<(u32, usize)> =
        hours.newest(whole).into_iter().enumerate().filter_map(|(at, hour)| Some((hour?, at))).collect();
    while let Some((hour, _)) = heads.peek().copied() {
        let mut here = Vec::new();
        while let Some((_, at)) = heads.peek().copied().filter(|(next, _)| *next == hour) {
            heads.pop();
            here.push(at);
        }
        let of_hour = here.iter().filter_map(|at| spans.get(*at));
        if !reader.read_hour(hour, of_hour)? {
            break;
        }
        let older = here.iter().filter_map(|at| spans.get(*at)).map(|span| {
            let last = hour.checked_sub(1);
            (span.ty.get(), last.map_or(u32::MAX, |_| span.first_hour()), last.unwrap_or(0))
        });
        let found = hours.newest(older);
        heads.extend(here.into_iter().zip(found).filter_map(|(at, hour)| Some((hour?, at))));
    }
    Ok(reader.page)
}

/// The positions of a type that a query may show: `first..end`, never empty.
struct Span {
    ty: TypeNo,
    first: Position,
    end: Position,
}

impl Span {
    fn new(ty: TypeNo, ttl: &Ttl, hours: &Hours, now: Millis, query: &ReadQuery) -> Option<Self> {
        let first = first_shown(ty, ttl, hours, now, query.from);
        let end = Position::first_of(query.to).min(below(ty, query.before));
        (first < end).then_some(Self { ty, first, end })
    }

    fn first_hour(&self) -> u32 {
        keys::hour_no(self.first)
    }

    fn last_hour(&self) -> u32 {
        keys::hour_no(Position::new(self.end.get() - 1))
    }
}

/// The first position of a type, from the millisecond `from` on, that has not expired.
pub(super) fn first_shown(ty: TypeNo, ttl: &Ttl, hours: &Hours, now: Millis, from: Millis) -> Position {
    // An event shows while now < created + ttl.
    let alive = ttl.millis().map_or(Millis::MIN, |ttl| now.saturating_sub(ttl).saturating_add(1));
    Position::first_of(from.max(alive)).max(hours.floor(ty.get()))
}

/// The first position of a type whose id is not below `before`.
fn below(ty: TypeNo, before: Option<EventId>) -> Position {
    let Some(before) = before else { return Position::MAX };
    match ty.cmp(&before.type_no()) {
        std::cmp::Ordering::Less => Position::first_of(before.ms() + 1),
        std::cmp::Ordering::Equal => before.position(),
        std::cmp::Ordering::Greater => Position::first_of(before.ms()),
    }
}

struct Reader<'a> {
    disk: &'a Disk,
    hours: &'a Hours,
    snapshot: Snapshot,
    query: &'a ReadQuery,
    page: Page,
    bytes: usize,
}

impl Reader<'_> {
    /// Adds an hour's events to the page; false when the page is full and something is left.
    fn read_hour<'s>(&mut self, hour: u32, spans: impl Iterator<Item = &'s Span>) -> Result<bool, StoreError> {
        let mut runs = Vec::new();
        let mut heads = BinaryHeap::new();
        for span in spans {
            let Some(mut run) = self.run(hour, span)? else { continue };
            if let Some(id) = run.advance()? {
                heads.push((id, runs.len()));
            }
            runs.push(run);
        }
        while let Some((id, at)) = heads.pop() {
            let Some(run) = runs.get_mut(at) else { continue };
            let row = run.row.take();
            let mark = run.mark_of(id.position())?;
            let wanted = match self.query.marked {
                Marked::Ignore | Marked::All(_) => true,
                Marked::Pending(_) => mark.is_none(),
                Marked::Processed(_) => mark.is_some(),
            };
            if wanted {
                if self.page.events.len() >= self.query.limit || self.bytes >= MAX_BYTES {
                    self.page.more = true;
                    return Ok(false);
                }
                let (_, payload) = read_event(&row.ok_or_else(|| damaged("an event"))?)?;
                self.bytes += payload.len();
                self.page.events.push(StoredEvent { id, payload, processed_at: mark });
            }
            if let Some(id) = run.advance()? {
                heads.push((id, at));
            }
        }
        Ok(true)
    }

    /// The part of a span in an hour; `None` when the client's marks alone say that nothing of it is wanted.
    fn run(&self, hour: u32, span: &Span) -> Result<Option<Run>, StoreError> {
        let ty = span.ty.get();
        let marks = match self.query.marked.client() {
            None => None,
            Some(client) => {
                let row = self.snapshot.get(self.disk.table(Table::State), keys::mark_count(hour, ty, client));
                let marked = row.map_err(unavailable)?.map_or(Ok(0), |row| read_number(&row))?;
                let skip = match self.query.marked {
                    Marked::Pending(_) => marked > 0 && marked >= self.hours.count(ty, hour),
                    Marked::Processed(_) => marked == 0,
                    Marked::All(_) | Marked::Ignore => false,
                };
                if skip {
                    return Ok(None);
                }
                (marked > 0).then_some(client)
            }
        };
        let (first, end) = (span.first.get(), span.end.get());
        let range = keys::event_at(hour, ty, first)..keys::event_at(hour, ty, end);
        let events = self.snapshot.range(self.disk.table(Table::Events), range).rev();
        let marks = marks.map(|client| {
            let range = keys::mark(hour, ty, client, first)..keys::mark(hour, ty, client, end);
            self.snapshot.range(self.disk.table(Table::Marks), range).rev()
        });
        Ok(Some(Run { ty: span.ty, events, row: None, marks, mark: None }))
    }
}

/// One type's events of an hour, newest first, and one client's marks on them.
struct Run {
    ty: TypeNo,
    events: std::iter::Rev<fjall::Iter>,
    /// Of the event last advanced to.
    row: Option<Slice>,
    marks: Option<std::iter::Rev<fjall::Iter>>,
    /// The mark last read.
    mark: Option<(Position, Millis)>,
}

impl Run {
    fn advance(&mut self) -> Result<Option<EventId>, StoreError> {
        let Some(row) = self.events.next() else { return Ok(None) };
        let (key, row) = row.into_inner().map_err(unavailable)?;
        self.row = Some(row);
        let position = keys::position_of(&key).ok_or_else(|| damaged("an event"))?;
        Ok(Some(EventId::new(self.ty, position)))
    }

    /// When the event was marked. Asked for falling positions.
    fn mark_of(&mut self, position: Position) -> Result<Option<Millis>, StoreError> {
        while let Some(marks) = &mut self.marks
            && self.mark.is_none_or(|(at, _)| at > position)
        {
            let Some(row) = marks.next() else {
                self.marks = None;
                break;
            };
            let (key, row) = row.into_inner().map_err(unavailable)?;
            let at = keys::position_of(&key).ok_or_else(|| damaged("a mark"))?;
            self.mark = Some((at, marked_at(at, &row)?));
        }
        Ok(self.mark.filter(|(at, _)| *at == position).map(|(_, ms)| ms))
    }
}
