//! What a client has not marked yet: counted by hours, and looked for only in the hours that decide.

use super::keys::partition;
use super::slots::Route;
use super::value::{Answer, array, bytes, corrupt, int, uint};
use super::{RedisStore, SCRIPTS, lifetime};
use crate::event::{ClientId, EventId, Millis, Position, TypeNo};
use crate::store::{Pending, StoreError, TypeRef};
use redis::{Cmd, Value};

/// Types that one script call counts at most; it may take fewer.
const TYPES: usize = 500;
/// Hours that are looked at in one round trip.
const TOGETHER: usize = 64;
/// How often the oldest event is looked for anew, when it was marked in between.
const TRIES: usize = 3;

/// What the counts say of one type.
struct Counted {
    type_no: TypeNo,
    /// Events in hours that show whole.
    whole: u64,
    /// The oldest of those hours that has any.
    oldest: Option<i64>,
    /// The hour in which events begin to show, when something of it may be pending.
    edge: Option<i64>,
    /// From when on events show.
    first: Millis,
}

/// An hour that is looked through.
struct Search {
    /// Which type, by its place.
    at: usize,
    type_no: TypeNo,
    hour: i64,
    ms: Millis,
    skip: u64,
    /// Whether the first one found is enough.
    one: bool,
    pending: u64,
    found: Option<Position>,
    done: bool,
}

impl Search {
    fn new(at: usize, counted: &Counted, hour: i64, one: bool) -> Self {
        let (type_no, ms) = (counted.type_no, counted.first);
        Self { at, type_no, hour, ms, skip: 0, one, pending: 0, found: None, done: false }
    }

    fn id(&self) -> Option<EventId> {
        self.found.map(|position| EventId::new(self.type_no, position))
    }
}

impl RedisStore {
    pub(super) async fn count_pending(&self, types: &[TypeRef], client: &ClientId) -> Result<Pending, StoreError> {
        let mut answer = self.pending_once(types, client).await?;
        for _ in 1..TRIES {
            if answer.1 {
                break;
            }
            answer = self.pending_once(types, client).await?;
        }
        Ok(answer.0)
    }

    /// Counts, and says whether the oldest event is certain: it is not when it was marked while it was looked for.
    async fn pending_once(&self, types: &[TypeRef], client: &ClientId) -> Result<(Pending, bool), StoreError> {
        let (now, counted) = self.count_hours(types, client).await?;
        let mut counts: Vec<u64> = counted.iter().map(|counted| counted.whole).collect();
        // All of the hours in which events begin to show: their counts say too little.
        let edges = counted.iter().enumerate();
        let mut edges: Vec<Search> =
            edges.filter_map(|(at, counted)| Some(Search::new(at, counted, counted.edge?, false))).collect();
        self.look(&mut edges, client).await?;
        for edge in &edges {
            if let Some(count) = counts.get_mut(edge.at) {
                *count += edge.pending;
            }
        }
        let mut oldest = edges.iter().filter_map(Search::id).min();
        // Of the others the oldest hour is known, and only the types that have something in it matter.
        let hour = counted.iter().filter_map(|counted| counted.oldest).min();
        let hour = hour.filter(|hour| oldest.is_none_or(|id| crate::event::hour_of(id.ms()) >= *hour));
        let mut certain = true;
        if let Some(hour) = hour {
            let here = counted.iter().enumerate().filter(|(_, counted)| counted.oldest == Some(hour));
            let mut here: Vec<Search> = here.map(|(at, counted)| Search::new(at, counted, hour, true)).collect();
            self.look(&mut here, client).await?;
            let found = here.iter().filter_map(Search::id).min();
            certain = found.is_some();
            oldest = oldest.into_iter().chain(found).min();
        }
        Ok((Pending { now, counts, oldest }, certain))
    }

