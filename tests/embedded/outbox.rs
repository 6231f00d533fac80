//! Streams over restarts, and what becomes of claims.

use crate::support::*;
use event_source_api::event::EventId;
use event_source_api::store::*;
use std::time::Duration;

#[tokio::test]
async fn counters_and_retries_are_exact_after_a_restart_and_claims_are_void() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    let given = hub.send(ty, "1h", &["s"], 10).await;
    let claim = hub.take(&key, 6).await;
    let lease = claim.lease.unwrap();
    let exceptions = vec![
        (claim.events[0].clone(), Disposition::Retry { after: Duration::from_secs(30), failure: failure(1) }),
        (claim.events[1].clone(), Disposition::Dead(failure(40))),
        (claim.events[2].clone(), Disposition::Release),
        (claim.events[3].clone(), Disposition::Hold(Some(failure(1)))),
    ];
    let settle = Settle { exceptions, hold: Some(Duration::from_secs(60)), ..settled(&key, lease, 6) };
    let Fenced::Done(Some(held)) = hub.settle(settle).await.unwrap() else { panic!("held nothing") };
    let before = hub.count(&key).await;
    assert_eq!((before.backlog, before.delivered, before.failed, before.dead), (7, 2, 3, 1));
    assert_eq!(before.oldest, Some(START));

    hub.reopen();
    assert_eq!(hub.count(&key).await, before);
    assert_eq!(hub.settle(settled(&key, held, 1)).await.unwrap(), Fenced::Lost, "a restart ends all leases");
    let letters = hub.dead_letters(&key, None, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.id, letters[0].since), (1, EventId::new(ty, given[1]), START));
    assert_eq!(letters[0].event.payload, "1");

    let claim = hub.take(&key, 100).await;
    let expected: Vec<_> = [2, 3, 6, 7, 8, 9].map(|at: usize| given[at]).into();
    assert_eq!(positions(&claim), expected, "what failed is not due yet, the rest is");
    assert_eq!(claim.events[1].attempts, 1);
    hub.advance(30_000);
    let retried = hub.take(&key, 100).await;
    assert_eq!((positions(&retried), retried.events[0].attempts), (vec![given[0]], 1));
    hub.settle(settled(&key, claim.lease.unwrap(), 6)).await.unwrap();
    hub.settle(settled(&key, retried.lease.unwrap(), 1)).await.unwrap();
    let done = hub.count(&key).await;
    assert_eq!((done.backlog, done.delivered, done.oldest), (0, 9, None));
    hub.reopen();
    assert_eq!(hub.drain(&key).await, 0);
}

#[tokio::test]
async fn recovery_makes_retries_due_also_after_a_restart() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    hub.send(ty, "1h", &["s"], 1).await;
    for _ in 0..2 {
        let claim = hub.take(&key, 1).await;
        let exceptions = vec![(
            claim.events[0].clone(),
            Disposition::Retry { after: Duration::from_secs(600), failure: failure(1) },
        )];
        hub.settle(Settle { exceptions, ..settled(&key, claim.lease.unwrap(), 1) }).await.unwrap();
        hub.reopen();
        let early = hub.take(&key, 1).await;
        assert_eq!((early.lease, early.next_due), (None, Some(START + 600_000)));
        assert_eq!(hub.due(Duration::from_secs(1)).await.unwrap(), []);
        hub.make_due(&key).await.unwrap();
        hub.reopen();
        assert_eq!(hub.due(Duration::from_secs(1)).await.unwrap(), std::slice::from_ref(&key));
    }
    assert_eq!(hub.drain(&key).await, 1);
}

#[tokio::test]
async fn an_ordered_stream_gives_one_claim_at_a_time_and_takes_a_lapsed_one_over_whole() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    let given = hub.send(ty, "1h", &["s"], 6).await;
    let first = hub.claim(request(&key, 3, true)).await.unwrap();
    assert_eq!(positions(&first), given[..3]);
    let blocked = hub.claim(request(&key, 3, true)).await.unwrap();
    assert_eq!((blocked.lease, blocked.next_due), (None, Some(START + 60_000)));
    hub.advance(60_000);
    let over = hub.claim(request(&key, 1, true)).await.unwrap();
    assert_eq!(positions(&over), given[..3], "whole, whatever was asked for");
    assert_eq!(hub.settle(settled(&key, first.lease.unwrap(), 3)).await.unwrap(), Fenced::Lost);
    hub.settle(settled(&key, over.lease.unwrap(), 3)).await.unwrap();
    assert_eq!(positions(&hub.claim(request(&key, 9, true)).await.unwrap()), given[3..]);
}

