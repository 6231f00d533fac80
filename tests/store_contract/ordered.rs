//! Streams with one attempt at a time: strictly in commit order, on all nodes together.

use crate::kit::*;
use event_source_api::store::*;
use std::time::Duration;

fn ordered(stream: &StreamKey, max: usize) -> ClaimRequest {
    ClaimRequest { ordered: true, ..claim(stream, max) }
}

pub async fn one_claim_is_given_at_a_time<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(ordered(&hook, 4)).await.expect("a claim");
    assert_eq!(claimed(&one), all[..4]);
    let none = store.claim(ordered(&hook, 4)).await.expect("a claim");
    assert!(none.lease.is_none() && none.events.is_empty());
    // When the holder's lease passes.
    assert!(none.next_due.is_some_and(|due| due > none.now + 30_000));
    store.settle(delivered(&hook, &one)).await.expect("an answer");
    let two = store.claim(ordered(&hook, 4)).await.expect("a claim");
    assert_eq!(claimed(&two), all[4..8]);
}

pub async fn a_held_event_stays_in_front<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(ordered(&hook, 4)).await.expect("a claim");
    // The second fails: it and what comes after it is held, the first is delivered.
    let held = |i: usize, failed| (one.events[i].clone(), Disposition::Hold(failed));
    let exceptions = vec![held(1, Some(failure(1, "no"))), held(2, None), held(3, None)];
    let settle = Settle { exceptions, hold: Some(Duration::from_secs(60)), ..delivered(&hook, &one) };
    let Fenced::Done(Some(lease)) = store.settle(settle).await.expect("an answer") else { panic!("lost") };
    assert_eq!(store.claim(ordered(&hook, 4)).await.expect("a claim").events.len(), 0);
    let Fenced::Done(Some(lease)) = store.renew(&hook, lease, Duration::from_secs(61)).await.expect("an answer") else {
        panic!("lost")
    };
    assert_eq!(store.claim(ordered(&hook, 4)).await.expect("a claim").events.len(), 0);
    let settle = Settle { lease, total: 3, ..delivered(&hook, &one) };
    assert_eq!(store.settle(settle).await.expect("an answer"), Fenced::Done(None));
    assert_eq!(claimed(&store.claim(ordered(&hook, 4)).await.expect("a claim")), all[4..8]);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed), (6, 4, 1));
}

pub async fn a_lapsed_claim_is_taken_over_whole_and_first<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 100, &["hook"])).await;
    let lease = Duration::from_millis(300);
    let lost = store.claim(ClaimRequest { lease, ..ordered(&hook, 70) }).await.expect("a claim");
    append(&store, group(1, 5, &["hook"])).await;
    let taken = until("the lease passes", || async {
        let claim = store.claim(ordered(&hook, 3)).await.expect("a claim");
        (!claim.events.is_empty()).then_some(claim)
    })
    .await;
    assert!(taken.now >= lost.now + 300);
    assert_eq!(claimed(&taken), all[..70], "whole, however small the room");
    assert_eq!(store.settle(delivered(&hook, &lost)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(store.claim(ordered(&hook, 3)).await.expect("a claim").events.len(), 0);
    store.settle(delivered(&hook, &taken)).await.expect("an answer");
    assert_eq!(claimed(&store.claim(ordered(&hook, 3)).await.expect("a claim")), all[70..73]);
}

pub async fn released_events_come_again_in_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(ordered(&hook, 5)).await.expect("a claim");
    let exceptions = one.events[2..].iter().map(|event| (event.clone(), Disposition::Release)).collect();
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let two = store.claim(ordered(&hook, 100)).await.expect("a claim");
    assert_eq!(claimed(&two), all[2..]);
}

pub async fn a_stream_turned_ordered_waits_for_its_claims<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(claim(&hook, 4)).await.expect("a claim");
    let two = store.claim(claim(&hook, 4)).await.expect("a claim");
    assert_eq!(store.claim(ordered(&hook, 4)).await.expect("a claim").events.len(), 0);
    store.settle(delivered(&hook, &one)).await.expect("an answer");
    assert_eq!(store.claim(ordered(&hook, 4)).await.expect("a claim").events.len(), 0);
    store.settle(delivered(&hook, &two)).await.expect("an answer");
    assert_eq!(claimed(&store.claim(ordered(&hook, 4)).await.expect("a claim")), all[8..]);
}