    async fn count_hours(&self, types: &[TypeRef], client: &ClientId) -> Result<(Millis, Vec<Counted>), StoreError> {
        let mut counted: Vec<Option<Counted>> = types.iter().map(|_| None).collect();
        let mut now: Option<Millis> = None;
        let mut open = self.shares(types.iter().map(|ty| ty.type_no), TYPES);
        if open.is_empty() {
            // The clock is asked all the same.
            open.push((Route::Partition(0), Vec::new()));
        }
        while !open.is_empty() {
            let of_share = |(route, share): &(Route, Vec<usize>)| {
                let types = share.iter().filter_map(|at| types.get(*at));
                let first = types.clone().next().map_or(0, |ty| partition(ty.type_no));
                let mut cmd = SCRIPTS.pending.call(&[self.keys.last(first)]);
                cmd.arg(&self.keys.prefix).arg(client.as_str());
                for ty in types {
                    cmd.arg(partition(ty.type_no)).arg(ty.type_no.get()).arg(lifetime(&ty.ttl));
                }
                (*route, cmd)
            };
            let batch: Vec<_> = open.iter().map(of_share).collect();
            let mut rest = Vec::new();
            for ((route, mut share), answer) in open.into_iter().zip(self.general.pipeline(&batch).await?) {
                let mut answer = Answer::of(answer)?;
                let at = int(&answer.next())?;
                now = Some(now.map_or(at, |before| before.min(at)));
                let done = answer.left().min(share.len());
                if done == 0 && !share.is_empty() {
                    return Err(corrupt("the pending script answered for no type"));
                }
                for (at, answer) in share.drain(..done).zip(answer.rest()) {
                    if let (Some(slot), Some(ty)) = (counted.get_mut(at), types.get(at)) {
                        *slot = Some(read(ty.type_no, answer)?);
                    }
                }
                if !share.is_empty() {
                    rest.push((route, share));
                }
            }
            open = rest;
        }
        Ok((now.unwrap_or_default(), counted.into_iter().flatten().collect()))
    }

    /// Looks through hours, a part of each at a time, so that no script takes long.
    async fn look(&self, searches: &mut [Search], client: &ClientId) -> Result<(), StoreError> {
        for some in searches.chunks_mut(TOGETHER) {
            while some.iter().any(|search| !search.done) {
                let mut batch: Vec<(Route, Cmd)> = Vec::new();
                for search in some.iter().filter(|search| !search.done) {
                    let p = partition(search.type_no);
                    let mut cmd = SCRIPTS.pending_hour.call(&[self.keys.last(p)]);
                    cmd.arg(&self.keys.prefix).arg(p).arg(search.type_no.get()).arg(search.hour);
                    cmd.arg(search.ms).arg(search.skip).arg(client.as_str()).arg(u8::from(search.one));
                    batch.push((Route::Partition(p), cmd));
                }
                let answers = self.general.pipeline(&batch).await?;
                for (search, answer) in some.iter_mut().filter(|search| !search.done).zip(answers) {
                    advance(search, answer)?;
                }
            }
        }
        Ok(())
    }
}

fn read(type_no: TypeNo, answer: Value) -> Result<Counted, StoreError> {
    let answer = array(answer)?;
    let [whole, oldest, edge, first] = &answer[..] else {
        return Err(corrupt("the pending script gave an unknown answer"));
    };
    let hour = |value: &Value| Ok(Some(int(value)?).filter(|hour| *hour >= 0));
    Ok(Counted { type_no, whole: uint(whole)?, oldest: hour(oldest)?, edge: hour(edge)?, first: int(first)? })
}

fn advance(search: &mut Search, answer: Value) -> Result<(), StoreError> {
    let mut answer = Answer::of(answer)?;
    search.pending += uint(&answer.next())?;
    let found = bytes(answer.next())?;
    if search.found.is_none() && !found.is_empty() {
        let position = std::str::from_utf8(&found).ok().and_then(|text| text.parse().ok());
        search.found = Some(Position::new(position.ok_or_else(|| corrupt("a position is malformed"))?));
    }
    search.done = int(&answer.next())? == 0;
    (search.ms, search.skip) = (int(&answer.next())?, uint(&answer.next())?);
    Ok(())
}
