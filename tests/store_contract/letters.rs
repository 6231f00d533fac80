//! Dead letters: sent again, or deleted.

use crate::kit::*;
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

async fn retry(store: &Arc<dyn Store>, stream: &StreamKey, letters: Letters) -> u64 {
    store.retry_dead(stream, letters).await.expect("an answer")
}

async fn delete(store: &Arc<dyn Store>, stream: &StreamKey, letters: Letters) -> u64 {
    store.delete_dead(stream, letters).await.expect("an answer")
}

pub async fn all_letters_are_sent_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook", "other"])).await;
    deliver_but(&store, &hook, 10, &[1, 3, 5, 7, 9]).await;
    assert_eq!(retry(&store, &hook, Letters::All).await, 5);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead), (5, 5, 5, 0));
    assert_eq!(now.oldest, Some(all[1].ms()));
    assert_eq!(letters(&store, &hook).await, []);
    assert!(is_fresh(&state(&store, &hook, all[3]).await));
    assert_eq!(state(&store, &hook, all[4]).await, DeliveryState::Delivered);
    let mut due = store.due(Duration::from_millis(100)).await.expect("streams");
    due.sort();
    assert_eq!(due, [hook.clone(), stream(1, "other")]);

    let again = store.claim(claim(&hook, 100)).await.expect("a claim");
    assert_eq!(claimed(&again), [all[1], all[3], all[5], all[7], all[9]]);
    assert!(again.events.iter().all(|event| event.attempts == 0));
    assert_eq!(again.events[2].payload, "5");
    store.settle(delivered(&hook, &again)).await.expect("an answer");
    assert_eq!(state(&store, &hook, all[3]).await, DeliveryState::Delivered);
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered, end.dead, end.oldest), (0, 10, 0, None));
}

pub async fn some_letters_are_sent_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 8, &["hook"])).await;
    deliver_but(&store, &hook, 6, &[1, 2, 4]).await;
    // A delivered one, one that waits, one that never was, and one named twice.
    let named = vec![all[4], all[0], all[6], all[7].plus(1000), all[1], all[4]];
    assert_eq!(retry(&store, &hook, Letters::Some(named)).await, 2);
    assert_eq!(letters(&store, &hook).await, [all[2]]);
    assert_eq!(state(&store, &hook, all[2]).await, DeliveryState::Dead(failure(4, "no 2")));
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.dead), (4, 1));
    assert_eq!(retry(&store, &hook, Letters::Some(Vec::new())).await, 0);
    assert_eq!(drain(&store, &hook).await, [all[1], all[4], all[6], all[7]]);
}

pub async fn a_letter_can_die_and_be_sent_again_any_number_of_times<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 2, &["hook"])).await;
    deliver_but(&store, &hook, 2, &[0]).await;
    for _ in 0..3 {
        assert_eq!(retry(&store, &hook, Letters::Some(all.clone())).await, 1);
        assert_eq!(retry(&store, &hook, Letters::Some(all.clone())).await, 0, "it waits already");
        assert_eq!(retry(&store, &hook, Letters::All).await, 0);
        assert_eq!(counts(&store, &hook).await.backlog, 1);
        assert_eq!(deliver_but(&store, &hook, 2, &[0]).await, all[..1]);
        let now = counts(&store, &hook).await;
        assert_eq!((now.backlog, now.dead), (0, 1));
        assert_eq!(letters(&store, &hook).await, all[..1]);
    }
    assert_eq!(counts(&store, &hook).await.failed, 4);
}

pub async fn an_ordered_stream_gets_a_letter_before_what_is_newer<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let ordered = |max| ClaimRequest { ordered: true, ..claim(&hook, max) };
    let all = append(&store, group(1, 6, &["hook"])).await;
    let one = store.claim(ordered(3)).await.expect("a claim");
    let exceptions = vec![(one.events[1].clone(), Disposition::Dead(failure(1, "no")))];
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    // While the next is under way it does not come between.
    let two = store.claim(ordered(1)).await.expect("a claim");
    assert_eq!(retry(&store, &hook, Letters::All).await, 1);
    assert_eq!(store.claim(ordered(3)).await.expect("a claim").events.len(), 0);
    store.settle(delivered(&hook, &two)).await.expect("an answer");
    let three = store.claim(ordered(9)).await.expect("a claim");
    assert_eq!(claimed(&three), [all[1], all[4], all[5]]);
}

pub async fn a_letter_sent_again_is_not_forgotten_with_its_first_death<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { dead_ttl: Duration::from_millis(1500), ..options() });
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 2, &["hook"])).await;
    deliver_but(&store, &hook, 2, &[0, 1]).await;
    let died = store.dead_letters(&hook, None, 1).await.expect("letters")[0].since;
    assert_eq!(retry(&store, &hook, Letters::Some(all[..1].to_vec())).await, 1);
    until("the other is gone", || async {
        (store.ping().await.expect("the clock") > died + 1600 && counts(&store, &hook).await.dead == 0).then_some(())
    })
    .await;
    assert_eq!(retry(&store, &hook, Letters::All).await, 0, "its time has passed");
    assert!(is_fresh(&state(&store, &hook, all[0]).await));
    assert_eq!(state(&store, &hook, all[1]).await, DeliveryState::Dropped);
    assert_eq!(counts(&store, &hook).await.backlog, 1);
    deliver_but(&store, &hook, 2, &[0]).await;
    assert_eq!(letters(&store, &hook).await, all[..1]);
}

