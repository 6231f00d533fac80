//! The outbox: claim, renew, settle, counters, what is due.

use crate::kit::*;
use event_source_api::store::*;
use std::time::Duration;

pub async fn a_claim_holds_what_is_due_in_commit_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut all = append(&store, group(1, 100, &["hook", "other"])).await;
    all.extend(append(&store, group(1, 3, &["hook"])).await);
    let first = store.claim(claim(&hook, 30)).await.expect("a claim");
    assert_eq!(claimed(&first), all[..30]);
    assert_eq!(first.events[7].payload, "7");
    assert!(first.events.iter().all(|event| event.attempts == 0));
    assert!(first.next_due.is_some_and(|due| due <= first.now), "more is due");
    let second = store.claim(claim(&hook, 1000)).await.expect("a claim");
    assert_eq!(claimed(&second), all[30..]);
    assert!(second.lease > first.lease);
    // What is left are the leases of others.
    assert!(second.next_due.is_some_and(|due| due > second.now + 30_000));
    let none = store.claim(claim(&hook, 10)).await.expect("a claim");
    assert!(none.lease.is_none() && none.events.is_empty());
    assert!(none.next_due.is_some_and(|due| due > none.now + 30_000));
    assert_eq!(store.claim(claim(&stream(1, "other"), 1000)).await.expect("a claim").events.len(), 100);
    let unknown = store.claim(claim(&stream(1, "unknown"), 10)).await.expect("a claim");
    assert_eq!((unknown.lease, unknown.next_due, unknown.events.len()), (None, None, 0));
}

pub async fn what_is_delivered_is_gone<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, group(1, 100, &["hook"])).await;
    let before = counts(&store, &hook).await;
    assert_eq!((before.backlog, before.delivered, before.failed, before.dead), (100, 0, 0, 0));
    let one = store.claim(claim(&hook, 70)).await.expect("a claim");
    assert_eq!(counts(&store, &hook).await.backlog, 100, "a claim delivers nothing");
    assert_eq!(store.settle(delivered(&hook, &one)).await.expect("an answer"), Fenced::Done(None));
    let after = counts(&store, &hook).await;
    assert_eq!((after.backlog, after.delivered), (30, 70));
    // The claim is over.
    assert_eq!(store.settle(delivered(&hook, &one)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(counts(&store, &hook).await, after);
    let two = store.claim(claim(&hook, 70)).await.expect("a claim");
    store.settle(delivered(&hook, &two)).await.expect("an answer");
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered, end.oldest), (0, 100, None));
    assert_eq!(store.claim(claim(&hook, 70)).await.expect("a claim").next_due, None);
}

pub async fn a_failed_event_comes_back_when_it_is_due<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(claim(&hook, 10)).await.expect("a claim");
    let after = Duration::from_secs(1);
    let retry = Disposition::Retry { after, failure: failure(1, "503: busy") };
    let exceptions = vec![(one.events[3].clone(), retry.clone()), (one.events[4].clone(), retry)];
    let settled = store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    assert_eq!(settled, Fenced::Done(None));
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed), (2, 8, 2));
    assert_eq!(now.oldest, Some(all[3].ms()));
    let early = store.claim(claim(&hook, 10)).await.expect("a claim");
    assert!(early.events.is_empty());
    let due = early.next_due.expect("something waits");
    assert!(due >= one.now + 1000 && due <= early.now + 1000);
    let again = until("the retry is due", || async {
        let claim = store.claim(claim(&hook, 10)).await.expect("a claim");
        (!claim.events.is_empty()).then_some(claim)
    })
    .await;
    assert!(again.now >= due, "{} ms early", due - again.now);
    assert_eq!(claimed(&again), all[3..5]);
    assert!(again.events.iter().all(|event| event.attempts == 1 && event.payload.len() == 1));
    store.settle(delivered(&hook, &again)).await.expect("an answer");
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered, end.failed), (0, 10, 2));
}

pub async fn what_is_released_is_due_at_once_and_first<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 100, &["hook"])).await;
    let one = store.claim(claim(&hook, 50)).await.expect("a claim");
    let exceptions = one.events[10..].iter().map(|event| (event.clone(), Disposition::Release)).collect();
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let again = store.claim(claim(&hook, 60)).await.expect("a claim");
    assert_eq!(claimed(&again), all[10..70]);
    assert!(again.events.iter().all(|event| event.attempts == 0));
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed), (90, 10, 0));
}

