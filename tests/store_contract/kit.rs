//! What the tests of the contract share.

use bytes::Bytes;
use event_source_api::event::{EventId, Millis, Position, StreamName, Ttl, TypeNo};
use event_source_api::store::*;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A place where a store keeps its data, made empty for each test.
pub trait Home {
    /// Whether a claim is known after the store was opened again. Where one process owns the store, a restart
    /// voids all claims instead: their holder is gone.
    const CLAIMS_OUTLIVE: bool;

    /// A new, empty place.
    fn new() -> Self;

    /// The store in this place. Called again only after the store before was closed and dropped: what was stored is
    /// there again.
    fn open(&self, options: StoreOptions) -> Arc<dyn Store>;
}

/// Options under which nothing gets in the way.
pub fn options() -> StoreOptions {
    StoreOptions { max_backlog: 1_000_000, dead_ttl: Duration::from_secs(3600), timeout: Duration::from_secs(10) }
}

/// A new store in a place of its own; the place must be kept for as long.
pub fn fresh<H: Home>() -> (H, Arc<dyn Store>) {
    let home = H::new();
    let store = home.open(options());
    (home, store)
}

/// What `work` answers, which must take less than `limit` once: on a busy machine anything may take long at times.
pub async fn quick<T>(limit: Duration, work: impl AsyncFn() -> T) -> T {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let answer = work().await;
        best = best.min(started.elapsed());
        if best < limit {
            return answer;
        }
    }
    panic!("it takes {best:?} at best");
}

pub fn type_no(number: u16) -> TypeNo {
    TypeNo::new(number).expect("a type number")
}

pub fn ttl(text: &str) -> Ttl {
    text.parse().expect("a lifetime")
}

pub fn ty(number: u16) -> TypeRef {
    TypeRef { type_no: type_no(number), ttl: Ttl::permanent() }
}

pub fn stream(number: u16, name: &str) -> StreamKey {
    StreamKey { type_no: type_no(number), name: name.parse().expect("a stream's name") }
}

/// `count` events of a permanent type, for these streams; payloads are `0`, `1`, ….
pub fn group(number: u16, count: usize, streams: &[&str]) -> AppendGroup {
    let payloads = (0..count).map(|i| Bytes::from(i.to_string())).collect();
    let streams: Vec<StreamName> = streams.iter().map(|name| name.parse().expect("a stream's name")).collect();
    AppendGroup {
        type_no: type_no(number),
        ttl: Ttl::permanent(),
        streams: streams.into(),
        revision: 1,
        payloads,
        idempotency: None,
    }
}

/// Appends one group, which must be stored.
pub async fn append(store: &Arc<dyn Store>, group: AppendGroup) -> Vec<Position> {
    match append_one(store, group).await {
        Appended::Stored(positions) => positions,
        other => panic!("not stored: {other:?}"),
    }
}

/// Appends one group; again, as a sender does, when a newer revision of the type's record is in force.
pub async fn append_one(store: &Arc<dyn Store>, mut group: AppendGroup) -> Appended {
    match append_by(store, group.clone()).await {
        Appended::Stale(newer) => {
            group.revision = newer;
            append_by(store, group).await
        }
        answer => answer,
    }
}

/// Appends one group by the revision that it names.
pub async fn append_by(store: &Arc<dyn Store>, group: AppendGroup) -> Appended {
    let mut answers = store.append(vec![group]).await.expect("an answer");
    assert_eq!(answers.len(), 1);
    answers.remove(0).expect("an answer for the group")
}

/// The ids of a type's positions.
pub fn ids(number: u16, positions: &[Position]) -> Vec<EventId> {
    positions.iter().map(|position| EventId::new(type_no(number), *position)).collect()
}

/// All of these types, of any time.
pub fn query(types: Vec<TypeRef>, limit: usize) -> ReadQuery {
    ReadQuery { types, from: 0, to: Millis::MAX, before: None, limit, marked: Marked::Ignore }
}

pub async fn read(store: &Arc<dyn Store>, query: ReadQuery) -> Page {
    store.read(query).await.expect("a page")
}

/// The ids of a page.
pub fn ids_of(page: &Page) -> Vec<EventId> {
    page.events.iter().map(|event| event.id).collect()
}

/// Newest first.
pub fn newest_first(mut ids: Vec<EventId>) -> Vec<EventId> {
    ids.sort();
    ids.reverse();
    ids
}

/// Reads a query page by page to its end.
pub async fn read_all(store: &Arc<dyn Store>, mut query: ReadQuery) -> Vec<EventId> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let page = read(store, query.clone()).await;
        all.extend(ids_of(&page));
        assert!(page.events.len() <= query.limit);
        if !page.more {
            return all;
        }
        query.before = page.events.last().map(|event| event.id);
        assert!(query.before.is_some(), "an empty page says that there is more");
    }
    panic!("the feed does not end");
}

