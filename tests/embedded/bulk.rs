//! What is done to any number of a stream's events: over restarts and kills, and what it costs others.

use crate::support::*;
use bytes::Bytes;
use event_source_api::event::{EventId, Millis, Position, TypeNo};
use event_source_api::store::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DAY: Millis = 24 * HOUR;

fn everything(key: &StreamKey) -> Replay {
    Replay { stream: key.clone(), ttl: "permanent".parse().unwrap(), from: 0, to: Millis::MAX, dry_run: false }
}

async fn state(hub: &Hub, key: &StreamKey, position: Position, since: u64) -> DeliveryState {
    let asked = [StreamSince { name: key.name.clone(), since, until: None }];
    let detail = hub.event(EventId::new(key.type_no, position), &type_ref(key.type_no, "permanent"), &asked).await;
    detail.unwrap().unwrap().streams.remove(0)
}

async fn letters(hub: &Hub, key: &StreamKey) -> Vec<Position> {
    hub.dead_letters(key, None, 100_000).await.unwrap().iter().map(|letter| letter.event.id.position()).collect()
}

/// Claims up to `max` and lets all of them die.
async fn kill(hub: &Hub, key: &StreamKey, max: usize) -> Vec<Position> {
    let claim = hub.take(key, max).await;
    let dead = |event: &ClaimedEvent| (event.clone(), Disposition::Dead(failure(3)));
    let exceptions = claim.events.iter().map(dead).collect();
    let settle = Settle { exceptions, ..settled(key, claim.lease.unwrap(), claim.events.len()) };
    assert_eq!(hub.settle(settle).await.unwrap(), Fenced::Done(None));
    positions(&claim)
}

async fn send_many(hub: &Hub, ty: TypeNo, streams: &[&str], count: usize) -> Vec<Position> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(hub.send(ty, "permanent", streams, 1000.min(count - all.len())).await);
        hub.advance(7);
    }
    all
}

#[tokio::test]
async fn letters_sent_again_and_deleted_stay_so_over_a_restart() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    let all = hub.send(ty, "permanent", &["s"], 12).await;
    kill(&hub, &key, 10).await;
    assert_eq!(hub.retry_dead(&key, Letters::Some(all[2..5].to_vec())).await.unwrap(), 3);
    assert_eq!(hub.delete_dead(&key, Letters::Some(all[..1].to_vec())).await.unwrap(), 1);
    let before = hub.count(&key).await;
    assert_eq!((before.backlog, before.dead, before.failed), (5, 6, 10));
    hub.reopen();
    assert_eq!(hub.count(&key).await, before);
    assert_eq!(state(&hub, &key, all[0], 1).await, DeliveryState::Dropped);
    assert!(matches!(state(&hub, &key, all[2], 1).await, DeliveryState::Pending { failed: None, .. }));
    let claim = hub.take(&key, 100).await;
    assert_eq!(positions(&claim), [all[2], all[3], all[4], all[10], all[11]]);
    assert!(claim.events.iter().all(|event| event.attempts == 0));
    // Long after their first death nothing of it is left that could take them away.
    hub.advance(31 * DAY);
    hub.sweep().await.unwrap();
    let after = hub.count(&key).await;
    assert_eq!((after.backlog, after.dead), (5, 0));
    assert_eq!(hub.drain(&key).await, 5);
    assert_eq!(state(&hub, &key, all[1], 1).await, DeliveryState::Dropped);
    assert_eq!(state(&hub, &key, all[2], 1).await, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_buried_outbox_stays_buried_over_a_restart() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    let all = send_many(&hub, ty, &["s"], 2500).await;
    let claim = hub.take(&key, 300).await;
    let after = Duration::from_secs(60);
    let retry = |event: &ClaimedEvent| (event.clone(), Disposition::Retry { after, failure: failure(2) });
    let exceptions = claim.events.iter().skip(100).map(retry).collect();
    hub.settle(Settle { exceptions, ..settled(&key, claim.lease.unwrap(), 300) }).await.unwrap();
    hub.take(&key, 300).await;
    assert_eq!(hub.bury(&key, "deleted").await.unwrap(), 2400);
    let before = hub.count(&key).await;
    assert_eq!((before.backlog, before.delivered, before.failed, before.dead), (0, 100, 200, 2400));
    hub.reopen();
    assert_eq!(hub.count(&key).await, before);
    assert_eq!(letters(&hub, &key).await, all[100..]);
    assert_eq!(state(&hub, &key, all[100], 1).await, DeliveryState::Dead(failure(2)));
    hub.forget_stream(&key).await.unwrap();
    hub.reopen();
    assert_eq!(hub.drain(&key).await, 0);
    assert_eq!(hub.retry_dead(&key, Letters::All).await.unwrap(), 2400);
    hub.reopen();
    assert_eq!(hub.drain(&key).await, 2400);
}

