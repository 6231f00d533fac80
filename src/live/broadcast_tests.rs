//! The BroadcastActor, fed by hand and reading from an embedded store.

use super::super::testing::{Rig, START, append_payloads, settings};
use super::super::{Inbox, SessionId};
use super::*;
use crate::live::{Ending, LiveEvent, OpenError, Refused};
use crate::store::testing::Gate;
use crate::store::testing::TempStore;
use std::future::poll_fn;
use std::sync::atomic::Ordering;

/// Takes the payloads of the next events; fails after a while.
async fn take(inbox: &mut Inbox, events: usize) -> Vec<String> {
    let mut taken = Vec::new();
    let mut take = |event: &LiveEvent| {
        let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
        taken.push(format!("{}{}", json["type"].as_str().unwrap(), json["payload"]));
    };
    let all = async {
        let mut n = 0;
        while n < events {
            // One at a time, so that no more is taken than was asked for.
            poll_fn(|cx| inbox.poll_take(cx, 1, &mut take)).await.unwrap();
            n += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("events arrive in time");
    taken
}

/// A rig that reaches its store through a gate.
fn gated() -> (Rig, Arc<Gate>) {
    let store = TempStore::open(START);
    let gate = Gate::before(store.shared());
    let door: Arc<dyn Store> = Arc::<Gate>::clone(&gate);
    (Rig::reading(store, door, settings()), gate)
}

async fn open(rig: &Rig, filter: &str) -> Inbox {
    Inbox::open(&rig.door, filter.parse().unwrap(), None, Box::new(|| true)).await.unwrap().0
}

fn names(ty: &str, places: std::ops::Range<u64>) -> Vec<String> {
    places.map(|place| format!("{ty}{place}")).collect()
}

#[actix::test]
async fn commits_reach_sessions_filtered_and_in_order() {
    let rig = Rig::start(settings());
    let (a, b) = (rig.register("a:x", "1h").await, rig.register("b", "1h").await);
    let (mut all, mut some) = (open(&rig, "*").await, open(&rig, "a:*").await);
    let runs = vec![rig.append(a, 0..2).await, rig.append(b, 0..1).await];
    rig.say(runs).await;
    rig.commit(a, 2..3).await;
    assert_eq!(take(&mut some, 3).await, names("a:x", 0..3));
    let mut taken = take(&mut all, 4).await;
    taken.retain(|t| t.starts_with('a'));
    assert_eq!(taken, names("a:x", 0..3));
}

#[actix::test]
async fn what_the_feed_lost_is_read_from_the_store_and_what_it_repeats_is_not_shown_again() {
    let rig = Rig::start(settings());
    let a = rig.register("a", "1h").await;
    let mut inbox = open(&rig, "a").await;
    rig.commit(a, 0..2).await;
    let _lost = rig.append(a, 2..5).await;
    let again = rig.append(a, 5..6).await;
    rig.say(vec![again.clone()]).await;
    rig.say(vec![again]).await;
    rig.commit(a, 6..7).await;
    assert_eq!(take(&mut inbox, 7).await, names("a", 0..7));
}

#[actix::test]
async fn a_large_gap_is_read_in_pages() {
    let rig = Rig::start(settings());
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let mut inbox = open(&rig, "*").await;
    rig.commit(a, 0..1).await;
    // Nearly ten milliseconds, all of them full, and one far away.
    let _lost = [rig.append(a, 1..5000).await, rig.append(a, 4_000_000..4_000_001).await];
    rig.commit(a, 5_000_000..5_000_001).await;
    assert_eq!(take(&mut inbox, 1).await, ["a0"]);
    let mut wanted = names("a", 1..5000);
    wanted.extend(["a4000000".to_owned(), "a5000000".to_owned()]);
    assert_eq!(take(&mut inbox, 5001).await, wanted);
    rig.commit(b, 0..1).await;
    assert_eq!(take(&mut inbox, 1).await, ["b0"]);
}

#[actix::test]
async fn after_an_interruption_every_type_is_caught_up() {
    let (rig, gate) = gated();
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let mut inbox = open(&rig, "a").await;
    rig.commit(a, 0..1).await;
    rig.commit(b, 0..1).await;
    assert_eq!(take(&mut inbox, 1).await, ["a0"]);
    let _lost = [rig.append(a, 1..4).await, rig.append(b, 1..4).await];
    rig.feed.send(Live::Interrupted(Partitions::ALL)).await.unwrap();
    assert_eq!(take(&mut inbox, 3).await, names("a", 1..4));
    rig.commit(a, 4..5).await;
    assert_eq!(take(&mut inbox, 1).await, ["a4"]);
    // What nobody looks at is not read.
    assert_eq!(gate.reads.load(Ordering::SeqCst), 1);
}

#[actix::test]
async fn a_gap_waits_for_the_store_and_other_types_do_not() {
    let (rig, gate) = gated();
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let mut inbox = open(&rig, "*").await;
    rig.commit(a, 0..1).await;
    rig.commit(b, 0..1).await;
    assert_eq!(take(&mut inbox, 2).await.len(), 2);
    gate.shut.store(true, Ordering::SeqCst);
    let _lost = rig.append(a, 1..2).await;
    rig.commit(a, 2..3).await;
    rig.commit(b, 1..3).await;
    assert_eq!(take(&mut inbox, 2).await, names("b", 1..3));
    gate.shut.store(false, Ordering::SeqCst);
    assert_eq!(take(&mut inbox, 2).await, names("a", 1..3));
}

#[actix::test]
async fn lost_ephemeral_events_hold_up_nothing() {
    let (rig, gate) = gated();
    let e = rig.register("e", "ephemeral").await;
    let mut inbox = open(&rig, "*").await;
    rig.commit(e, 0..1).await;
    let _lost = rig.append(e, 1..2).await;
    rig.commit(e, 2..3).await;
    assert_eq!(take(&mut inbox, 2).await, ["e0", "e2"]);
    assert_eq!(gate.reads.load(Ordering::SeqCst), 0);
}

#[actix::test]
async fn a_type_that_is_registered_after_its_events_arrive_loses_none() {
    let rig = Rig::start(settings());
    let mut inbox = open(&rig, "late").await;
    let late = TypeNo::new(0).unwrap();
    rig.commit(late, 0..2).await;
    rig.commit(late, 2..3).await;
    rig.heard().await;
    assert_eq!(rig.register("late", "1h").await, late);
    assert_eq!(take(&mut inbox, 3).await, names("late", 0..3));
}

#[actix::test]
async fn the_first_run_of_a_type_that_was_missed_is_read_but_nothing_older_than_the_hub() {
    let before = TempStore::open(START - 5);
    let a = before.register("a", "1h").await.type_no;
    append_payloads(&before, a, vec!["\"old\"".into()]).await;
    before.set_clock(START);
    let rig = Rig::over(before, settings());
    let mut inbox = open(&rig, "a").await;
    let _lost = rig.append(a, 1..3).await;
    rig.commit(a, 3..4).await;
    assert_eq!(take(&mut inbox, 3).await, names("a", 1..4));
}

#[actix::test]
async fn a_session_that_is_dropped_is_forgotten() {
    let rig = Rig::start(settings());
    let (one, two) = (open(&rig, "a").await, open(&rig, "b").await);
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 2);
    drop(one);
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 1);
    rig.broadcast.send(Unsubscribe(SessionId::unused())).await.unwrap();
    drop(two);
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 0);
}

