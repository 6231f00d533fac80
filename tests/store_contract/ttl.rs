//! Lifetimes.

use crate::kit::*;
use crate::registry::put;
use event_source_api::event::EventId;
use event_source_api::store::*;
use std::sync::Arc;

fn with_ttl(number: u16, count: usize, lifetime: &str) -> AppendGroup {
    AppendGroup { ttl: ttl(lifetime), ..group(number, count, &["hook"]) }
}

fn lasting(number: u16, lifetime: &str) -> TypeRef {
    TypeRef { type_no: type_no(number), ttl: ttl(lifetime) }
}

async fn shows(store: &Arc<dyn Store>, id: EventId, ty: &TypeRef) -> bool {
    let in_feed = ids_of(&read(store, query(vec![ty.clone()], 1000)).await).contains(&id);
    let alone = store.event(id, ty, &[]).await.expect("an answer").is_some();
    // Between the two questions its time may have come.
    if in_feed != alone {
        assert!(store.event(id, ty, &[]).await.expect("an answer").is_none());
    }
    in_feed && alone
}

pub async fn an_event_shows_for_its_lifetime_to_the_millisecond<H: Home>() {
    let (_home, store) = fresh::<H>();
    let ty = lasting(1, "1s");
    let id = ids(1, &append(&store, with_ttl(1, 1, "1s")).await)[0];
    let mark = MarkRequest { id, ttl: ty.ttl.clone(), client: "c".parse().expect("a client") };
    assert!(shows(&store, id, &ty).await);
    assert_eq!(store.mark(std::slice::from_ref(&mark)).await.expect("an answer"), [true]);
    until("the event is gone", || async {
        let before = store.ping().await.expect("the clock");
        let shown = shows(&store, id, &ty).await;
        let after = store.ping().await.expect("the clock");
        assert!(shown || after >= id.ms() + 1000, "gone {} ms too early", id.ms() + 1000 - after);
        assert!(!shown || before < id.ms() + 1000, "shown {} ms too late", before - id.ms() - 1000);
        (!shown).then_some(())
    })
    .await;
    assert_eq!(store.mark(&[mark]).await.expect("an answer"), [false]);
    // Its stream gets it all the same.
    assert_eq!(store.claim(claim(&stream(1, "hook"), 10)).await.expect("a claim").events.len(), 1);
}

pub async fn permanent_and_expiring_types_share_a_page<H: Home>() {
    let (_home, store) = fresh::<H>();
    let short = append(&store, with_ttl(1, 3, "1s")).await;
    let kept = ids(2, &append(&store, group(2, 3, &[])).await);
    until("the short ones are gone", || async {
        let page = read(&store, query(vec![lasting(1, "1s"), ty(2)], 100)).await;
        (ids_of(&page) == newest_first(kept.clone())).then_some(())
    })
    .await;
    assert!(store.ping().await.expect("the clock") >= short[0].ms() + 1000);
}

pub async fn a_shorter_lifetime_hides_at_once<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "1h", 0).await;
    let number = record.type_no.get();
    let id = ids(number, &append(&store, with_ttl(number, 1, "1h")).await)[0];
    until("a second has passed", || async { (store.ping().await.expect("the clock") > id.ms() + 1000).then_some(()) })
        .await;
    assert!(shows(&store, id, &lasting(number, "1h")).await);
    let record = put(&store, "a:b", "1s", record.revision).await;
    assert!(!shows(&store, id, &lasting(number, "1s")).await);
    // Nothing that has expired is brought back.
    put(&store, "a:b", "permanent", record.revision).await;
    assert!(!shows(&store, id, &ty(number)).await);
    assert_eq!(store.read(query(vec![ty(number)], 10)).await.expect("a page").events, []);
}

pub async fn a_longer_lifetime_keeps_what_is_there<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "1s", 0).await;
    let number = record.type_no.get();
    let id = ids(number, &append(&store, with_ttl(number, 1, "1s")).await)[0];
    put(&store, "a:b", "1h", record.revision).await;
    until("a second has passed", || async { (store.ping().await.expect("the clock") > id.ms() + 1500).then_some(()) })
        .await;
    assert!(shows(&store, id, &lasting(number, "1h")).await);
    // A node that has not heard of it yet does no harm.
    let late = ids(number, &append(&store, with_ttl(number, 1, "1s")).await)[0];
    assert!(shows(&store, late, &lasting(number, "1h")).await);
}

pub async fn expired_events_do_not_come_back_with_a_longer_lifetime<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "1s", 0).await;
    let number = record.type_no.get();
    let old = ids(number, &append(&store, with_ttl(number, 2, "1s")).await)[1];
    until("it is gone", || async { (!shows(&store, old, &lasting(number, "1s")).await).then_some(()) }).await;
    let new = ids(number, &append(&store, with_ttl(number, 1, "1s")).await)[0];
    put(&store, "a:b", "1h", record.revision).await;
    let page = read(&store, query(vec![lasting(number, "1h")], 10)).await;
    assert_eq!(ids_of(&page), [new]);
    assert!(!shows(&store, old, &lasting(number, "1h")).await);
}

pub async fn ephemeral_events_are_delivered_and_never_read<H: Home>() {
    let (_home, store) = fresh::<H>();
    let positions = append(&store, with_ttl(1, 3, "ephemeral")).await;
    for ty in [lasting(1, "ephemeral"), lasting(1, "1h")] {
        assert_eq!(read(&store, query(vec![ty.clone()], 10)).await.events, []);
        assert!(store.event(ids(1, &positions)[0], &ty, &[]).await.expect("an answer").is_none());
    }
    let claim = store.claim(claim(&stream(1, "hook"), 10)).await.expect("a claim");
    assert_eq!(claimed(&claim), positions);
    assert_eq!(store.last_positions(&[type_no(1)]).await.expect("positions"), positions[2..]);
}

pub async fn a_type_turned_ephemeral_leaves_the_feed<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "permanent", 0).await;
    let number = record.type_no.get();
    append(&store, group(number, 3, &[])).await;
    let record = put(&store, "a:b", "ephemeral", record.revision).await;
    assert_eq!(read(&store, query(vec![lasting(number, "ephemeral")], 10)).await.events, []);
    put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(read(&store, query(vec![ty(number)], 10)).await.events, []);
    let new = append(&store, group(number, 1, &[])).await;
    assert_eq!(ids_of(&read(&store, query(vec![ty(number)], 10)).await), ids(number, &new));
}