pub async fn a_dead_letter_is_kept_and_listed<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 5, &["hook"])).await;
    let one = store.claim(claim(&hook, 5)).await.expect("a claim");
    let dead = |i: usize| (one.events[i].clone(), Disposition::Dead(failure(40, &format!("410: gone {i}"))));
    let exceptions = vec![dead(1), dead(3), dead(4)];
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.dead, now.oldest), (0, 2, 3, None));
    let letters = store.dead_letters(&hook, None, 10).await.expect("letters");
    let found: Vec<_> = letters.iter().map(|letter| letter.event.id).collect();
    assert_eq!(found, [ids(1, &all)[1], ids(1, &all)[3], ids(1, &all)[4]]);
    assert_eq!(letters[1].failure, failure(40, "410: gone 3"));
    assert_eq!(letters[1].event.payload, "3");
    let clock = store.ping().await.expect("the clock");
    assert!(letters.iter().all(|letter| (one.now..=clock).contains(&letter.since)));
    assert_eq!(store.dead_letters(&hook, None, 2).await.expect("letters").len(), 2);
    let rest = store.dead_letters(&hook, Some(all[1]), 10).await.expect("letters");
    assert_eq!(rest.iter().map(|letter| letter.event.id.position()).collect::<Vec<_>>(), [all[3], all[4]]);
    assert!(store.dead_letters(&stream(1, "other"), None, 10).await.expect("letters").is_empty());
}

pub async fn dead_letters_are_kept_for_their_time<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { dead_ttl: Duration::from_secs(1), ..options() });
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 1, &["hook"])).await;
    let one = store.claim(claim(&hook, 5)).await.expect("a claim");
    let exceptions = vec![(one.events[0].clone(), Disposition::Dead(failure(1, "no")))];
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    assert_eq!(store.dead_letters(&hook, None, 10).await.expect("letters").len(), 1);
    until("the letter is gone", || async {
        store.dead_letters(&hook, None, 10).await.expect("letters").is_empty().then_some(())
    })
    .await;
    assert_eq!(counts(&store, &hook).await.dead, 0);
    // It was never delivered, and nobody is told so.
    let since = StreamSince { name: hook.name.clone(), since: 1, until: None };
    let detail = store.event(ids(1, &all)[0], &ty(1), &[since]).await.expect("an answer").expect("the event");
    assert_eq!(detail.streams, [DeliveryState::Dropped]);
}

pub async fn a_renewed_claim_has_a_new_fence<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, group(1, 70, &["hook"])).await;
    let mut one = store.claim(claim(&hook, 70)).await.expect("a claim");
    let old = one.lease.expect("a lease");
    let renewed = store.renew(&hook, old, Duration::from_secs(90)).await.expect("an answer");
    let Fenced::Done(Some(new)) = renewed else { panic!("lost") };
    assert!(new > old);
    assert_eq!(store.renew(&hook, old, Duration::from_secs(90)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(store.settle(delivered(&hook, &one)).await.expect("an answer"), Fenced::Lost);
    assert_eq!(counts(&store, &hook).await.delivered, 0);
    one.lease = Some(new);
    assert_eq!(store.settle(delivered(&hook, &one)).await.expect("an answer"), Fenced::Done(None));
    assert_eq!(counts(&store, &hook).await.delivered, 70);
}

pub async fn a_lapsed_claim_is_taken_by_another<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 100, &["hook"])).await;
    let lease = Duration::from_secs(1);
    let lost = store.claim(ClaimRequest { lease, ..claim(&hook, 80) }).await.expect("a claim");
    assert_eq!(lost.events.len(), 80);
    let rest = store.claim(claim(&hook, 100)).await.expect("a claim");
    assert_eq!(claimed(&rest), all[80..]);
    assert!(rest.next_due.is_some_and(|due| due >= lost.now + 1000 && due <= rest.now + 1001));
    let taken = until("the lease passes", || async {
        let claim = store.claim(claim(&hook, 50)).await.expect("a claim");
        (!claim.events.is_empty()).then_some(claim)
    })
    .await;
    assert!(taken.now >= lost.now + 1000);
    assert_eq!(claimed(&taken), all[..50]);
    // Whoever lost it can neither settle nor renew, nor bring a failure in.
    let exceptions = vec![(lost.events[0].clone(), Disposition::Dead(failure(1, "late")))];
    assert_eq!(store.settle(Settle { exceptions, ..delivered(&hook, &lost) }).await.expect("an answer"), Fenced::Lost);
    assert_eq!(store.renew(&hook, lost.lease.expect("a lease"), lease).await.expect("an answer"), Fenced::Lost);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.dead, now.failed), (100, 0, 0, 0));
    let others = store.claim(claim(&hook, 100)).await.expect("a claim");
    assert_eq!(claimed(&others), all[50..80]);
    for claim in [rest, taken, others] {
        assert_eq!(store.settle(delivered(&hook, &claim)).await.expect("an answer"), Fenced::Done(None));
    }
    let end = counts(&store, &hook).await;
    assert_eq!((end.backlog, end.delivered), (0, 100));
}

