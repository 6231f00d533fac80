//! Sessions that read what they have missed: a BroadcastActor fed by hand over an embedded store.

use crate::event::{EventId, HUB_EPOCH_MS, Position, TypeNo};
use crate::live::testing::{Rig, START, append, append_payloads, settings};
use crate::live::{CountSessions, Cursor, Ending, Inbox, LiveSettings, Resumed};
use crate::store::testing::{Gate, TempStore};
use crate::store::{LiveRun, Store};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

async fn resume(rig: &Rig, filter: &str, since: EventId) -> (Inbox, Resumed) {
    let now = rig.store.ping().await.unwrap();
    let since = Some(Cursor { id: since, now });
    let (inbox, resumed) = Inbox::open(&rig.door, filter.parse().unwrap(), since, Box::new(|| true)).await.unwrap();
    (inbox, resumed.unwrap())
}

/// Takes about so many bytes; the ids.
async fn take(inbox: &mut Inbox, budget: usize) -> Result<Vec<EventId>, Ending> {
    let mut ids = Vec::new();
    let taken = poll_fn(|cx| inbox.poll_take(cx, budget, |event| ids.push(event.id)));
    tokio::time::timeout(SOON, taken).await.expect("events in time")?;
    Ok(ids)
}

/// Takes until the event `last` has come.
async fn take_to(inbox: &mut Inbox, last: EventId) -> Vec<EventId> {
    let mut all = Vec::new();
    while !all.contains(&last) {
        all.extend(take(inbox, 2000).await.unwrap());
    }
    all
}

fn ids(run: &LiveRun) -> Vec<EventId> {
    run.events.iter().map(|(position, _)| EventId::new(run.type_no, *position)).collect()
}

fn last(run: &LiveRun) -> EventId {
    *ids(run).last().unwrap()
}

#[actix::test]
async fn what_was_missed_comes_in_the_order_of_ids_and_then_what_is_new() {
    let rig = Rig::start(settings());
    let types = [rig.register("a", "1h").await, rig.register("b", "1h").await, rig.register("c", "1h").await];
    let mut stored = Vec::new();
    for round in 0..40 {
        // Single events, full milliseconds, and gaps of ten minutes.
        let begin = round * 2000 + if round > 20 { 600 * 1000 * 512 } else { 0 };
        for (n, ty) in types.into_iter().enumerate() {
            let count = [1, 700, 30][(n + round as usize) % 3];
            stored.extend(ids(&append(&rig.store, ty, begin..begin + count).await));
        }
    }
    stored.sort();
    let (mut inbox, resumed) = resume(&rig, "*", stored[5]).await;
    assert_eq!(resumed, Resumed { from: stored[5], complete: true });
    let mut taken = take_to(&mut inbox, *stored.last().unwrap()).await;
    assert!(taken.windows(2).all(|w| w[0] < w[1]));
    // Other types than the cursor's begin a little before it.
    taken.retain(|id| *id > stored[5]);
    assert_eq!(taken, stored[6..]);

    let run = append(&rig.store, types[1], 1_000_000_000..1_000_000_003).await;
    rig.say(vec![run.clone()]).await;
    assert_eq!(take_to(&mut inbox, last(&run)).await, ids(&run));
}

#[actix::test]
async fn the_cursors_own_type_begins_after_it_and_others_before() {
    let rig = Rig::start(settings());
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let early = append(&rig.store, b, 0..1).await;
    let near = append(&rig.store, b, 512 * 4000..512 * 4000 + 1).await;
    let own = append(&rig.store, a, 512 * 5000..512 * 5000 + 3).await;
    let (mut inbox, _) = resume(&rig, "*", ids(&own)[1]).await;
    assert_eq!(take_to(&mut inbox, last(&own)).await, [last(&near), last(&own)]);
    let (mut inbox, _) = resume(&rig, "b", last(&early)).await;
    assert_eq!(take_to(&mut inbox, last(&near)).await, ids(&near));
    // A cursor of the future, which this store never gave.
    let future = EventId::new(a, Position::first_of(START + 1_000_000_000));
    let (mut inbox, resumed) = resume(&rig, "*", future).await;
    assert!(resumed.complete);
    let new = append(&rig.store, a, 512 * 6000..512 * 6000 + 1).await;
    rig.say(vec![new.clone()]).await;
    assert_eq!(take_to(&mut inbox, last(&new)).await, [last(&near), last(&new)]);
}