/// Asks again until the answer is there, for at most 20 seconds.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A claim of up to `max` events, held for a minute.
pub fn claim(stream: &StreamKey, max: usize) -> ClaimRequest {
    ClaimRequest { stream: stream.clone(), max, lease: Duration::from_secs(60), ordered: false }
}

/// A settlement in which all is delivered.
pub fn delivered(stream: &StreamKey, claim: &Claim) -> Settle {
    Settle {
        stream: stream.clone(),
        lease: claim.lease.expect("a lease"),
        total: claim.events.len(),
        exceptions: Vec::new(),
        hold: None,
    }
}

pub fn failure(attempts: u32, last_error: &str) -> Failure {
    Failure { attempts, last_error: last_error.to_owned() }
}

/// The positions of a claim.
pub fn claimed(claim: &Claim) -> Vec<Position> {
    claim.events.iter().map(|event| event.position).collect()
}

pub async fn counts(store: &Arc<dyn Store>, stream: &StreamKey) -> StreamCounts {
    store.counts(std::slice::from_ref(stream)).await.expect("counts").remove(0)
}

/// Everything that the store still shows of an event at this stream, which came with revision `since`.
pub async fn state_since(store: &Arc<dyn Store>, stream: &StreamKey, position: Position, since: u64) -> DeliveryState {
    let asked = [StreamSince { name: stream.name.clone(), since, until: None }];
    let id = EventId::new(stream.type_no, position);
    let ty = TypeRef { type_no: stream.type_no, ttl: Ttl::permanent() };
    store.event(id, &ty, &asked).await.expect("an answer").expect("the event").streams.remove(0)
}

/// Where an event stands with a stream that was there before it.
pub async fn state(store: &Arc<dyn Store>, stream: &StreamKey, position: Position) -> DeliveryState {
    state_since(store, stream, position, 1).await
}

/// Pending, never tried, and not held.
pub fn is_fresh(state: &DeliveryState) -> bool {
    matches!(state, DeliveryState::Pending { failed: None, next_attempt_at: Some(_) })
}

/// Claims up to `max` events and delivers them, but for those that `dead` names by their place in the claim.
/// Answers the positions claimed.
pub async fn deliver_but(store: &Arc<dyn Store>, stream: &StreamKey, max: usize, dead: &[usize]) -> Vec<Position> {
    let one = store.claim(claim(stream, max)).await.expect("a claim");
    let exceptions =
        dead.iter().map(|i| (one.events[*i].clone(), Disposition::Dead(failure(4, &format!("no {i}"))))).collect();
    let settle = Settle { exceptions, ..delivered(stream, &one) };
    assert_eq!(store.settle(settle).await.expect("an answer"), Fenced::Done(None));
    claimed(&one)
}

/// Claims and delivers all that is due, some at a time; answers the positions in the order they came.
pub async fn drain(store: &Arc<dyn Store>, stream: &StreamKey) -> Vec<Position> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let one = store.claim(claim(stream, 700)).await.expect("a claim");
        if one.events.is_empty() {
            return all;
        }
        assert!(one.events.iter().all(|event| event.attempts == 0));
        all.extend(claimed(&one));
        assert_eq!(store.settle(delivered(stream, &one)).await.expect("an answer"), Fenced::Done(None));
    }
    panic!("the outbox does not end");
}

/// Positions of a stream's dead letters.
pub async fn letters(store: &Arc<dyn Store>, stream: &StreamKey) -> Vec<Position> {
    let letters = store.dead_letters(stream, None, 100_000).await.expect("letters");
    letters.iter().map(|letter| letter.event.id.position()).collect()
}

/// A small generator: the same choices in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Appends to a type until that is taken, and waits until the feed brings it; what was interrupted meanwhile.
pub async fn comes_through(
    store: &Arc<dyn Store>,
    feed: &mut tokio::sync::mpsc::Receiver<Live>,
    number: u16,
) -> Partitions {
    let mut seen = Partitions::NONE;
    let taken = async {
        loop {
            match store.append(vec![group(number, 1, &[])]).await.map(|mut answers| answers.remove(0)) {
                Ok(Ok(Appended::Stored(positions))) => return positions[0],
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let position = tokio::time::timeout(Duration::from_secs(60), taken).await.expect("an append is taken");
    let brought = async {
        loop {
            match feed.recv().await.expect("the feed is open") {
                Live::Interrupted(partitions) => {
                    seen = seen.with(partitions);
                    let last = store.last_positions(&[type_no(number)]).await;
                    if partitions.contains(Partition::of(type_no(number))) && last.is_ok_and(|last| last[0] >= position)
                    {
                        return;
                    }
                }
                Live::Commit(runs) => {
                    if runs
                        .iter()
                        .any(|run| run.type_no == type_no(number) && run.events.iter().any(|e| e.0 >= position))
                    {
                        return;
                    }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), brought).await.expect("the feed brings it");
    seen
}