pub async fn held_events_stay_with_their_holder<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 10, &["hook"])).await;
    let one = store.claim(claim(&hook, 10)).await.expect("a claim");
    let hold = |i: usize, failed| (one.events[i].clone(), Disposition::Hold(failed));
    let exceptions = vec![hold(2, None), hold(5, Some(failure(3, "no"))), hold(6, None)];
    let settle = Settle { exceptions, hold: Some(Duration::from_secs(60)), ..delivered(&hook, &one) };
    let Fenced::Done(Some(lease)) = store.settle(settle).await.expect("an answer") else { panic!("lost") };
    assert!(Some(lease) > one.lease);
    let now = counts(&store, &hook).await;
    assert_eq!((now.backlog, now.delivered, now.failed), (3, 7, 1));
    assert_eq!(store.claim(claim(&hook, 10)).await.expect("a claim").events.len(), 0);
    let exceptions = vec![(one.events[5].clone(), Disposition::Release)];
    let settle = Settle { lease, total: 3, exceptions, ..delivered(&hook, &one) };
    assert_eq!(store.settle(settle).await.expect("an answer"), Fenced::Done(None));
    let again = store.claim(claim(&hook, 10)).await.expect("a claim");
    assert_eq!(claimed(&again), all[5..6]);
    assert_eq!(again.events[0].attempts, 3);
    assert_eq!(counts(&store, &hook).await.delivered, 9);
}

pub async fn everything_can_be_made_due<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let all = append(&store, group(1, 1200, &["hook"])).await;
    let one = store.claim(claim(&hook, 1000)).await.expect("a claim");
    let later =
        |after: usize| Disposition::Retry { after: Duration::from_secs(after as u64), failure: failure(2, "x") };
    // Each alone, and many of one time.
    let exceptions =
        one.events.iter().enumerate().map(|(i, event)| (event.clone(), later(1000 + i % 7 * (i % 2)))).collect();
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let held = store.claim(claim(&hook, 1200)).await.expect("a claim");
    assert_eq!(claimed(&held), all[1000..]);
    store.make_due(&hook).await.expect("an answer");
    let again = store.claim(claim(&hook, 2000)).await.expect("a claim");
    assert_eq!(claimed(&again), all[..1000], "and nothing that is leased");
    assert!(again.events.iter().all(|event| event.attempts == 2));
    store.make_due(&stream(1, "unknown")).await.expect("an answer");
}

