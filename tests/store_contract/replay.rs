//! Stored events queued again.

use crate::kit::*;
use event_source_api::event::{Millis, Position};
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

/// All of a permanent type.
fn everything(stream: &StreamKey) -> Replay {
    let ttl = event_source_api::event::Ttl::permanent();
    Replay { stream: stream.clone(), ttl, from: 0, to: Millis::MAX, dry_run: false }
}

async fn replay(store: &Arc<dyn Store>, replay: Replay) -> Replayed {
    store.replay(replay).await.expect("an answer")
}

/// Asks first, which must change nothing and say the same.
async fn replay_checked(store: &Arc<dyn Store>, asked: Replay) -> u64 {
    let before = counts(store, &asked.stream).await;
    let dry = replay(store, Replay { dry_run: true, ..asked.clone() }).await;
    assert_eq!(counts(store, &asked.stream).await, before, "a dry run changes nothing");
    let Replayed::Queued(count) = replay(store, asked.clone()).await else { panic!("not queued") };
    assert_eq!(dry, Replayed::Queued(count));
    assert_eq!(counts(store, &asked.stream).await.backlog, before.backlog + count);
    count
}

/// Appends a group again and again, each time in a millisecond of its own.
async fn append_apart(store: &Arc<dyn Store>, group: AppendGroup, count: usize) -> Vec<Position> {
    let mut all: Vec<Position> = Vec::new();
    for _ in 0..count {
        let before = all.last().map_or(0, |position| position.ms());
        until("the next millisecond", || async { (store.ping().await.expect("the clock") > before).then_some(()) })
            .await;
        let new = append(store, group.clone()).await;
        assert!(new.iter().all(|position| position.ms() == new[0].ms() && position.ms() > before));
        all.extend(new);
    }
    all
}

pub async fn delivered_events_are_delivered_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = append(&store, group(1, 70, &["hook", "other"])).await;
    append(&store, group(2, 5, &["hook"])).await;
    all.extend(append(&store, group(1, 5, &["hook"])).await);
    assert_eq!(drain(&store, &hook).await, all);
    assert_eq!(replay_checked(&store, everything(&hook)).await, 75);
    assert_eq!(counts(&store, &stream(1, "other")).await.backlog, 70, "another stream is not concerned");
    assert_eq!(counts(&store, &stream(2, "hook")).await.backlog, 5);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.oldest), (75, 75, Some(all[0].ms())));
    assert!(is_fresh(&state(&store, &hook, all[40]).await));
    assert!(store.due(Duration::from_millis(100)).await.expect("streams").contains(&hook));
    let again = store.claim(claim(&hook, 73)).await.expect("a claim");
    assert_eq!(claimed(&again), all[..73]);
    assert!(again.events.iter().all(|event| event.attempts == 0));
    assert_eq!((&again.events[69].payload[..], &again.events[71].payload[..]), (&b"69"[..], &b"1"[..]));
    store.settle(delivered(&hook, &again)).await.expect("an answer");
    assert_eq!(drain(&store, &hook).await, all[73..]);
    assert_eq!(state(&store, &hook, all[40]).await, DeliveryState::Delivered);
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered, end.oldest), (0, 150, None));
    // And once more.
    assert_eq!(replay_checked(&store, everything(&hook)).await, 75);
    assert_eq!(drain(&store, &hook).await, all);
}

pub async fn a_range_is_exact_to_the_millisecond<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append_apart(&store, group(1, 2, &["hook"]), 5).await;
    drain(&store, &hook).await;
    let range = |from: Millis, to: Millis| Replay { from, to, dry_run: true, ..everything(&hook) };
    let at = |i: usize| all[i * 2].ms();
    for (from, to, expected) in [
        (at(1), at(3), 4),
        (at(1) + 1, at(3), 2),
        (at(1), at(3) + 1, 6),
        (at(2), at(2), 0),
        (at(2), at(2) + 1, 2),
        (at(3), at(1), 0),
        (0, at(0), 0),
        (0, at(0) + 1, 2),
        (at(4), Millis::MAX, 2),
        (at(4) + 1, Millis::MAX, 0),
        (at(4) + 3_600_000, at(4) + 7_200_000, 0),
    ] {
        assert_eq!(replay(&store, range(from, to)).await, Replayed::Queued(expected), "{from}..{to} of {all:?}");
    }
    assert_eq!(replay_checked(&store, Replay { dry_run: false, ..range(at(1), at(3)) }).await, 4);
    assert_eq!(drain(&store, &hook).await, all[2..6]);
}