#[tokio::test]
async fn a_replay_goes_on_over_a_restart_and_is_remembered() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    // Over a few hours, and more than is tracked in memory.
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(send_many(&hub, ty, &[], 2500).await);
        hub.advance(HOUR);
    }
    let asked = Replay { from: all[1000].ms(), ..everything(&key) };
    let dry = hub.replay(Replay { dry_run: true, ..asked.clone() }).await.unwrap();
    assert_eq!(dry, Replayed::Queued(6500));
    assert_eq!(hub.replay(asked.clone()).await.unwrap(), dry);
    let new = hub.send(ty, "permanent", &["s"], 2).await;
    let claim = hub.take(&key, 1500).await;
    assert_eq!(positions(&claim), all[1000..2500]);
    hub.settle(settled(&key, claim.lease.unwrap(), 1500)).await.unwrap();
    hub.take(&key, 10).await;
    hub.reopen();
    assert_eq!(hub.count(&key).await.backlog, 5002);
    assert_eq!(hub.count(&key).await.oldest, Some(all[2500].ms()));
    assert_eq!(state(&hub, &key, all[1200], 9).await, DeliveryState::Delivered);
    assert!(matches!(state(&hub, &key, all[6000], 9).await, DeliveryState::Pending { .. }));
    assert_eq!(state(&hub, &key, all[999], 9).await, DeliveryState::None);
    assert_eq!(hub.replay(asked).await.unwrap(), Replayed::Queued(1500));
    let mut seen = Vec::new();
    loop {
        let claim = hub.take(&key, 700).await;
        let Some(lease) = claim.lease else { break };
        seen.extend(positions(&claim));
        hub.settle(settled(&key, lease, claim.events.len())).await.unwrap();
    }
    assert_eq!(seen, [&all[1000..], &new].concat());
    hub.reopen();
    assert_eq!((hub.count(&key).await.backlog, hub.drain(&key).await), (0, 0));
    assert_eq!(state(&hub, &key, all[7499], 9).await, DeliveryState::Delivered);
    // A stream of the same name that comes later has not been given it.
    hub.forget_stream(&key).await.unwrap();
    assert_eq!(state(&hub, &key, all[1200], 9).await, DeliveryState::None);
}

#[tokio::test]
async fn a_letter_of_a_former_life_counts_as_delivered_once_it_is() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    let all = hub.send(ty, "permanent", &["s"], 4).await;
    kill(&hub, &key, 4).await;
    hub.forget_stream(&key).await.unwrap();
    hub.reopen();
    // It is registered again with revision 7.
    assert_eq!(state(&hub, &key, all[1], 7).await, DeliveryState::Dead(failure(3)));
    assert_eq!(hub.retry_dead(&key, Letters::Some(all[1..3].to_vec())).await.unwrap(), 2);
    assert!(matches!(state(&hub, &key, all[1], 7).await, DeliveryState::Pending { .. }));
    assert_eq!(hub.drain(&key).await, 2);
    for (position, expected) in [(all[1], DeliveryState::Delivered), (all[3], DeliveryState::Dead(failure(3)))] {
        assert_eq!(state(&hub, &key, position, 7).await, expected);
    }
}

