//! What the committer keeps in memory: everything that decides, so that operations of one group see each
//! other's effects and hardly anything is read from disk.

use super::super::{StoreError, StoreOptions, StreamKey};
use super::attempts::Log;
use super::disk::{Disk, Table, unavailable};
use super::hours::Hours;
use super::keys;
use super::registry::Registry;
use super::rows::{RetryRow, StreamRow, damaged, number, read_number};
use super::stream::{Place, Stream, Tracked};
use super::sweep::Sweeper;
use super::tx::Tx;
use crate::event::{Millis, Position, StreamName, TypeNo};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The store's clock: Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// Appends are refused when less than this is free on the file system: fjall needs room to write out its
/// buffers and to compact, and a failed write would stop settling as well.
pub(super) const RESERVE: u64 = 256 << 20;
/// How long an answer of the file system about free space holds.
const SPACE_FOR: Duration = Duration::from_millis(500);

/// The committer's state. Ahead of the disk only while a group is being committed; if that fails, the store
/// answers nothing any more (see [`writer`](super::writer)).
pub(super) struct Core {
    pub options: StoreOptions,
    clock: Clock,
    types: HashMap<u16, TypeState>,
    /// Stream number → stream, for rows that name streams by number.
    by_number: HashMap<u32, StreamKey>,
    pub registry: Registry,
    /// Shared with readers.
    pub hours: Arc<Hours>,
    pub sweeper: Sweeper,
    next_stream: u32,
    changed: Changed,
    reserve: u64,
    space: Option<(Instant, bool)>,
}

/// What a type has given out.
#[derive(Default)]
struct TypeState {
    last: Position,
    streams: HashMap<StreamName, Stream>,
}

/// Rows to be written with the group: each once, however many operations changed it.
#[derive(Default)]
struct Changed {
    last: HashSet<u16>,
    streams: HashSet<(u16, StreamName)>,
    hours: HashSet<(u16, u32)>,
    next_stream: bool,
}

impl Core {
    /// Reads the state from disk. Everything is due again: leases are not kept.
    pub(super) fn load(
        disk: &Disk,
        hours: Arc<Hours>,
        options: StoreOptions,
        clock: Clock,
        reserve: u64,
    ) -> Result<Self, StoreError> {
        let mut types: HashMap<u16, TypeState> = HashMap::new();
        scan(disk, &[keys::LAST], |key, value| {
            types.entry(type_in(key)?).or_default().last = Position::new(read_number(value)?);
            Ok(())
        })?;
        let mut by_number: HashMap<u32, StreamKey> = HashMap::new();
        scan(disk, &[keys::STREAMS], |key, value| {
            let ty = type_in(key)?;
            let type_no = TypeNo::new(ty).ok_or_else(|| damaged("a type's number"))?;
            let name = key.get(3..).and_then(|name| std::str::from_utf8(name).ok()?.parse::<StreamName>().ok());
            let name = name.ok_or_else(|| damaged("a stream's name"))?;
            let row = StreamRow::decode(value)?;
            by_number.insert(row.number, StreamKey { type_no, name: name.clone() });
            types.entry(ty).or_default().streams.insert(name, Stream::new(row));
            Ok(())
        })?;
        scan(disk, &[keys::HOURS], |key, value| {
            let hour = key.last_chunk::<4>().ok_or_else(|| damaged("an hour"))?;
            hours.add(type_in(key)?, u32::from_be_bytes(*hour), read_number(value)?);
            Ok(())
        })?;
        scan(disk, &[keys::RETRIES], |key, value| {
            let (stream, position) = keys::stream_and_position(key).ok_or_else(|| damaged("a retry"))?;
            let known =
                by_number.get(&stream).and_then(|key| types.get_mut(&key.type_no.get())?.streams.get_mut(&key.name));
            if let Some(stream) = known {
                let row = RetryRow::decode(value)?;
                let recovered = row.recoveries < stream.row.recoveries;
                let place = if recovered { Place::Ready } else { Place::Later(row.due) };
                let event = Tracked { place, attempts: row.failure.attempts, recorded: true };
                stream.put(position, event);
            }
            Ok(())
        })?;
        scan(disk, &[keys::ATTEMPT_LOGS], |key, value| {
            let number = keys::attempt_log_number(key).ok_or_else(|| damaged("a list of attempts"))?;
            let known =
                by_number.get(&number).and_then(|key| types.get_mut(&key.type_no.get())?.streams.get_mut(&key.name));
            if let Some(stream) = known {
                stream.attempts = Log::decode(value)?;
            }
            Ok(())
        })?;
        scan(disk, &[keys::FLOORS], |key, value| {
            hours.set_floor(type_in(key)?, Position::new(read_number(value)?));
            Ok(())
        })?;
        hours.set_last(types.iter().map(|(ty, state)| (*ty, state.last)));
        for stream in types.values_mut().flat_map(|ty| ty.streams.values_mut()) {
            if stream.row.backlog > stream.tracked_len() {
                stream.cursor = first_untracked(disk, stream, Position::new(stream.row.scan_from))?;
            }
        }
        let next_stream = disk.get(Table::State, keys::NEXT_STREAM)?.map_or(Ok(1), |row| read_number(&row))?;
        Ok(Self {
            options,
            clock,
            types,
            by_number,
            registry: Registry::load(disk)?,
            hours,
            sweeper: Sweeper::default(),
            next_stream: u32::try_from(next_stream).map_err(|_| damaged("a stream's number"))?,
            changed: Changed::default(),
            reserve,
            space: None,
        })
    }