pub async fn due_names_streams_with_work<H: Home>() {
    let (_home, store) = fresh::<H>();
    let soon = Duration::from_millis(100);
    assert!(store.due(soon).await.expect("streams").is_empty());
    append(&store, group(1, 1, &["a", "b"])).await;
    append(&store, group(900, 1, &["a"])).await;
    let mut due = store.due(soon).await.expect("streams");
    due.sort();
    assert_eq!(due, [stream(1, "a"), stream(1, "b"), stream(900, "a")]);
    let a = store.claim(claim(&stream(1, "a"), 10)).await.expect("a claim");
    let b = store.claim(claim(&stream(1, "b"), 10)).await.expect("a claim");
    assert_eq!(store.due(soon).await.expect("streams"), [stream(900, "a")]);
    store.settle(delivered(&stream(1, "a"), &a)).await.expect("an answer");
    let after = Duration::from_secs(600);
    let exceptions = vec![(b.events[0].clone(), Disposition::Retry { after, failure: failure(1, "x") })];
    store.settle(Settle { exceptions, ..delivered(&stream(1, "b"), &b) }).await.expect("an answer");
    assert_eq!(store.due(soon).await.expect("streams"), [stream(900, "a")]);
    let mut due = store.due(Duration::from_secs(700)).await.expect("streams");
    due.sort();
    assert_eq!(due, [stream(1, "b"), stream(900, "a")]);
    // Something new of the stream is due before what waits.
    append(&store, group(1, 1, &["b"])).await;
    assert_eq!(store.due(soon).await.expect("streams").len(), 2);
}

pub async fn an_event_says_where_it_stands<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let positions = append(&store, AppendGroup { revision: 5, ..group(1, 100, &["hook"]) }).await;
    let all = ids(1, &positions);
    let streams = [
        StreamSince { name: hook.name.clone(), since: 5, until: None },
        StreamSince { name: "new".parse().expect("a name"), since: 6, until: None },
        StreamSince { name: "empty".parse().expect("a name"), since: 4, until: None },
    ];
    let state = |i: usize| {
        let (store, streams, id) = (store.clone(), streams.clone(), all[i]);
        async move { store.event(id, &ty(1), &streams).await.expect("an answer").expect("the event").streams }
    };
    let fresh = state(99).await;
    assert!(matches!(fresh[0], DeliveryState::Pending { failed: None, next_attempt_at: Some(_) }));
    assert_eq!(fresh[1..], [DeliveryState::None, DeliveryState::Delivered]);

    // Cut the run every way there is: by claims of odd sizes, and by what becomes of single events.
    let after = Duration::from_secs(600);
    for size in [1, 2, 7, 13, 30] {
        let one = store.claim(claim(&hook, size)).await.expect("a claim");
        let leased = state(positions.iter().position(|p| *p == one.events[0].position).expect("it")).await;
        assert_eq!(leased[0], DeliveryState::Pending { failed: None, next_attempt_at: None });
        let exceptions = one.events.iter().enumerate().filter(|(i, _)| i % 4 != 0).map(|(i, event)| {
            let what = match i % 4 {
                1 => Disposition::Retry { after, failure: failure(1, "e1") },
                2 => Disposition::Release,
                _ => Disposition::Dead(failure(9, "e9")),
            };
            (event.clone(), what)
        });
        let exceptions = exceptions.collect();
        store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    }
    let now = counts(&store, &hook).await;
    let (mut pending, mut gone, mut dead, mut failed) = (0, 0, 0, 0);
    for (i, position) in positions.iter().enumerate() {
        match &state(i).await[0] {
            DeliveryState::Pending { failed: None, next_attempt_at: Some(_) } => pending += 1,
            DeliveryState::Pending { failed: Some(f), next_attempt_at: Some(at) } => {
                assert_eq!(*f, failure(1, "e1"));
                assert!(*at > position.ms() + 500_000);
                failed += 1;
            }
            DeliveryState::Delivered => gone += 1,
            DeliveryState::Dead(f) => {
                assert_eq!(*f, failure(9, "e9"));
                dead += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((pending + failed, gone, dead), (now.backlog, now.delivered, now.dead));
    assert_eq!(pending + failed + gone + dead, 100);
    assert!(failed > 0 && dead > 0 && gone > 0);
    let unknown = event_source_api::event::EventId::new(type_no(1), positions[99].plus(1));
    assert!(store.event(unknown, &ty(1), &streams).await.expect("an answer").is_none());
}

pub async fn a_forgotten_stream_has_no_past<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    append(&store, group(1, 5, &["hook"])).await;
    let one = store.claim(claim(&hook, 10)).await.expect("a claim");
    store.settle(delivered(&hook, &one)).await.expect("an answer");
    store.forget_stream(&hook).await.expect("an answer");
    assert_eq!(counts(&store, &hook).await, StreamCounts::default());
    append(&store, group(1, 1, &["hook"])).await;
    assert_eq!(counts(&store, &hook).await.backlog, 1);
}
