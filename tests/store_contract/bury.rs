//! A stream that ends: everything in its outbox becomes a dead letter.

use crate::kit::*;
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

async fn bury(store: &Arc<dyn Store>, stream: &StreamKey) -> u64 {
    store.bury(stream, "the stream was deleted").await.expect("an answer")
}

pub async fn all_that_waits_becomes_a_dead_letter_with_its_reason<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 20, &["hook", "other"])).await;
    // 0, 1 delivered; 2 waits for a retry; 3 released; 4 is held after a failure; 5–8 are held; the rest waits.
    let one = store.claim(claim(&hook, 5)).await.expect("a claim");
    let after = Duration::from_secs(600);
    let exceptions = vec![
        (one.events[2].clone(), Disposition::Retry { after, failure: failure(2, "503: busy") }),
        (one.events[3].clone(), Disposition::Release),
        (one.events[4].clone(), Disposition::Hold(Some(failure(1, "timed out")))),
    ];
    let settle = Settle { exceptions, hold: Some(after), ..delivered(&hook, &one) };
    let Fenced::Done(Some(held)) = store.settle(settle).await.expect("an answer") else { panic!("lost") };
    let released = store.claim(claim(&hook, 1)).await.expect("a claim");
    assert_eq!(claimed(&released), all[3..4]);
    let two = store.claim(claim(&hook, 4)).await.expect("a claim");
    assert_eq!(claimed(&two), all[5..9]);

    assert_eq!(bury(&store, &hook).await, 18);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead, now.oldest), (0, 2, 2, 18, None));
    let found = store.dead_letters(&hook, None, 100).await.expect("letters");
    let clock = store.ping().await.expect("the clock");
    for (letter, position) in found.iter().zip(&all[2..]) {
        let i = all.iter().position(|p| p == position).expect("it");
        assert_eq!(letter.event.id.position(), *position);
        assert_eq!(letter.event.payload, i.to_string());
        assert!((one.now..=clock).contains(&letter.since));
        let expected = match i {
            2 => failure(2, "503: busy"),
            4 => failure(1, "timed out"),
            _ => failure(0, "the stream was deleted"),
        };
        assert_eq!(letter.failure, expected);
        assert_eq!(state(&store, &hook, *position).await, DeliveryState::Dead(expected));
    }
    assert_eq!(found.len(), 18);

    // Nobody holds anything any more.
    assert_eq!(store.settle(Settle { exceptions: vec![], ..delivered(&hook, &two) }).await.expect("one"), Fenced::Lost);
    assert_eq!(store.settle(delivered(&hook, &released)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(store.renew(&hook, held, after).await.expect("an answer"), Fenced::Lost);
    assert_eq!(counts(&store, &hook).await, now);
    let none = store.claim(claim(&hook, 9)).await.expect("a claim");
    assert_eq!((none.events.len(), none.lease, none.next_due), (0, None, None));
    assert_eq!(store.due(after * 2).await.expect("streams"), [stream(1, "other")]);
    assert_eq!(counts(&store, &stream(1, "other")).await.backlog, 20);
    assert_eq!(bury(&store, &hook).await, 0);
}

pub async fn a_buried_backlog_is_full_no_more<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { max_backlog: 5, ..options() });
    let hook = stream(1, "hook");
    append(&store, group(1, 5, &["hook"])).await;
    let full = append_one(&store, group(1, 1, &["hook"])).await;
    assert_eq!(full, Appended::BacklogFull(hook.name.clone()));
    assert_eq!(bury(&store, &hook).await, 5);
    let new = append(&store, group(1, 1, &["hook"])).await;
    assert_eq!(drain(&store, &hook).await, new);
}

pub async fn what_was_buried_can_be_sent_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = append(&store, group(1, 30, &["hook"])).await;
    let held = store.claim(claim(&hook, 10)).await.expect("a claim");
    assert_eq!(bury(&store, &hook).await, 30);
    all.extend(append(&store, group(1, 2, &["hook"])).await);
    assert_eq!(store.retry_dead(&hook, Letters::All).await.expect("an answer"), 30);
    assert_eq!(counts(&store, &hook).await.backlog, 32);
    assert_eq!(store.settle(delivered(&hook, &held)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(drain(&store, &hook).await, all);
}

pub async fn a_buried_and_forgotten_stream_begins_anew<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, group(1, 10, &["hook"])).await;
    store.claim(claim(&hook, 3)).await.expect("a claim");
    assert_eq!(bury(&store, &hook).await, 10);
    assert_eq!(store.delete_dead(&hook, Letters::All).await.expect("an answer"), 10);
    store.forget_stream(&hook).await.expect("an answer");
    assert_eq!(counts(&store, &hook).await, StreamCounts::default());
    assert!(store.claim(claim(&hook, 10)).await.expect("a claim").events.is_empty());
    let new = append(&store, group(1, 1, &["hook"])).await;
    assert_eq!(drain(&store, &hook).await, new);
}

pub async fn a_buried_ordered_stream_goes_on_at_once<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let ordered = ClaimRequest { ordered: true, ..claim(&hook, 4) };
    append(&store, group(1, 10, &["hook"])).await;
    let lost = store.claim(ordered.clone()).await.expect("a claim");
    assert_eq!(bury(&store, &hook).await, 10);
    let new = append(&store, group(1, 1, &["hook"])).await;
    let next = store.claim(ordered).await.expect("a claim");
    assert_eq!(claimed(&next), new);
    assert!(next.lease > lost.lease);
    assert_eq!(store.settle(delivered(&hook, &lost)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(store.settle(delivered(&hook, &next)).await.expect("an answer"), Fenced::Done(None));
}

pub async fn events_of_an_ephemeral_type_are_buried_with_their_payload<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, AppendGroup { ttl: ttl("ephemeral"), ..group(1, 3, &["hook"]) }).await;
    assert_eq!(bury(&store, &hook).await, 3);
    let found = store.dead_letters(&hook, None, 9).await.expect("letters");
    assert_eq!(found.iter().map(|letter| &letter.event.payload[..]).collect::<Vec<_>>(), [b"0", b"1", b"2"]);
}

pub async fn a_stream_without_events_has_none_to_bury<H: Home>() {
    let (_home, store) = fresh::<H>();
    assert_eq!(bury(&store, &stream(1, "unknown")).await, 0);
    assert_eq!(counts(&store, &stream(1, "unknown")).await, StreamCounts::default());
}

pub async fn five_thousand_events_are_buried<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(append(&store, group(1, 1000, &["hook"])).await);
    }
    let one = store.claim(claim(&hook, 1500)).await.expect("a claim");
    let after = Duration::from_secs(600);
    let exceptions = one.events[1000..]
        .iter()
        .map(|event| (event.clone(), Disposition::Retry { after, failure: failure(1, "busy") }))
        .collect();
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let held = store.claim(claim(&hook, 700)).await.expect("a claim");
    assert_eq!(bury(&store, &hook).await, 4000);
    assert_eq!(letters(&store, &hook).await, all[1000..]);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead, now.oldest), (0, 1000, 500, 4000, None));
    assert_eq!(store.settle(delivered(&hook, &held)).await.expect("an answer"), Fenced::Lost);
    let found = store.dead_letters(&hook, None, 5000).await.expect("letters");
    assert_eq!(found.iter().filter(|letter| letter.failure == failure(1, "busy")).count(), 500);
    assert_eq!(store.retry_dead(&hook, Letters::All).await.expect("an answer"), 4000);
    assert_eq!(drain(&store, &hook).await, all[1000..]);
}