    /// The store's clock.
    pub(super) fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Refuses what would fill the disk.
    pub(super) fn check_space(&mut self, disk: &Disk) -> Result<(), StoreError> {
        let fresh = self.space.filter(|(at, _)| at.elapsed() < SPACE_FOR);
        let room = match fresh {
            Some((_, room)) => room,
            None => {
                let room = disk.free_bytes().is_none_or(|free| free >= self.reserve);
                if !room && self.space.is_none_or(|(_, before)| before) {
                    log::error!(
                        "disk is full, appends are refused: folder={:?} reserve_bytes={}",
                        disk.path(),
                        self.reserve
                    );
                }
                self.space = Some((Instant::now(), room));
                room
            }
        };
        if room { Ok(()) } else { Err(StoreError::Full("the disk has too little free space".into())) }
    }

    /// The last position given to a type; the zero position when there is none.
    pub(super) fn last(&self, ty: TypeNo) -> Position {
        self.types.get(&ty.get()).map(|ty| ty.last).unwrap_or_default()
    }

    /// Records the last position given to a type.
    pub(super) fn set_last(&mut self, ty: TypeNo, last: Position) {
        self.types.entry(ty.get()).or_default().last = last;
        self.changed.last.insert(ty.get());
    }

    /// Hides for ever what a lifetime in force until now has let expire, or what is stored at all when it
    /// was ephemeral. Positions that are given from now on show.
    pub(super) fn bury_expired(&mut self, tx: &mut Tx<'_>, ty: TypeNo, ttl: Millis) {
        let expired = Position::first_of(self.now().saturating_sub(ttl).saturating_add(1));
        self.raise_floor(tx, ty, expired);
    }

    /// Hides for ever what stands below `floor`, but nothing that is still to come.
    pub(super) fn raise_floor(&mut self, tx: &mut Tx<'_>, ty: TypeNo, floor: Position) {
        let floor = floor.min(self.last(ty).plus(1));
        if floor > self.hours.floor(ty.get()) {
            tx.set(Table::State, keys::floor(ty.get()).to_vec(), number(floor.get()));
            self.hours.set_floor(ty.get(), floor);
        }
    }

    /// Counts events of a type's hour.
    pub(super) fn add_events(&mut self, ty: TypeNo, hour: u32, events: u64) {
        self.hours.add(ty.get(), hour, events);
        self.changed.hours.insert((ty.get(), hour));
    }