#[actix::test]
async fn what_is_sent_to_many_sessions_goes_out_together_and_in_order() {
    let rig = Rig::start(LiveSettings { max_sessions: 2000, ..settings() });
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    rig.crowd(1000).await;
    let mut inbox = open(&rig, "*").await;
    // The actor learns the names of the types with their first events.
    rig.commit(a, 0..1).await;
    rig.commit(b, 0..1).await;
    take(&mut inbox, 2).await;
    let began = Instant::now();
    for place in 1..5 {
        rig.commit(a, place..place + 1).await;
        assert_eq!(take(&mut inbox, 1).await, names("a", place..place + 1));
    }
    // Three pauses lie between four fan-outs.
    assert!(began.elapsed() >= Duration::from_millis(30), "{:?}", began.elapsed());
    let runs = [rig.append(a, 5..6).await, rig.append(b, 1..3).await, rig.append(a, 6..8).await];
    for run in runs {
        rig.say(vec![run]).await;
    }
    assert_eq!(take(&mut inbox, 5).await, ["a5", "b1", "b2", "a6", "a7"]);
}

#[actix::test]
async fn what_waits_for_its_turn_is_not_lost_when_all_are_closed() {
    let rig = Rig::start(LiveSettings { max_sessions: 2000, ..settings() });
    let a = rig.register("a", "1h").await;
    rig.crowd(1500).await;
    let mut inbox = open(&rig, "*").await;
    for place in 0..3 {
        rig.commit(a, place..place + 1).await;
    }
    rig.heard().await;
    let closed = rig.broadcast.send(CloseAll);
    assert_eq!(take(&mut inbox, 3).await, names("a", 0..3));
    assert_eq!(poll_fn(|cx| inbox.poll_take(cx, 1, |_| {})).await, Err(Ending::GoingAway));
    drop(inbox);
    tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap().unwrap();
}

#[actix::test]
async fn closing_all_waits_until_all_are_gone() {
    let rig = Rig::start(settings());
    let mut inbox = open(&rig, "a").await;
    let mut closed = Box::pin(rig.broadcast.send(CloseAll));
    let ended = poll_fn(|cx| {
        assert!(std::future::Future::poll(closed.as_mut(), cx).is_pending());
        inbox.poll_take(cx, 1, |_| {})
    });
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap(), Err(Ending::GoingAway));
    let refused = Inbox::open(&rig.door, "a".parse().unwrap(), None, Box::new(|| true)).await;
    assert!(matches!(refused.err(), Some(OpenError::Refused(Refused::Stopping))));
    drop(inbox);
    tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap().unwrap();
}