#[tokio::test]
async fn attempts_outlive_a_restart_and_go_in_time() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let (key, gone) = (stream(ty, "s"), stream(ty, "t"));
    let note = |n: usize| Bytes::from(n.to_string());
    let newest = |from: usize, to: usize| (from..to).rev().map(note).collect::<Vec<_>>();
    hub.record_attempts(&key, (0..900).map(note).collect()).await.unwrap();
    hub.record_attempts(&gone, (0..9).map(note).collect()).await.unwrap();
    hub.reopen();
    hub.record_attempts(&key, (900..1200).map(note).collect()).await.unwrap();
    assert_eq!(hub.attempts(&key).await.unwrap(), newest(200, 1200));
    hub.advance(20 * DAY);
    hub.record_attempts(&key, vec![note(1200)]).await.unwrap();
    hub.forget_stream(&gone).await.unwrap();
    assert_eq!(hub.attempts(&gone).await.unwrap(), Vec::<Bytes>::new());
    hub.advance(30 * DAY - 1);
    hub.sweep().await.unwrap();
    hub.reopen();
    assert_eq!(hub.attempts(&key).await.unwrap(), newest(201, 1201));
    hub.advance(1);
    assert_eq!(hub.attempts(&key).await.unwrap(), Vec::<Bytes>::new());
    // Nothing of it comes back with the next, swept or not.
    hub.record_attempts(&key, vec![note(7)]).await.unwrap();
    hub.sweep().await.unwrap();
    assert_eq!(hub.attempts(&key).await.unwrap(), newest(7, 8));
    hub.advance(30 * DAY);
    hub.sweep().await.unwrap();
    hub.record_attempts(&key, vec![note(8)]).await.unwrap();
    hub.reopen();
    assert_eq!(hub.attempts(&key).await.unwrap(), newest(8, 9));
}

#[tokio::test]
async fn events_delivered_while_a_replay_is_under_way_are_not_queued_again() {
    let hub = Arc::new(Hub::new());
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    let mut given = BTreeSet::new();
    let old = send_many(&hub, ty, &["s"], 10_000).await;
    hub.drain(&key).await;
    let waiting = send_many(&hub, ty, &["s"], 10_000).await;
    let over = Arc::new(AtomicBool::new(false));
    let worker = {
        let (hub, key, over) = (Arc::clone(&hub), key.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let last_turn = over.load(Ordering::SeqCst);
                let claim = hub.take(&key, 500).await;
                let Some(lease) = claim.lease else {
                    if last_turn {
                        return seen;
                    }
                    tokio::task::yield_now().await;
                    continue;
                };
                seen.extend(positions(&claim));
                hub.settle(settled(&key, lease, claim.events.len())).await.unwrap();
            }
        })
    };
    let Replayed::Queued(queued) = hub.replay(everything(&key)).await.unwrap() else { panic!("no room") };
    over.store(true, Ordering::SeqCst);
    let seen = worker.await.unwrap();
    // Some may have been delivered before the replay looked; what waited then comes once.
    assert_eq!(seen.len() as u64, queued + 10_000);
    given.extend(seen.iter().copied());
    assert_eq!(given.len(), 20_000);
    assert!(old.iter().chain(&waiting).all(|position| given.contains(position)));
    let end = hub.count(&key).await;
    assert_eq!((end.backlog, end.delivered), (0, 10_000 + seen.len() as u64));
}

#[tokio::test]
async fn others_get_in_between_the_steps() {
    let hub = Arc::new(Hub::new());
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    send_many(&hub, ty, &["s"], 30_000).await;
    let over = Arc::new(AtomicBool::new(false));
    let sender = {
        let (hub, over) = (Arc::clone(&hub), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut sent, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::SeqCst) {
                let start = Instant::now();
                hub.send(ty, "permanent", &["other"], 1).await;
                longest = longest.max(start.elapsed());
                sent += 1;
            }
            (sent, longest)
        })
    };
    for _ in 0..2 {
        assert_eq!(hub.bury(&key, "deleted").await.unwrap(), 30_000);
        assert_eq!(hub.retry_dead(&key, Letters::All).await.unwrap(), 30_000);
    }
    over.store(true, Ordering::SeqCst);
    let (sent, longest) = sender.await.unwrap();
    // One at least after each step.
    assert!(sent > 100, "{sent} sent, the slowest in {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert_eq!(hub.count(&stream(ty, "other")).await.backlog, sent);
}
