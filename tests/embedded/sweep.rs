//! What has expired is given back, and nothing else.

use crate::support::*;
use event_source_api::event::{ClientId, EventId};
use event_source_api::store::*;
use std::time::Duration;

const MINUTE: i64 = 60_000;

#[tokio::test]
async fn expired_hours_go_with_their_marks_and_others_stay() {
    let mut hub = Hub::new();
    let short = hub.register("short", "1h").await;
    let long = hub.register("long", "1 week").await;
    let forever = hub.register("forever", "permanent").await;
    let client: ClientId = "c".parse().unwrap();
    let mut ids = Vec::new();
    for ty in [short, long, forever] {
        let id = EventId::new(ty, hub.send(ty, "permanent", &["s"], 600).await[0]);
        let mark = MarkRequest { id, ttl: "permanent".parse().unwrap(), client: client.clone() };
        assert_eq!(hub.mark(&[mark]).await.unwrap(), [true]);
        ids.push(id);
    }
    // Looked at with an endless lifetime, what is shown is what is there.
    let there = async |hub: &Hub, ty| hub.feed(ty, "permanent").await.len();
    hub.advance(2 * HOUR - 1);
    hub.sweep().await.unwrap();
    assert_eq!(there(&hub, short).await, 600, "its hour's last millisecond still lives");
    hub.advance(1);
    hub.sweep().await.unwrap();
    for (ty, expected) in [(short, 0), (long, 600), (forever, 600)] {
        assert_eq!(there(&hub, ty).await, expected);
    }
    hub.advance(1000 * HOUR);
    hub.reopen();
    hub.sweep().await.unwrap();
    for (ty, expected) in [(short, 0), (long, 0), (forever, 600)] {
        assert_eq!(there(&hub, ty).await, expected);
        assert_eq!(hub.count(&stream(ty, "s")).await.backlog, 600, "expiry never takes what is undelivered");
    }
    let detail = hub.event(ids[2], &type_ref(forever, "permanent"), &[]).await.unwrap().unwrap();
    assert_eq!(detail.processed_by.len(), 1);
    assert!(hub.event(ids[0], &type_ref(short, "permanent"), &[]).await.unwrap().is_none());
    // An hour that fills again begins without the old marks.
    let mark = MarkRequest { id: ids[0], ttl: "permanent".parse().unwrap(), client };
    assert_eq!(hub.mark(&[mark]).await.unwrap(), [false]);
    assert_eq!(hub.drain(&stream(short, "s")).await, 600);
}

#[tokio::test]
async fn the_newest_lifetime_decides() {
    let hub = Hub::new();
    let (shortened, lengthened) = (hub.register("a", "1 week").await, hub.register("b", "1h").await);
    hub.send(shortened, "1 week", &[], 5).await;
    hub.send(lengthened, "1h", &[], 5).await;
    hub.register("a", "1h").await;
    hub.register("b", "1 week").await;
    hub.advance(2 * HOUR);
    hub.sweep().await.unwrap();
    assert_eq!(hub.feed(shortened, "permanent").await.len(), 0);
    assert_eq!(hub.feed(lengthened, "permanent").await.len(), 5);
}

#[tokio::test]
async fn dead_letters_go_after_their_time_and_are_not_taken_for_delivered() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let key = stream(ty, "s");
    let given = hub.send(ty, "permanent", &["s"], 2).await;
    for _ in 0..2 {
        let claim = hub.take(&key, 1).await;
        let exceptions = vec![(claim.events[0].clone(), Disposition::Dead(failure(3)))];
        hub.settle(Settle { exceptions, ..settled(&key, claim.lease.unwrap(), 1) }).await.unwrap();
        hub.advance(10 * MINUTE);
    }
    assert_eq!(hub.count(&key).await.dead, 2);
    hub.forget_stream(&key).await.unwrap();
    assert_eq!(hub.dead_letters(&key, None, 9).await.unwrap().len(), 2, "a forgotten stream's letters stay");
    hub.advance(30 * 24 * HOUR - 20 * MINUTE);
    assert_eq!(hub.dead_letters(&key, None, 9).await.unwrap().len(), 1);
    hub.sweep().await.unwrap();
    hub.reopen();
    assert_eq!(hub.count(&key).await.dead, 1);
    let asked = [StreamSince { name: key.name.clone(), since: 1, until: None }];
    for (position, state) in [(given[0], DeliveryState::Dropped), (given[1], DeliveryState::Dead(failure(3)))] {
        let detail = hub.event(EventId::new(ty, position), &type_ref(ty, "permanent"), &asked).await.unwrap().unwrap();
        assert_eq!(detail.streams, [state]);
    }
    hub.advance(10 * MINUTE);
    hub.sweep().await.unwrap();
    assert_eq!(hub.count(&key).await.dead, 0);
}

#[tokio::test]
async fn answers_go_after_their_window_also_when_the_key_was_used_again() {
    let hub = Hub::new();
    let ty = hub.register("a", "permanent").await;
    let send = async |key: &str, hash| {
        let idempotency = Idempotency { key: key.into(), body_hash: [hash; 32], window: Duration::from_secs(60) };
        let keyed = AppendGroup { idempotency: Some(idempotency), ..group(ty, "permanent", &[], 1) };
        hub.append(vec![keyed]).await.unwrap().remove(0).unwrap()
    };
    assert!(matches!(send("k", 1).await, Appended::Stored(_)));
    assert_eq!(send("k", 2).await, Appended::KeyReused);
    hub.advance(MINUTE);
    assert!(matches!(send("k", 2).await, Appended::Stored(_)));
    hub.sweep().await.unwrap();
    assert!(matches!(send("k", 2).await, Appended::Duplicate(_)), "the newer answer stays");
    hub.advance(MINUTE);
    hub.sweep().await.unwrap();
    assert!(matches!(send("k", 3).await, Appended::Stored(_)));
}