#[actix::test]
async fn a_feed_that_ends_does_not_end_the_actor() {
    let mut rig = Rig::start(settings());
    let inbox = open(&rig, "a").await;
    rig.feed = mpsc::channel(1).0;
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 1);
    drop(inbox);
}

#[actix::test]
async fn a_session_begins_once_the_store_brings_its_types_and_not_before() {
    let (rig, gate) = gated();
    let a = rig.register("a", "1h").await;
    gate.shut.store(true, Ordering::SeqCst);
    let refused = Inbox::open(&rig.door, "a".parse().unwrap(), None, Box::new(|| true)).await;
    assert!(matches!(refused.err(), Some(OpenError::Refused(Refused::Unavailable))));
    assert_eq!(rig.broadcast.send(CountSessions).await.unwrap(), 0);
    gate.shut.store(false, Ordering::SeqCst);
    let mut inbox = open(&rig, "a").await;
    // Another one of the same types needs nothing of the store.
    gate.shut.store(true, Ordering::SeqCst);
    let mut second = open(&rig, "a").await;
    rig.commit(a, 0..1).await;
    gate.shut.store(false, Ordering::SeqCst);
    assert_eq!(take(&mut inbox, 1).await, ["a0"]);
    assert_eq!(take(&mut second, 1).await, ["a0"]);
}

#[actix::test]
async fn a_type_that_nobody_wanted_begins_where_it_stands() {
    let rig = Rig::knowing(settings());
    let (a, b) = (rig.register("a", "1h").await, rig.register("b", "1h").await);
    let _heard = open(&rig, "b").await;
    let _unheard = rig.append(a, 0..5).await;
    let mut inbox = open(&rig, "a").await;
    let _lost = rig.append(a, 5..6).await;
    rig.commit(a, 6..7).await;
    rig.commit(b, 6..7).await;
    assert_eq!(take(&mut inbox, 2).await, names("a", 5..7));
}

#[actix::test]
async fn what_was_committed_before_a_wanted_type_was_known_is_read() {
    let rig = Rig::knowing(settings());
    let mut inbox = open(&rig, "late,*:x").await;
    // Far ahead of what is expected, so that nothing of it is heard.
    for n in 0..10 {
        rig.register(&format!("other{n}"), "1h").await;
    }
    let record = rig.store.register("late", "1h").await;
    let _unheard = rig.append(record.type_no, 0..3).await;
    rig.know(&record);
    assert_eq!(take(&mut inbox, 3).await, names("late", 0..3));
    rig.commit(record.type_no, 3..4).await;
    assert_eq!(take(&mut inbox, 1).await, ["late3"]);
}

#[actix::test]
async fn an_interruption_of_other_partitions_reads_nothing() {
    let (rig, gate) = gated();
    let a = rig.register("a", "1h").await;
    let mut inbox = open(&rig, "a").await;
    rig.commit(a, 0..1).await;
    assert_eq!(take(&mut inbox, 1).await, ["a0"]);
    let _lost = rig.append(a, 1..2).await;
    let own = Partitions::from(crate::store::Partition::of(a));
    rig.feed.send(Live::Interrupted(Partitions::ALL.without(own))).await.unwrap();
    let later = rig.append(a, 2..3).await;
    while rig.feed.capacity() < rig.feed.max_capacity() {
        tokio::task::yield_now().await;
    }
    rig.broadcast.send(CountSessions).await.unwrap();
    assert_eq!(gate.reads.load(Ordering::SeqCst), 0);
    rig.feed.send(Live::Interrupted(own)).await.unwrap();
    rig.say(vec![later]).await;
    assert_eq!(take(&mut inbox, 2).await, names("a", 1..3));
}

#[actix::test]
async fn ephemeral_events_on_their_way_are_not_lost_to_an_interruption() {
    let rig = Rig::knowing(settings());
    let e = rig.register("e", "ephemeral").await;
    let mut inbox = open(&rig, "e").await;
    rig.commit(e, 0..1).await;
    assert_eq!(take(&mut inbox, 1).await, ["e0"]);
    // The store has it when it is asked where types stand; the feed brings it afterwards.
    let on_its_way = rig.append(e, 1..2).await;
    rig.feed.send(Live::Interrupted(Partitions::ALL)).await.unwrap();
    while rig.feed.capacity() < rig.feed.max_capacity() {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        rig.broadcast.send(CountSessions).await.unwrap();
        rig.store.last_positions(&[e]).await.unwrap();
    }
    rig.say(vec![on_its_way]).await;
    rig.commit(e, 2..3).await;
    assert_eq!(take(&mut inbox, 2).await, ["e1", "e2"]);
}