#[tokio::test]
async fn nothing_passes_a_failed_event_of_an_ordered_stream() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    let given = hub.send(ty, "1h", &["s"], 4).await;
    let claim = hub.claim(request(&key, 2, true)).await.unwrap();
    let exceptions =
        vec![(claim.events[1].clone(), Disposition::Retry { after: Duration::from_secs(5), failure: failure(1) })];
    hub.settle(Settle { exceptions, ..settled(&key, claim.lease.unwrap(), 2) }).await.unwrap();
    let barred = hub.claim(request(&key, 4, true)).await.unwrap();
    assert_eq!((barred.lease, barred.next_due), (None, Some(START + 5000)));
    hub.advance(5000);
    assert_eq!(positions(&hub.claim(request(&key, 4, true)).await.unwrap()), given[1..]);
}

#[tokio::test]
async fn a_lapsed_lease_holds_until_it_is_taken() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    hub.send(ty, "1h", &["s"], 2).await;
    let claim = hub.take(&key, 1).await;
    let second = hub.take(&key, 1).await;
    hub.advance(120_000);
    assert_eq!(hub.settle(settled(&key, claim.lease.unwrap(), 1)).await.unwrap(), Fenced::Done(None));
    let Fenced::Done(Some(renewed)) = hub.renew(&key, second.lease.unwrap(), Duration::from_secs(1)).await.unwrap()
    else {
        panic!("lost")
    };
    assert_eq!(hub.settle(settled(&key, second.lease.unwrap(), 1)).await.unwrap(), Fenced::Lost, "renewed since");
    hub.advance(1000);
    assert_eq!(hub.take(&key, 1).await.events.len(), 1);
    assert_eq!(hub.settle(settled(&key, renewed, 1)).await.unwrap(), Fenced::Lost);
}

#[tokio::test]
async fn ephemeral_events_are_delivered_and_never_read() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "ephemeral").await;
    hub.send(ty, "ephemeral", &["s"], 3).await;
    hub.reopen();
    assert_eq!(hub.feed(ty, "ephemeral").await, []);
    assert_eq!(hub.feed(ty, "permanent").await, []);
    assert_eq!(hub.drain(&stream(ty, "s")).await, 3);
}

#[tokio::test]
async fn where_an_event_stands_with_each_stream() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let names = ["held", "failed", "dead", "done", "new"];
    let given = hub.send(ty, "1h", &names[..4], 1).await;
    let id = EventId::new(ty, given[0]);
    for (name, disposition) in [
        ("failed", Some(Disposition::Retry { after: Duration::from_secs(9), failure: failure(1) })),
        ("dead", Some(Disposition::Dead(failure(2)))),
        ("done", None),
    ] {
        let key = stream(ty, name);
        let claim = hub.take(&key, 1).await;
        let exceptions = disposition.map(|d| (claim.events[0].clone(), d)).into_iter().collect();
        hub.settle(Settle { exceptions, ..settled(&key, claim.lease.unwrap(), 1) }).await.unwrap();
    }
    let asked = names.map(|name| StreamSince {
        name: name.parse().unwrap(),
        since: if name == "new" { 2 } else { 1 },
        until: None,
    });
    let states = async || hub.event(id, &type_ref(ty, "1h"), &asked).await.unwrap().unwrap().streams;
    let pending = |failed, next_attempt_at| DeliveryState::Pending { failed, next_attempt_at };
    let expected = [
        pending(None, Some(START)),
        pending(Some(failure(1)), Some(START + 9000)),
        DeliveryState::Dead(failure(2)),
        DeliveryState::Delivered,
        DeliveryState::None,
    ];
    assert_eq!(states().await, expected);
    hub.take(&stream(ty, "held"), 1).await;
    assert_eq!(states().await[0], pending(None, None));
    hub.forget_stream(&stream(ty, "done")).await.unwrap();
    assert_eq!(states().await[3], DeliveryState::Delivered);
    assert_eq!(hub.count(&stream(ty, "done")).await, StreamCounts::default());
}

#[tokio::test]
async fn a_full_backlog_refuses_its_type_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_backlog: 3, ..options() };
    let store = event_source_api::store::embedded::EmbeddedStore::open(folder.path(), options).unwrap();
    let (a, b) = (type_no(1), type_no(2));
    let groups = vec![group(a, "1h", &["s", "t"], 3), group(a, "1h", &["t"], 1), group(b, "1h", &["t"], 1)];
    let answers = store.append(groups).await.unwrap();
    assert!(matches!(&answers[0], Ok(Appended::Stored(_))));
    assert!(matches!(&answers[1], Ok(Appended::BacklogFull(name)) if name.as_str() == "t"));
    assert!(matches!(&answers[2], Ok(Appended::Stored(_))));
}