/// Commits and says, as fast as the feed takes it.
async fn commit_all(rig: &Rig, types: &[TypeNo], rounds: u64) -> Vec<EventId> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut runs = Vec::new();
        for ty in types {
            runs.push(append(&rig.store, *ty, round * 100..round * 100 + 7).await);
        }
        all.extend(runs.iter().flat_map(ids));
        rig.say(runs).await;
    }
    all
}

#[actix::test]
async fn there_is_no_gap_and_no_repetition_between_what_is_read_and_what_is_live() {
    // Commits go out one by one, or together.
    for crowd in [0, 300] {
        let rig = Rig::start(LiveSettings { mailbox: 16, max_sessions: 1000, ..settings() });
        let types = [rig.register("a", "1h").await, rig.register("b", "1h").await];
        rig.crowd(crowd).await;
        let first = append(&rig.store, types[0], 0..1).await;
        rig.say(vec![first.clone()]).await;
        let (mut inbox, _) = resume(&rig, "*", last(&first)).await;
        let read = async {
            let mut taken: Vec<EventId> = Vec::new();
            while taken.len() < 2 * 7 * 300 {
                taken.extend(take(&mut inbox, 700).await.unwrap());
            }
            taken
        };
        let (mut all, mut taken) = tokio::join!(commit_all(&rig, &types, 300), read);
        for ty in types {
            let of_type: Vec<_> = taken.iter().filter(|id| id.type_no() == ty).collect();
            assert!(of_type.windows(2).all(|w| w[0] < w[1]));
        }
        all.sort();
        taken.sort();
        assert_eq!(taken, all);
    }
}

#[actix::test]
async fn a_session_that_falls_behind_and_reads_gets_everything() {
    let rig = Rig::start(LiveSettings { mailbox: 4, ..settings() });
    let types = [rig.register("a", "1h").await, rig.register("b", "1h").await];
    let (mut inbox, _) = Inbox::open(&rig.door, "*".parse().unwrap(), None, Box::new(|| true)).await.unwrap();
    let all = commit_all(&rig, &types, 50).await;
    let mut taken = Vec::new();
    while taken.len() < all.len() {
        taken.extend(take(&mut inbox, 100).await.unwrap());
    }
    taken.sort();
    let mut all = all;
    all.sort();
    assert_eq!(taken, all);
    let more = append(&rig.store, types[1], 900_000..900_003).await;
    rig.say(vec![more.clone()]).await;
    assert_eq!(take_to(&mut inbox, last(&more)).await, ids(&more));
}

#[actix::test]
async fn ephemeral_events_cannot_be_caught_up_with() {
    let rig = Rig::start(LiveSettings { mailbox: 4, ..settings() });
    let (e, a) = (rig.register("e", "ephemeral").await, rig.register("a", "1h").await);
    let (mut inbox, _) = Inbox::open(&rig.door, "*".parse().unwrap(), None, Box::new(|| true)).await.unwrap();
    for place in 0..20 {
        rig.commit(e, place * 10..place * 10 + 2).await;
    }
    let mut taken = 0;
    let ending = loop {
        match take(&mut inbox, 100).await {
            Ok(ids) => taken += ids.len(),
            Err(ending) => break ending,
        }
    };
    // It is told, since nobody could ever tell it what it has missed.
    assert_eq!(ending, Ending::TooSlow);
    assert!(taken < 40);
    // What is still on its way would reach the next session.
    rig.heard().await;
    // For one that comes back they do not count, and are there again when it is live.
    let run = append(&rig.store, a, 90_000..90_001).await;
    rig.say(vec![run.clone()]).await;
    let (mut inbox, resumed) = resume(&rig, "*", EventId::new(a, Position::default())).await;
    assert!(resumed.complete);
    assert_eq!(take_to(&mut inbox, last(&run)).await, ids(&run));
    assert!(futures_util::FutureExt::now_or_never(take(&mut inbox, 10)).is_none());
    let (live, new) = tokio::join!(take(&mut inbox, 10), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let run = append(&rig.store, e, 100_000..100_001).await;
        rig.say(vec![run.clone()]).await;
        run
    });
    assert_eq!(live.unwrap(), ids(&new));
}