pub async fn what_has_expired_is_not_replayed<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let short = || AppendGroup { ttl: ttl("1s"), ..group(1, 3, &["hook"]) };
    let asked = Replay { ttl: ttl("1s"), ..everything(&hook) };
    let old = append(&store, short()).await;
    drain(&store, &hook).await;
    until("the events are gone", || async {
        (store.ping().await.expect("the clock") >= old[2].ms() + 1000).then_some(())
    })
    .await;
    assert_eq!(replay_checked(&store, asked.clone()).await, 0);
    let new = append(&store, short()).await;
    drain(&store, &hook).await;
    let queued = replay(&store, asked).await;
    let late = store.ping().await.expect("the clock") >= new[0].ms() + 1000;
    assert!(queued == Replayed::Queued(3) || late);
    // Queued in time they are delivered, whatever has become of them.
    if !late {
        assert_eq!(drain(&store, &hook).await, new);
    }
}

pub async fn what_waits_is_not_queued_twice<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    assert_eq!(replay_checked(&store, everything(&hook)).await, 0);
    // The run is cut: three are held.
    let held = store.claim(claim(&hook, 3)).await.expect("a claim");
    assert_eq!(replay_checked(&store, everything(&hook)).await, 0);
    let after = Duration::from_secs(600);
    let exceptions = vec![(held.events[1].clone(), Disposition::Retry { after, failure: failure(1, "busy") })];
    store.settle(Settle { exceptions, ..delivered(&hook, &held) }).await.expect("an answer");
    assert_eq!(replay_checked(&store, everything(&hook)).await, 2);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed), (10, 2, 1));
    // What has failed waits as before.
    assert!(matches!(
        state(&store, &hook, all[1]).await,
        DeliveryState::Pending { failed: Some(f), next_attempt_at: Some(_) } if f == failure(1, "busy")
    ));
    assert_eq!(replay_checked(&store, everything(&hook)).await, 0);
    let rest: Vec<_> = all.iter().copied().filter(|position| *position != all[1]).collect();
    assert_eq!(drain(&store, &hook).await, rest);
    store.make_due(&hook).await.expect("an answer");
    let last = store.claim(claim(&hook, 10)).await.expect("a claim");
    assert_eq!((claimed(&last), last.events[0].attempts), (all[1..2].to_vec(), 1));
}

pub async fn dead_letters_of_the_range_are_so_no_more<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append_apart(&store, group(1, 1, &["hook"]), 8).await;
    deliver_but(&store, &hook, 7, &[1, 2, 3, 6]).await;
    assert_eq!(store.delete_dead(&hook, Letters::Some(vec![all[2]])).await.expect("an answer"), 1);
    // 0, 4, 5 delivered; 1, 3, 6 dead; 2 dropped; 7 waits.
    let asked = Replay { to: all[6].ms(), ..everything(&hook) };
    assert_eq!(replay_checked(&store, asked).await, 6);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead), (7, 3, 4, 1));
    assert_eq!(letters(&store, &hook).await, [all[6]]);
    for i in [0, 1, 2, 3, 4, 5, 7] {
        assert!(is_fresh(&state(&store, &hook, all[i]).await), "{i}");
    }
    assert_eq!(store.retry_dead(&hook, Letters::Some(all.clone())).await.expect("an answer"), 1);
    assert_eq!(drain(&store, &hook).await, all);
    for position in &all {
        assert_eq!(state(&store, &hook, *position).await, DeliveryState::Delivered);
    }
    assert_eq!(counts(&store, &hook).await.dead, 0);
}

pub async fn a_replay_past_the_limit_queues_nothing<H: Home>() {
    for (max_backlog, expected) in [(12, Replayed::BacklogFull(8)), (13, Replayed::Queued(8))] {
        let home = H::new();
        let store = home.open(StoreOptions { max_backlog, ..options() });
        let hook = stream(1, "hook");
        let all = append(&store, group(1, 8, &["hook"])).await;
        deliver_but(&store, &hook, 8, &[3]).await;
        append(&store, group(1, 5, &["hook"])).await;
        let before = counts(&store, &hook).await;
        assert_eq!(replay(&store, everything(&hook)).await, expected);
        if max_backlog == 12 {
            assert_eq!(counts(&store, &hook).await, before);
            assert_eq!(state(&store, &hook, all[0]).await, DeliveryState::Delivered);
            assert_eq!(letters(&store, &hook).await, all[3..4]);
        } else {
            let full = append_one(&store, group(1, 1, &["hook"])).await;
            assert_eq!(full, Appended::BacklogFull(hook.name.clone()));
        }
    }
}