    /// A stream, to look at or to change what is in memory only.
    pub(super) fn stream(&mut self, key: &StreamKey) -> Option<&mut Stream> {
        self.types.get_mut(&key.type_no.get())?.streams.get_mut(&key.name)
    }

    /// A stream whose row is written with this group; made when the store has not seen it.
    pub(super) fn stream_for_change(&mut self, ty: TypeNo, name: &StreamName) -> &mut Stream {
        let state = self.types.entry(ty.get()).or_default();
        self.changed.streams.insert((ty.get(), name.clone()));
        state.streams.entry(name.clone()).or_insert_with(|| {
            let row = StreamRow { number: self.next_stream, ..StreamRow::default() };
            self.by_number.insert(row.number, StreamKey { type_no: ty, name: name.clone() });
            self.next_stream += 1;
            self.changed.next_stream = true;
            Stream::new(row)
        })
    }

    /// Takes a stream away. Its row is to be removed with this group.
    pub(super) fn remove_stream(&mut self, key: &StreamKey) {
        if let Some(ty) = self.types.get_mut(&key.type_no.get()) {
            if let Some(stream) = ty.streams.remove(&key.name) {
                self.by_number.remove(&stream.row.number);
            }
            self.changed.streams.insert((key.type_no.get(), key.name.clone()));
        }
    }

    /// Every stream the store knows.
    pub(super) fn streams(&self) -> impl Iterator<Item = (StreamKey, &Stream)> {
        self.types.iter().flat_map(|(ty, state)| {
            let ty = TypeNo::new(*ty);
            state
                .streams
                .iter()
                .filter_map(move |(name, stream)| ty.map(|type_no| (StreamKey { type_no, name: name.clone() }, stream)))
        })
    }

    /// The stream with this number.
    pub(super) fn stream_by_number(&self, number: u32) -> Option<StreamKey> {
        self.by_number.get(&number).cloned()
    }

    /// Adds the rows that this group has changed.
    pub(super) fn write_changes(&mut self, tx: &mut Tx<'_>) {
        let changed = std::mem::take(&mut self.changed);
        for ty in changed.last {
            let last = self.types.get(&ty).map(|ty| ty.last).unwrap_or_default();
            tx.insert(Table::State, &keys::last(ty), number(last.get()));
        }
        for (ty, hour) in changed.hours {
            tx.insert(Table::State, &keys::hours(ty, hour), number(self.hours.count(ty, hour)));
        }
        for (ty, name) in changed.streams {
            let Some(type_no) = TypeNo::new(ty) else { continue };
            let key = keys::stream(type_no, &name);
            let state = self.types.get(&ty);
            match state.and_then(|ty| Some((ty.last, ty.streams.get(&name)?))) {
                Some((last, stream)) => tx.insert(Table::State, &key, stream.row(last.plus(1)).encode()),
                None => tx.remove(Table::State, &key),
            }
        }
        if changed.next_stream {
            tx.insert(Table::State, keys::NEXT_STREAM, number(u64::from(self.next_stream)));
        }
    }
}

/// The first event of a stream's outbox, from `from` on, that is not tracked.
pub(super) fn first_untracked(disk: &Disk, stream: &Stream, from: Position) -> Result<Option<Position>, StoreError> {
    let number = stream.row.number;
    for row in disk.table(Table::Outbox).range(keys::outbox(number, from)..=keys::outbox(number, Position::MAX)) {
        let key = row.key().map_err(unavailable)?;
        let position = keys::position_of(&key).ok_or_else(|| damaged("an outbox entry"))?;
        if stream.get(position).is_none() {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// Visits all rows of `state` that begin with `prefix`.
pub(super) fn scan(
    disk: &Disk,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for row in disk.table(Table::State).prefix(prefix) {
        let (key, value) = row.into_inner().map_err(unavailable)?;
        visit(&key, &value)?;
    }
    Ok(())
}

fn type_in(key: &[u8]) -> Result<u16, StoreError> {
    let bytes = key.get(1..3).and_then(|bytes| bytes.first_chunk::<2>()).ok_or_else(|| damaged("a type's number"))?;
    Ok(u16::from_be_bytes(*bytes))
}