#[actix::test]
async fn a_cursor_that_retention_has_passed_is_not_complete() {
    let rig = Rig::start(settings());
    let (short, long) = (rig.register("short", "10s").await, rig.register("long", "1h").await);
    let quiet = rig.register("quiet", "1s").await;
    let old = append(&rig.store, long, 0..1).await;
    let gone = append(&rig.store, short, 0..1).await;
    let second = 512 * 1000;
    append(&rig.store, long, 9 * second..9 * second + 1).await;
    assert!(resume(&rig, "*", last(&old)).await.1.complete);
    append(&rig.store, short, 60 * second..60 * second + 1).await;
    for (filter, since, complete) in [
        ("long", &old, true),
        ("short", &gone, false),
        ("*", &old, false),
        // Nothing of it came after the cursor, so nothing has expired.
        ("quiet,long", &old, true),
    ] {
        assert_eq!(resume(&rig, filter, last(since)).await.1.complete, complete, "{filter}");
    }
    let _unused = quiet;
    let ages_ago = EventId::first_of(HUB_EPOCH_MS);
    assert!(resume(&rig, "long", ages_ago).await.1.complete);
}

#[actix::test]
async fn a_long_replay_is_read_at_the_clients_pace() {
    let store = TempStore::open(START);
    let gate = Gate::before(store.shared());
    let door: Arc<dyn Store> = Arc::<Gate>::clone(&gate);
    let rig = Rig::reading(store, door, settings());
    let a = rig.register("a", "1h").await;
    let first = append(&rig.store, a, 0..1).await;
    let mut end = last(&first);
    for n in 1..=100 {
        let run = append_payloads(&rig.store, a, vec!["\"0123456789\"".into(); 500]).await;
        end = last(&run);
        rig.store.advance_to(START + n);
    }
    let (mut inbox, _) = resume(&rig, "*", last(&first)).await;
    let mut taken = take(&mut inbox, 1).await.unwrap().len();
    let reads = gate.reads.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(gate.reads.load(Ordering::SeqCst), reads, "nothing is read that nobody takes");
    // The store goes away in the middle.
    gate.shut.store(true, Ordering::SeqCst);
    let shut = tokio::time::timeout(Duration::from_millis(100), async {
        loop {
            let n = take(&mut inbox, 1).await.unwrap().len();
            taken += n;
        }
    });
    assert!(shut.await.is_err());
    gate.shut.store(false, Ordering::SeqCst);
    taken += take_to(&mut inbox, end).await.len();
    assert_eq!(taken, 50_000);
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 1);
}

#[actix::test]
async fn types_that_are_asked_for_later_begin_then() {
    let rig = Rig::start(settings());
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let first = append(&rig.store, a, 0..1).await;
    rig.say(vec![first.clone(), append(&rig.store, b, 1..3).await]).await;
    let second = append(&rig.store, a, 10..12).await;
    rig.say(vec![second.clone()]).await;
    let (mut inbox, _) = resume(&rig, "a", last(&first)).await;
    // While it reads what it has missed.
    inbox.refilter("a,b".parse().unwrap()).await.unwrap();
    assert_eq!(take_to(&mut inbox, last(&second)).await, ids(&second));
    let third = append(&rig.store, b, 20..21).await;
    rig.say(vec![third.clone()]).await;
    assert_eq!(take_to(&mut inbox, last(&third)).await, ids(&third));
    // While it is live.
    inbox.refilter("b".parse().unwrap()).await.unwrap();
    rig.commit(a, 30..31).await;
    let fourth = append(&rig.store, b, 40..41).await;
    rig.say(vec![fourth.clone()]).await;
    assert_eq!(take_to(&mut inbox, last(&fourth)).await, ids(&fourth));
    assert_eq!(inbox.filter().patterns(), ["b"]);
}