pub async fn a_new_stream_is_given_what_was_before_it<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = append_apart(&store, group(1, 1, &[]), 8).await;
    // The stream comes with the type's second revision.
    let stands = async |i: usize| state_since(&store, &hook, all[i], 2).await;
    for i in 0..8 {
        assert_eq!(stands(i).await, DeliveryState::None);
    }
    let range = |from: usize, to: usize| Replay { from: all[from].ms(), to: all[to].ms(), ..everything(&hook) };
    assert_eq!(replay_checked(&store, range(1, 3)).await, 2);
    assert_eq!(counts(&store, &hook).await.oldest, Some(all[1].ms()));
    assert!(is_fresh(&stands(1).await) && is_fresh(&stands(2).await));
    assert_eq!([stands(0).await, stands(3).await], [DeliveryState::None, DeliveryState::None]);
    assert_eq!(drain(&store, &hook).await, all[1..3]);
    // One that overlaps, and one apart.
    assert_eq!(replay_checked(&store, range(2, 4)).await, 2);
    assert_eq!(replay_checked(&store, range(6, 7)).await, 1);
    // 2 delivered, 3 dead, 6 dropped.
    deliver_but(&store, &hook, 9, &[1, 2]).await;
    assert_eq!(store.delete_dead(&hook, Letters::Some(vec![all[6]])).await.expect("an answer"), 1);
    let states = async || {
        let mut states = Vec::new();
        for i in 0..8 {
            states.push(stands(i).await);
        }
        states
    };
    let (none, done) = (DeliveryState::None, DeliveryState::Delivered);
    let (dead, gone) = (DeliveryState::Dead(failure(4, "no 1")), DeliveryState::Dropped);
    let expected = |third: &DeliveryState| {
        [&none, &done, &done, third, &none, &none, &gone, &none].into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(states().await, expected(&dead));
    assert_eq!(store.retry_dead(&hook, Letters::All).await.expect("an answer"), 1);
    assert_eq!(drain(&store, &hook).await, all[3..4]);
    assert_eq!(states().await, expected(&done));
    // A replay without events says nothing of what comes later.
    assert_eq!(replay_checked(&store, Replay { from: all[7].ms() + 1, ..everything(&hook) }).await, 0);
    all.extend(append(&store, AppendGroup { revision: 2, ..group(1, 1, &["hook"]) }).await);
    assert!(is_fresh(&state_since(&store, &hook, all[8], 2).await));
    assert_eq!(state_since(&store, &hook, all[7], 2).await, DeliveryState::None);
}

pub async fn an_ephemeral_type_has_nothing_to_replay<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, AppendGroup { ttl: ttl("ephemeral"), ..group(1, 3, &["hook"]) }).await;
    drain(&store, &hook).await;
    assert_eq!(replay_checked(&store, Replay { ttl: ttl("ephemeral"), ..everything(&hook) }).await, 0);
    assert_eq!(replay_checked(&store, everything(&hook)).await, 0);
    assert_eq!(replay_checked(&store, everything(&stream(9, "unknown"))).await, 0);
}

pub async fn an_ordered_stream_gets_a_replay_before_what_is_newer<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    // Leases rise: a short one after a long one would be as long.
    let lease = Duration::from_millis(300);
    let ordered = |max| ClaimRequest { ordered: true, lease, ..claim(&hook, max) };
    let all = append(&store, group(1, 6, &["hook"])).await;
    let one = store.claim(ordered(3)).await.expect("a claim");
    store.settle(delivered(&hook, &one)).await.expect("an answer");
    let lost = store.claim(ordered(2)).await.expect("a claim");
    assert_eq!(claimed(&lost), all[3..5]);
    assert_eq!(replay_checked(&store, everything(&hook)).await, 3);
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let next = until(&format!("something after {} events", seen.len()), || async {
            let claim = store.claim(ordered(1)).await.expect("a claim");
            (!claim.events.is_empty()).then_some(claim)
        })
        .await;
        seen.extend(claimed(&next));
        store.settle(delivered(&hook, &next)).await.expect("an answer");
    }
    // What was under way may come before what was queued behind its back.
    seen.retain(|position| !claimed(&lost).contains(position));
    assert_eq!(seen, [all[0], all[1], all[2], all[5]]);
}

pub async fn five_thousand_events_are_replayed<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(append(&store, group(1, 1000, &["hook"])).await);
    }
    let one = store.claim(claim(&hook, 4500)).await.expect("a claim");
    let after = Duration::from_secs(600);
    let exceptions = one.events.iter().enumerate().filter(|(i, _)| i % 50 < 2);
    let exceptions = exceptions.map(|(i, event)| {
        let what = match i % 50 {
            0 => Disposition::Dead(failure(1, "no")),
            _ => Disposition::Retry { after, failure: failure(1, "no") },
        };
        (event.clone(), what)
    });
    store.settle(Settle { exceptions: exceptions.collect(), ..delivered(&hook, &one) }).await.expect("an answer");
    let held = store.claim(claim(&hook, 100)).await.expect("a claim");
    let failed = |i: usize| i < 4500 && i % 50 == 1;
    let expected = (0..4500).filter(|i| !failed(*i)).count() as u64;
    assert_eq!(replay_checked(&store, everything(&hook)).await, expected);
    assert_eq!(replay_checked(&store, everything(&hook)).await, 0);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.dead), (5000, 0));
    assert_eq!(store.settle(delivered(&hook, &held)).await.expect("an answer"), Fenced::Done(None));
    let queued = all.iter().enumerate().filter(|(i, _)| !failed(*i) && !(4500..4600).contains(i));
    assert_eq!(drain(&store, &hook).await, queued.map(|(_, position)| *position).collect::<Vec<_>>());
    assert_eq!(counts(&store, &hook).await.backlog, 90);
}