pub async fn deleted_letters_are_dropped<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 8, &["hook"])).await;
    deliver_but(&store, &hook, 6, &[1, 2, 4]).await;
    let named = vec![all[4], all[0], all[6], all[7].plus(1000), all[4]];
    assert_eq!(delete(&store, &hook, Letters::Some(named)).await, 1);
    assert_eq!(letters(&store, &hook).await, [all[1], all[2]]);
    assert_eq!(counts(&store, &hook).await.dead, 2);
    assert_eq!(state(&store, &hook, all[4]).await, DeliveryState::Dropped);
    assert_eq!(state(&store, &hook, all[0]).await, DeliveryState::Delivered);
    assert!(is_fresh(&state(&store, &hook, all[6]).await));
    assert_eq!(retry(&store, &hook, Letters::Some(vec![all[4]])).await, 0);
    assert_eq!(delete(&store, &hook, Letters::All).await, 2);
    assert_eq!(delete(&store, &hook, Letters::All).await, 0);
    for (i, position) in all.iter().enumerate().take(6) {
        let dropped = state(&store, &hook, *position).await == DeliveryState::Dropped;
        assert_eq!(dropped, [1, 2, 4].contains(&i));
    }
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead), (2, 3, 3, 0));
    assert_eq!(drain(&store, &hook).await, all[6..]);
}

pub async fn a_stream_that_comes_back_can_be_sent_its_letters<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let old = append(&store, group(1, 3, &["hook"])).await;
    deliver_but(&store, &hook, 3, &[0, 2]).await;
    store.forget_stream(&hook).await.expect("an answer");
    assert_eq!(letters(&store, &hook).await, [old[0], old[2]]);
    let new = append(&store, group(1, 1, &["hook"])).await;
    assert_eq!(delete(&store, &hook, Letters::Some(vec![old[0]])).await, 1);
    assert_eq!(retry(&store, &hook, Letters::All).await, 1);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed, now.dead), (2, 0, 0, 0));
    assert_eq!(drain(&store, &hook).await, [old[2], new[0]]);
}

pub async fn a_letter_of_an_ephemeral_type_is_sent_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, AppendGroup { ttl: ttl("ephemeral"), ..group(1, 3, &["hook"]) }).await;
    deliver_but(&store, &hook, 3, &[0, 1]).await;
    assert_eq!(delete(&store, &hook, Letters::Some(all[..1].to_vec())).await, 1);
    assert_eq!(retry(&store, &hook, Letters::All).await, 1);
    let one = store.claim(claim(&hook, 9)).await.expect("a claim");
    assert_eq!((claimed(&one), &one.events[0].payload[..]), (all[1..2].to_vec(), &b"1"[..]));
}

pub async fn a_stream_without_letters_has_none_to_send<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = append(&store, group(1, 3, &["hook"])).await;
    for hook in [stream(1, "hook"), stream(1, "unknown"), stream(2, "hook")] {
        for named in [Letters::All, Letters::Some(all.clone())] {
            assert_eq!(retry(&store, &hook, named.clone()).await, 0);
            assert_eq!(delete(&store, &hook, named).await, 0);
        }
    }
    assert_eq!(counts(&store, &stream(1, "hook")).await.backlog, 3);
}

pub async fn five_thousand_letters_are_sent_and_deleted<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(append(&store, group(1, 1200, &["hook"])).await);
        let dead: Vec<_> = (0..1200).filter(|i| i % 6 != 5).collect();
        deliver_but(&store, &hook, 1200, &dead).await;
    }
    let dead: Vec<_> = all.iter().copied().enumerate().filter(|(i, _)| i % 6 != 5).map(|(_, at)| at).collect();
    assert_eq!(letters(&store, &hook).await, dead);
    assert_eq!(retry(&store, &hook, Letters::All).await, 5000);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.dead, now.oldest), (5000, 0, Some(dead[0].ms())));
    let one = store.claim(claim(&hook, 5000)).await.expect("a claim");
    assert_eq!(claimed(&one), dead);
    let exceptions =
        one.events.iter().skip(500).map(|event| (event.clone(), Disposition::Dead(failure(1, "again")))).collect();
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    assert_eq!(retry(&store, &hook, Letters::Some(dead[..2000].to_vec())).await, 1500);
    assert_eq!(delete(&store, &hook, Letters::Some(dead[1000..3000].to_vec())).await, 1000);
    assert_eq!(delete(&store, &hook, Letters::All).await, 2000);
    assert_eq!(drain(&store, &hook).await, dead[500..2000]);
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered, end.failed, end.dead), (0, 1000 + 500 + 1500, 9500, 0));
    assert_eq!(state(&store, &hook, dead[4999]).await, DeliveryState::Dropped);
    assert_eq!(state(&store, &hook, dead[1999]).await, DeliveryState::Delivered);
}
